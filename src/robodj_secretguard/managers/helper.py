"""A program that keeps the secrets of one environment, as the credential helpers of git and Docker do: `exec:PROGRAM`.

It has two commands. `get [VERSION]` prints a JSON object, and `set` reads one. No argument is ever a key.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, cast

from robodj_secretguard.common.files import closing, locked, open_unlinked, reason
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.manager import (
    ABSENT,
    CONFLICT,
    AbsentError,
    Fields,
    Store,
    Stored,
    members,
    number_of,
    sealed,
)
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.secret.texts import shown_place
from robodj_secretguard.startup.directory import MAX_BYTES
from robodj_secretguard.startup.file_reader import others_may_change

RUN_SECONDS = 30.0
"""How long the program may run. The tests set it."""
NOTHING_THERE: Final = 66
CANNOT: Final = 69
CHANGED_MEANWHILE: Final = 73
NOT_AVAILABLE: Final = 75
REFUSED_LOGIN: Final = 77
_NOTHING_WRITTEN: Final = (CANNOT, CHANGED_MEANWHILE, REFUSED_LOGIN)
"""After these statuses of `set`, what is there need not be read."""
_LOOK: Final = "run store check --show-errors for it, and correct what the program reports"
_FAILURES: Final = {
    CANNOT: ("cannot do {}", "use another store, or a program that can"),
    NOT_AVAILABLE: ("is not available at {}", _LOOK),
    REFUSED_LOGIN: ("was refused at {}: the login is not valid", "log in again"),
}
_POLL_SECONDS: Final = 0.02
_MOST_VERSION: Final = 200
_LEAST_KEY: Final = 8
_NOT_FOR_PROGRAMS: Final = ("LD_", "DYLD_", "PYTHON")
"""How the variables begin that load code into a program."""


class Helper(Store):
    """The program. What it can do beside reading and writing shows in its answers: `version` and `versions`."""

    reach = _LOOK
    least_seconds = 5 * RUN_SECONDS
    holds_output = False
    """Whether a process that it has left behind kept its output open."""
    prints_at_set = False
    """Whether `set` has printed something."""

    def current(self) -> Stored:
        """Return what `get` prints."""
        return self._stored(self.get())

    def versions(self) -> Sequence[str]:
        """Return the versions that `get` names."""
        names = self.get().get("versions", [])
        if not isinstance(names, list) or not all(_is_version(name) for name in names):
            raise ManagerError("has versions that are not a list of short texts", _LOOK)
        return tuple(names)

    def version(self, name: str) -> Stored:
        """Return what `get VERSION` prints."""
        return self._stored(self.get(name))

    def write(self, fields: SealedStr, current: Stored) -> None:
        """Compare, write with `set`, and read what is there then. No other process of this machine writes meanwhile."""
        with self._locked():
            found = self.found()
            is_same = found.version == current.version and (found.version or found.canonical() == current.canonical())
            if not is_same:
                raise ManagerError(*CONFLICT)
            if found is not ABSENT and not found.version and not self.single_writer:
                raise ManagerError(
                    "does not compare versions, so the write of another machine could be lost",
                    "add --single-writer if nobody writes it on another machine at the same time",
                )
            new = Stored(fields, found.version)
            failure = self._set(new, is_first=found is ABSENT)
            self._read_back(new, failure)

    def get(self, *version: str) -> Fields:
        """Return the answer to `get`, whose member `fields` is an object.

        Raises:
            AbsentError: nothing is there.
            ManagerError: the program failed, or its answer cannot be used.
        """
        done = self.run("get", *version)
        if failure := _failure_of(done):
            raise failure
        members(done.stdout, _LOOK, is_whole=True)
        answer = dict(json.loads(done.stdout, parse_float=number_of))
        if not isinstance(answer.get("fields"), dict):
            raise ManagerError("printed no object with the name fields", _LOOK)
        return answer

    def run(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the program to its end, and return its status and its output.

        Args:
            words: its arguments.
            given: what it reads from stdin.

        Raises:
            ManagerError: it must not or cannot be run, did not end in time, or printed too much.
        """
        self._require_safe()
        with closing(_filled_pipe(given)) as stdin:
            try:
                process = subprocess.Popen(  # noqa: S603 - the operator names the program
                    [self._place, *words],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=None if self.show_errors else subprocess.DEVNULL,
                    cwd=os.path.dirname(self._place),
                    env=self._environment(),
                    start_new_session=True,
                )
            except OSError as error:
                raise ManagerError(
                    f"cannot be run: {reason(error)}", "make it a program that this user may run"
                ) from None
        with process:
            try:
                output = self._output_of(process)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(words, process.returncode, output)

    def _output_of(self, process: subprocess.Popen[bytes]) -> bytes:
        """Return what a program prints until it ends. A process that it leaves behind may keep the pipe open."""
        stdout = cast("IO[bytes]", process.stdout).fileno()
        os.set_blocking(stdout, False)
        deadline = time.monotonic() + RUN_SECONDS
        output = b""
        is_open = True
        while True:
            has_ended = process.poll() is not None  # all that it has printed can be read by now
            part = _read_some(stdout, 0 if has_ended or not is_open else _POLL_SECONDS)
            output += part or b""
            is_open = is_open and part != b""
            if len(output) > MAX_BYTES:
                raise ManagerError(f"printed more than {MAX_BYTES} bytes", _LOOK)
            if has_ended and not part:
                self.holds_output |= is_open
                return output
            if not has_ended and time.monotonic() > deadline:
                raise ManagerError(f"did not end within {RUN_SECONDS:g} s", _LOOK, is_temporary=True)
            if not is_open:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)

    def _environment(self) -> dict[str, str]:
        """Return the caller's environment without declared secrets, and without what could load other code."""
        declared = {name for policy in self._policies for name in (*policy.variables, *policy.slot_variables)}
        left = {name: value for name, value in os.environ.items() if name not in declared}
        for name in [name for name in left if name.startswith(_NOT_FOR_PROGRAMS)]:
            del left[name]
        directories = left.get("PATH", os.defpath).split(os.pathsep)
        left["PATH"] = os.pathsep.join(filter(os.path.isabs, directories))
        return left

    def _require_safe(self) -> None:
        """Raise an error where somebody else could change the program."""
        try:
            changeable = others_may_change(self._place)
        except OSError as error:
            raise ManagerError(f"cannot be run: {reason(error)}", "correct the path after exec:") from None
        if changeable:
            where = shown_place(changeable)
            raise ManagerError(
                f"is not run: others own or may write {where}", f"look at the program, then run chmod go-w {where}"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the program against the other processes of this machine."""
        self._require_safe()
        try:
            with closing(open_unlinked(os.path.realpath(self._place), os.O_RDONLY)) as descriptor, locked(descriptor):
                yield
        except OSError as error:
            raise ManagerError(f"was not written: {reason(error)}", "run this command again") from None

    def _stored(self, answer: Fields) -> Stored:
        fields = answer["fields"]
        version = answer.get("version") or ""
        # A version becomes an argument. A short one may be equal to a port by chance.
        is_value = isinstance(version, str) and len(version) >= _LEAST_KEY and version in fields.values()
        if version and (is_value or not _is_version(version)):
            raise ManagerError("has a version that is not a short text", _LOOK)
        return Stored(sealed(fields), version)

    def _set(self, new: Stored, *, is_first: bool) -> ManagerError | None:
        """Give the program the new fields, and return its failure. Raise it where nothing was written for certain."""
        request: dict[str, Any] = {"fields": new.opened()}
        if new.version or is_first:
            request["version"] = new.version or None
        given = sealed(request, is_new=True).get_secret_value().encode()
        try:
            done = self.run("set", given=given)
        except ManagerError as error:
            return error
        self.prints_at_set |= bool(done.stdout)
        failure = _failure_of(done)
        if failure and done.returncode in _NOTHING_WRITTEN:
            raise failure
        return failure

    def _read_back(self, new: Stored, failure: ManagerError | None) -> None:
        """Raise an error, unless the program has the new fields by now: one that ended too late may have written."""
        try:
            found = self.found()
        except ManagerError as error:
            raise ManagerError(
                f"may have been written: the read after it failed ({error.message})",
                "run check --from for it; then run this command again",
            ) from None
        if found.canonical() != new.canonical():
            raise failure or ManagerError(
                "has other fields than this command has written",
                "run this command again; if that does not help, run store check for it",
            )


def _filled_pipe(content: bytes) -> int:
    """Return the end of a pipe that has all of a content.

    It is filled before the program begins: a program whose input could end early would store a part.
    """
    import fcntl  # noqa: PLC0415 - not on Windows, where no program is run

    end, other = os.pipe()
    with closing(other):
        os.set_blocking(other, False)
        try:
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                fcntl.fcntl(other, fcntl.F_SETPIPE_SZ, max(len(content), 1))
            if os.write(other, content) == len(content):
                return end
        except OSError:
            pass
    os.close(end)
    raise ManagerError("cannot be used: its input is too large for a pipe", "store large fields elsewhere")


def _read_some(descriptor: int, seconds: float) -> bytes | None:
    """Return what can be read from a pipe within some seconds: `None` for nothing yet, empty at its end."""
    select.select([descriptor], [], [], seconds)
    try:
        return os.read(descriptor, MAX_BYTES)
    except BlockingIOError:
        return None


def _is_version(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and 0 < len(name) <= _MOST_VERSION


def _failure_of(done: subprocess.CompletedProcess[bytes]) -> ManagerError | None:
    """Return the error that a status stands for; `None` for success."""
    status = done.returncode
    word = done.args[0]
    if status == 0:
        return None
    if status == NOTHING_THERE and word == "get":
        return AbsentError("has nothing there", "correct the path after exec:, or store the first keys with rotate put")
    if status == CHANGED_MEANWHILE and word == "set":
        return ManagerError(*CONFLICT)
    message, remedy = _FAILURES.get(status, ("failed at {}" if status > 0 else "was ended by a signal at {}", _LOOK))
    return ManagerError(f"{message.format(word)} (status {status})", remedy, is_temporary=status == NOT_AVAILABLE)
