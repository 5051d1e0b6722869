"""A directory of files: systemd credentials, Docker and Kubernetes secrets, templates of an agent."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import NO_FAILURE, V1, V2, Failure, failure_of, good_keys, posix_only, process_environment, put, root_only
from processes import fork
from publications import REVOKED, Files, linked, moved, renamed, volume

from robodj_secretguard import Material, RuntimeSecrets, check
from robodj_secretguard.managers.folder import Directory
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.settings import judgement_of
from robodj_secretguard.startup import directory as module
from robodj_secretguard.startup.directory import Delivery, _unsettled, delivery_of
from robodj_secretguard.startup.inputs import GROUP_WRITABLE, IN_OWNED, OWNED, ROTATION_RECORD
from robodj_secretguard.startup.inputs import MAX_CHARACTERS as MAX
from robodj_secretguard.startup.readings import Environment
from robodj_secretguard.startup.report import Judgement

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
NAMES = [name for policy in POLICIES for name in policy.variables]


def fetched(path: Path, seconds: float = 5) -> dict[str, Any]:
    """Return what a directory delivers: the content of each file."""
    directory = Directory("directory:x", str(path), POLICIES)
    directory.seconds = seconds
    return {**directory.fetch(NAMES)}


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.0)


class TestDelivery:
    """What is kept of the fields of a manager, or of the files of a directory."""

    def test_only_wanted_variables_are_kept(self) -> None:
        """Only wanted variables are kept. An empty one is unset, and so is null."""
        delivery = delivery_of("x:y", {"A": "x", "B": "", "C": "secret", "D": None}, ["A", "B", "D"])
        assert delivery == Delivery("x:y", {"A": SealedStr("x")}, frozenset("ABCD"))

    @pytest.mark.parametrize(
        ("value", "what", "fix"),
        [
            (1, "but it is not a string", "store B as a JSON string, in quotes"),
            (False, "but it is not a string", "store B as a JSON string, in quotes"),
            ([], "but it is not a string", "store B as a JSON string, in quotes"),
            ("x\0", "but it has a zero byte", "store B again, without that byte"),
        ],
    )
    def test_a_variable_must_be_a_text(self, value: object, what: str, fix: str) -> None:
        """A value that is not a string is not converted: nobody knows how it was stored."""
        failure = Failure(f"has B, {what}", fix)
        assert failure_of(lambda: delivery_of("x:y", {"A": "x", "B": value}, ["A", "B"])) == failure

    @pytest.mark.parametrize(("name", "lost"), [("A", "\n"), ("A", "\r\n"), ("B", "")])
    def test_a_value_that_is_taken_whole_loses_one_newline(self, name: str, lost: str) -> None:
        """The value of an issued secret loses one newline at its end. A generated key with one is a format error.

        The systems limit the length of a variable.
        """
        value, rest = "x" * MAX + lost, f"\n# y \n{lost}"
        found = [delivery_of("x:y", {name: each}, ["A", "B"], ["A"]).get(name) for each in (value, rest)]
        assert found == [SealedStr(value.removesuffix(lost)), SealedStr(rest.removesuffix(lost))]
        failure = failure_of(lambda: delivery_of("x:y", {name: f"x{value}"}, ["A", "B"], ["A"]))
        assert failure.what == f"has {name} of more than 65536 characters"

    @pytest.mark.parametrize("record", [5, {"secret.key": []}, "x\0", None])
    def test_an_invalid_record_of_a_rotation_is_ignored(self, record: object) -> None:
        """No start depends on the record of a rotation, so an invalid one is none."""
        delivery = delivery_of("x:y", {"A": "x", ROTATION_RECORD: record}, [ROTATION_RECORD, "A"])
        assert delivery.values == {"A": SealedStr("x")}


class TestFiles:
    """The names and the content of files."""

    def test_names(self, tmp_path: Path) -> None:
        """A file has the name of a variable or of a secret. The content of another file is not read."""
        put(tmp_path / V1, "a")
        put(tmp_path / "secret_v2.key", "b\n")
        put(tmp_path / f"{V2}_NEXT", "\ufeff# comment\r\n c \r\n")
        put(tmp_path / "other", "d")
        put(tmp_path / f"{V2}_PREVIOUS", "# e\nf\n")
        assert fetched(tmp_path) == {
            **dict.fromkeys(os.listdir(tmp_path)),
            V1: "a",
            V2: "b",
            f"{V2}_NEXT": "c",
            f"{V2}_PREVIOUS": "# e\nf",  # Django may have made it
        }

    def test_an_issued_secret_is_taken_whole(self, tmp_path: Path) -> None:
        """The value of an issued secret is the whole file, in each slot. Its marker is one line."""
        policy = POLICIES[0]._replace(material=Material.opaque(), generator=None, issuer="x")
        put(tmp_path / V1, "#a\n\n")
        put(tmp_path / "secret.key", "#a\n\n")
        put(tmp_path / f"{V1}_PREVIOUS", " b\r\nc")
        put(tmp_path / f"{V1}_PREVIOUS_UNTIL", "# comment\n2027-01-01T00:00:00Z")
        source = Directory("directory:x", str(tmp_path), (policy,))
        found = source.load(policy.variables, time.monotonic(), pytest.fail)
        until = f"{V1}_PREVIOUS_UNTIL"
        expected = {V1: "#a\n", f"{V1}_PREVIOUS": " b\r\nc", until: "2027-01-01T00:00:00Z"}
        assert found.values == {name: SealedStr(value) for name, value in expected.items()}

    @posix_only
    def test_a_broken_link(self, tmp_path: Path) -> None:
        """A broken link is no file. Others are read."""
        put(tmp_path / V1, "a")
        (tmp_path / "other").symlink_to("nowhere")
        assert fetched(tmp_path, 0.05)[V1] == "a"

    @posix_only
    def test_another_file_that_changes_all_the_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that is not read, such as the log of an agent, may change at any time."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 0.3)
        put(tmp_path / V1, "a")
        log = put(tmp_path / "agent.log")
        writer = Swapper(lambda _: log.write_text(f"{time.time_ns()}", encoding="ascii"))
        writer.start()
        try:
            assert fetched(tmp_path)[V1] == "a"
        finally:
            writer.stopped.set()
            writer.join()

    def test_both_names(self, tmp_path: Path) -> None:
        """A variable and its secret may both have a file, with the same value."""
        put(tmp_path / V1, "a")
        put(tmp_path / "secret.key", "a\n")
        assert fetched(tmp_path)[V1] == "a"
        put(tmp_path / "secret.key", "b")
        fix = "compare both with the secret manager, and delete the file that differs from it"
        failure = Failure(f"has {V1} and secret.key with different values", fix)
        assert failure_of(lambda: fetched(tmp_path)) == failure

    @pytest.mark.parametrize(
        ("content", "why"), [(b"\xff", "is not UTF-8"), (b"x" * (MAX + 1), f"is larger than {MAX} bytes")]
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, content: bytes, why: str) -> None:
        """A file that is not a text of one key is a failure, which names the fault."""
        put(tmp_path / V1, content)
        failure = Failure(f"has {V1}, which {why}", f"write {V1} again, with the value alone, in UTF-8")
        assert failure_of(lambda: fetched(tmp_path)) == failure

    @posix_only
    def test_a_file_of_others(self, tmp_path: Path) -> None:
        """A file that others can write is not used. One that others can read is: Docker's have the mode 444."""
        put(tmp_path / V1, "a", 0o444)
        assert fetched(tmp_path)[V1] == "a"
        put(tmp_path / V1, "a", 0o666)
        fix = "run chmod -R o-w on the directory of secrets (or mount it read-only)"
        failure = Failure(
            f"has {V1}, which can be written by others", f"compare the keys with their origin, then {fix}"
        )
        assert failure_of(lambda: fetched(tmp_path)) == failure

    @posix_only
    def test_no_directory(self, tmp_path: Path) -> None:
        """A path that leads to no directory is a failure."""
        put(tmp_path / "file")
        (tmp_path / "link").symlink_to("nowhere")
        absent = Failure("does not exist", "correct the path, or start what writes the directory")
        what = "is not a directory that this user may read"
        other = Failure(what, "correct the path, or let this user read it")
        for name, failure in (("nowhere", absent), ("link", absent), ("file", other)):
            assert failure_of(partial(fetched, tmp_path / name)) == failure


class Swapper(threading.Thread):
    """Replaces the version of a directory, again and again, until it is told to stop."""

    def __init__(self, swap: Callable[[Files], object]) -> None:
        super().__init__(daemon=True)
        self.swap = swap
        self.stopped = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            self.swaps += 1
            self.swap(dict.fromkeys(NAMES, f"v{self.swaps}"))


@posix_only
class TestVersions:
    """Files of one version of the directory, whoever replaces it at the same time."""

    @pytest.mark.parametrize("reads", [20, pytest.param(1000, marks=pytest.mark.full)])
    @pytest.mark.parametrize("engine", [volume, linked, moved])
    def test_no_mixture(self, tmp_path: Path, engine: Callable[[Path, Files], None], reads: int) -> None:
        """While the directory is replaced as a whole, each read has one version."""
        path = tmp_path / "secrets"
        engine(path, dict.fromkeys(NAMES, "v0"))
        swapper = Swapper(lambda files: engine(path, files))
        swapper.start()
        try:
            found = list[dict[str, Any]]()
            while len(found) < reads or swapper.swaps < 2:  # the reads can be faster
                # On a busy machine a directory may be replaced during each attempt of a read.
                failure = failure_of(lambda: found.append(fetched(path)))
                assert failure == NO_FAILURE or failure.is_temporary
        finally:
            swapper.stopped.set()
            swapper.join()
        versions = [{each.get(name) for name in NAMES} for each in found]
        assert [each for each in versions if len(each) != 1 or None in each] == []

    def test_files_that_are_written_one_after_the_other(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """While files are still written, there is no answer, so that they are all of one version. A copy may be old."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 0.5)
        renamed(tmp_path / "secrets", dict.fromkeys(NAMES, "old"))
        written = threading.Event()

        def write() -> None:
            for name in NAMES:
                os.utime(put(tmp_path / "new", "new"), (0, 0))
                (tmp_path / "new").replace(tmp_path / "secrets" / name)
                written.set()
                time.sleep(0.05)

        writer = threading.Thread(target=write)
        writer.start()
        written.wait()
        found = fetched(tmp_path / "secrets")
        writer.join()
        assert {found[name] for name in NAMES} == {"new"}

    def test_an_empty_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty file is read again: while it is written again, its times may still be those from before."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 1.0)
        empty, other = {"a": (0, 0, 0, 1, 1)}, {"a": (0, 0, 9, 1, 1)}
        place = str(tmp_path)
        assert [_unsettled(place, empty, before) > 0 for before in ({}, other, empty)] == [True, True, False]
        assert _unsettled(place, other, {}) <= 0

    def test_credentials_of_systemd(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody writes credentials of systemd any more, so they are read at once."""
        put(tmp_path / V1, "new")
        monkeypatch.setattr(module, "SETTLED_SECONDS", 9.0)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        assert fetched(tmp_path, 0.5)[V1] == "new"
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path)[:-1])
        assert failure_of(lambda: fetched(tmp_path, 0.05)).is_temporary  # a directory whose name only begins like it

    @pytest.mark.parametrize("ahead", [0, 3600])
    def test_a_directory_that_does_not_stay_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
    ) -> None:
        """A directory that changes all the time is a temporary failure. A file may have a time in the future."""
        monkeypatch.setattr(module, "SETTLED_SECONDS", 9.0)
        os.utime(put(tmp_path / V1), (0, time.time() + ahead))
        failure = Failure("does not stay the same", "stop what changes its files again and again", is_temporary=True)
        assert failure_of(lambda: fetched(tmp_path, 0.05)) == failure


def judged(
    variables: Mapping[str, str], model: type[RuntimeSecrets] = RuntimeSecrets, *, is_elsewhere: bool = False
) -> Judgement:
    """Judge the secrets of a process with these variables."""
    with process_environment(variables):
        return judgement_of(model, Environment(), is_elsewhere=is_elsewhere)


def checks(judgement: Judgement) -> list[tuple[str, str]]:
    """Return the check and the severity of each finding."""
    return [(each.check.value, each.severity.value) for each in judgement.report().findings]


def model_of(path: Path, seconds: int | None = None) -> type[RuntimeSecrets]:
    """Return a model with a secrets directory."""

    class Own(RuntimeSecrets, secrets_dir=path, refresh=seconds and timedelta(seconds=seconds)):
        pass

    return Own


class TestSecretsDirectory:
    """The directory that a model or a variable names, in a start."""

    def test_it_wins(self, tmp_path: Path) -> None:
        """Its keys are used, and no variable of their secrets in the environment, which is a note. Others still are."""
        keys, old = good_keys(), good_keys()
        volume(tmp_path, {V1: keys[V1]})
        judgement = judged(old | {f"{V1}_NEXT": good_keys()[V1], "ROBODJ_SECRETS_DIR": str(tmp_path)})
        texts = [each.value.get_secret_value() for each in judgement.readings if each.value]
        assert texts == [keys[V1], old[V2]]
        assert judgement.readings[0].slots == ()
        assert checks(judgement) == [("source", "note")]
        assert judgement.report().ok
        assert [each.message for each in judgement.report().findings] == [
            f"{V1} and 1 more in the environment differ from directory:{tmp_path}"
        ]
        judgement = judged(old | {"ROBODJ_SECRETS_DIR": str(tmp_path)})
        assert [each.message for each in judgement.report().findings] == [
            f"{V1} in the environment differs from directory:{tmp_path}"
        ]

    def test_the_variable_replaces_the_model(self, tmp_path: Path) -> None:
        """`ROBODJ_SECRETS_DIR` and `ROBODJ_SECRETS_REFRESH` replace what the model says. Empty ones are not set."""
        mine, other = tmp_path / "mine", tmp_path / "other"
        volume(mine, good_keys())
        volume(other, good_keys())
        model = model_of(mine, 30)
        for variables, path, seconds in (
            ({}, mine, 30),
            ({"ROBODJ_SECRETS_DIR": "", "ROBODJ_SECRETS_REFRESH": ""}, mine, 30),
            ({"ROBODJ_SECRETS_DIR": str(other), "ROBODJ_SECRETS_REFRESH": "900"}, other, 900),
        ):
            judgement = judged(variables, model)
            assert (judgement.readings[0].manager, judgement.seconds) == (f"directory:{path}", seconds)
            assert checks(judgement) == []

    def test_misspelled_names(self, tmp_path: Path) -> None:
        """A misspelled variable is reported. A switch is none, as a directory delivers no switches."""
        volume(tmp_path, good_keys() | {f"{V1}S": "x", "ROBODJ_PROTECTED_EN": "true"})
        (miss,) = judged({}, model_of(tmp_path)).report().findings
        assert (miss.check, miss.secret, miss.source) == ("near-miss", "secret.key", f"directory:{tmp_path}")

    def test_it_is_not_read(self, tmp_path: Path) -> None:
        """A mapping is judged without the directory, and so are temporary keys."""
        volume(tmp_path, {V1: "changeme"})
        model, keys = model_of(tmp_path), good_keys()
        assert check(model, environ=keys).ok
        assert checks(judged(keys | {"ROBODJ_SECRETS_EPHEMERAL": "1"}, model)) == [("ephemeral", "warning")]

    def test_how_long_a_read_waits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A start waits five seconds for files that do not change, and a refresh less than two of its periods."""
        volume(tmp_path, good_keys())
        read, waits = module.read_directory, list[float]()

        def waiting(*given: Any) -> Any:
            waits.append(given[-1])
            return read(*given)

        monkeypatch.setattr(module, "read_directory", waiting)
        judgement = judged({}, model_of(tmp_path, 1))
        assert judgement.again
        judgement.again(lambda read: read, frozenset())
        assert (waits, module.MAX_BYTES) == ([5.0, 1.2], 1 << 20)

    def test_a_change_of_the_working_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The revocation list is read again where it was at the start, also in the default directory."""
        volume(tmp_path / "keys", good_keys())
        (tmp_path / "config").mkdir()
        put(tmp_path / "config" / "revoked.fingerprints", entry := f"sgfp1:{'1' * 32}")
        monkeypatch.chdir(tmp_path)
        judgement = judged({}, model_of(tmp_path / "keys"))
        monkeypatch.chdir("/")
        assert judgement.again
        assert judgement.again(lambda read: read, frozenset()).readings[0].setup.revocation.fingerprints == {entry}

    def test_it_is_absent(self, tmp_path: Path) -> None:
        """A directory of the model may be absent: the environment delivers. One that the variable names must exist.

        In a protected environment, a start is refused, and not a gate that runs on another machine.
        """
        path = tmp_path / "nowhere"
        for protected, is_elsewhere, severity in (
            ("", False, "warning"),
            ("true", False, "alert"),
            ("maybe", False, "alert"),
            ("true", True, "warning"),
        ):
            variables = good_keys() | {"ROBODJ_PROTECTED_ENV": protected}
            judgement = judged(variables, model_of(path, 1), is_elsewhere=is_elsewhere)
            absent = [each for each in judgement.report().findings if "secrets_dir" in each.message]
            assert ([str(each.severity) for each in absent], judgement.again) == ([severity], None)
        judgement = judged(good_keys() | {"ROBODJ_SECRETS_DIR": str(path)})
        assert (checks(judgement), judgement.report().secrets) == ([("setting", "alert")], ())

    @posix_only
    def test_it_cannot_be_read(self, tmp_path: Path) -> None:
        """The environment delivers nothing where the directory is there and cannot be read: its keys may be old."""
        put(tmp_path / "file")
        (tmp_path / "link").symlink_to("nowhere")
        for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "link"):
            judgement = judged(good_keys(), model_of(path))
            assert (checks(judgement), judgement.report().secrets) == ([("source", "alert")], ())

    @posix_only
    def test_a_revocation_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A revocation counts where other files are refused. While files are written, the last entry may be cut."""
        entries = [f"sgfp1:{digit * 32}" for digit in "12"]
        files: Files = {**good_keys(), V1: b"\xff", REVOKED: ",\n".join(entries)}
        monkeypatch.setattr(module, "SETTLED_SECONDS", 9.0)
        monkeypatch.setattr(module, "READ_SECONDS", 0.05)
        for engine, why, counted in ((volume, "source", entries), (renamed, "unavailable", entries[:1])):
            engine(tmp_path / why, files)
            judgement = judged({}, model_of(tmp_path / why))
            assert checks(judgement) == [(why, "alert")]
            assert judgement.readings[0].setup.revocation.fingerprints == {*counted}

    @root_only
    def test_it_is_of_another_user(self, tmp_path: Path) -> None:
        """The environment delivers nothing where this user may not enter the directory above it."""
        volume(tmp_path / "keys", good_keys())
        tmp_path.chmod(0o700)
        process = fork()
        if not process:
            os.seteuid(65534)
            os._exit(checks(judged(good_keys(), model_of(tmp_path / "keys"))) != [("source", "alert")])
        assert os.waitpid(process, 0)[1] == 0

    @root_only
    @pytest.mark.parametrize(
        ("path", "owner", "mode", "what"),
        [
            (V2, 65534, 0o600, f"{V2}, which {OWNED}"),
            (V2, 0, 0o660, f"{V2}, which {GROUP_WRITABLE}"),
            ("", 65534, 0o755, f"{V1}, which {IN_OWNED}"),
            (V2, 0, 0o600, ""),
        ],
        ids=["the owner of a file", "the group of a file", "the owner of the directory", "neither"],
    )
    def test_who_else_could_write_it(self, path: str, owner: int, mode: int, what: str) -> None:
        """Another owner is a warning, as for the config directory, and so is a group that could write a file."""
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # not below pytest's
            keys = Path(directory, "keys")
            renamed(keys, good_keys())
            os.chown(keys / path, owner, -1)
            (keys / path).chmod(mode)
            report = judged({}, model_of(keys)).report()
        found = [(str(each.check), str(each.severity), each.message) for each in report.findings]
        assert found == ([("file-permissions", "warning", f"directory:{keys} has {what}")] if what else [])

    @pytest.mark.parametrize("seconds", ["0", "901", "1.5", "-1", " 5", "5s", "1000", "\u0665"])
    def test_an_invalid_period(self, tmp_path: Path, seconds: str) -> None:
        """A period is a whole number of seconds, from 1 to 900."""
        volume(tmp_path, good_keys())
        judgement = judged({"ROBODJ_SECRETS_REFRESH": seconds}, model_of(tmp_path))
        assert (checks(judgement), judgement.seconds) == ([("setting", "alert")], None)

    def test_files_that_never_change(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A period is refused for credentials of systemd, and for a file that is mounted alone."""
        path = tmp_path / "the keys"
        volume(path, good_keys())
        mounted = str(path / V1).replace(" ", "\\040")
        other = put(tmp_path / "hosts")
        line = "36 25 0:32 / {} rw,relatime - tmpfs tmpfs rw\n"
        for mounts, own, expected in (
            (line.format(tmp_path) + line.format(str(path).replace(" ", "\\040")) + line.format(other), "", []),
            (line.format(mounted), "", [("setting", "alert")]),
            ("", str(path), [("setting", "alert")]),
        ):
            monkeypatch.setattr(module, "_MOUNTS", put(tmp_path / "mountinfo", mounts))
            variables = {"CREDENTIALS_DIRECTORY": own}
            assert checks(judged(variables, model_of(path, 30))) == expected
            assert checks(judged(variables, model_of(path))) == []
        monkeypatch.setattr(module, "_MOUNTS", tmp_path / "nothing")
        assert checks(judged({}, model_of(path, 30))) == []
