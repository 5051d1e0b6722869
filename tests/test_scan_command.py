"""`scan`, as its user sees it: every option, every status, and what it says as text and as JSON."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from unittest.mock import patch

import pytest
from command_line import OTHER, Machine, Terminal, fingerprint_of, machine_at, rotated, without_objects
from conftest import NOW, TIMEOUT, V1, V2, Ran, clean_environment, run, without_model
from detector import leaks
from pydantic import SecretStr  # noqa: TC002 - the model needs it at run time
from repositories import NO_CONFIGURATION, commit, git, made

from robodj_secretguard import RuntimeSecrets, SecretPolicy
from robodj_secretguard.cli.scan import MAX_KEYS_BYTES
from robodj_secretguard.scan.render import CLEAN
from robodj_secretguard.scan.scanner import MOST_IN_ONE_PLACE
from robodj_secretguard.sources import iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PROGRAM = "robodj-secretguard"
DAY = timedelta(days=1)
V3 = "ROBODJ_PLAYER_KEY"
UNREADABLE = "--keys-from: the file is missing, unreadable or not a regular file; use - for a pipe"
ASSIGNMENTS = f"assignments of {V1}, {V2}"
DELIVERED = f"looked for: secret.key, secret_v2.key, {ASSIGNMENTS}"
FILES = "looked at: files (not git's history: --git-history)"
STAGED = "looked at: what the next commit adds or changes"
TO_DO = "What to do: whoever could look there has the key, and taking it away does not take it back (policy 4, 5):"
REVOKE_IT = "- revoke it: each of these shows what it would do, and with --yes no service starts on the key"
TAKE_IT_OUT = "- take it out of where it is; a history that was fetched keeps what was in it"
NOTHING_KNOWN = (
    "keys: none is delivered, recorded or revoked here: assignments and tracked key files alone are looked for"
)

posix_only = pytest.mark.skipif(os.name != "posix", reason="terminals, FIFOs and links are POSIX's")


class Further(RuntimeSecrets):
    """A service with a secret of its own."""

    player: Annotated[
        SecretStr,
        SecretPolicy(
            name="player.key",
            variable=V3,
            owner="Audio",
            backup_owner="Release Manager",
            cadence=90 * DAY,
            warn_before=7 * DAY,
        ),
    ]


FURTHER = ("--model", f"{__name__}:Further")


def new_key(size: int = 32) -> str:
    """Make a key which is not hexadecimal: git writes so many names that chance would find six characters of it."""
    while (key := secrets.token_urlsafe(size)).startswith("-"):
        pass
    return key


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with good keys, of which nothing is recorded, and nothing in its working directory."""
    machine = machine_at(tmp_path)
    machine.environ.update({V1: new_key(), V2: new_key(64)})
    machine.environ.update(NO_CONFIGURATION, PATH=os.environ["PATH"])
    return machine


@pytest.fixture
def laptop(machine: Machine) -> Machine:
    """A machine without a key."""
    del machine.environ[V1], machine.environ[V2]
    return machine


def scan(machine: Machine, *arguments: str, keys: Sequence[str] = (), stdin: bytes | None = None) -> Ran:
    """Run a scan, and make sure that it showed no part of a key."""
    pipe = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
    with patch.object(sys, "stdin", pipe):
        ran = machine.call("scan", *arguments)
    delivered = [machine.environ[name] for name in (V1, V2, V3) if name in machine.environ]
    assert leaks(without_objects(ran.out + ran.err), [*delivered, *keys]) == []
    return ran


def document(machine: Machine, *arguments: str, status: int = 1, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return a scan's JSON document."""
    ran = scan(machine, "--format", "json", *arguments, keys=keys)
    assert (ran.status, ran.err) == (status, "")
    result: dict[str, Any] = json.loads(ran.out)
    return result


def refused(ran: Ran, said: str) -> None:
    """Make sure that a command did nothing, and said why."""
    assert (ran.status, ran.out, ran.err) == (2, "", f"{PROGRAM}: {said}\n")


def repository(machine: Machine) -> None:
    """Make the working directory a repository with one commit."""
    commit(made(machine.root), "begin")


def incomplete(ran: Ran) -> list[str]:
    """Return what was not looked at, of a scan that says so in its status and its last line."""
    assert ran.status == 2
    assert ran.out.splitlines()[-1].startswith("Scan INCOMPLETE: ")
    return [line.removeprefix("INCOMPLETE: ") for line in ran.out.splitlines() if line.startswith("INCOMPLETE: ")]


def notes(ran: Ran) -> list[str]:
    """Return what was not looked at and does not matter."""
    return [line.removeprefix("note: ") for line in ran.out.splitlines() if line.startswith("note: ")]


class TestSparseFiles:
    """A file that is mostly holes."""

    def test_64_gibibytes(self, machine: Machine) -> None:
        """Keys at its start, in its middle and at its end are found where they are, and no hole is read."""
        path, size = machine.root / "disk.img", 64 << 30
        key1, key2 = machine.environ[V1].encode(), machine.environ[V2].encode()
        plants = {0: b"\n" + key1, size // 2 + 1: base64.b64encode(key2) + b"\n", size - len(key1): key1}
        with open(path, "wb") as file:
            if not hasattr(os, "SEEK_HOLE") or (file.truncate(size), file.seek(0, os.SEEK_HOLE))[1] == size:
                pytest.skip("no holes are told here")
            for offset, data in plants.items():
                file.seek(offset)
                file.write(data)
        result = document(machine)
        assert [(each["offset"], each["line"], each["column"]) for each in result["findings"]] == [
            (1, 2, 1),
            (size // 2 + 1, 2, len(key1) + 1),
            (size - len(key1), 3, 1),
        ]
        assert (result["complete"], result["size"]) == (True, size)


class TestText:
    """What was found, what was not looked at, what was looked for and at, what is to be done, and the verdict."""

    def test_clean(self, machine: Machine) -> None:
        """Nothing is found, and all was looked at."""
        machine.put("app.py", "print('hello')\n".ljust(3 << 19))
        ran = scan(machine)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines() == [DELIVERED, f"{FILES}: 1 file or object, 1.5 MiB", CLEAN]

    def test_found(self, machine: Machine) -> None:
        """A key that is delivered stands in two files, in two forms; and another is assigned in a third."""
        other = new_key(64)
        first, second = machine.fingerprint(), fingerprint_of(other)
        machine.put("a.txt", f"one\n  two {machine.environ[V1]}\n")
        machine.put("b.yaml", f"data: {base64.b64encode(machine.environ[V1].encode()).decode()}\n")
        machine.put("sub/c.env", f"{V2}={other}\n")
        ran = scan(machine, keys=[other])
        assert (ran.status, ran.err) == (1, "")
        known = f"(known by: environment; {first})"
        given = f"the variable is given what would pass as the key, raw ({second})"
        assert ran.out.splitlines() == [
            f"ALERT: secret.key: known-key: a.txt:2:7: the key, raw {known}",
            f"ALERT: secret.key: known-key: b.yaml:1:7: the key, base64 {known}",
            f"ALERT: secret_v2.key: assigned-key: sub/c.env:1:22: {given}",
            DELIVERED,
            f"{FILES}: 3 files and objects, 0.0 MiB",
            TO_DO,
            REVOKE_IT,
            f"- {PROGRAM} revoke --fingerprint {first} --reason 'found by a scan'",
            f"- {PROGRAM} revoke --fingerprint {second} --reason 'found by a scan'",
            f"- {PROGRAM} rotate plan secret.key",
            f"- {PROGRAM} rotate plan secret_v2.key",
            TAKE_IT_OUT,
            "Scan FAILED: 3 findings.",
        ]

    def test_incomplete(self, machine: Machine) -> None:
        """What was not looked at is listed, and the status is 2 whatever was found elsewhere."""
        machine.put("a.txt", machine.environ[V1])
        ran = scan(machine, "a.txt", "b.txt", "c.txt")
        assert incomplete(ran) == ["PATH 2: it is not there", "PATH 3: it is not there"]
        assert ran.out.splitlines()[-1] == "Scan INCOMPLETE: 1 finding, and 2 things were not looked at."
        assert len(ran.alerts) == 1

    def test_incomplete_and_nothing_found(self, machine: Machine) -> None:
        """There is nothing to be done about, but for the rest."""
        assert scan(machine, "b.txt").out.splitlines() == [
            "INCOMPLETE: PATH 1: it is not there",
            DELIVERED,
            f"{FILES}: 0 files and objects, 0.0 MiB",
            "Scan INCOMPLETE: 0 findings, and 1 thing was not looked at.",
        ]

    def test_every_way_in_which_a_key_is_known(self, machine: Machine) -> None:
        """A finding says where its key is known from, once each."""
        machine.record(rotated(NOW, machine.fingerprint()), rotated(NOW, machine.fingerprint(), environment="dev"))
        machine.write("revoked.fingerprints", machine.fingerprint())
        machine.write("secret.key", machine.environ[V1])
        machine.put("a.txt", machine.environ[V1])
        (line,) = scan(machine, "--keys-from", "-", stdin=machine.environ[V1].encode()).alerts
        sources = "environment, file:config/secret.key, keys-from, operations log, revocation list"
        assert line.endswith(f": the key, raw (known by: {sources}; {machine.fingerprint()})")

    def test_a_revoked_key(self, machine: Machine) -> None:
        """It need not be revoked again: what uses it is to be found."""
        machine.write("revoked.fingerprints", machine.fingerprint())
        machine.put("a.txt", machine.environ[V1])
        assert scan(machine).out.splitlines()[3:-1] == [
            TO_DO,
            REVOKE_IT,
            f"- {machine.fingerprint()} is revoked already: see that nothing uses it",
            f"- {PROGRAM} rotate plan secret.key",
            TAKE_IT_OUT,
        ]

    def test_a_tracked_key_file(self, machine: Machine) -> None:
        """Git lets go of it, and an existing key may have been pasted into its lines."""
        repository(machine)
        machine.write("other.key", f"{new_key()}\n{new_key()}\n")
        git(machine.root, "add", "--force", "config/other.key")
        lines = scan(machine, "config").out.splitlines()
        what = "git tracks this key file, and it holds more than a template"
        assert lines[0] == f"ALERT: a key: tracked-key-file: config/other.key in the index: {what}"
        assert lines[3:] == [
            TO_DO,
            REVOKE_IT,
            "- git rm --cached -- PATH, and put it into .gitignore: version control takes templates alone",
            TAKE_IT_OUT,
            "Scan FAILED: 1 finding.",
        ]

    def test_the_remedies_keep_the_options(self, machine: Machine) -> None:
        """What is to be run finds the same config directory and model; a key that was put there is not repeated."""
        machine.put("a.txt", machine.environ[V1])
        (machine.root / "conf").mkdir()
        out = scan(machine, "--config-dir", "conf", *FURTHER).out.splitlines()
        options = f"--config-dir conf --model {__name__}:Further"
        assert f"- {PROGRAM} rotate plan secret.key {options}" in out
        revoke = f"{PROGRAM} revoke --fingerprint {machine.fingerprint()} --reason 'found by a scan'"
        assert f"- {revoke} {options}" in out
        assert scan(machine, "--config-dir", machine.environ[V1]).out.count("--config-dir DIR") == 2

    def test_a_secret_that_is_not_declared(self, laptop: Machine) -> None:
        """Of another service's secret, which the log has, no command is shown that this model would refuse."""
        key = new_key()
        laptop.record(rotated(NOW, fingerprint_of(key), secret="player.key"))  # noqa: S106 - a name
        laptop.put("sub/a.txt", key)
        out = scan(laptop, keys=[key]).out
        assert out.startswith("ALERT: player.key (prod): known-key: sub/a.txt:1:1: ")
        assert f"- {PROGRAM} revoke --fingerprint {fingerprint_of(key)} " in out
        assert "rotate plan" not in out
        assert f"- {PROGRAM} rotate plan player.key {' '.join(FURTHER)}" in scan(laptop, *FURTHER, keys=[key]).out

    def test_the_remedies_do_what_they_say(self, machine: Machine) -> None:
        """The commands run as they are shown, and the next scan knows that the key is revoked."""
        machine.put("a.txt", machine.environ[V1])
        words = [PROGRAM, "revoke", "--fingerprint", machine.fingerprint(), "--reason", "found by a scan"]
        assert machine.call(*words[1:]).status == 1
        assert machine.call(*words[1:], "--yes").status == 0
        assert machine.call("rotate", "plan", "secret.key").status == 0
        assert f"- {machine.fingerprint()} is revoked already: see that nothing uses it" in scan(machine).out


class TestJson:
    """One document, which has nothing of any key."""

    def test_its_shape(self, machine: Machine) -> None:
        """Every field, of a scan that found a key and read no pipe's other end."""
        machine.put("a.txt", f"{machine.environ[V1]}\n")
        machine.record(rotated(NOW, machine.fingerprint()))
        found = document(machine)
        assert found.pop("scanned_at") == iso_utc(NOW)
        size = (machine.root / "a.txt").stat().st_size + machine.log.stat().st_size
        by = ["environment", "operations log"]
        shared = {"secret": "secret.key", "environment": "prod", "fingerprint": machine.fingerprint(), "known_by": by}
        assert found == {
            "schema": 1,
            "ok": False,
            "complete": True,
            "scope": "files",
            "looked_for": [
                shared,
                {
                    "fingerprint": machine.fingerprint(V2),
                    "secret": OTHER,
                    "environment": None,
                    "known_by": ["environment"],
                },
            ],
            "variables": [V1, V2],
            "files": 2,
            "objects": 0,
            "size": size,
            "findings": [
                {
                    "rule": "known-key",
                    "where": "file",
                    **shared,
                    "form": "raw",
                    "path": "a.txt",
                    "line": 1,
                    "column": 1,
                    "offset": 0,
                    "object": None,
                    "kind": None,
                    "carriers": [],
                }
            ],
            "unread": [],
        }

    def test_clean(self, machine: Machine) -> None:
        """Nothing was found and nothing missed."""
        found = document(machine, status=0)
        assert (found["ok"], found["complete"], found["findings"], found["unread"]) == (True, True, [], [])

    def test_incomplete(self, machine: Machine) -> None:
        """It says what was missed, and that this matters."""
        found = document(machine, "nowhere", status=2)
        assert (found["ok"], found["complete"]) == (False, False)
        assert found["unread"] == [{"place": "PATH 1", "why": "it is not there", "matters": True}]

    def test_a_note(self, machine: Machine) -> None:
        """What does not matter changes neither the verdict nor the status."""
        machine.write("secret.key", machine.environ[V1])
        found = document(machine, status=0)
        why = "a fallback file, where its key may be"
        assert (found["ok"], found["complete"]) == (True, True)
        assert found["unread"] == [{"place": "config/secret.key", "why": why, "matters": False}]

    def test_history(self, machine: Machine) -> None:
        """A finding in an object has the commits that carry it, and under which names."""
        repository(machine)
        machine.put("a.txt", f"\n{machine.environ[V1]}\n")
        git(machine.root, "add", ".")
        leak = commit(machine.root, "leak")
        git(machine.root, "rm", "--quiet", "a.txt")
        commit(machine.root, "gone")
        found = document(machine, "--git-history")
        (finding,) = found["findings"]
        assert (found["scope"], finding["where"], finding["kind"]) == ("git-history", "history", "blob")
        assert (finding["line"], finding["column"], finding["path"]) == (2, 1, None)
        assert finding["object"] == git(machine.root, "rev-parse", "HEAD~:a.txt")
        assert finding["carriers"] == [{"commit": leak, "path": "a.txt"}]
        (line,) = scan(machine, "--git-history").alerts
        assert f": a.txt:2:1 in commit {leak}: the key, raw " in line


class TestScope:
    """Files, what the next commit takes, or all that git keeps."""

    def test_paths(self, machine: Machine) -> None:
        """Those that are named, and nothing beside them."""
        for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "d.txt"):
            machine.put(name, machine.environ[V1])
        found = document(machine, "d.txt", "sub")
        assert [each["path"] for each in found["findings"]] == ["d.txt", "sub/b.txt", "sub/deep/c.txt"]
        assert found["files"] == 3

    def test_an_interrupt(self, machine: Machine) -> None:
        """Nothing is said of what was found until then."""
        machine.put("a.txt", machine.environ[V1])
        with patch("robodj_secretguard.scan.scanner.walk", side_effect=KeyboardInterrupt):
            ran = scan(machine)
        assert (ran.status, ran.out, ran.err) == (2, "", f"{PROGRAM}: the command failed (KeyboardInterrupt)\n")

    def test_a_key_that_is_named_twice(self, machine: Machine) -> None:
        """It is one finding."""
        machine.put("a.txt", machine.environ[V1])
        assert len(document(machine, "a.txt", "a.txt")["findings"]) == 1

    def test_staged(self, machine: Machine) -> None:
        """What is in the index and not in the last commit; files are not looked at."""
        repository(machine)
        machine.put("a.txt", machine.environ[V1])
        assert scan(machine, "--staged").out.splitlines() == [
            DELIVERED,
            f"{STAGED}: 0 files and objects, 0.0 MiB",
            CLEAN,
        ]
        git(machine.root, "add", "a.txt")
        machine.put("a.txt", "nothing\n")
        ran = scan(machine, "--staged")
        known = f"the key, raw (known by: environment; {machine.fingerprint()})"
        assert (ran.status, ran.alerts) == (1, [f"ALERT: secret.key: known-key: a.txt:1:1 in the index: {known}"])
        assert f"{STAGED}: 1 file or object, 0.0 MiB" in ran.out.splitlines()

    def test_history_has_files_too(self, machine: Machine) -> None:
        """And what lies in git's own directory."""
        repository(machine)
        machine.put("a.txt", machine.environ[V1])
        machine.put(".git/info/notes", machine.environ[V1])
        found = document(machine, "--git-history")
        assert [each["path"] for each in found["findings"]] == ["a.txt", ".git/info/notes"]

    @pytest.mark.parametrize("option", ["--staged", "--git-history"])
    def test_two_repositories(self, machine: Machine, option: str) -> None:
        """The commits of one scan are those of one repository."""
        for name in ("one", "two"):
            (machine.root / name).mkdir()
            made(machine.root / name)
        said = "--git-history and --staged take the paths of one repository"
        refused(scan(machine, option, "one", "two"), said)
        assert scan(machine, "one", "two").status == 0

    def test_two_scopes(self, machine: Machine) -> None:
        """One of them is to be chosen."""
        ran = scan(machine, "--git-history", "--staged")
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)

    @posix_only
    def test_what_is_no_file(self, machine: Machine) -> None:
        """A FIFO has no content that stays: it is a note where it is met, and incomplete where it is named."""
        os.mkfifo(machine.root / "pipe")
        ran = scan(machine)
        assert (ran.status, notes(ran)) == (0, ["pipe: it is not a regular file"])
        assert incomplete(scan(machine, "pipe")) == ["pipe: it is not a regular file"]

    @posix_only
    def test_a_link(self, machine: Machine) -> None:
        """What it leads to is looked at as text, and followed where the link is named."""
        (machine.root / "link").symlink_to(f"/nowhere/{machine.environ[V1]}")
        machine.put("a.txt", machine.environ[V2])
        (machine.root / "to-a").symlink_to("a.txt")
        shown = [line.partition(": the key")[0] for line in scan(machine).alerts]
        assert shown == [
            "ALERT: secret_v2.key: known-key: a.txt:1:1",
            "ALERT: secret.key: known-key: link, in what the link leads to",
        ]
        assert len(scan(machine, "to-a").alerts) == 1


class TestKeysFrom:
    """Keys that an operator passes, one in each line: for a key that was rotated away already."""

    WHICH = "--keys-from, which has a key in each line"

    def test_a_pipe(self, laptop: Machine) -> None:
        """They are looked for, and nothing is known of their secrets."""
        first, second = new_key(), secrets.token_hex(64)
        laptop.put("a.txt", f"{first}\n{second.upper()}\n")
        ran = scan(laptop, "--keys-from", "-", stdin=f"# old\n\n{first}\r\n{second}".encode(), keys=[first, second])
        assert (ran.status, ran.err) == (1, "")
        known = [f"(known by: keys-from; {fingerprint_of(each)})" for each in (first, second)]
        assert ran.out.splitlines()[:3] == [
            f"ALERT: a key: known-key: a.txt:1:1: the key, raw {known[0]}",
            f"ALERT: a key: known-key: a.txt:2:1: the key, raw {known[1]}",
            f"looked for: keys that were passed, {ASSIGNMENTS}",
        ]

    def test_a_file(self, machine: Machine) -> None:
        """It holds keys where they must not be, unless it is elsewhere."""
        key = new_key()
        machine.put("old", key)
        ran = scan(machine, "--keys-from", "old", keys=[key])
        known = f"(known by: keys-from; {fingerprint_of(key)})"
        assert ran.alerts == [f"ALERT: a key: known-key: old:1:1: the key, raw {known}"]
        assert f"looked for: secret.key, secret_v2.key, keys that were passed, {ASSIGNMENTS}" in ran.out.splitlines()

    def test_it_is_found_within_longer_text(self, laptop: Machine) -> None:
        """As a key that is at hand, and not by its fingerprint."""
        key = new_key(45)
        laptop.put("a.txt", f"AAAA{key}AAAA")
        (line,) = scan(laptop, "--keys-from", "-", stdin=key.encode(), keys=[key]).alerts
        assert ": a.txt:1:5: the key, raw " in line

    def test_its_secret_is_known_from_the_log(self, laptop: Machine) -> None:
        """What is recorded of its fingerprint says whose it was."""
        key = new_key()
        laptop.record(rotated(NOW, fingerprint_of(key), secret=OTHER, environment="staging"))
        laptop.put("a.txt", key)
        ran = scan(laptop, "--keys-from", "-", stdin=key.encode(), keys=[key])
        assert ran.alerts[0].startswith("ALERT: secret_v2.key (staging): known-key: a.txt:1:1: ")
        assert f"looked for: secret_v2.key, {ASSIGNMENTS}" in ran.out.splitlines()

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "it has no key"),
            (b"\n# nothing\n", "it has no key"),
            (b"%s\nchangeme\nshort\n", "key 2, comments not counted, would not pass as one"),
            (b"# mine\n\n%s=\n", "key 1, comments not counted, would not pass as one"),
            (b"ROBODJ_SECRET_KEY=%s\n", "key 1, comments not counted, would not pass as one"),
            (b"\xff\xfe%s", "it is UTF-16, which PowerShell's > writes, and not UTF-8"),
            (b"\xff%s", "it is not UTF-8"),
        ],
        ids=["empty", "comments", "second", "padded", "assignment", "utf-16", "no-text"],
    )
    def test_what_is_no_key(self, machine: Machine, content: bytes, why: str) -> None:
        """It is a mistake: nothing is looked at, and which line it is is said, and nothing of it."""
        key = new_key()
        content = content.replace(b"%s", key.encode())
        refused(scan(machine, "--keys-from", "-", stdin=content, keys=[key]), f"{self.WHICH}: {why}")
        machine.put("keys", content)
        refused(scan(machine, "--keys-from", "keys", keys=[key]), f"{self.WHICH}: {why}")

    def test_how_large(self, laptop: Machine) -> None:
        """Up to the bound, and not a byte more."""
        key = new_key()
        largest = f"{key}\n".encode().ljust(MAX_KEYS_BYTES, b"\n")
        assert scan(laptop, "--keys-from", "-", stdin=largest).status == 0
        said = f"--keys-from: what it names is larger than {MAX_KEYS_BYTES} bytes"
        refused(scan(laptop, "--keys-from", "-", stdin=largest + b"\n", keys=[key]), said)
        laptop.put("keys", largest + b"\n")
        refused(scan(laptop, "--keys-from", "keys", keys=[key]), said)

    def test_a_terminal(self, laptop: Machine) -> None:
        """It would show what is typed, and is not read."""
        with patch.object(sys, "stdin", Terminal()):
            ran = laptop.call("scan", "--keys-from", "-")
        refused(ran, "--keys-from - reads a pipe, not a terminal")

    @pytest.mark.parametrize("name", ["nowhere", "", "config", "\0", "a" * 5000], ids=range(5))
    def test_what_cannot_be_read(self, machine: Machine, name: str) -> None:
        """It is not there, or no file; and there may be no stdin."""
        refused(scan(machine, "--keys-from", name), UNREADABLE)
        refused(scan(machine, "--keys-from", "-"), UNREADABLE)

    def test_a_key_as_the_name(self, machine: Machine) -> None:
        """It was put where a file's name goes, and is not shown."""
        key = new_key()
        ran = scan(machine, "--keys-from", key, keys=[key])
        refused(ran, UNREADABLE)

    def test_a_stdin_that_is_closed(self, machine: Machine) -> None:
        """It cannot be read either."""
        pipe = io.TextIOWrapper(io.BytesIO())
        pipe.close()
        with patch.object(sys, "stdin", pipe):
            ran = machine.call("scan", "--keys-from", "-")
        refused(ran, UNREADABLE)

    @posix_only
    def test_a_real_pipe(self, laptop: Machine) -> None:
        """The key goes from one process to the other, and is in no argument."""
        key = new_key()
        laptop.put("a.txt", key)
        done = subprocess.run(
            [sys.executable, "-m", "robodj_secretguard", "scan", "--keys-from", "-"],
            input=key.encode(),
            env=clean_environment(),
            cwd=laptop.root,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert (done.returncode, without_model(done.stderr.decode())) == (1, "")
        assert done.stdout.count(b"ALERT: a key: known-key: a.txt:1:1") == 1
        assert leaks(done.stdout.decode(), [key]) == []

    def test_not_with_fingerprints(self, machine: Machine) -> None:
        """One asks for no key, and the other gives some: nothing is read."""
        said = "--fingerprints and --keys-from exclude each other"
        refused(scan(machine, "--fingerprints", "--keys-from", "nowhere"), said)


class TestFingerprints:
    """Looking for keys that are not at hand."""

    def test_the_log(self, laptop: Machine) -> None:
        """A recorded key, whose secret and environment are known from there."""
        key = new_key()
        laptop.record(rotated(NOW, fingerprint_of(key), environment="staging"))
        laptop.put("sub/a.txt", f"key: {key}\n")
        ran = scan(laptop, "--fingerprints", keys=[key])
        known = f"(known by: operations log; {fingerprint_of(key)})"
        assert ran.alerts == [f"ALERT: secret.key (staging): known-key: sub/a.txt:1:6: the key, raw {known}"]
        assert f"looked for: 1 key by fingerprint, {ASSIGNMENTS}" in ran.out.splitlines()
        (found,) = document(laptop, "--fingerprints", keys=[key])["findings"]
        assert (found["secret"], found["environment"]) == ("secret.key", "staging")

    @pytest.mark.parametrize("where", ["list", "variable"])
    def test_the_revocation_list(self, laptop: Machine, where: str) -> None:
        """A revoked key, of which nothing else is known."""
        key = new_key()
        if where == "list":
            laptop.write("revoked.fingerprints", f"# leaked\n{fingerprint_of(key)}\n{fingerprint_of(new_key())}\n")
        else:
            laptop.environ["ROBODJ_REVOKED_FINGERPRINTS"] = f"{fingerprint_of(key)},{fingerprint_of(new_key())}"
        laptop.put("a.txt", key)
        ran = scan(laptop, "--fingerprints", keys=[key])
        known = f"(known by: revocation list; {fingerprint_of(key)})"
        assert ran.alerts == [f"ALERT: a key: known-key: a.txt:1:1: the key, raw {known}"]
        assert f"looked for: 2 keys by fingerprint, {ASSIGNMENTS}" in ran.out.splitlines()

    def test_without_the_option(self, laptop: Machine) -> None:
        """They are looked for all the same."""
        key = new_key()
        laptop.write("revoked.fingerprints", fingerprint_of(key))
        laptop.put("a.txt", key)
        assert len(scan(laptop, keys=[key]).alerts) == 1

    def test_it_uses_no_key(self, machine: Machine) -> None:
        """One that is delivered and recorded nowhere is not found, which is no success; nor is it judged."""
        machine.put("a.txt", machine.environ[V1])
        machine.environ[V2] = "short"
        machine.write("secret.key", new_key())
        ran = scan(machine, "--fingerprints", "a.txt")
        assert (ran.status, incomplete(ran), ran.alerts) == (2, [NOTHING_KNOWN], [])

    def test_nothing_known(self, laptop: Machine) -> None:
        """Assignments and key files are looked for, which is not all; but of what is staged it is what can be known."""
        key = new_key()
        assert incomplete(scan(laptop)) == [NOTHING_KNOWN]
        repository(laptop)
        assert notes(scan(laptop, "--fingerprints", "--staged")) == [NOTHING_KNOWN]
        ran = scan(laptop, "--fingerprints")
        assert (ran.status, incomplete(ran)) == (2, [NOTHING_KNOWN])
        assert f"looked for: {ASSIGNMENTS}" in ran.out.splitlines()
        laptop.put("a.env", f"{V1}={key}\n")
        git(laptop.root, "add", "a.env")
        for options, status in ((), 2), (("--fingerprints",), 2), (("--fingerprints", "--staged"), 1):
            ran = scan(laptop, *options, keys=[key])
            assert (ran.status, len(ran.alerts)) == (status, 1)

    def test_a_damaged_log(self, laptop: Machine) -> None:
        """What can be read of it is looked for, and that this may not be all is said."""
        first, second = new_key(), new_key()
        laptop.record(*(rotated(NOW, fingerprint_of(each)) for each in (first, second)))
        laptop.log.write_bytes(laptop.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))
        laptop.put("a.txt", f"{first}\n{second}\n")
        ran = scan(laptop, "--fingerprints", "a.txt", keys=[first, second])
        why = "line 2 does not follow line 1: one was changed, or one between was taken away"
        assert (incomplete(ran), len(ran.alerts)) == ([f"operations log: {why}"], 2)

    def test_a_log_that_cannot_be_read(self, laptop: Machine) -> None:
        """Nothing of it is known."""
        laptop.log.mkdir(parents=True)
        ran = scan(laptop, "--fingerprints")
        assert incomplete(ran) == ["operations log: it is not a regular file", NOTHING_KNOWN]

    def test_a_log_that_is_named(self, laptop: Machine) -> None:
        """By the option or the variable: that one is read, and the other not."""
        key, other = new_key(), new_key()
        laptop.record(rotated(NOW, fingerprint_of(key)))
        laptop.log.rename(laptop.root / "kept.jsonl")
        laptop.record(rotated(NOW, fingerprint_of(other)))
        laptop.put("a.txt", f"{key}\n{other}\n")
        arguments = ("--fingerprints", "a.txt")
        named = scan(laptop, *arguments, "--operations-log", "kept.jsonl", keys=[key, other])
        assert [fingerprint_of(key) in line for line in named.alerts] == [True]
        laptop.environ["ROBODJ_OPERATIONS_LOG"] = "kept.jsonl"
        assert scan(laptop, *arguments, keys=[key, other]).out == named.out

    @pytest.mark.parametrize("by", ["option", "variable"])
    def test_a_log_that_is_named_and_not_there(self, laptop: Machine, by: str) -> None:
        """Somebody has mistyped it: no recorded key is looked for, and the scan must not pass as if all were."""
        laptop.write("revoked.fingerprints", fingerprint_of(new_key()))
        if by == "variable":
            laptop.environ["ROBODJ_OPERATIONS_LOG"] = "nowhere.jsonl"
        options = ("--operations-log", "nowhere.jsonl") if by == "option" else ()
        assert len(incomplete(scan(laptop, "--fingerprints", *options))) == 1

    @pytest.mark.parametrize("by", ["option", "variable"])
    def test_a_config_directory_that_is_named(self, laptop: Machine, by: str) -> None:
        """Its revocation list and its operations log are read, its fallback files may hold keys, and others not."""
        revoked, recorded = new_key(), new_key()
        elsewhere = machine_at(laptop.root / "config")
        elsewhere.write("revoked.fingerprints", fingerprint_of(revoked))
        elsewhere.write("secret.key", revoked)
        elsewhere.record(rotated(NOW, fingerprint_of(recorded)))
        laptop.write("secret.key", recorded)
        options = ("--config-dir", "config/config") if by == "option" else ()
        if by == "variable":
            laptop.environ["ROBODJ_CONFIG_DIR"] = "config/config"
        ran = scan(laptop, "--fingerprints", *options, keys=[revoked, recorded])
        known = f"(known by: operations log; {fingerprint_of(recorded)})"
        assert ran.alerts == [f"ALERT: secret.key (prod): known-key: config/secret.key:1:1: the key, raw {known}"]
        assert notes(ran) == ["config/config/secret.key: a fallback file, where its key may be"]

    @pytest.mark.parametrize("by", ["option", "variable"])
    def test_a_config_directory_that_is_named_and_not_there(self, laptop: Machine, by: str) -> None:
        """Nothing is known of what it should have."""
        if by == "variable":
            laptop.environ["ROBODJ_CONFIG_DIR"] = "nowhere"
        ran = scan(laptop, "--fingerprints", *(("--config-dir", "nowhere") if by == "option" else ()))
        named = {"option": "the config_dir argument", "variable": "ROBODJ_CONFIG_DIR"}[by]
        assert incomplete(ran) == [f"set-up: The config directory that {named} names does not exist.", NOTHING_KNOWN]

    def test_a_list_that_cannot_be_read(self, laptop: Machine) -> None:
        """What can be read of it is looked for, and how the rest is found is said."""
        key = new_key()
        laptop.write("revoked.fingerprints", f"nothing\n{fingerprint_of(key)}\n{key}\n")
        laptop.put("a.txt", key)
        ran = scan(laptop, "--fingerprints", "a.txt", keys=[key])
        place = "The revocation list config/revoked.fingerprints"
        why = f"revocation list: {place} has lines that are not fingerprints: entries 1, 3, comments and blank lines"
        why += " not counted."
        assert (incomplete(ran), len(ran.alerts)) == ([why], 1)
        laptop.write("revoked.fingerprints", b"\xff\xfe")
        why = "it is UTF-16, which PowerShell's > writes, and not UTF-8"
        assert incomplete(scan(laptop, "--fingerprints"))[0] == f"revocation list: {place} cannot be relied on: {why}."


class TestValues:
    """The values that can be resolved, whatever a service would do with them."""

    def test_the_environment_and_the_file(self, machine: Machine) -> None:
        """A fallback file that has another key than the variable, or that is ruled out, is a key to be looked for."""
        key = new_key()
        machine.write("secret.key", key)
        machine.environ["ROBODJ_PROTECTED_ENV"] = "1"
        machine.put("a.txt", f"{machine.environ[V1]}\n{key}\n")
        ran = scan(machine, keys=[key])
        known = [f"environment; {machine.fingerprint()}", f"file:config/secret.key; {fingerprint_of(key)}"]
        assert ran.alerts == [
            f"ALERT: secret.key: known-key: a.txt:{line}:1: the key, raw (known by: {by})"
            for line, by in enumerate(known, start=1)
        ]

    def test_a_file_alone(self, laptop: Machine) -> None:
        """It is looked for elsewhere, and not in the file itself."""
        key = new_key()
        laptop.write("secret.key", key)
        ran = scan(laptop, keys=[key])
        assert (ran.status, notes(ran)) == (
            0,
            [
                f"{OTHER}: no key of it is known here, and none is looked for",
                "config/secret.key: a fallback file, where its key may be",
            ],
        )
        laptop.write("secret.key.old", key)
        assert len(scan(laptop, keys=[key]).alerts) == 1

    def test_a_tracked_file(self, machine: Machine) -> None:
        """It is no place for a key any more, and it is found in both ways."""
        repository(machine)
        machine.write("secret.key", machine.environ[V1])
        git(machine.root, "add", "--force", "config/secret.key")
        rules = [(each["rule"], each["where"], each["path"]) for each in document(machine)["findings"]]
        assert rules == [
            ("tracked-key-file", "index", "config/secret.key"),
            ("known-key", "file", "config/secret.key"),
        ]
        staged = document(machine, "--staged")["findings"]
        assert [each["rule"] for each in staged] == ["known-key", "tracked-key-file"]
        assert [each["path"] for each in staged] == ["config/secret.key"] * 2

    def test_placeholders(self, laptop: Machine) -> None:
        """They are looked for nowhere."""
        laptop.environ.update({V1: "changeme", V2: "todo"})
        laptop.write("secret.key", "# a template\nchangeme\n")
        laptop.put("a.txt", f"changeme\n{V1}=changeme\n")
        ran = scan(laptop)
        assert (incomplete(ran), ran.alerts) == ([NOTHING_KNOWN], [])

    @pytest.mark.parametrize("value", ["hunter2", "x y", '"%s"', "%s\n", "a" * 43], ids=range(5))
    def test_an_unsound_value(self, machine: Machine, value: str) -> None:
        """What would not pass as a key is not looked for, which may miss one: that is said."""
        key = new_key()
        machine.environ[V1] = value.replace("%s", key)
        machine.put("a.txt", f"hunter2\nx y\n{key}\n")
        ran = scan(machine, keys=[key])
        why = "its value (environment) would not pass as a key, and is not looked for"
        assert (incomplete(ran), ran.alerts) == ([f"secret.key: {why}"], [])

    def test_an_unsound_file(self, machine: Machine) -> None:
        """As for a variable; a line that is sound is looked for all the same."""
        key = new_key(64)
        machine.write("secret_v2.key", f"short\n{key}\n")
        machine.put("a.txt", key)
        ran = scan(machine, keys=[key])
        why = "its value (file:config/secret_v2.key) would not pass as a key, and is not looked for"
        assert (incomplete(ran), len(ran.alerts)) == ([f"{OTHER}: {why}"], 1)

    @pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
    def test_a_file_that_cannot_be_judged(self, machine: Machine, encoding: str) -> None:
        """The key that it may hold is looked for nowhere: the scan is incomplete, and must say so."""
        key = new_key()
        machine.write("secret.key", f"# \xe9\n{key}\n".encode(encoding))
        machine.put("a.txt", key)
        ran = scan(machine, keys=[key])
        assert [line.partition(":")[0] for line in incomplete(ran)] == ["secret.key"]

    def test_a_model(self, machine: Machine) -> None:
        """The secrets that it declares, its variables, and their fallback files."""
        machine.environ[V3] = new_key()
        machine.write("player.key", machine.environ[V3])
        other = new_key()
        machine.put("a.txt", f"{machine.environ[V3]}\n{V3}: {other}\n")
        ran = scan(machine, *FURTHER, keys=[other])
        known = f"(known by: environment, file:config/player.key; {fingerprint_of(machine.environ[V3])})"
        given = f"the variable is given what would pass as the key, raw ({fingerprint_of(other)})"
        assert ran.alerts == [
            f"ALERT: player.key: known-key: a.txt:1:1: the key, raw {known}",
            f"ALERT: player.key: assigned-key: a.txt:2:20: {given}",
        ]
        assert notes(ran) == ["config/player.key: a fallback file, where its key may be"]
        assert f"looked for: secret.key, secret_v2.key, player.key, {ASSIGNMENTS}, {V3}" in ran.out.splitlines()
        assert scan(machine, keys=[other]).status == 0

    def test_no_model(self, machine: Machine) -> None:
        """It is a mistake, and nothing of what was given is shown."""
        key = new_key()
        ran = scan(machine, "--model", key, keys=[key])
        assert (ran.status, ran.out, ran.err.startswith(f"{PROGRAM}: --model: ")) == (2, "", True)


class TestMost:
    """A file with more keys than anybody wants to read about."""

    @pytest.mark.parametrize(("keys", "status"), [(MOST_IN_ONE_PLACE, 1), (MOST_IN_ONE_PLACE + 1, 2)])
    def test_the_first_hundred(self, machine: Machine, keys: int, status: int) -> None:
        """These are listed, and that there are more is said."""
        machine.put("a.txt", f"{machine.environ[V1]}\n" * keys)
        ran = scan(machine)
        why = "INCOMPLETE: a.txt: it has more keys than the first 100, which are listed"
        assert (ran.status, len(ran.alerts), why in ran.out) == (status, MOST_IN_ONE_PLACE, status == 2)

    def test_one_key_is_revoked_once(self, machine: Machine) -> None:
        """However often it was found."""
        machine.put("a.txt", f"{machine.environ[V1]}\n" * 9)
        assert scan(machine).out.count("--fingerprint") == 1


class TestArguments:
    """A key that was put where none goes is shown nowhere."""

    @pytest.mark.parametrize("place", range(8))
    def test_a_key_as_an_argument(self, machine: Machine, place: int) -> None:
        """Whatever takes it: nothing passes, and one line says why."""
        key = new_key()
        arguments: tuple[str, ...] = (
            (key,),
            ("--format", key),
            ("--keys-from", key),
            ("--operations-log", key),
            ("--config-dir", key),
            ("--model", key),
            (f"--{key}",),
            ("--staged", f"--fingerprints={key}"),
        )[place]
        ran = scan(machine, *arguments, keys=[key])
        assert ran.status == 2
        assert ran.out.count("\nINCOMPLETE: ") + ran.out.startswith("INCOMPLETE: ") + ran.err.count("\n") == 1

    @pytest.mark.parametrize("form", ["json", "sarif"])
    def test_a_key_as_a_path(self, machine: Machine, form: str) -> None:
        """It is known by its number alone, as a name and as a part of one."""
        key = new_key()
        for name in (key, f"{key}/a.txt", machine.environ[V1]):
            ran = scan(machine, "--format", form, name, keys=[key])
            assert (ran.status, "PATH 1" in ran.out) == (2, True)

    def test_a_key_as_a_name_that_is_there(self, machine: Machine) -> None:
        """It is found, and not shown, of a file, a directory, and what lies below."""
        machine.put(f"{machine.environ[V1]}.txt", "nothing")
        machine.put(f"sub/{machine.environ[V2]}/a.txt", machine.environ[V1])
        shown = [line.partition(": the key")[0] for line in scan(machine).alerts]
        assert shown == [
            "ALERT: secret.key: known-key: [redacted], in the name itself",
            "ALERT: secret_v2.key: known-key: sub/[redacted], in the name itself",
            "ALERT: secret.key: known-key: sub/[redacted]/a.txt:1:1",
        ]

    @posix_only
    def test_a_name_that_would_forge_a_line(self, machine: Machine) -> None:
        """It is escaped."""
        machine.put("a\nALERT: \x1b[31m\N{LATIN SMALL LETTER E WITH ACUTE}\udcff.txt", machine.environ[V1])
        ran = scan(machine)
        assert ran.out.splitlines()[0].startswith(
            r"ALERT: secret.key: known-key: a\nALERT: \x1b[31m\xe9\udcff.txt:1:1: the key, raw "
        )
        assert (len(ran.alerts), ran.out.isascii()) == (1, True)

    def test_a_path_that_begins_with_a_hyphen(self, machine: Machine) -> None:
        """It is written as ./-a.txt: -- is for the command of exec."""
        machine.put("-a.txt", machine.environ[V1])
        assert scan(machine, "./-a.txt").status == 1
        assert scan(machine, "--", "-a.txt").status == 2

    def test_help(self, machine: Machine) -> None:
        """Every option and every status is there."""
        ran = scan(machine, "--help")
        assert ran.status == 0
        words = ("PATH", "--git-history", "--staged", "--fingerprints", "--keys-from", "--format {text,json,sarif}")
        assert [word for word in (*words, "exit status: 0 nothing found, 1 found, 2 ") if word not in ran.out] == []


class TestStreams:
    """Where the result and the progress go."""

    AT_ONCE = patch("robodj_secretguard.cli.output.PROGRESS_SECONDS", 0)

    @pytest.mark.parametrize("form", ["text", "json", "sarif"])
    def test_stdout_that_cannot_be_written(self, machine: Machine, form: str) -> None:
        """The result is lost, so nobody may take it for clean."""
        stdout = io.StringIO()
        stdout.close()
        ran = machine.call("scan", "--format", form, stdout=stdout)
        assert (ran.status, ran.err) == (2, f"{PROGRAM}: the result could not be written\n")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
    def test_a_disk_that_is_full(self, machine: Machine) -> None:
        """The same, of a real process."""
        machine.put("a.txt", machine.environ[V1])
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(
                [sys.executable, "-m", "robodj_secretguard", "scan"],
                env=clean_environment() | machine.environ,
                cwd=machine.root,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        assert (done.returncode, without_model(done.stderr)) == (2, f"{PROGRAM}: the result could not be written\n")

    def test_progress_is_for_a_terminal(self, machine: Machine) -> None:
        """None is written to a file or a pipe."""
        machine.put("a.txt", "nothing")
        with self.AT_ONCE:
            assert scan(machine).err == ""
            assert self.progress(machine)

    def test_progress_is_taken_away(self, machine: Machine) -> None:
        """What is there in the end is a line of blanks, and nothing of it shows a name."""
        machine.put(f"{machine.environ[V1]}/a.txt", "nothing")
        with self.AT_ONCE:
            shown = self.progress(machine).split("\r")
        assert [each.rstrip() for each in shown if each.strip()] == [f"{PROGRAM}: 1 looked at, 0.0 MiB"] * 2
        assert (shown[-2], shown[-1]) == (" " * 79, "")

    def test_a_short_scan_shows_none(self, machine: Machine) -> None:
        """It is over before anybody would look."""
        with patch("robodj_secretguard.cli.output.PROGRESS_SECONDS", TIMEOUT):
            assert self.progress(machine) == ""

    def test_progress_of_what_git_keeps(self, machine: Machine) -> None:
        """Its objects are counted as files are."""
        repository(machine)
        machine.put("a.txt", "nothing")
        git(machine.root, "add", "a.txt")
        with self.AT_ONCE:
            shown = self.progress(machine, "--staged").split("\r")
        assert [each.rstrip() for each in shown if each.strip()] == [f"{PROGRAM}: 1 looked at, 0.0 MiB"] * 2

    @staticmethod
    def progress(machine: Machine, *options: str) -> str:
        """Return what a scan writes to a terminal."""
        screen = Terminal()
        with patch("contextlib.redirect_stderr", lambda _: patch.object(sys, "stderr", screen)):
            machine.call("scan", *options)
        assert leaks(screen.getvalue(), [machine.environ[V1], machine.environ[V2]]) == []
        return without_model(screen.getvalue())

    @posix_only
    def test_a_real_terminal(self, machine: Machine) -> None:
        """The progress is on the terminal, and the result in the pipe."""
        machine.put("a.txt", "nothing")
        script = (
            "from robodj_secretguard.cli import output; output.PROGRESS_SECONDS = 0;"
            " from robodj_secretguard.cli import main; raise SystemExit(main(['scan', '--format', 'json']))"
        )
        ours, theirs = os.openpty()
        with open(ours, "rb", buffering=0) as screen, open(theirs, "rb", buffering=0) as terminal:
            done = subprocess.run(
                [sys.executable, "-c", script],
                env=clean_environment() | machine.environ,
                cwd=machine.root,
                stdout=subprocess.PIPE,
                stderr=terminal,
                timeout=TIMEOUT,
                check=False,
            )
            shown = screen.read(1 << 16).decode()
        assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True)
        assert shown.startswith(f"\r{PROGRAM}: ")
        assert without_model(shown).endswith(f"\r{' ' * 79}\r")

    def test_a_real_process(self, machine: Machine) -> None:
        """Run as its users do, it says the same as in this process."""
        machine.put("a.txt", machine.environ[V1])
        env = clean_environment() | machine.environ
        ran = run(["-m", "robodj_secretguard", "scan"], env=env, cwd=machine.root, keys=[machine.environ[V1]])
        assert ran == scan(machine)


@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (lambda _: None, 0),
        (lambda machine: machine.put("a.txt", machine.environ[V1]), 1),
        (lambda machine: machine.log.mkdir(parents=True), 2),
        (lambda machine: machine.environ.update({V1: "short"}), 2),
    ],
    ids=["clean", "found", "incomplete", "unsound"],
)
@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_the_status_of_every_form(machine: Machine, prepare: Callable[[Machine], None], status: int, form: str) -> None:
    """It is the same in each, and the result is on stdout alone."""
    prepare(machine)
    ran = scan(machine, "--format", form)
    assert (ran.status, ran.err, bool(ran.out)) == (status, "", True)
