"""`revoke`: no guarded service starts on a key any more, and what is to be done then."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from command_line import DEFAULT_MODEL, OTHER, Machine, fingerprint_of, key_as_argument, machine_at, rotated
from conftest import NOW, V1, V2, Ran, clean_environment, found, good_keys, marker, run
from mounts import run_with_mounts
from pydantic import SecretStr  # noqa: TC002 - the model needs it at run time

from robodj_secretguard import RuntimeSecrets, SecretPolicy, check, files
from robodj_secretguard.lifecycle import operations_log
from robodj_secretguard.lifecycle import revocation as list_module
from robodj_secretguard.lifecycle.revocation import HEADER
from robodj_secretguard.shapes import Event, Proof, draft
from robodj_secretguard.sources import MAX_LIST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME, VARIABLE = "revoked.fingerprints", "ROBODJ_REVOKED_FINGERPRINTS"
HOUR = timedelta(hours=1)
TIME = "2026-12-01T12:00:00Z"
WHERE = (
    f"It is on the revocation list config/{NAME}, which holds where it is: commit it and deliver it with every service,"
    f" or add the fingerprint to {VARIABLE}."
)
HERE = "; it is the key that is delivered here as secret.key."
STEPS = (
    "Disable workloads using the key: those that run go on, and no guarded one starts with this list.",
    "Issue a replacement via the secret manager: robodj-secretguard generate secret.key | YOUR-SECRET-MANAGER",
    "Remove or disable the old version in the secret manager.",
    "Restart services with the new value, and record it: robodj-secretguard rotate plan secret.key",
    "Invalidate sessions and tokens derived from the key.",
)
REASON = ("--reason", "leaked")
REVOKE = ("revoke", "secret.key", *REASON, "--yes")
REQUIRING = """
from pathlib import Path
from robodj_secretguard import RuntimeSecrets
class Required(RuntimeSecrets, config_dir=Path(__file__).resolve().parent / "config", require_revocation_list=True):
    pass
"""
UNPRIVILEGED = """
import os, sys
from robodj_secretguard.cli import main
from robodj_secretguard.cli import revoke  # before nobody may read where it is
if os.geteuid() == 0:
    os.setgroups([])
    os.seteuid(65534)
status = main(sys.argv[1:])
if os.getuid() == 0:
    os.seteuid(0)
sys.exit(status)
"""

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes, FIFOs and links are POSIX's")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file to another user"
)


class Ours(RuntimeSecrets):
    """A service with a secret beside the policy's."""

    own: Annotated[
        SecretStr,
        SecretPolicy(
            name="own.key",
            variable="ROBODJ_OWN_KEY",
            owner="Us",
            backup_owner="Them",
            cadence=timedelta(days=9),
            warn_before=timedelta(days=1),
        ),
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with good keys, of which nothing is recorded."""
    return machine_at(tmp_path)


def another() -> str:
    """Make the fingerprint of a key that no machine has."""
    return fingerprint_of(good_keys()[V1])


def listed(machine: Machine) -> str:
    """Return the revocation list."""
    return (machine.config / NAME).read_bytes().decode()


def entry(fingerprint: str, name: str = "secret.key", *, reason: str = "leaked") -> str:
    """Return what a revocation adds to the list."""
    return f"# {TIME} {name}: {reason}\n{fingerprint}\n"


def boxes(*done: int) -> list[str]:
    """Return the five steps, of which these are done."""
    return [f"{number}. [{'x' if number in done else ' '}] {text}" for number, text in enumerate(STEPS, start=1)]


def described(fingerprint: str, **more: object) -> dict[str, object]:
    """Return what a JSON document says of a key: that of `secret.key`, delivered here and not recorded, unless said
    otherwise.
    """
    nothing = {"environment": None, "recorded_at": None}
    return {"fingerprint": fingerprint, "secret": "secret.key", **nothing, "delivered_as": ["secret.key"]} | more


def refused(machine: Machine, *arguments: str) -> str:
    """Run a command that revokes nothing, and return why."""
    ran = machine.call("revoke", *arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    return ran.err.removeprefix("robodj-secretguard: ").removesuffix("\n")


class TestRevoked:
    """What is said, listed and recorded."""

    def test_a_name(self, machine: Machine) -> None:
        """It means the key that is delivered here; with it go the five steps of the policy."""
        key = machine.fingerprint()
        ran = machine.call("revoke", "secret.key", *REASON, "--yes")
        assert ran.status == 0
        assert ran.out.splitlines() == [
            f"Revoked: {key} (secret.key; not recorded as rotated){HERE}",
            WHERE,
            *boxes(),
        ]
        assert listed(machine) == HEADER + entry(key)
        report = check(environ=machine.environ, config_dir=machine.config)
        assert found(report) == [("revoked", "secret.key")]

    def test_it_is_recorded_and_sent(self, machine: Machine) -> None:
        """One record says who, what for and why, and goes to the log system as one line with its hash."""
        said = ("--operator", "Ada", "--ticket", "SEC-1")
        ran = machine.call("revoke", V2, *REASON, *said, "--yes")
        (recorded,) = machine.records
        assert {name: value for name, value in json.loads(recorded.line()).items() if value is not None} == {
            "schema": 1,
            "sequence": 1,
            "recorded_at": TIME,
            "event": "revoked",
            "secret": "secret_v2.key",
            "owner": "Security Operations",
            "operator": "Ada",
            "ticket": "SEC-1",
            "reason": "leaked",
            "fingerprint": machine.fingerprint(V2),
        }
        assert json.loads(ran.err) == recorded.as_dict() | {"event": "secret revoked", "level": "info"}

    @pytest.mark.parametrize("by_name", [True, False])
    def test_a_key_that_is_recorded(self, machine: Machine, by_name: bool) -> None:  # noqa: FBT001
        """The record says whose it is, and since when; where it is delivered is said too."""
        key = machine.fingerprint()
        machine.record(
            rotated(NOW - 9 * HOUR, key, startup=Proof.NOT_DONE), rotated(NOW - 8 * HOUR, key, environment="prod")
        )
        ran = machine.call("revoke", *(["secret.key"] if by_name else ["--fingerprint", key]), *REASON, "--yes")
        assert (ran.status, ran.out.splitlines()[0]) == (
            0,
            f"Revoked: {key} (secret.key, prod; recorded 2026-12-01T03:00:00Z){HERE}",
        )
        last = machine.records[-1]
        assert (last.event, last.secret, last.environment) == (Event.REVOKED, "secret.key", "prod")

    def test_a_key_that_is_delivered_and_not_recorded(self, machine: Machine) -> None:
        """By its fingerprint too, it is known whose it is."""
        key = machine.fingerprint()
        ran = machine.call("revoke", "--fingerprint", key, *REASON, "--yes")
        assert ran.out.splitlines()[0] == f"Revoked: {key} (secret.key; not recorded as rotated){HERE}"
        assert (listed(machine), machine.records[-1].secret) == (HEADER + entry(key), "secret.key")

    def test_a_key_of_a_secret_that_is_not_known(self, machine: Machine) -> None:
        """A fingerprint of which nothing is known is revoked all the same."""
        key = another()
        ran = machine.call("revoke", "--fingerprint", key, *REASON, "--yes")
        lines = ran.out.splitlines()
        assert (ran.status, lines[0]) == (
            0,
            f"Revoked: {key} (a secret that is not known; not recorded as rotated); it is not delivered here.",
        )
        assert lines[2:] == [line.replace("secret.key", "NAME") for line in boxes()]
        assert listed(machine) == HEADER + entry(key, "a secret that is not known")
        record = machine.records[-1]
        assert (record.secret, record.owner, record.fingerprint) == (None, None, key)

    def test_a_secret_of_a_model_of_ones_own(self, machine: Machine) -> None:
        """It is revoked as the others are."""
        machine.environ["ROBODJ_OWN_KEY"] = good_keys()[V1]
        ran = machine.call("revoke", "own.key", "--model", f"{__name__}:Ours", *REASON, "--yes")
        record = machine.records[-1]
        assert (ran.status, record.secret, record.owner) == (0, "own.key", "Us")
        assert listed(machine) == HEADER + entry(machine.fingerprint("ROBODJ_OWN_KEY"), "own.key")

    def test_json(self, machine: Machine) -> None:
        """One document, with the steps and what is done of them."""
        key = machine.fingerprint()
        ran = machine.call("revoke", "secret.key", *REASON, "--yes", "--format", "json")
        assert (ran.status, json.loads(ran.out)) == (
            0,
            {
                "schema": 1,
                "model": DEFAULT_MODEL,
                "ok": True,
                "recorded": True,
                "key": described(key),
                "revoked": True,
                "steps": [{"text": text, "done": False} for text in STEPS],
            },
        )


class TestNotYet:
    """What happens to nothing."""

    def test_without_yes(self, machine: Machine) -> None:
        """It says which key would be revoked, and changes nothing."""
        key = machine.fingerprint()
        ran = machine.call("revoke", "secret.key", *REASON)
        assert (ran.status, ran.out, ran.err) == (
            1,
            f"To be revoked: {key} (secret.key; not recorded as rotated){HERE}\n",
            "robodj-secretguard: nothing was revoked: pass --yes to do it\n",
        )
        assert list(machine.config.iterdir()) == []

    def test_without_yes_as_json(self, machine: Machine) -> None:
        """The document says that nothing was revoked."""
        ran = machine.call("revoke", "secret.key", *REASON, "--format", "json")
        assert (ran.status, ran.err) == (1, "robodj-secretguard: nothing was revoked: pass --yes to do it\n")
        assert json.loads(ran.out) == {
            "schema": 1,
            "model": DEFAULT_MODEL,
            "ok": False,
            "recorded": False,
            "key": described(machine.fingerprint()),
            "revoked": False,
            "steps": [],
        }
        assert list(machine.config.iterdir()) == []

    @pytest.mark.parametrize("both", [True, False])
    def test_a_name_or_a_fingerprint(self, machine: Machine, both: bool) -> None:  # noqa: FBT001
        """One of the two says which key is meant."""
        arguments = ("secret.key", "--fingerprint", another()) if both else ()
        assert refused(machine, *arguments, *REASON, "--yes") == (
            "name either a secret, whose key as it is delivered here is meant, or a --fingerprint"
        )

    @pytest.mark.parametrize(
        "spoil", [str.upper, lambda text: text[:-1], lambda _: "", lambda _: key_as_argument()], ids=range(4)
    )
    def test_what_is_no_fingerprint_is_not_echoed(self, machine: Machine, spoil: Callable[[str], str]) -> None:
        """It may be a key."""
        said = "--fingerprint must be sgfp1: and 32 hexadecimal digits in lower case"
        assert refused(machine, "--fingerprint", spoil(another()), *REASON, "--yes") == said

    @pytest.mark.parametrize("name", ["secret", "", key_as_argument()], ids=range(3))
    def test_an_unknown_secret_is_not_echoed(self, machine: Machine, name: str) -> None:
        """It may be a key."""
        said = "there is no such secret: the model declares secret.key, secret_v2.key"
        assert refused(machine, name, *REASON, "--yes") == said

    def test_a_reason_must_be_given(self, machine: Machine) -> None:
        """It is what the next reader of the list asks for."""
        said = "the following arguments are required: --reason; see robodj-secretguard revoke --help"
        assert refused(machine, "secret.key", "--yes") == said

    @pytest.mark.parametrize("value", [None, "", "changeme", "abc"])
    def test_no_sound_key_is_delivered_here(self, machine: Machine, value: str | None) -> None:
        """What cannot be told from the value is asked for."""
        del machine.environ[V1]
        machine.environ.update({} if value is None else {V1: value})
        said = "no sound key of secret.key is delivered here: pass --fingerprint (none is recorded)"
        assert refused(machine, "secret.key", *REASON, "--yes") == said

    def test_the_recorded_ones_are_listed(self, machine: Machine) -> None:
        """Each key of this secret once, as it was recorded last."""
        del machine.environ[V1]
        keys = [another() for _ in range(3)]
        machine.record(
            rotated(NOW - 4 * HOUR, keys[0], startup=Proof.NOT_DONE),
            rotated(NOW - 3 * HOUR, keys[1], environment="dev"),
            rotated(NOW - 2 * HOUR, keys[0]),
            rotated(NOW - 1 * HOUR, keys[2], secret=OTHER),
        )
        assert refused(machine, "secret.key", *REASON, "--yes") == (
            "no sound key of secret.key is delivered here: pass --fingerprint"
            f" ({keys[0]} prod 2026-12-01T10:00:00Z; {keys[1]} dev 2026-12-01T09:00:00Z)"
        )


class TestLastRecorded:
    """`--last-recorded`: the key that was recorded before the one in force."""

    @pytest.fixture
    def old(self, machine: Machine) -> str:
        """The key before the one in force, both recorded in prod; dev has records too."""
        keys = [another() for _ in range(3)]
        machine.record(
            rotated(NOW - 6 * HOUR, keys[0]),
            rotated(NOW - 5 * HOUR, keys[1], startup=Proof.NOT_DONE),
            rotated(NOW - 4 * HOUR, keys[1]),
            rotated(NOW - 3 * HOUR, machine.fingerprint()),
            rotated(NOW - 2 * HOUR, keys[2], environment="dev"),
            rotated(NOW - 1 * HOUR, another(), secret=OTHER),
        )
        return keys[1]

    def test_it_is_revoked(self, machine: Machine, old: str) -> None:
        """It is the last recorded key but the delivered one, in the environment of the delivered key's records."""
        ran = machine.call("revoke", "secret.key", "--last-recorded", *REASON, "--yes")
        assert (ran.status, ran.out.splitlines()[0]) == (
            0,
            f"Revoked: {old} (secret.key, prod; recorded 2026-12-01T07:00:00Z); it is not delivered here.",
        )
        assert listed(machine) == HEADER + entry(old)
        assert found(check(environ=machine.environ, config_dir=machine.config)) == []

    def test_the_preview(self, machine: Machine, old: str) -> None:
        """It says which key is meant, since when it is recorded and where, and that it is not delivered here."""
        ran = machine.call("revoke", "secret.key", "--last-recorded", *REASON)
        assert (ran.status, ran.out) == (
            1,
            f"To be revoked: {old} (secret.key, prod; recorded 2026-12-01T07:00:00Z); it is not delivered here.\n",
        )
        assert not (machine.config / NAME).exists()

    def test_the_preview_of_the_delivered_key(self, machine: Machine, old: str) -> None:
        """It names the earlier key, and how to revoke that one."""
        said = (
            f"An earlier key is recorded: {old} (prod; recorded 2026-12-01T08:00:00Z)."
            " To revoke that one instead, pass --last-recorded."
        )
        ran = machine.call("revoke", "secret.key", *REASON)
        assert (ran.status, ran.out.splitlines()) == (
            1,
            [f"To be revoked: {machine.fingerprint()} (secret.key, prod; recorded 2026-12-01T09:00:00Z){HERE}", said],
        )
        by_fingerprint = machine.call("revoke", "--fingerprint", machine.fingerprint(), *REASON)
        assert by_fingerprint.out.count("\n") == 1

    @pytest.mark.usefixtures("old")
    def test_an_environment_that_is_named(self, machine: Machine) -> None:
        """It goes before that of the delivered key."""
        ran = machine.call("revoke", "secret.key", "--last-recorded", "--environment", "dev", *REASON)
        assert "(secret.key, dev; recorded 2026-12-01T10:00:00Z)" in ran.out

    def test_the_only_environment(self, machine: Machine) -> None:
        """Where the delivered key is not recorded, the only environment that has records is meant."""
        old = another()
        machine.record(rotated(NOW - 2 * HOUR, old, environment="dev"))
        assert f"To be revoked: {old} (secret.key, dev;" in machine.call(*REVOKE[:-1], "--last-recorded").out

    def test_several_environments(self, machine: Machine) -> None:
        """Where the delivered key is not recorded, it must be said which one is meant."""
        keys = [another() for _ in range(2)]
        machine.record(rotated(NOW - 2 * HOUR, keys[0], environment="dev"), rotated(NOW - 1 * HOUR, keys[1]))
        assert refused(machine, *REVOKE[1:], "--last-recorded") == (
            "several environments have records of secret.key: pass --environment"
            f" ({keys[0]} dev 2026-12-01T10:00:00Z; {keys[1]} prod 2026-12-01T11:00:00Z)"
        )
        assert machine.call(*REVOKE[:-1]).out.count("\n") == 1
        assert machine.call(*REVOKE, "--last-recorded", "--environment", "prod").status == 0
        assert listed(machine) == HEADER + entry(keys[1])

    @pytest.mark.parametrize("is_recorded", [True, False])
    def test_no_earlier_key(self, machine: Machine, is_recorded: bool) -> None:  # noqa: FBT001
        """Nothing is revoked, and the preview of the delivered key names none."""
        key = machine.fingerprint()
        machine.record(*[rotated(NOW - HOUR, key)] * is_recorded)
        known = f"{key} prod 2026-12-01T11:00:00Z" if is_recorded else "none is recorded"
        assert refused(machine, *REVOKE[1:], "--last-recorded") == (
            f"no key of secret.key is recorded before the one that is delivered here ({known})"
        )
        assert machine.call(*REVOKE[:-1]).out.count("\n") == 1

    def test_no_sound_key_is_delivered_here(self, machine: Machine, old: str) -> None:
        """Which key came before is unknown: the recorded ones are listed."""
        del machine.environ[V1]
        said = refused(machine, *REVOKE[1:], "--last-recorded")
        assert said.startswith("no sound key of secret.key is delivered here: pass --fingerprint (")
        assert f"{old} prod 2026-12-01T08:00:00Z" in said

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--last-recorded",), "--last-recorded goes with NAME, and not with --fingerprint"),
            (
                ("--last-recorded", "--fingerprint", another()),
                "--last-recorded goes with NAME, and not with --fingerprint",
            ),
            (
                ("secret.key", "--last-recorded", "--fingerprint", another()),
                "--last-recorded goes with NAME, and not with --fingerprint",
            ),
            (("secret.key", "--environment", "prod"), "--environment goes with --last-recorded"),
        ],
        ids=range(4),
    )
    def test_what_does_not_go_together(self, machine: Machine, words: tuple[str, ...], said: str) -> None:
        """It is said, and nothing is revoked."""
        assert refused(machine, *words, *REASON, "--yes") == said


class TestList:
    """The revocation list is added to, and nothing of it is lost."""

    @pytest.mark.parametrize(
        "before",
        [
            "# ours\n{other}\n",
            "# ours\n\n{other} # leaked\nno fingerprint\n# end\n",
            "# ours\r\n{other}\r\n",
            "\ufeff{other}\n# caf\N{LATIN SMALL LETTER E WITH ACUTE}\n",
        ],
        ids=range(4),
    )
    @pytest.mark.parametrize("end", ["\n", ""])
    def test_all_is_kept(self, machine: Machine, before: str, end: str) -> None:
        """Comments, unreadable entries and line ends stay; a last line without an end gets one."""
        before = before.format(other=another()).removesuffix("\n")
        machine.write(NAME, before + end)
        assert machine.call("revoke", "secret.key", *REASON, "--yes").status == 0
        assert listed(machine) == f"{before}\n{entry(machine.fingerprint())}"

    def test_an_empty_list(self, machine: Machine) -> None:
        """It counts as being written: it is waited for, then begun like a new one."""
        machine.write(NAME, "")
        assert machine.call("revoke", "secret.key", *REASON, "--yes").status == 0
        assert listed(machine) == HEADER + entry(machine.fingerprint())

    @posix_only
    @pytest.mark.parametrize(("before", "after"), [(None, 0o644), (0o600, 0o600), (0o664, 0o664), (0o666, 0o666)])
    def test_its_mode(self, machine: Machine, before: int | None, after: int) -> None:
        """A new one is for everybody to read, whatever the umask; one that is there keeps its mode, and is as little to
        be relied on as it was.
        """
        if before is not None:
            machine.write(NAME, "# ours\n", before)
        umask = os.umask(0o377)
        try:
            machine.call("revoke", "secret.key", *REASON, "--yes")
        finally:
            os.umask(umask)
        assert (machine.config / NAME).stat().st_mode == 0o100000 | after
        unsafe = [("revocation-list", None)] * (after == 0o666)
        assert found(check(environ=machine.environ, config_dir=machine.config)) == [*unsafe, ("revoked", "secret.key")]

    def test_it_is_appended_to_in_place(self, machine: Machine) -> None:
        """Whoever has opened it sees the entry, and nothing is left beside it."""
        with machine.write(NAME, "# ours\n").open(encoding="utf-8") as file:
            machine.call("revoke", "secret.key", *REASON, "--yes")
            assert file.read() == "# ours\n" + entry(machine.fingerprint())
        assert sorted(path.name for path in machine.config.iterdir()) == ["logs", NAME]

    def test_no_hard_links(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system without hard links, such as FAT, holds a list."""
        monkeypatch.setattr(os, "link", _refuse)
        assert machine.call("revoke", "secret.key", *REASON, "--yes").status == 0
        assert listed(machine) == HEADER + entry(machine.fingerprint())

    @posix_only
    def test_a_mount_point(self, machine: Machine) -> None:
        """A list that is bind-mounted is appended to where it is mounted from."""
        mounted = machine.put("mounted", "# theirs\n")
        machine.write(NAME, "# ours\n")
        ran = run_with_mounts(
            [f"mount --bind mounted config/{NAME}"],
            [sys.executable, "-m", "robodj_secretguard", "revoke", "secret.key", *REASON, "--yes"],
            env=clean_environment() | machine.environ,
            cwd=machine.root,
            keys=tuple(machine.environ.values()),
        )
        assert ran.status == 0, ran.err
        lines = mounted.read_text(encoding="utf-8").splitlines()
        assert (lines[0], lines[2:]) == ("# theirs", [machine.fingerprint()])

    @as_root
    def test_its_owner(self, machine: Machine) -> None:
        """Root, who replaces a service user's list, leaves it to that user."""
        os.chown(machine.write(NAME, "# ours\n", 0o640), 12345, 54321)
        assert machine.call("revoke", "secret.key", *REASON, "--yes").status == 0
        status = (machine.config / NAME).stat()
        assert (status.st_uid, status.st_gid, status.st_mode) == (12345, 54321, 0o100640)
        assert listed(machine) == "# ours\n" + entry(machine.fingerprint())

    def test_a_directory_that_was_named(self, machine: Machine, tmp_path: Path) -> None:
        """The list goes where the guard looks for it, and so does the record."""
        named = tmp_path / "elsewhere"
        named.mkdir(mode=0o700)
        ran = machine.call("revoke", "secret.key", *REASON, "--yes", "--config-dir", str(named))
        assert (ran.status, list(machine.config.iterdir())) == (0, [])
        assert ran.out.splitlines()[1] == WHERE.replace(f"config/{NAME}", f"{NAME} in the configured directory")
        assert (named / NAME).read_text(encoding="utf-8") == HEADER + entry(machine.fingerprint())
        assert (named / "logs" / "secret_operations.jsonl").exists()


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def not_listed(machine: Machine) -> str:
    """Try to revoke, make sure that nothing was recorded and the way out is said, and return why it failed."""
    said = refused(machine, "secret.key", *REASON, "--yes")
    beginning = f"nothing was revoked: the revocation list config/{NAME}: "
    end = f"; until that is fixed, add {machine.fingerprint()} to {VARIABLE}"
    assert said.startswith(beginning)
    assert said.endswith(end)
    assert not machine.log.exists()
    return said.removeprefix(beginning).removesuffix(end)


class TestListThatCannotBeWritten:
    """Nothing is recorded then, and the variable that revokes the key meanwhile is named."""

    @posix_only
    @pytest.mark.parametrize("target", ["elsewhere", "nothing", ".", "/dev/zero"])
    def test_a_link(self, machine: Machine, target: str) -> None:
        """Neither through it nor in its place."""
        elsewhere = machine.write("elsewhere", "# ours\n")
        (machine.config / NAME).symlink_to(target)
        assert not_listed(machine) == "it is a link, and nothing is read or written through one"
        assert os.readlink(machine.config / NAME) == target
        assert elsewhere.read_text(encoding="utf-8") == "# ours\n"

    @posix_only
    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    def test_no_regular_file(self, machine: Machine, make: Callable[[Path], None]) -> None:
        """A directory, or a FIFO, for whose other end nobody waits."""
        make(machine.config / NAME)
        assert not_listed(machine) == "it is not a regular file"

    @pytest.mark.parametrize(
        ("content", "why"), [("# ours\n".encode("utf-16"), "it is UTF-16"), (b"\xff\n", "it is not UTF-8")]
    )
    def test_another_encoding(self, machine: Machine, content: bytes, why: str) -> None:
        """What is in it cannot be told."""
        path = machine.write(NAME, content)
        assert not_listed(machine).startswith(why)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("reason", ["leaked", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 400])
    def test_it_is_never_too_large_to_be_read(self, machine: Machine, reason: str) -> None:
        """A list that grew too large would stop every service: what does not fit is not written."""
        added = entry(machine.fingerprint(), reason=reason).encode()
        path = machine.write(NAME, b"#" * (MAX_LIST_BYTES - len(added)) + b"\n")
        before = path.read_bytes()
        assert "it is full, with 262144 bytes" in refused(machine, "secret.key", "--reason", reason, "--yes")
        assert (path.read_bytes(), machine.log.exists()) == (before, False)

    def test_a_list_that_is_nearly_full(self, machine: Machine) -> None:
        """What fits is written, and the list is relied on."""
        added = entry(machine.fingerprint()).encode()
        machine.write(NAME, b"#" * (MAX_LIST_BYTES - len(added) - 2) + b"\n")
        assert machine.call("revoke", "secret.key", *REASON, "--yes").status == 0
        assert found(check(environ=machine.environ, config_dir=machine.config)) == [("revoked", "secret.key")]

    def test_no_config_directory(self, machine: Machine) -> None:
        """None is made."""
        machine.config.rmdir()
        assert not_listed(machine) == "the config directory is not there: make it, or name another with --config-dir"
        assert list(machine.root.iterdir()) == []

    @posix_only
    def test_a_lock_that_is_held(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process that writes the list is waited for, and not for ever."""
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with machine.write(NAME, "# ours\n").open("rb") as file, files.locked(file.fileno()):
            assert not_listed(machine) == "another process does not let go of it: try again"

    @posix_only
    def test_a_file_system_that_is_read_only(self, machine: Machine) -> None:
        """The message says where to add the entry, and what revokes the key until then."""
        machine.write(NAME, "# ours\n")
        ran = run_with_mounts(
            [f"mount --bind config/{NAME} config/{NAME}", f"mount -o remount,bind,ro config/{NAME}"],
            [sys.executable, "-m", "robodj_secretguard", "revoke", "secret.key", *REASON, "--yes"],
            env=clean_environment() | machine.environ,
            cwd=machine.root,
            keys=tuple(machine.environ.values()),
        )
        said = (
            f"robodj-secretguard: nothing was revoked: the revocation list config/{NAME}: its file system is read-only:"
            " add the entry where the list is deployed from, and deploy it; until that is fixed, add"
            f" {machine.fingerprint()} to {VARIABLE}\n"
        )
        assert (ran.status, ran.out, ran.err) == (2, "", said)

    @posix_only
    def test_a_list_that_this_user_may_not_write(self, machine: Machine) -> None:
        """The message says which mode to change."""
        path = machine.write(NAME, "# ours\n", 0o444)
        for directory in machine.root, machine.config:
            directory.chmod(0o755)
        ran = run(["-c", UNPRIVILEGED, *REVOKE], env=clean_environment() | machine.environ, cwd=machine.root)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(
            f"robodj-secretguard: nothing was revoked: the revocation list config/{NAME}: this user may not write it:"
            " run chmod u+w on it as its owner, then run this command as its owner; until that is fixed, add"
        )
        assert path.read_text(encoding="utf-8") == "# ours\n"

    def test_a_full_disk(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The list stays as it was."""

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        path = machine.write(NAME, "# ours\n")
        monkeypatch.setattr("os.fsync", full)
        assert not_listed(machine) == "it cannot be used: No space left on device"
        assert path.read_text(encoding="utf-8") == "# ours\n"
        assert [path.name for path in machine.config.iterdir()] == [NAME]

    @posix_only
    @pytest.mark.parametrize("size", [1, 60])
    def test_a_short_write(self, machine: Machine, size: int) -> None:
        """What was written of the entry is taken back."""
        import resource  # noqa: PLC0415 - it is POSIX's

        path = machine.write(NAME, "# ours\n")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, hard))
        try:
            assert not_listed(machine) == "it cannot be used: No space left on device"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_text(encoding="utf-8") == "# ours\n"


def _replace(path: Path, content: str) -> None:
    """Put another file in the place of the list, as git does."""
    path.unlink()
    path.write_text(content, encoding="utf-8")
    path.chmod(0o644)


def _rewrite(path: Path, content: str) -> None:
    """Write the list anew in place, as `cp` does."""
    path.write_text(content, encoding="utf-8")


def _append(path: Path, content: str) -> None:
    """Add to the list without its lock, as `>>` does."""
    with path.open("a", encoding="utf-8") as file:
        file.write(content)


@posix_only
class TestListThatChangesMeanwhile:
    """git or a deployment puts another list in place while `revoke` adds to it: both contents are kept."""

    @pytest.fixture
    def theirs(self) -> str:
        """What the others put into the list."""
        return f"# theirs\n{another()}\n"

    def revoke(
        self,
        machine: Machine,
        monkeypatch: pytest.MonkeyPatch,
        moment: tuple[object, str],
        change: Callable[[], None],
    ) -> Ran:
        """Revoke, and change the list once, just before a call of `revoke` (of the first one, where there are more)."""
        module, name = moment
        real = getattr(module, name)

        def changed(*arguments: Any, **more: Any) -> Any:
            monkeypatch.setattr(module, name, real)
            change()
            return real(*arguments, **more)

        monkeypatch.setattr(module, name, changed)
        return machine.call("revoke", "secret.key", *REASON, "--yes")

    @pytest.mark.parametrize("before", [None, "# ours\n", "LISTED"], ids=["new", "there", "listed"])
    @pytest.mark.parametrize(
        "moment",
        [
            (list_module, "locked"),
            (list_module, "content_of"),
            (list_module, "lines_of"),
            (list_module, "is_at"),
            (operations_log, "opened"),
        ],
        ids=["before the lock", "before it is read", "after it was read", "before it is verified", "before the record"],
    )
    def test_it_is_replaced(
        self,
        machine: Machine,
        monkeypatch: pytest.MonkeyPatch,
        theirs: str,
        moment: tuple[object, str],
        before: str | None,
    ) -> None:
        """The entry is added to the list that is in place in the end."""
        path = machine.config / NAME
        if before is not None:
            machine.write(NAME, before.replace("LISTED", f"{machine.fingerprint()}\n"))
        ran = self.revoke(machine, monkeypatch, moment, lambda: _replace(path, theirs))
        assert (ran.status, ran.out.split(":")[0]) == (0, "Revoked")
        assert listed(machine) == theirs + entry(machine.fingerprint())

    @pytest.mark.parametrize(
        "moment", [(os, "write"), (os, "fsync"), (list_module, "is_at")], ids=["write", "sync", "verify"]
    )
    def test_it_is_rewritten_in_place(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, theirs: str, moment: tuple[object, str]
    ) -> None:
        """Whether that was before the entry was written or after it, both are in the list."""
        path = machine.write(NAME, "# ours, of another length\n")
        ran = self.revoke(machine, monkeypatch, moment, lambda: _rewrite(path, theirs))
        assert ran.status == 0
        assert listed(machine) == theirs + entry(machine.fingerprint())

    @pytest.mark.parametrize(
        "moment", [(os, "write"), (os, "fsync"), (list_module, "is_at")], ids=["write", "sync", "verify"]
    )
    def test_it_is_appended_to(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, theirs: str, moment: tuple[object, str]
    ) -> None:
        """Nothing of what another program adds without the lock is taken off again."""
        path = machine.write(NAME, "# ours\n")
        ran = self.revoke(machine, monkeypatch, moment, lambda: _append(path, theirs))
        assert ran.status == 0
        lines = listed(machine).splitlines()
        assert (lines[0], sorted(lines[1:])) == (
            "# ours",
            sorted((theirs + entry(machine.fingerprint())).splitlines()),
        )

    def test_it_is_deleted(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A new one is begun."""
        path = machine.write(NAME, "# ours\n")
        ran = self.revoke(machine, monkeypatch, (list_module, "is_at"), path.unlink)
        assert (ran.status, listed(machine)) == (0, HEADER + entry(machine.fingerprint()))

    def test_it_is_being_written(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
        """An empty list is waited for, and added to when it is whole."""
        path = machine.write(NAME, "")
        ran = self.revoke(machine, monkeypatch, (time, "sleep"), lambda: _rewrite(path, theirs))
        assert (ran.status, listed(machine)) == (0, theirs + entry(machine.fingerprint()))

    def test_two_begin_it(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The one that made the list does not wait for itself, and adds to what the other one has written first."""
        key = another()

        def other() -> None:
            assert machine.call("revoke", "--fingerprint", key, *REASON, "--yes").status == 0

        ran = self.revoke(machine, monkeypatch, (list_module, "locked"), other)
        assert (ran.status, listed(machine)) == (
            0,
            HEADER + entry(key, "a secret that is not known") + entry(machine.fingerprint()),
        )

    def test_again_and_again(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
        """It is given up in the end, and said."""
        path, real = machine.write(NAME, "# ours\n"), files.is_at

        def replaced(*arguments: Any) -> bool:
            _replace(path, theirs)
            return real(*arguments)

        monkeypatch.setattr(list_module, "is_at", replaced)
        assert not_listed(machine) == (
            "another program replaced or changed it again and again: stop that program, and try again"
        )
        assert listed(machine) == theirs


class TestAgain:
    """A revocation that was begun is finished, and one that was finished is left alone."""

    def test_only_listed(self, machine: Machine) -> None:
        """The record is added, and the list is as it was."""
        before = f"{machine.fingerprint()} # by hand\n"
        machine.write(NAME, before)
        ran = machine.call("revoke", "secret.key", *REASON, "--yes")
        assert (ran.status, ran.out.startswith("Revoked already: sgfp1:")) == (0, True)
        assert listed(machine) == before
        assert [each.event for each in machine.records] == [Event.REVOKED]

    def test_only_recorded(self, machine: Machine) -> None:
        """It is put on the list, and neither recorded nor sent again."""
        machine.call("revoke", "secret.key", *REASON, "--yes")
        (machine.config / NAME).unlink()
        ran = machine.call("revoke", "secret.key", *REASON, "--yes")
        assert (ran.status, ran.out.startswith("Revoked: sgfp1:"), ran.err) == (0, True, "")
        assert listed(machine) == HEADER + entry(machine.fingerprint())
        assert len(machine.records) == 1

    def test_both(self, machine: Machine) -> None:
        """Nothing changes, and the steps are said again."""
        first = machine.call("revoke", "secret.key", *REASON, "--yes")
        again = machine.call("revoke", "secret.key", "--reason", "another", "--yes")
        assert (again.status, again.err) == (0, "")
        assert again.out == first.out.replace("Revoked:", "Revoked already:")
        assert (listed(machine), len(machine.records)) == (HEADER + entry(machine.fingerprint()), 1)

    def test_only_in_the_variable(self, machine: Machine) -> None:
        """It holds on this machine alone: the list and the record are written."""
        machine.environ[VARIABLE] = machine.fingerprint()
        assert machine.call("revoke", "secret.key", *REASON, "--yes").status == 0
        assert (listed(machine), len(machine.records)) == (HEADER + entry(machine.fingerprint()), 1)


def edit(machine: Machine) -> None:
    """Change a record, and append it once more."""
    machine.record(rotated(NOW - HOUR, another()))
    machine.log.write_bytes(machine.log.read_bytes().replace(b'"Ada"', b'"Eve"') * 2)


class TestLogThatCannotBeWritten:
    """The key is revoked all the same, and that the record is missing is said."""

    def test_interrupted(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Control-C while the log is waited for does not hide that the key is revoked."""

        def interrupt(_: str) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(operations_log, "opened", interrupt)
        ran = machine.call("revoke", "secret.key", *REASON, "--yes")
        said = "the operations log config/logs/secret_operations.jsonl: interrupted"
        assert (ran.status, ran.err) == (
            2,
            f"robodj-secretguard: the key IS revoked, but that was not recorded: {said}\n",
        )
        assert found(machine.within(check)) == [("revoked", "secret.key")]

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda machine: machine.log.mkdir(parents=True), "it is not a regular file"),
            (lambda machine: machine.write("logs", ""), "it cannot be used: Not a directory"),
            (edit, "it does not verify ("),
        ],
        ids=["directory", "no-directory", "edited"],
    )
    @pytest.mark.parametrize("form", ["text", "json"])
    def test_it_is_said(self, machine: Machine, spoil: Callable[[Machine], object], why: str, form: str) -> None:
        """The list has the key, the status says that something is left to do, and so does the result."""
        spoil(machine)
        ran = machine.call("revoke", "secret.key", *REASON, "--yes", "--format", form)
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert ran.err.startswith("robodj-secretguard: the key IS revoked, but that was not recorded: ")
        assert f": {why}" in ran.err
        assert listed(machine) == HEADER + entry(machine.fingerprint())
        if form == "json":
            assert json.loads(ran.out) == {
                "schema": 1,
                "model": DEFAULT_MODEL,
                "ok": False,
                "recorded": False,
                "key": described(machine.fingerprint()),
                "revoked": True,
                "steps": [{"text": text, "done": False} for text in STEPS],
            }
        else:
            assert ran.out.splitlines()[0].startswith("Revoked: ")


class TestSteps:
    """Which of the five steps is done, as far as the program can see."""

    @pytest.mark.parametrize(
        ("delivers_another", "later", "done"),
        [
            (False, None, ()),
            (True, None, (2,)),
            (True, {}, (2, 4)),
            (False, {}, (4,)),
            (True, {"environment": "dev"}, (2,)),
            (True, {"secret": OTHER}, (2,)),
            (True, {"startup": Proof.NOT_DONE}, (2,)),
        ],
    )
    def test_which(
        self,
        machine: Machine,
        delivers_another: bool,  # noqa: FBT001
        later: dict[str, Any] | None,
        done: tuple[int, ...],
    ) -> None:
        """Another key is delivered; another one is recorded as rotated, wholly, of the same secret and environment."""
        key = machine.fingerprint()
        if delivers_another:
            machine.environ[V1] = good_keys()[V1]
        after = [] if later is None else [rotated(NOW - HOUR, another(), **later)]
        machine.record(rotated(NOW - 3 * HOUR, another()), rotated(NOW - 2 * HOUR, key), *after)
        ran = machine.call("revoke", "--fingerprint", key, *REASON, "--yes")
        assert (ran.status, ran.out.splitlines()[2:]) == (0, boxes(*done))

    @pytest.mark.parametrize(
        ("more", "done"),
        [
            ({}, (2,)),
            ({f"{V1}_EXPIRES_AT": marker(-HOUR)}, ()),
            ({f"{V1}_EXPIRES_AT": "soon"}, ()),
            ({VARIABLE: "NEW"}, ()),
            ({V2: "changeme"}, (2,)),
        ],
        ids=["sound", "expired", "marker", "revoked", "another-secret"],
    )
    def test_a_replacement_that_is_refused(self, machine: Machine, more: dict[str, str], done: tuple[int, ...]) -> None:
        """A key on which no service starts is no replacement; an alert of another secret does not matter."""
        key = machine.fingerprint()
        machine.record(rotated(NOW - 2 * HOUR, key))
        machine.environ[V1] = good_keys()[V1]
        new = machine.fingerprint()
        machine.environ.update({name: new if value == "NEW" else value for name, value in more.items()})
        ran = machine.call("revoke", "--fingerprint", key, *REASON, "--yes")
        assert (ran.status, ran.out.splitlines()[2:]) == (0, boxes(*done))

    def test_the_options_that_were_given(self, machine: Machine) -> None:
        """The commands that an operator is told have those of the directory and the model."""
        given = ("--config-dir", "config", "--model", f"{__name__}:Ours")
        machine.environ["ROBODJ_OWN_KEY"] = good_keys()[V1]
        ran = machine.call("revoke", "own.key", *given, *REASON, "--yes")
        commands = [line.replace("secret.key", f"own.key {' '.join(given)}") for line in boxes()]
        assert (ran.status, ran.out.splitlines()[2:]) == (0, commands)

    def test_as_json(self, machine: Machine) -> None:
        """With all that is known of the key."""
        key = machine.fingerprint()
        machine.record(rotated(NOW - 2 * HOUR, key))
        machine.environ[V1] = good_keys()[V1]
        ran = machine.call("revoke", "--fingerprint", key, *REASON, "--yes", "--format", "json")
        assert (ran.status, json.loads(ran.out)) == (
            0,
            {
                "schema": 1,
                "model": DEFAULT_MODEL,
                "ok": True,
                "recorded": True,
                "key": described(key, environment="prod", recorded_at="2026-12-01T10:00:00Z", delivered_as=[]),
                "revoked": True,
                "steps": [{"text": text, "done": number == 2} for number, text in enumerate(STEPS, start=1)],
            },
        )


class TestGuarded:
    """What a service does then, as a process."""

    @pytest.mark.parametrize("by_variable", [False, True])
    def test_it_does_not_start(self, machine: Machine, by_variable: bool) -> None:  # noqa: FBT001
        """With the list or with the variable it is refused, and with another key it starts."""
        env = clean_environment() | machine.environ
        service = ["-c", "from robodj_secretguard import guard; guard(); print('served')"]
        assert run(service, env=env, cwd=machine.root).status == 0
        if by_variable:
            env[VARIABLE] = f"{another()}, {machine.fingerprint()}"
        else:
            command = ["-m", "robodj_secretguard", "revoke", "secret.key", *REASON, "--yes"]
            revoked = run(command, env=env, cwd=machine.root, keys=(env[V1],))
            assert (revoked.status, json.loads(revoked.err)["event"]) == (0, "secret revoked")
        ran = run(service, env=env, cwd=machine.root, keys=(env[V1],))
        assert (ran.status, [line.split(": ")[:3] for line in ran.alerts]) == (3, [["ALERT", "secret.key", "revoked"]])
        assert "served" not in ran.out
        assert run(service, env=env | {V1: good_keys()[V1]}, cwd=machine.root).status == 0


KEY, HEXADECIMAL = key_as_argument(), good_keys()[V2]


class TestFreeText:
    """What operators say is kept and shown, so that it must be no key and forge no line."""

    @pytest.mark.parametrize("option", ["reason", "operator", "ticket"])
    @pytest.mark.parametrize(
        "text",
        [
            KEY,
            HEXADECIMAL,
            HEXADECIMAL[:64].upper(),
            KEY * 2,
            f"{KEY}{'abcdefghijklmnopqrstuvwxyz' * 2}",
            f"it was {KEY}.",
            f"({KEY}), '{HEXADECIMAL}'",
            f"{V1}={KEY}",
            f"https://example.org/?key={KEY}&x=1",
            f"https://{KEY}@example.org/",
            f"{HEXADECIMAL}xyz",
            f"key-{HEXADECIMAL}-key",
            f"SEC-1-{KEY}",
            f"\N{LATIN SMALL LETTER E WITH ACUTE}{KEY}\N{LATIN SMALL LETTER E WITH ACUTE}",
            "",
            " ",
            "two\nlines",
            "two\rlines",
            "two\N{LINE SEPARATOR}lines",
            "a\ttab",
            "\x1b[31mred",
            "\x7f",
            "\x85",
            "\N{RIGHT-TO-LEFT OVERRIDE}leaked",
            "\N{ZERO WIDTH SPACE}leaked",
            "\N{NO-BREAK SPACE}leaked",
            "\udcff",
            "x" * 501,
        ],
        ids=range(28),
    )
    def test_what_is_refused(self, machine: Machine, option: str, text: str) -> None:
        """It is not repeated, and nothing is revoked."""
        texts = {"reason": "leaked"} | {option: text}
        arguments = [word for name, given in texts.items() for word in (f"--{name}", given)]
        assert refused(machine, "secret.key", "--yes", *arguments) == (
            f"--{option} must be one line of printable text, up to 500 characters, without anything like a key"
        )
        assert list(machine.config.iterdir()) == []

    @pytest.mark.parametrize(
        "text",
        [
            "leaked in a chat, see SEC-1",
            "https://example.org/incidents/2026-12-01-the-api-key-was-in-a-public-repository-for-three-days",
            "the-api-key-was-in-a-public-repository-for-three-days-and-nobody-saw-it",
            f"in commit {secrets.token_hex(20)}",
            "sgfp1:0123456789abcdef0123456789abcdef",
            "# no comment, <b>bold</b> | `code` \\ \"quoted\" 'too' ${HOME} %PATH%",
            "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{CJK UNIFIED IDEOGRAPH-65E5} \N{PARTY POPPER}",
            "x" * 500,
            "-",
        ],
        ids=range(9),
    )
    def test_what_is_kept(self, machine: Machine, text: str) -> None:
        """It is in the list and in the record as it was given."""
        arguments = [f"--{option}={text}" for option in ("reason", "operator", "ticket")]
        assert machine.call("revoke", "secret.key", "--yes", *arguments).status == 0
        assert listed(machine) == HEADER + entry(machine.fingerprint(), reason=text)
        record = machine.records[-1]
        assert (record.reason, record.operator, record.ticket) == (text, text, text)


def test_a_list_that_cannot_be_relied_on_is_said_to_be(machine: Machine) -> None:
    """It was added to, and may hold nothing back: its alerts follow."""
    machine.write(NAME, "wrong\n")
    ran = machine.call("revoke", "secret.key", *REASON, "--yes")
    assert ran.status == 0
    alerts = [line for line in ran.out.splitlines() if line.startswith("ALERT: ")]
    assert [line.partition(" has ")[0] for line in alerts] == [
        f"ALERT: revocation-list: The revocation list config/{NAME}"
    ]


def test_somebody_else_has_recorded_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log was waited for: the same revocation is recorded once."""
    opened = operations_log.opened
    monkeypatch.setattr(operations_log, "opened", lambda path: _after_another(opened, path, machine))
    ran = machine.call("revoke", "secret.key", *REASON, "--yes")
    assert (ran.status, ran.err) == (0, "")
    assert [entry.event for entry in machine.records] == [Event.REVOKED]


@pytest.mark.parametrize("content", [None, "", "\n\n"], ids=["missing", "empty", "blank"])
def test_a_required_list_that_is_lost(machine: Machine, content: str | None) -> None:
    """No short list replaces it: the earlier entries would start again. With a comment it is a new one."""
    module = f"requiring_a_list_{'lost' if content is None else len(content)}"
    machine.put(f"{module}.py", REQUIRING)
    if content is not None:
        machine.write(NAME, content, 0o644)
    argv = ("revoke", "secret.key", *REASON, "--yes", "--model", f"{module}:Required")
    ran = machine.call(*argv)
    assert (ran.status, ran.out) == (2, "")
    assert "is missing or empty, and the model requires one, so nothing starts: restore it" in ran.err
    assert (machine.config / NAME).exists() is (content is not None)
    machine.write(NAME, "# none\n", 0o644)
    assert machine.call(*argv).status == 0


def test_a_list_that_is_spoilt_after_the_record(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is revoked and recorded; that the list cannot be read any more is reported beside it."""
    opened = operations_log.opened

    @contextlib.contextmanager
    def spoiling(path: str) -> Iterator[Any]:
        with opened(path) as log:
            yield log
        (machine.config / NAME).rename(machine.config / "elsewhere")
        (machine.config / NAME).mkdir()

    monkeypatch.setattr(operations_log, "opened", spoiling)
    ran = machine.call("revoke", "secret.key", *REASON, "--yes")
    assert ran.status == 2
    assert "the key was revoked, but the revocation list config/revoked.fingerprints cannot be read any more" in ran.err
    assert ran.out.startswith("Revoked: ")
    assert '"event": "secret revoked"' in ran.err
    assert [entry.event for entry in machine.records] == [Event.REVOKED]


def _after_another(opened: Callable[[str], Any], path: str, machine: Machine) -> Any:
    with opened(path) as log:
        log.append([draft(Event.REVOKED, reason="theirs", fingerprint=machine.fingerprint())])
    return opened(path)


def test_a_log_whose_end_is_deep_does_not_stop_it(machine: Machine) -> None:
    """Whatever is in the log, a revocation does not wait for it."""
    machine.log.parent.mkdir(mode=0o700)
    machine.log.write_bytes(b'{"schema":1,"sequence":1,"x":' + b"[" * 100_000)
    ran = machine.call("revoke", "secret.key", *REASON, "--yes")
    assert ran.status == 0
    assert found(machine.within(check)) == [("revoked", "secret.key")]


def test_a_log_that_does_not_verify_is_said_to_be(machine: Machine) -> None:
    """Of a key whose revocation is recorded already too."""
    machine.call("revoke", "secret.key", *REASON, "--yes")
    machine.log.write_bytes(machine.log.read_bytes() + b"changed\n")
    ran = machine.call("revoke", "secret.key", *REASON, "--yes")
    assert (ran.status, ran.out.partition(":")[0]) == (2, "Revoked already")
    assert "secret_operations.jsonl cannot be relied on: line 2 cannot be read" in ran.err
