"""Secret managers: read the sources of `--from`, check what they deliver, and write one (policy section 2)."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any, Final, TypeAlias, TypeVar, cast

from robodj_secretguard.errors import ManagerError, UsageError
from robodj_secretguard.guarding import examine
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain, type_name
from robodj_secretguard.secret.texts import could_hold_key, shown_place
from robodj_secretguard.settings import SecretSettings, setup_of
from robodj_secretguard.startup import file_reader
from robodj_secretguard.startup.directory import (
    MAX_BYTES,
    Delivery,
    Policies,
    conflicts,
    delivery_of,
    first_with,
    names_of,
    source_finding,
    whole_names,
)
from robodj_secretguard.startup.file_reader import read_most
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS
from robodj_secretguard.startup.readings import Environment, are_files_off, switches_of
from robodj_secretguard.startup.report import Finding, Report, with_findings

Failure: TypeAlias = tuple[type[Exception] | tuple[type[Exception], ...], str, str, bool]
"""Errors of a client, what is wrong (`{}` is the type's name), what to do, and whether it is temporary."""

Fields: TypeAlias = Mapping[str, Any]
"""The fields of a secret in a store. A function that takes them runs inside `contain()`."""

Answer = TypeVar("Answer")

ATTEMPT_SECONDS: Final = 5.0
"""The time limit of an attempt where there is no time to wait, and of each connection."""
GRACE_SECONDS: Final = 0.5
"""A client's own time limit comes first, as its error says more."""
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 4.0
CONFLICT: Final = (
    "was changed by somebody else in the meantime, so nothing was written",
    "run this command again: it reads the new version",
)
"""What is wrong, and what to do, where the version of a write is not the current one any more."""
_JSON_CLIENT: Final = "run the command before the pipe alone, and correct what it reports"
STORE_CHECK: Final = "ROBODJ_STORE_CHECK"
"""The field that `store check` writes. No other command reads it."""
STORES: Final = "vault:MOUNT/PATH, aws:SECRET_ID, directory:PATH, envfile:PATH or exec:PROGRAM"
"""The sources that can be written."""
_SOURCES: Final = STORES.replace(" or ", ", ") + " or json:- once"
# The class of each kind, the form of its place, and the package of its client.
_SOURCE_KINDS: Final = {
    "vault": ("vault.Vault", r"[\w.-]+/[\w./-]*[\w.-]", "hvac"),
    "aws": ("aws.AwsSecret", r"[\w/+=.@:-]+", "boto3"),
    "directory": ("folder.Directory", r"[^\0]+", ""),
    "envfile": ("envfile.EnvFile", r"[^\0]+", ""),
    "exec": ("helper.Helper", r"/[^\0]+", ""),
    "json": ("manager.JsonObject", "-", ""),
}
_NOT_ON_WINDOWS: Final = ("directory", "envfile", "exec")


class AbsentError(ManagerError):
    """Nothing is there yet."""


class Manager(ABC):
    """One source of `--from`. A subclass has `fetch`.

    Args:
        name: the source in messages, such as `vault:secret/robodj`.
        place: where the manager has the variables, such as `secret/robodj`.
        policies: the declared secrets.
    """

    is_repeatable = True
    logins: frozenset[str] = frozenset()
    """The variables that are, or name, the login of its client. A command does not get them."""
    has_files = False  # whose last newline is taken away as they are read
    seconds = ATTEMPT_SECONDS
    """The time limit of each call, which `within` sets."""
    least_seconds = 0.0
    """A shorter time limit is raised to this: the source has limits of its own, after which it says more."""
    reach = "make sure that it is running and can be reached from here, then start again"
    """What to do if it does not answer in time."""

    def __init__(self, name: str, place: str = "", policies: Iterable[SecretPolicy] = ()) -> None:
        self.name = name
        self._place = place
        self._policies = policies

    @abstractmethod
    def fetch(self, names: Collection[str]) -> Fields:
        """Return everything that the manager has.

        Args:
            names: the variables that are wanted.

        Raises:
            ManagerError: there is nothing, and why.
            Exception: any other error is one of this program.
        """

    def load(
        self, names: Collection[str], deadline: float, say: Callable[[str], object], *, least: float = ATTEMPT_SECONDS
    ) -> Delivery:
        """Fetch the variables, again after each temporary error, until a deadline of the monotonic clock.

        Args:
            names: the variables that are wanted.
            deadline: when to give up.
            say: writes a line about the first temporary error.
            least: the time limit of an attempt at the deadline.

        Raises:
            ManagerError: the last error.
        """
        pause = FIRST_PAUSE
        while True:
            left = deadline - time.monotonic()
            try:
                return self._load_once(names, left if left > FIRST_PAUSE else least)
            except ManagerError as error:
                if not (error.is_temporary and self.is_repeatable) or time.monotonic() + pause >= deadline:
                    raise
                if pause == FIRST_PAUSE:
                    say(f"{self.name} {error.message}; trying again")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _load_once(self, names: Collection[str], seconds: float) -> Delivery:
        whole = () if self.has_files else whole_names(self._policies)
        return self.within(seconds, lambda: delivery_of(self.name, self.fetch(names), names, whole))

    def within(self, seconds: float, action: Callable[[], Answer]) -> Answer:
        """Return what an action returns. See `answer_within`."""
        self.seconds = seconds
        return answer_within(max(seconds, self.least_seconds), action, self.reach, "report a bug with this line")


def answer_within(seconds: float, action: Callable[[], Answer], reach: str, remedy: str) -> Answer:
    """Return what an action returns. It runs inside `contain()`.

    The time limits of clients are for each read of a connection, so an answer in single bytes could take forever.

    Args:
        seconds: the time limit.
        action: asks a server.
        reach: what to do where the time limit has passed.
        remedy: what to do where the action has raised another error.

    Raises:
        ManagerError: that of the action; or one for the time limit, or for any other error.
    """
    answers: list[Answer | BaseException] = []

    def append_answer() -> None:
        try:
            answers.append(contain(action))
        except BaseException as error:  # noqa: BLE001 - this thread raises it below
            answers.append(error)

    thread = threading.Thread(target=append_answer, daemon=True)
    thread.start()
    thread.join(seconds + GRACE_SECONDS)
    if not answers:
        raise ManagerError("did not answer in time", reach, is_temporary=True)
    (answer,) = answers
    if isinstance(answer, ManagerError):
        raise answer
    if isinstance(answer, BaseException):
        raise ManagerError(f"cannot be read ({type_name(answer)})", remedy)
    return answer


class JsonObject(Manager):
    """The members of one JSON object on stdin, which cannot be read again."""

    is_repeatable = False
    reach = _JSON_CLIENT

    def fetch(self, names: Collection[str]) -> Fields:  # noqa: ARG002
        """Return the members."""
        if sys.stdin is None or sys.stdin.isatty():  # a terminal would show a typed key
            raise ManagerError("cannot be read: stdin is not a pipe", "pipe one JSON object into this command")
        return members(read_most(sys.stdin.fileno(), MAX_BYTES + 1), _JSON_CLIENT)


class Stored(Frozen):
    """A version of a secret in a manager.

    Attributes:
        fields: all fields, as one JSON object.
        version: the version. A write names the one that it was made from. It is empty where the store does not compare.
        written_at: when the manager made it, if that is known.
        read_at: the manager's time, if that is known.
    """

    fields: SealedStr
    version: str
    written_at: datetime | None = None
    read_at: datetime | None = None

    def opened(self) -> dict[str, Any]:
        """Return the fields. Call it inside `contain()`."""
        return dict(json.loads(self.fields.get_secret_value(), parse_float=number_of))

    def canonical(self) -> str:
        """Return the fields as a text that does not depend on their order. Call it inside `contain()`."""
        return json.dumps(self.opened(), sort_keys=True)


ABSENT: Final = Stored(SealedStr("{}"), "")
"""What a first write names as the current version."""


class Store(Manager):
    """A manager that can be written. Its methods raise `ManagerError` or any other error: call them with `within`.

    Attributes:
        keeps_versions: whether `versions` returns earlier versions. A helper program may keep none all the same.
        purges: whether `purge` takes anything out of them.
        single_writer: whether a store may be written that does not compare versions.
        show_errors: whether the stderr of a helper program is let through.
    """

    keeps_versions = True
    purges = False
    single_writer = False
    show_errors = False

    @abstractmethod
    def current(self) -> Stored:
        """Return the current version.

        Raises:
            AbsentError: nothing is there yet.
        """

    def found(self) -> Stored:
        """Return the current version; `ABSENT` where nothing is there yet."""
        try:
            return self.current()
        except AbsentError:
            return ABSENT

    @abstractmethod
    def write(self, fields: SealedStr, current: Stored) -> None:
        """Replace the current version by a new one with these fields.

        Args:
            fields: all fields, as one JSON object.
            current: the version that must still be the current one; `ABSENT` where nothing may be there.

        Raises:
            ManagerError: nothing was written. Its text is `CONFLICT` where another version is current by now.
        """

    @abstractmethod
    def versions(self) -> Sequence[str]:
        """Return the versions that can be read, the newest first, with the current one; none where none is kept."""

    @abstractmethod
    def version(self, name: str) -> Stored:
        """Return one of the `versions`."""

    def purge(self, is_ended: Callable[[str], bool]) -> None:
        """Take each field whose text `is_ended` accepts out of the kept versions, and never out of the current one."""

    def fetch(self, names: Collection[str]) -> Fields:  # noqa: ARG002
        """Return the fields of the current version."""
        return self.current().opened()


class ClientStore(Store):
    """A store behind a client, which each call makes. The methods with the argument `client` run within one call."""

    @abstractmethod
    def with_client(self, action: Callable[[Any], Answer]) -> Answer:
        """Return what an action returns. Turn the errors of the client into those of a manager."""

    @abstractmethod
    def read(self, client: Any, name: str = "") -> Stored:
        """Return a version, by default the current one."""

    @abstractmethod
    def write_after(self, client: Any, fields: SealedStr, version: str) -> None:
        """Write a new version, if the current one is still the named one."""

    @abstractmethod
    def names(self, client: Any) -> Sequence[str]:
        """Return the versions that can be read, the newest first."""

    def current(self) -> Stored:
        """Return the current version."""
        return self.with_client(self.read)

    def write(self, fields: SealedStr, current: Stored) -> None:
        """Replace the current version."""
        self.with_client(lambda client: self.write_after(client, fields, current.version))

    def versions(self) -> Sequence[str]:
        """Return the versions that can be read."""
        return self.with_client(self.names)

    def version(self, name: str) -> Stored:
        """Return a version."""
        return self.with_client(lambda client: self.read(client, name))


def time_of(text: object) -> datetime | None:
    """Return the time of an HTTP header `Date`; `None` where it is missing or invalid."""
    try:
        found = parsedate_to_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def number_of(text: str) -> float:
    """Return a number of JSON; NaN for one that has another form when it is written back."""
    number = float(text)
    return number if repr(number) == text else float("nan")


def sealed(fields: Fields, *, is_new: bool = False) -> SealedStr:
    """Return fields as one JSON object. `is_new`: a manager gets them, so each number must be as it was."""
    try:
        return SealedStr(json.dumps(fields, allow_nan=not is_new))
    except ValueError:
        raise ManagerError(
            "has a number that would change, so nothing was written", "store that number as a string, in quotes"
        ) from None
    except RecursionError:
        raise ManagerError(
            "has a field that is nested too deeply", "store that field elsewhere, or as one text"
        ) from None


def limited(parts: Iterable[bytes], too_long: Exception) -> bytes:
    """Return the parts of an answer, or raise `too_long`: a client would read an answer without a limit."""
    content = b""
    for part in parts:
        content += part
        if len(content) > MAX_BYTES:
            raise too_long
    return content


def is_insecure(address: str) -> bool:
    """Check whether a request to an address would not be encrypted. On the loopback interface it need not be."""
    return not re.fullmatch(
        r"https://.+|http://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?(?:/.*)?", address, re.IGNORECASE
    )


def manager_error(error: Exception, failures: Iterable[Failure], certificate: str) -> ManagerError:
    """Return the error of a manager for an error of its client: the first one of `failures` with its type.

    Args:
        error: the error of a client.
        failures: the failures that its errors can mean.
        certificate: how to fix a certificate that cannot be verified.
    """
    text = str(error)  # it has the texts of the errors that caused it
    if re.search("CERTIFICATE_VERIFY_FAILED|NO_CERTIFICATE|hostname .* doesn't match", text):
        return ManagerError("has a certificate that cannot be verified", certificate)
    if "WRONG_VERSION_NUMBER" in text:
        return ManagerError("has no TLS at its address", "correct the address, or turn on TLS in the server")
    _, message, remedy, is_temporary = next(failure for failure in failures if isinstance(error, failure[0]))
    return ManagerError(message.format(type_name(error)), remedy, is_temporary=is_temporary)


def members(text: bytes | str, remedy: str, *, is_whole: bool = False) -> Fields:
    """Return the members of a JSON object. `is_whole`: no part of the text was lost on its way.

    Raises:
        ManagerError: it cannot be used. Where its end may have been lost, that is temporary.
    """
    if len(text) > MAX_BYTES:
        raise ManagerError(f"is larger than {MAX_BYTES} bytes", remedy)
    if not text.strip():
        raise ManagerError("is empty", remedy, is_temporary=not is_whole)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        document = error.doc.strip()
        is_at_end = not document.endswith("}") or error.pos >= len(error.doc.rstrip())
        if document.startswith("{") and error.msg != "Extra data" and is_at_end:
            raise ManagerError("is cut off", remedy, is_temporary=not is_whole) from None
        found = None
    except (ValueError, RecursionError):  # not UTF-8, or nested too deeply
        found = None
    if not isinstance(found, dict):
        raise ManagerError("is not a JSON object", remedy)
    return found


class Sources:
    """What the sources of `--from` have delivered.

    Attributes:
        deliveries: one for each source, in the order of the options.
        failed: the report on the first source that failed, so that nothing is checked.
        logins: the variables of the managers' logins, without those that a declared secret has.
    """

    def __init__(
        self, deliveries: Sequence[Delivery], failed: Report | None = None, logins: Collection[str] = ()
    ) -> None:
        self.deliveries = deliveries
        self.failed = failed
        self.logins = logins

    def check(
        self, model: type[SecretSettings], *, config_dir: str | None = None, require_env_only: bool = False
    ) -> Report:
        """Return the check's report on what the sources and the environment deliver.

        Args:
            model: the settings model that declares the secrets.
            config_dir: the config directory; `None` for that of the environment or of the model.
            require_env_only: ignore fallback files.

        Returns:
            The report. A source that failed is its only finding. Of several sources, a finding names its own.
        """
        if self.failed is not None:
            return self.failed
        examined = examine(
            model,
            environment=Environment(),
            config_dir=config_dir,
            require_env_only=require_env_only,
            managers=self.deliveries,
            is_elsewhere=require_env_only,
        )
        report = with_findings(examined.report, conflicts(self.deliveries, tuple(model.secret_policies.values())))
        several = {each.name for each in self.deliveries[1:] and self.deliveries}
        findings = [
            each._replace(message=f"{each.message} (from {each.source})")
            if each.source in several and each.source not in each.message
            else each
            for each in report.findings
        ]
        return report._replace(findings=tuple(findings))

    def variables(self, model: type[SecretSettings]) -> dict[str, str]:
        """Return the variables for a command. Call it inside `contain()`.

        The revocation lists are joined with that of the environment.
        """
        found = dict[str, str]()
        for policy in model.secret_policies.values():
            if delivery := first_with(self.deliveries, policy):
                read = ((name, delivery.get(name)) for name in policy.variables)
                found |= {name: value.get_secret_value() for name, value in read if value}
        sources: list[Environment | Delivery] = [Environment(), *self.deliveries]
        lists = [value.get_secret_value() for source in sources if (value := source.get(REVOKED_FINGERPRINTS))]
        return found | ({REVOKED_FINGERPRINTS: ",".join(lists)} if lists else {})


def load_sources(
    sources: Sequence[str],
    model: type[SecretSettings],
    *,
    wait: float = 0,
    require_env_only: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Sources:
    """Read every source, up to the first one that fails.

    Args:
        sources: forms of `--from`, such as `vault:secret/robodj`.
        model: the settings model that declares the secrets.
        wait: for how many seconds to try again where one does not answer.
        require_env_only: whether fallback files are ignored, for the report.
        say: writes a line about the first attempt that failed.

    Raises:
        UsageError: a source is invalid, or the package of its client cannot be imported.
    """
    policies = tuple(model.secret_policies.values())
    managers = open_sources(sources, policies)
    deliveries = [Delivery(manager.name, {}, frozenset()) for manager in managers]
    deadline = time.monotonic() + wait
    least = FIRST_PAUSE if wait else ATTEMPT_SECONDS
    for number, manager in enumerate(managers):
        try:
            deliveries[number] = manager.load(names_of(policies), deadline, say, least=least)
        except ManagerError as error:
            tried = f" (tried for {wait:g} s)" if error.is_temporary and manager.is_repeatable and wait else ""
            off = require_env_only or are_files_off(switches_of(Environment()), setup_of(model))
            return Sources(deliveries, unread_report(source_finding(policies, manager.name, error, tried), off=off))
    logins = {name for manager in managers for name in manager.logins}
    return Sources(deliveries, logins=logins.difference(names_of(policies)))


def unread_report(why: Finding, *, off: bool = False) -> Report:
    """Return the report where a source could not be read. `off`: fallback files were off."""
    return Report(datetime.now(UTC), off, None, (), (why,))


def open_store(source: str, policies: Policies, *, single_writer: bool = False) -> Store:
    """Return the store of `--to`.

    Args:
        source: its form, such as `vault:secret/robodj`.
        policies: the declared secrets.
        single_writer: whether the operator says that nobody else writes it. Only then is a helper program written that
            does not compare versions.

    Raises:
        UsageError: the source is invalid or cannot be written, or the package of its client cannot be imported.
    """
    if not file_reader.POSIX and source.startswith(_NOT_ON_WINDOWS):
        raise UsageError("--to: files and programs are not written on Windows; run this command on the server")
    store = cast("Store", open_sources([source], policies, "--to", STORES)[0])
    store.single_writer = single_writer
    return store


def open_sources(
    sources: Sequence[str], policies: Policies, word: str = "--from", forms: str = _SOURCES
) -> list[Manager]:
    """Return a manager for each source. No message repeats a source that is invalid, as it may be a key."""
    managers: list[Manager] = []
    for number, source in enumerate(sources, start=1):
        kind, _, place = source.partition(":")
        path, form, package = _SOURCE_KINDS.get(kind, ("", "(?!)", ""))
        if kind == "exec" and not file_reader.POSIX:
            raise UsageError(f"{word}: exec: does not work on Windows; pipe the output of the program into json:-")
        is_valid = (
            f"{kind}:" in forms
            and re.fullmatch(form, place, re.ASCII)
            and (source != "json:-" or sources.count(source) == 1)
        )
        # A client would send a pasted key to its server. AWS adds six characters to the name of a secret in its ARN.
        if not is_valid or (package and could_hold_key(re.sub(r"-[A-Za-z0-9]{6}\Z", "", place))):
            which = f" (number {number})" if number > 1 else ""
            raise UsageError(f"{word}{which}: invalid source; use {forms}")
        managers.append(_import_class(word, kind, path, package)(f"{kind}:{shown_place(place)}", place, policies))
    return managers


def _import_class(word: str, kind: str, path: str, package: str) -> type[Manager]:
    """Return the class of a manager. Its module imports the client, which an extra installs."""
    module, name = path.split(".")
    try:
        return cast("type[Manager]", getattr(import_module(f"robodj_secretguard.managers.{module}"), name))
    except (Exception, SystemExit):  # noqa: BLE001 - a client may raise anything at its import, or exit
        fix = f"run python -m pip install {package}" if package else "reinstall this program"
        raise UsageError(
            f"{word} {kind}: needs the package {package or module}, which cannot be imported; {fix}"
        ) from None
