"""`scan`: its options and scopes, which keys it searches for, what it cannot read, and its exit status."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import pytest
from command_line import OTHER, Machine, fingerprint_of, machine_at, rotated
from conftest import KEY_VARIABLES, NOW, V1, V2, Ran, good_keys, put
from detector import leaks
from pydantic import SecretStr, TypeAdapter
from repositories import NO_CONFIGURATION, commit, git, made

from robodj_secretguard import RuntimeSecrets, SecretPolicy
from robodj_secretguard.scan.result import CLEAN, KnownKey, Scan
from robodj_secretguard.startup.inputs import NOT_UTF_8
from robodj_secretguard.startup.model_option import LIBRARY_MODEL

PROGRAM = "robodj-secretguard"
V3 = "ROBODJ_PLAYER_KEY"
NOTHING_KNOWN = (
    "keys: no valid key is set, recorded or revoked here, so only assignments and tracked key files were searched for;"
    " set the keys, or pass --from or --keys-from"
)
NO_KEY_OF_IT = "no key of this secret is known here, so none was searched for"
UNSOUND = "is invalid, so it was not searched for"


class Further(RuntimeSecrets):
    """A service with a third secret."""

    player: Annotated[
        SecretStr,
        SecretPolicy(
            name="player.key",
            variable=V3,
            owner="Audio",
            backup_owner="Release Manager",
            cadence=timedelta(days=90),
            warn_before=timedelta(days=7),
        ),
    ]


FURTHER = ("--model", f"{__name__}:Further")


def new_key(size: int = 32) -> str:
    """Make a key that is not hexadecimal, since many names that git writes are."""
    return f"k{secrets.token_urlsafe(size)[1:]}"


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
    with tempfile.TemporaryFile() as file, io.TextIOWrapper(file) as pipe:
        file.write(stdin or b"")
        file.seek(0)
        with patch.object(sys, "stdin", None if stdin is None else pipe):
            ran = machine.call("scan", *arguments)
    delivered = [machine.environ[name] for name in (V1, V2, V3) if name in machine.environ]
    assert leaks(ran.out + ran.err, [*delivered, *keys]) == []
    return ran


def document(machine: Machine, *arguments: str) -> dict[str, Any]:
    """Return a scan's JSON document."""
    return scan(machine, "--format", "json", *arguments).document


_WHAT = re.compile(": (?:contains the key|sets the variable|git tracks) ")


def found(ran: Ran) -> list[str]:
    """Return the secret and the place of each finding."""
    return [_WHAT.split(line.removeprefix("ALERT: "))[0].replace(" known-key:", "") for line in ran.alerts]


def lines(ran: Ran, label: str) -> list[str]:
    """Return the items under a label."""
    return [line.removeprefix(f"{label}: ") for line in ran.out.splitlines() if line.startswith(f"{label}: ")]


def incomplete(ran: Ran) -> list[str]:
    """Return what an incomplete scan did not read."""
    assert ran.status == 2
    assert ran.out.splitlines()[-1].startswith("Scan INCOMPLETE: ")
    return lines(ran, "INCOMPLETE")


def notes(ran: Ran) -> list[str]:
    """Return what was not read and does not matter."""
    return lines(ran, "note")


def refused(ran: Ran, message: str) -> None:
    """Make sure that a command did nothing, and gave a reason."""
    assert (ran.status, ran.out, ran.err) == (2, "", f"{PROGRAM}: {message}\n")


class TestResult:
    """The output, and the exit status."""

    @pytest.mark.parametrize(
        ("prepare", "status"),
        [
            (lambda _: None, 0),
            (lambda machine: machine.put("a.txt", machine.environ[V1]), 1),
            (lambda machine: machine.environ.update({V1: "short"}), 2),
        ],
        ids=["clean", "found", "incomplete"],
    )
    def test_the_status(self, machine: Machine, prepare: Callable[[Machine], None], status: int) -> None:
        """The exit status is the same in every output format, and the result is on stdout alone."""
        prepare(machine)
        for form in ("text", "json"):
            ran = scan(machine, "--format", form)
            assert (ran.status, ran.err, bool(ran.out)) == (status, "", True)

    def test_text(self, machine: Machine) -> None:
        """Text has the findings, the instructions with the options of the scan, and the verdict."""
        machine.put("a.txt", f"one\n  two {machine.environ[V1]}\n")
        (machine.root / "conf").mkdir()
        ran = scan(machine, "--config-dir", "conf", *FURTHER)
        key = f"contains the key (form: raw; known by: environment; {machine.fingerprint()})"
        assert ran.out.splitlines()[0] == f"ALERT: secret.key: known-key: a.txt:2:7: {key}"
        assert (
            f"     {PROGRAM} rotate plan secret.key --emergency --config-dir conf --model {__name__}:Further\n"
            in ran.out
        )
        assert ran.out.splitlines()[-1] == "Scan FAILED: 1 finding."
        machine.put("a.txt", "nothing")
        assert scan(machine).out.splitlines()[-1] == CLEAN

    def test_json(self, machine: Machine) -> None:
        """The JSON document is the scan, with its start time and the known facts of each key."""
        machine.put("a.txt", machine.environ[V1])
        machine.record(rotated(NOW, machine.fingerprint()))
        scan_ = TypeAdapter(Scan).validate_json(scan(machine, "--format", "json").out)
        assert (scan_.scanned_at, scan_.scope, scan_.variables, scan_.files) == (NOW, "files", KEY_VARIABLES, 3)
        one = KnownKey(machine.fingerprint(), "secret.key", "prod", ("environment", "operations log"))
        assert scan_.looked_for == (one, KnownKey(machine.fingerprint(V2), OTHER, None, ("environment",)))
        assert [each.fingerprint for each in scan_.findings] == [one.fingerprint]

    def test_every_slot(self, machine: Machine) -> None:
        """Next and previous keys, and assignments of their variables, are found."""
        slots = {f"{V1}_NEXT": good_keys()[V1], f"{V1}_PREVIOUS": good_keys()[V1]}
        machine.environ.update(slots)
        machine.put("a.txt", "\n".join(slots.values()))
        machine.put("b.env", f"{V1}_NEXT={good_keys()[V1]}\n")
        lines = [line for line in scan(machine).out.splitlines() if line.startswith("ALERT")]
        assert [line.split(": ")[2] for line in lines] == ["known-key", "known-key", "assigned-key"]

    def test_an_interrupt(self, machine: Machine) -> None:
        """Of an interrupted scan, nothing is reported."""
        machine.put("a.txt", machine.environ[V1])
        with patch("robodj_secretguard.scan.scanner.walk", side_effect=KeyboardInterrupt):
            refused(scan(machine), "the command failed (KeyboardInterrupt)")


class TestScope:
    """The scopes: files, the content of the next commit, or all that git keeps."""

    def test_paths(self, machine: Machine) -> None:
        """Exactly the named paths are searched, each once."""
        for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "d.txt"):
            machine.put(name, machine.environ[V1])
        result = document(machine, "d.txt", "sub", "d.txt")
        assert [each["path"] for each in result["findings"]] == ["d.txt", "sub/b.txt", "sub/deep/c.txt"]
        assert result["files"] == 3

    def test_a_path_that_is_a_key(self, machine: Machine) -> None:
        """A path that does not exist is reported by its number, since it may be a key. Any other path is searched."""
        machine.put("a.txt", "nothing")
        for key in (machine.environ[V1], f"./{machine.environ[V1]}", f"{machine.environ[V1]}/a.txt"):
            assert incomplete(scan(machine, "a.txt", key)) == ["PATH 2: it does not exist"]
        machine.put(machine.environ[V1], "nothing")
        assert found(scan(machine, f"./{machine.environ[V1]}")) == ["secret.key: [redacted], in its name"]

    def test_staged(self, machine: Machine) -> None:
        """With --staged, content in the index that is not in the last commit is searched, and no file."""
        commit(made(machine.root))
        machine.put("a.txt", machine.environ[V1])
        ran = scan(machine, "--staged")
        assert (ran.status, found(ran)) == (0, [])
        git(machine.root, "add", "a.txt")
        machine.put("a.txt", "nothing")
        for path in ([], ["a.txt"], ["config"]):
            assert found(scan(machine, "--staged", *path)) == ["secret.key: a.txt:1:1 in the index"]
        assert document(machine, "--staged")["scope"] == "staged"

    def test_history(self, machine: Machine) -> None:
        """With --git-history, objects are searched, and the files, also those in git's own directory."""
        made(machine.root)
        machine.put("a.txt", f"\n{machine.environ[V1]}")
        git(machine.root, "add", "a.txt")
        leak = commit(machine.root)
        git(machine.root, "rm", "-q", "a.txt")
        machine.put("sub/b.txt", machine.environ[V1])
        machine.put(".git/info/notes", machine.environ[V1])
        assert found(scan(machine, "--git-history", "sub")) == [
            f"secret.key: a.txt:2:1 in commit {leak}",
            "secret.key: sub/b.txt:1:1",
            f"secret.key: {os.path.realpath(machine.root)}/.git/info/notes:1:1",
        ]
        assert document(machine, "--git-history")["scope"] == "git-history"

    @pytest.mark.parametrize("option", ["--staged", "--git-history"])
    def test_git(self, machine: Machine, option: str) -> None:
        """One scan covers the commits of one repository. A missing repository is reported."""
        why = "--git-history and --staged search one repository; pass paths in one repository only"
        for name in ("one", "two"):
            (machine.root / name / "sub").mkdir(parents=True)
            made(machine.root / name)
        refused(scan(machine, option, "one", "two"), why)
        assert scan(machine, option, "one", "one/sub").status == scan(machine, "one", "two").status == 0
        none = "git: there is no repository, or git refuses it (exit status 128); run git status"
        assert incomplete(scan(machine, option)) == [none]

    @pytest.mark.parametrize("options", [("--git-history",), ("--keys-from", "a"), ("--from", "json:-")], ids=" ".join)
    def test_options_that_exclude_each_other(self, machine: Machine, options: tuple[str, ...]) -> None:
        """Two options that conflict are a usage error."""
        why = "--fingerprints cannot be combined with --from or --keys-from; leave it out"
        if options == ("--git-history",):
            why = "--staged and --git-history cannot be combined; leave one of them out"
        refused(scan(machine, "--staged", "--fingerprints", *options), why)


class TestKeysFrom:
    """Keys that an operator passes, one in each line."""

    def test_a_pipe(self, laptop: Machine) -> None:
        """The keys in a pipe are searched for, also within longer text. Their secrets are unknown."""
        first, second = new_key(45), secrets.token_hex(64)
        laptop.put("a.txt", f"AAAA{first}AAAA\n{second.upper()}\n")
        ran = scan(laptop, "--keys-from", "-", stdin=f"# old\n\n{first}\r\n{second}".encode(), keys=[first, second])
        assert (ran.status, found(ran)) == (1, ["a key: a.txt:1:5", "a key: a.txt:2:1"])
        assert f"form: raw; known by: keys-from; {fingerprint_of(first)})" in ran.out

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"\n# nothing\n", "the file has no key"),
            (b"%s\nchangeme\nshort\n", "key 2 is invalid (comments are not counted)"),
            (b"# mine\n\nROBODJ_SECRET_KEY=%s\n", "key 1 is invalid (comments are not counted)"),
            (b"\xff%s", "the file is not UTF-8"),
        ],
        ids=["comments", "second", "assignment", "binary"],
    )
    def test_what_is_not_a_key(self, machine: Machine, content: bytes, why: str) -> None:
        """A line that is not a possible key is an error: nothing is searched, and the line's number is shown."""
        key = new_key()
        ran = scan(machine, "--keys-from", "-", stdin=content.replace(b"%s", key.encode()), keys=[key])
        refused(ran, f"--keys-from: {why}; write one valid key on each line")

    def test_how_much(self, laptop: Machine) -> None:
        """Keys are read up to a size limit."""
        key = new_key()
        most = f"{key}\n".encode().ljust(1 << 16, b"\n")
        assert scan(laptop, "--keys-from", "-", stdin=most).status == 0
        message = "--keys-from: the input is larger than the limit of 65536 bytes"
        refused(scan(laptop, "--keys-from", "-", stdin=most + b"\n", keys=[key]), message)


class TestSources:
    """Keys of a secret manager."""

    def test_a_directory(self, laptop: Machine) -> None:
        """Its keys are searched for, and its revocations are known. The commands that are printed read it as well."""
        key, revoked = new_key(), new_key()
        source = laptop.root.parent / f"{laptop.root.name}-keys"
        source.mkdir(mode=0o700)
        put(source / V1, key, 0o600)
        put(source / "ROBODJ_REVOKED_FINGERPRINTS", fingerprint_of(revoked), 0o600)
        laptop.put("a.txt", f"{key}\n{revoked}\n")
        ran = scan(laptop, "--from", f"directory:{source}", "a.txt", keys=[key, revoked])
        assert (ran.status, found(ran)) == (1, ["secret.key: a.txt:1:1", "a key: a.txt:2:1"])
        assert f"known by: directory:{source}; " in ran.out
        assert (
            f"{PROGRAM} rotate plan secret.key --emergency --from directory:{source} --model {LIBRARY_MODEL}\n"
            in ran.out
        )

    @pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "\r", "\u202e", "\x9b2J", "\udcff"], ids=ascii)
    def test_a_directory_with_an_unusual_name(self, laptop: Machine, name: str) -> None:
        """No name in a source, in a path or below it writes to the terminal: the output is ASCII, in whole lines."""
        key = new_key()
        for directory in (laptop.root / f"at-{name}", laptop.root / f"keys-{name}"):
            directory.mkdir(mode=0o700)
        put(laptop.root / f"keys-{name}" / V1, key, 0o600)
        made(laptop.root / f"at-{name}")
        os.mkfifo(laptop.root / f"at-{name}" / ".git" / name)
        laptop.put(f"at-{name}/{name}", key)
        for source in (f"keys-{name}", f"none-{name}"):
            for form in ("text", "json"):
                ran = scan(laptop, f"at-{name}", "--from", f"directory:{source}", "--format", form, keys=[key])
                written = ran.out + ran.err
                assert (written.isascii(), written.replace("\n", "").isprintable()) == (True, True)
                assert not any(line.startswith(name[-5:]) for line in written.splitlines())

    def test_stdin(self, laptop: Machine) -> None:
        """Stdin is read once, for the sources or for further keys. No command that is printed reads it."""
        key = new_key()
        laptop.put("a.txt", key)
        stdin = json.dumps({V1: key}).encode()
        ran = scan(laptop, "--from", "json:-", stdin=stdin, keys=[key])
        assert found(ran) == ["secret.key: a.txt:1:1"]
        assert f"{PROGRAM} rotate plan secret.key --emergency --model {LIBRARY_MODEL}\n" in ran.out
        both = ("--from", "json:-", "--keys-from", "-")
        refused(
            scan(laptop, *both, stdin=stdin),
            "--keys-from - and --from json:- both read stdin; name a file for one of them",
        )

    def test_a_source_that_fails(self, laptop: Machine) -> None:
        """A source that cannot be read makes the scan incomplete, and the rest is searched."""
        key = new_key()
        laptop.put("a.txt", f"{V1}={key}")
        ran = scan(laptop, "--from", "directory:nowhere", keys=[key])
        why, nothing = incomplete(ran)
        assert (ran.status, why.startswith("--from: directory:nowhere "), nothing) == (2, True, NOTHING_KNOWN)
        assert found(ran) == ["secret.key: assigned-key: a.txt:1:19"]


class TestFingerprints:
    """Keys that are only known by their fingerprints."""

    @pytest.mark.parametrize("options", [(), ("--fingerprints",)])
    @pytest.mark.parametrize("by", ["log", "list"])
    def test_where_they_come_from(self, laptop: Machine, by: str, options: tuple[str, ...]) -> None:
        """Fingerprints of the operations log and of the revocation list are searched for."""
        key = new_key()
        if by == "log":
            laptop.record(rotated(NOW, fingerprint_of(key), environment="staging"))
        else:
            laptop.write("revoked.fingerprints", f"# leaked\n{fingerprint_of(key)}\n")
        laptop.put("sub/a.txt", f"key: {key}\n")
        ran = scan(laptop, *options, keys=[key])
        whose, source = ("secret.key (staging)", "operations log") if by == "log" else ("a key", "revocation list")
        assert (ran.status, found(ran)) == (1, [f"{whose}: sub/a.txt:1:6"])
        assert f"form: raw; known by: {source}; {fingerprint_of(key)})" in ran.out

    def test_no_key_is_used(self, machine: Machine) -> None:
        """With --fingerprints, a delivered key is neither searched for nor judged."""
        machine.put("a.txt", machine.environ[V1])
        machine.environ[V2] = "short"
        machine.write("secret.key", new_key())
        ran = scan(machine, "--fingerprints", "a.txt")
        assert (incomplete(ran), found(ran)) == ([NOTHING_KNOWN], [])

    def test_nothing_is_known(self, laptop: Machine) -> None:
        """Without a key, only assignments are searched. That is incomplete, and a note before a commit."""
        made(laptop.root)
        for options in ((), ("--fingerprints",)):
            assert incomplete(scan(laptop, *options)) == [NOTHING_KNOWN]
        ran = scan(laptop, "--staged")
        assert (ran.status, notes(ran)) == (0, [NOTHING_KNOWN])
        key = new_key()
        laptop.put("a.env", f"{V1}={key}\n")
        git(laptop.root, "add", "a.env")
        assert [scan(laptop, *options, keys=[key]).status for options in ((), ("--staged",))] == [2, 1]

    def test_before_a_commit(self, laptop: Machine) -> None:
        """A hook says if it searched by fingerprints alone, or if the key that is set cannot be searched for."""
        made(laptop.root)
        laptop.record(rotated(NOW, fingerprint_of(new_key())))
        alone = "keys: no key itself was searched for, only fingerprints"
        assert notes(scan(laptop, "--staged"))[-1] == alone
        laptop.environ[V1] = "hunter2"
        ran = scan(laptop, "--staged")
        assert (ran.status, notes(ran)[0]) == (0, f"secret.key: its value (environment) {UNSOUND}")

    def test_a_damaged_log(self, laptop: Machine) -> None:
        """The readable records of a damaged log are searched for, and the damage matters. A torn last line does not."""
        keys = [new_key(), new_key()]
        laptop.record(*(rotated(NOW, fingerprint_of(each)) for each in (*keys, new_key())))
        laptop.put("a.txt", "\n".join(keys))
        laptop.log.write_bytes(laptop.log.read_bytes()[:-9])
        ran = scan(laptop, "--fingerprints", "a.txt", keys=keys)
        assert [each.partition(":")[0] for each in notes(ran)] == ["operations log", OTHER]
        assert (ran.status, len(ran.alerts)) == (1, 2)
        laptop.log.write_bytes(laptop.log.read_bytes().replace(b'"Ada"', b'"Eve"', 1))
        ran = scan(laptop, "--fingerprints", "a.txt", keys=keys)
        assert {each.partition(":")[0] for each in incomplete(ran)} == {"operations log"}
        assert len(ran.alerts) == 2

    def test_a_log_that_cannot_be_read(self, laptop: Machine) -> None:
        """A log that cannot be read is reported."""
        laptop.log.mkdir(parents=True)
        assert incomplete(scan(laptop)) == ["operations log: it is not a regular file", NOTHING_KNOWN]

    def test_a_named_log(self, laptop: Machine) -> None:
        """The named log replaces the default one. If it does not exist, that is reported."""
        key = new_key()
        laptop.record(rotated(NOW, fingerprint_of(key)))
        laptop.log.rename(laptop.root / "kept.jsonl")
        laptop.put("a.txt", key)
        ran = scan(laptop, "--operations-log", "kept.jsonl", "a.txt", keys=[key])
        assert found(ran) == ["secret.key (prod): a.txt:1:1"]
        why = "operations log: the operations log that --operations-log names does not exist"
        ran = scan(laptop, "--operations-log", "nowhere.jsonl", "a.txt", keys=[key])
        assert incomplete(ran) == [why, NOTHING_KNOWN]

    def test_a_named_config_directory(self, laptop: Machine) -> None:
        """A named config directory has the list, the log and the fallback files. If it is missing, that is reported."""
        revoked, recorded = new_key(), new_key()
        elsewhere = machine_at(laptop.root / "config")
        elsewhere.write("revoked.fingerprints", fingerprint_of(revoked))
        elsewhere.write("secret.key", revoked)
        elsewhere.record(rotated(NOW, fingerprint_of(recorded)))
        laptop.write("secret.key", recorded)
        ran = scan(laptop, "--fingerprints", "--config-dir", "config/config", keys=[revoked, recorded])
        assert found(ran) == ["secret.key (prod): config/secret.key:1:1"]
        assert notes(ran) == ["config/config/secret.key: this is a fallback file, so it was not searched"]
        why, *others = incomplete(scan(laptop, "--config-dir", "nowhere", keys=[revoked]))
        assert (why.startswith("set-up: the config directory "), others) == (True, [NOTHING_KNOWN])

    def test_a_revocation_list_that_is_invalid(self, laptop: Machine) -> None:
        """The valid entries of a revocation list are searched for, and its faults are reported."""
        key = new_key()
        laptop.write("revoked.fingerprints", f"nothing\n{fingerprint_of(key)}\n")
        laptop.put("a.txt", key)
        ran = scan(laptop, "a.txt", keys=[key])
        assert [each.partition(":")[0] for each in incomplete(ran)] == ["revocation list"]
        assert found(ran) == ["a key: a.txt:1:1"]


class TestValues:
    """Keys that are available, even if a service would not use them."""

    def test_the_environment_and_a_file(self, machine: Machine) -> None:
        """A fallback file is searched for, also if it has another key than the variable, or is unsafe."""
        key = new_key()
        machine.write("secret.key", key)
        machine.environ["ROBODJ_PROTECTED_ENV"] = "1"
        machine.put("a.txt", f"{machine.environ[V1]}\n{key}\n")
        ran = scan(machine, keys=[key])
        assert found(ran) == ["secret.key: a.txt:1:1", "secret.key: a.txt:2:1"]
        assert f"form: raw; known by: file:config/secret.key; {fingerprint_of(key)})" in ran.out

    def test_a_file_alone(self, laptop: Machine) -> None:
        """The fallback file itself is not searched. A secret without a known key is a note."""
        key = new_key()
        laptop.write("secret.key", key)
        ran = scan(laptop, keys=[key])
        fallback = "config/secret.key: this is a fallback file, so it was not searched"
        assert (ran.status, notes(ran)) == (0, [f"{OTHER}: {NO_KEY_OF_IT}", fallback])
        assert notes(scan(laptop, "--keys-from", "-", stdin=new_key().encode())) == [fallback]

    @pytest.mark.parametrize("value", ["hunter2", '"%s"', "%s\n"], ids=["password", "quoted", "with newline"])
    def test_a_weak_value(self, machine: Machine, value: str) -> None:
        """A value that is not a possible key is not searched for, so the scan is incomplete."""
        key = new_key()
        machine.environ[V1] = value.replace("%s", key)
        machine.write("secret_v2.key", f"short\n{new_key(64)}\n")
        machine.put("a.txt", f"hunter2\n{key}\n")
        ran = scan(machine, keys=[key])
        assert incomplete(ran) == [
            f"secret.key: its value (environment) {UNSOUND}",
            f"{OTHER}: its value (file:config/secret_v2.key) {UNSOUND}",
        ]

    def test_a_key_of_before_the_adoption(self, machine: Machine) -> None:
        """A previous key that the policy would not accept is found as it is. Only that key is to be ended."""
        characters = "abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)"
        old = "".join(secrets.choice(characters) for _ in range(50)) + "%a%"  # a template in a generated key
        machine.environ[f"{V1}_PREVIOUS"] = old
        machine.put("a.py", f"SECRET_KEY = {old!r}\n")
        ran = scan(machine, keys=[old])
        assert found(ran) == ["secret.key: a.py:1:15"]
        assert f"Unset {V1}_PREVIOUS and its deadline" in ran.out
        assert re.search("rotate|revoke", ran.out) is None

    def test_a_file_that_cannot_be_read(self, machine: Machine) -> None:
        """The key in an unreadable fallback file may be missed, which is reported."""
        machine.write("secret.key", f"# \xe9\n{new_key()}\n".encode("latin-1"))
        assert incomplete(scan(machine)) == [f"secret.key: the key file config/secret.key {NOT_UTF_8}"]

    def test_a_model_of_the_project(self, machine: Machine) -> None:
        """Without --model, a project's model makes the scan incomplete; for staged changes it is a note."""
        machine.put("pyproject.toml", f'[tool.robodj-secretguard]\nmodel = "{__name__}:Further"\n')
        why = "model: pyproject.toml names a model, which scan does not import; if you trust it, add --model"
        assert incomplete(scan(machine)) == [f"{why} {__name__}:Further"]
        assert scan(machine, "--model", f"{__name__}:Further").status == 0
        made(machine.root)
        assert lines(scan(machine, "--staged"), "note") == [f"{why} {__name__}:Further"]
        machine.put("pyproject.toml", f'[tool.robodj-secretguard]\nmodel = "{machine.environ[V1]}"\n')
        assert incomplete(scan(machine)) == [f"{why} MODULE:CLASS"]

    def test_a_model(self, machine: Machine) -> None:
        """The secrets of a model are searched for. Its variables and fallback files are known."""
        machine.environ[V3], other = new_key(), new_key()
        machine.write("player.key", machine.environ[V3])
        machine.put("a.txt", f"{machine.environ[V3]}\n{V3}: {other}\n")
        ran = scan(machine, *FURTHER, keys=[other])
        assert found(ran) == [
            "player.key: a.txt:1:1",
            "player.key: assigned-key: a.txt:2:20",
        ]
        assert notes(ran) == ["config/player.key: this is a fallback file, so it was not searched"]
        assert scan(machine, keys=[other]).status == 0
