"""`generate`: new keys, printed where they are asked for and nowhere else, or written to the fallback files."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import pytest
from command_line import Machine, Terminal, fingerprint_of, key_as_argument, machine_at, on_terminal
from conftest import V1, V2, clean_environment, found, good_keys, run
from detector import leaks
from mounts import run_with_mounts
from pydantic import SecretStr  # noqa: TC002 - the model needs it at run time

from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings, check, files
from robodj_secretguard.cli import main
from robodj_secretguard.cli.rotate import CI_VARIABLES
from robodj_secretguard.lifecycle import key_files
from robodj_secretguard.policy import Generator, Length, Material
from robodj_secretguard.sources import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN = "ROBODJ_OWN_KEY"
SHAPES = {V1: r"[A-Za-z0-9_-]{43}", V2: r"[0-9a-f]{128}", OWN: r"[0-9a-f]{96}"}
LOCK = files.LOCK_FILE
POLICY = SecretPolicy(
    name="own.key",
    variable=OWN,
    file="config/keys/own.key",
    owner="Us",
    backup_owner="Them",
    cadence=timedelta(days=9),
    warn_before=timedelta(days=1),
    generator=Generator("token_hex", 48),
    material=Material(base64url=Length(64), hexadecimal=Length(96)),
)

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes, FIFOs, links and terminals are POSIX's")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file to another user"
)


class One(SecretSettings):
    """A service with a single secret, whose file is further down."""

    own: Annotated[SecretStr, POLICY]


class Ours(RuntimeSecrets):
    """A service with a secret beside the policy's."""

    own: Annotated[SecretStr, POLICY]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that has no key yet."""
    machine = machine_at(tmp_path)
    machine.environ.clear()
    return machine


def refused(machine: Machine, *arguments: str) -> str:
    """Run a command that generates nothing, and return why."""
    ran = machine.call("generate", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("robodj-secretguard: ")
    assert ran.err.endswith("\n")
    return ran.err.removeprefix("robodj-secretguard: ").removesuffix("\n")


class TestPrinted:
    """What a pipe gets."""

    @pytest.mark.parametrize(("name", "variable"), [("secret.key", V1), (V1, V1), ("secret_v2.key", V2), (V2, V2)])
    def test_a_bare_key(self, machine: Machine, name: str, variable: str) -> None:
        """The key of one secret, by its name or its variable, without an end of line."""
        ran = machine.call("generate", name)
        assert (ran.status, ran.err) == (0, "")
        assert re.fullmatch(SHAPES[variable], ran.out)
        assert found(check(environ=good_keys() | {variable: ran.out}, config_dir=machine.config)) == []

    @pytest.mark.parametrize("names", [(), ("secret_v2.key",)])
    @pytest.mark.parametrize("form", ["env", "json"])
    def test_variables(self, machine: Machine, form: str, names: tuple[str, ...]) -> None:
        """The variables of all secrets, in their order, or of one."""
        ran = machine.call("generate", *names, "--format", form)
        assert (ran.status, ran.err, ran.out[-1]) == (0, "", "\n")
        is_json = form == "json"
        keys = json.loads(ran.out) if is_json else dict(line.split("=", 1) for line in ran.out.splitlines())
        assert list(keys) == ([V2] if names else [V1, V2])
        assert found(check(environ=good_keys() | keys, config_dir=machine.config)) == []

    def test_no_key_is_given_out_twice(self, machine: Machine) -> None:
        """Each is new."""
        keys = {machine.call("generate", "secret.key").out for _ in range(9)}
        assert len(keys) == 9

    def test_one_of_several_must_be_named(self, machine: Machine) -> None:
        """A bare key would not say whose it is."""
        said = "name one secret (secret.key, secret_v2.key), or pass --format env or json for all of them"
        assert refused(machine) == said

    def test_the_only_one_need_not_be_named(self, machine: Machine) -> None:
        """With one declared secret it is clear whose key is meant."""
        ran = machine.call("generate", "--model", f"{__name__}:One")
        assert (ran.status, ran.err) == (0, "")
        assert re.fullmatch(SHAPES[OWN], ran.out)

    def test_a_model_of_ones_own(self, machine: Machine) -> None:
        """Its secrets are generated as their policies say, beside those that it inherits."""
        ran = machine.call("generate", "--format", "json", "--model", f"{__name__}:Ours")
        keys = json.loads(ran.out)
        assert list(keys) == [V1, V2, OWN]
        assert all(re.fullmatch(SHAPES[variable], key) for variable, key in keys.items())
        assert found(check(Ours, environ=keys, config_dir=machine.config)) == []

    @pytest.mark.parametrize("name", ["secret", "SECRET.KEY", "", key_as_argument()], ids=range(4))
    def test_an_unknown_secret_is_not_echoed(self, machine: Machine, name: str) -> None:
        """What is no declared secret may be a key."""
        assert refused(machine, name) == "there is no such secret: the model declares secret.key, secret_v2.key"

    def test_a_process(self, machine: Machine) -> None:
        """Nothing but the key goes into a pipe, and through it."""
        ran = run(["-m", "robodj_secretguard", "generate", "secret.key"], env=clean_environment(), cwd=machine.root)
        assert (ran.status, ran.err) == (0, "")
        assert re.fullmatch(SHAPES[V1], ran.out)

    def test_a_stream_that_is_closed(self, machine: Machine) -> None:
        """A key that nobody got is no success."""
        stdout = io.StringIO()
        stdout.close()
        ran = machine.call("generate", "secret.key", stdout=stdout)
        assert (ran.status, ran.err) == (2, "robodj-secretguard: the result could not be written\n")

    def test_an_interrupt_while_it_is_written(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No frame of the program holds the key where a traceback with locals would show it."""
        for name in CI_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("robodj_secretguard.cli.output.silence_broken_streams", interrupt)
        with pytest.raises(KeyboardInterrupt) as raised:
            main(["generate", "secret.key"])
        key = capsys.readouterr().out
        frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack
        shown = "".join(str(frame.locals) for frame in frames if "robodj_secretguard" in frame.filename)
        assert (len(key), leaks(shown, [key])) == (43, [])


def interrupt() -> None:
    """Stand in for an operator who interrupts."""
    raise KeyboardInterrupt


class TestShown:
    """Where somebody looks, or keeps the output, a key is shown only with --show."""

    ON_A_TERMINAL = (
        "a key is not shown on a terminal without --show; pipe it into the secret manager's own command instead"
    )
    IN_CI = (
        "a key is not shown in CI, where the output is probably kept, without --show; pipe it into the secret"
        " manager's own command instead"
    )

    @pytest.mark.parametrize("arguments", [("secret.key",), ("--format", "env"), ("--format", "json")])
    def test_in_ci(self, machine: Machine, arguments: tuple[str, ...]) -> None:
        """What a job prints is kept."""
        machine.environ["CI"] = "true"
        assert refused(machine, *arguments) == self.IN_CI

    @pytest.mark.parametrize("variable", CI_VARIABLES)
    def test_in_every_ci(self, machine: Machine, variable: str) -> None:
        """Each system's own variable is enough: not all of them set `CI`."""
        machine.environ[variable] = "1"
        assert refused(machine, "secret.key") == self.IN_CI

    def test_in_ci_where_it_is_asked_for(self, machine: Machine) -> None:
        """It is still for a pipe: there is no end of line."""
        machine.environ["CI"] = "true"
        ran = machine.call("generate", "secret.key", "--show")
        assert (ran.status, ran.err) == (0, "")
        assert re.fullmatch(SHAPES[V1], ran.out)

    def test_ci_that_is_empty_is_unset(self, machine: Machine) -> None:
        """As with every other variable."""
        machine.environ["CI"] = ""
        assert machine.call("generate", "secret.key").status == 0

    @posix_only
    def test_on_a_terminal(self, machine: Machine) -> None:
        """It is refused there, and with --show it is a line."""
        ran = on_terminal(["generate", "secret.key"], env=clean_environment(), cwd=machine.root)
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {self.ON_A_TERMINAL}\n")
        ran = on_terminal(["generate", "secret.key", "--show"], env=clean_environment(), cwd=machine.root)
        assert (ran.status, ran.err) == (0, "")
        assert re.fullmatch(f"{SHAPES[V1]}\n", ran.out)

    @pytest.mark.parametrize("arguments", [("secret.key",), ("--format", "env"), ("--format", "json")])
    def test_no_form_is_shown_on_a_terminal(self, machine: Machine, arguments: tuple[str, ...]) -> None:
        """Each is refused, and each ends with one end of line where it is asked for."""
        machine.environ["CI"] = "true"
        ran = machine.call("generate", *arguments, stdout=Terminal())
        assert (ran.status, ran.out, ran.err) == (2, "", f"robodj-secretguard: {self.ON_A_TERMINAL}\n")
        ran = machine.call("generate", *arguments, "--show", stdout=Terminal())
        assert (ran.status, ran.err) == (0, "")
        assert re.search(r"\S\n\Z", ran.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("secret.key", "--force"), "--force goes with --write"),
        (("--write", "--show"), "--write shows no key: it goes with neither --show nor --format"),
        (("--write", "--format", "env"), "--write shows no key: it goes with neither --show nor --format"),
        (("--write", "secret"), "there is no such secret: the model declares secret.key, secret_v2.key"),
    ],
)
def test_options_that_do_not_go_together(machine: Machine, arguments: tuple[str, ...], said: str) -> None:
    """Each is a usage error, and nothing is written."""
    assert refused(machine, *arguments) == said
    assert names(machine) == []


def names(machine: Machine) -> list[str]:
    """Return the names of what is in the config directory, but for the lock."""
    return sorted(path.name for path in machine.config.iterdir() if path.name != LOCK)


def snapshot(machine: Machine) -> dict[str, tuple[object, ...]]:
    """Return what tells a file that was written to, or replaced, from one that was not."""
    seen: dict[str, tuple[object, ...]] = {}
    for name in names(machine):
        path = machine.config / name
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        seen[name] = (status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return seen


def not_written(machine: Machine, *arguments: str) -> str:
    """Try to write keys, make sure that every file is as it was, and return why."""
    before = snapshot(machine)
    said = refused(machine, *arguments, "--write")
    assert snapshot(machine) == before
    return said


def content(machine: Machine, name: str = "secret.key") -> tuple[str, str]:
    """Return a file with `KEY` in the key's place, and the key."""
    text = (machine.config / name).read_bytes().decode()
    (key,) = [line for line in text.splitlines() if re.fullmatch(SHAPES[V1], line)]
    return text.replace(key, "KEY"), key


class TestWritten:
    """--write: break-glass storage on one machine."""

    def test_all_of_them(self, machine: Machine) -> None:
        """Each secret's file has its key and nothing else, the output has none of it, and the gate accepts it."""
        ran = machine.call("generate", "--write")
        keys = [(machine.config / name).read_text(encoding="utf-8") for name in ("secret.key", "secret_v2.key")]
        assert all(re.fullmatch(f"{SHAPES[name]}\n", key) for name, key in zip((V1, V2), keys, strict=True))
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines() == [
            f"secret.key: written to config/secret.key ({fingerprint_of(keys[0][:-1])})",
            f"secret_v2.key: written to config/secret_v2.key ({fingerprint_of(keys[1][:-1])})",
        ]
        assert leaks(ran.out, keys) == []
        assert names(machine) == ["secret.key", "secret_v2.key"]
        assert machine.call("check").status == 0

    def test_one_of_them(self, machine: Machine) -> None:
        """Only the named secret's, and the other may hold a key."""
        machine.write("secret_v2.key", good_keys()[V2])
        before = snapshot(machine)["secret_v2.key"]
        ran = machine.call("generate", "secret.key", "--write")
        assert (ran.status, ran.out.count("\n"), ran.err) == (0, 1, "")
        assert snapshot(machine)["secret_v2.key"] == before
        assert found(check(environ={}, config_dir=machine.config)) == [
            ("file-fallback", "secret.key"),
            ("file-fallback", "secret_v2.key"),
        ]

    @pytest.mark.parametrize("option", ["--config-dir", "ROBODJ_CONFIG_DIR"])
    def test_a_directory_that_was_named(self, machine: Machine, tmp_path: Path, option: str) -> None:
        """The key goes where the gate looks for it, and the output shows the name alone."""
        named = tmp_path / "elsewhere"
        named.mkdir(mode=0o700)
        arguments = (option, str(named)) if option.startswith("-") else ()
        machine.environ.update({} if arguments else {option: str(named)})
        ran = machine.call("generate", "secret.key", "--write", *arguments)
        assert (ran.status, names(machine)) == (0, [])
        key = (named / "secret.key").read_text(encoding="utf-8")[:-1]
        assert re.fullmatch(SHAPES[V1], key)
        assert ran.out == f"secret.key: written to secret.key in the configured directory ({fingerprint_of(key)})\n"

    def test_a_file_further_down(self, machine: Machine) -> None:
        """A policy's file may be in a directory of its own."""
        (machine.config / "keys").mkdir(mode=0o700)
        ran = machine.call("generate", "--write", "--model", f"{__name__}:One")
        key = (machine.config / "keys" / "own.key").read_text(encoding="utf-8")[:-1]
        assert (ran.status, ran.out) == (0, f"own.key: written to config/keys/own.key ({fingerprint_of(key)})\n")

    @posix_only
    @pytest.mark.parametrize("umask", [0o000, 0o377])
    @pytest.mark.parametrize("mode", [None, 0o666])
    def test_it_is_the_owners_alone(self, machine: Machine, umask: int, mode: int | None) -> None:
        """Whatever the umask is, and whatever mode the template's copy has."""
        if mode is not None:
            machine.write("secret.key", "REPLACE_WITH_A_KEY\n", mode)
        before = os.umask(umask)
        try:
            assert machine.call("generate", "secret.key", "--write").status == 0
        finally:
            os.umask(before)
        assert (machine.config / "secret.key").stat().st_mode == 0o100600

    @pytest.mark.parametrize(
        ("template", "written"),
        [
            ("", "KEY\n"),
            ("# why\n# how\nREPLACE_WITH_A_KEY\n", "# why\n# how\nKEY\n"),
            ("# why\nREPLACE_WITH_A_KEY", "# why\nKEY\n"),
            ("# why\r\n\r\nREPLACE_WITH_A_KEY\r\n# how\r\n", "# why\n\nKEY\n# how\n"),
            ("\ufeff# why\n REPLACE_WITH_A_KEY \n", "# why\nKEY\n"),
            ("  # why\n\tREPLACE_WITH_A_KEY\n\n # how", "  # why\nKEY\n\n # how\n"),
            ("REPLACE_WITH_A_KEY\n# why\nchangeme\n# how\nnull\n", "KEY\n# why\n# how\n"),
            ("# why", "# why\nKEY\n"),
            ("# why\n\n", "# why\n\nKEY\n"),
            ("\n", "\nKEY\n"),
            (
                "# caf\N{LATIN SMALL LETTER E WITH ACUTE}\nREPLACE_WITH_A_KEY\n",
                "# caf\N{LATIN SMALL LETTER E WITH ACUTE}\nKEY\n",
            ),
        ],
        ids=range(11),
    )
    @pytest.mark.parametrize("name", ["secret.key", "secret.key.example"])
    def test_comments_are_kept(self, machine: Machine, name: str, template: str, written: str) -> None:
        """Those of a copy of the template, or of the template where there is no copy; the key takes the place of its
        first line that is no comment, or the end.
        """
        machine.write(name, template)
        assert machine.call("generate", "secret.key", "--write").status == 0
        assert content(machine)[0] == written
        assert found(check(environ={V2: good_keys()[V2]}, config_dir=machine.config)) == [
            ("file-fallback", "secret.key")
        ]

    @posix_only
    def test_a_template_is_read_through_no_link(self, machine: Machine) -> None:
        """What somebody else may not read must not get into a file that they may."""
        private = machine.root / "private"
        private.write_text("# private\nchangeme\n", encoding="utf-8")
        (machine.config / "secret.key.example").symlink_to(private)
        assert machine.call("generate", "secret.key", "--write").status == 0
        assert "private" not in (machine.config / "secret.key").read_text(encoding="utf-8")

    def test_a_copy_goes_before_the_template(self, machine: Machine) -> None:
        """What somebody has written into the copy is kept, and the template is as it was."""
        machine.write("secret.key", "# ours\nREPLACE_WITH_A_KEY\n")
        template = machine.write("secret.key.example", "# theirs\nREPLACE_WITH_A_KEY\n")
        assert machine.call("generate", "secret.key", "--write").status == 0
        assert content(machine)[0] == "# ours\nKEY\n"
        assert template.read_text(encoding="utf-8") == "# theirs\nREPLACE_WITH_A_KEY\n"

    @pytest.mark.parametrize("unusable", ["# why\n".encode("utf-16"), b"# \xff\n", b"#" * (MAX_FILE_BYTES + 1)])
    def test_a_template_that_cannot_be_judged(self, machine: Machine, unusable: bytes) -> None:
        """Nothing of it is kept: the key file would not be accepted."""
        machine.write("secret.key.example", unusable)
        assert machine.call("generate", "secret.key", "--write").status == 0
        assert content(machine)[0] == "KEY\n"


HOLDS_A_KEY = "holds a key already, and is only replaced with --force"
CANNOT_BE_JUDGED = "cannot be judged, and is only replaced with --force"
NOT_EVERY = "not every key was written: config/secret.key"


class TestKept:
    """A key that is there is only replaced with --force."""

    @pytest.mark.parametrize(
        "text",
        ["{key}\n", "# why\n{key}", "{key}\r\n{other}\n", "REPLACE_WITH_A_KEY\n{key}\n", "{key}=\n", "short\n"],
    )
    def test_it_is_refused(self, machine: Machine, text: str) -> None:
        """Anything but blanks, comments and placeholders may be a key; the other secret's is not written either."""
        machine.write("secret.key", text.format(key=good_keys()[V1], other=good_keys()[V1]))
        assert not_written(machine) == f"{NOT_EVERY} {HOLDS_A_KEY}"
        assert names(machine) == ["secret.key"]

    def test_the_later_one_of_two(self, machine: Machine) -> None:
        """The first secret's key is not written where the second's is refused."""
        machine.write("secret_v2.key", good_keys()[V2])
        assert not_written(machine) == f"not every key was written: config/secret_v2.key {HOLDS_A_KEY}"
        assert names(machine) == ["secret_v2.key"]

    def test_all_are_named(self, machine: Machine) -> None:
        """Every file that is refused is said at once."""
        machine.call("generate", "--write")
        assert not_written(machine) == f"{NOT_EVERY} {HOLDS_A_KEY}; config/secret_v2.key {HOLDS_A_KEY}"

    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("{key}\n", "KEY\n"),
            ("# why\n{key}", "# why\nKEY\n"),
            ("# why\n{key}\n# how\n{other}\nREPLACE_WITH_A_KEY\n", "# why\nKEY\n# how\n"),
            ("short", "KEY\n"),
        ],
    )
    def test_force(self, machine: Machine, text: str, written: str) -> None:
        """Comments are kept, and no other line: an old key does not stay in the file."""
        keys = good_keys()[V1], good_keys()[V1]
        machine.write("secret.key", text.format(key=keys[0], other=keys[1]))
        ran = machine.call("generate", "secret.key", "--write", "--force")
        assert (ran.status, ran.err) == (0, "")
        text, key = content(machine)
        assert (text, leaks(text, keys), key in keys) == (written, [], False)

    def test_it_is_replaced_in_one_step(self, machine: Machine) -> None:
        """Who has opened the old file reads the old key to its end."""
        old = good_keys()[V1]
        with machine.write("secret.key", old).open(encoding="utf-8") as file:
            assert machine.call("generate", "secret.key", "--write", "--force").status == 0
            assert file.read() == old
        assert content(machine)[1] != old

    @as_root
    @pytest.mark.parametrize("whose_directory", [0, 12345], ids=["roots", "theirs"])
    def test_its_owner(self, machine: Machine, whose_directory: int) -> None:
        """Root, who replaces a service user's key, leaves the new one to that user, and to nobody else."""
        os.chown(machine.config, whose_directory, whose_directory)
        os.chown(machine.write("secret.key", f"# why\n{good_keys()[V1]}\n"), 12345, 54321)
        ran = machine.call("generate", "secret.key", "--write", "--force")
        status = (machine.config / "secret.key").stat()
        assert (ran.status, ran.err, content(machine)[0]) == (0, "", "# why\nKEY\n")
        assert (status.st_uid, status.st_gid, status.st_mode) == (12345, 54321, 0o100600)

    @pytest.mark.parametrize(
        "unreadable", [b"#" * (MAX_FILE_BYTES + 1), "# why\n".encode("utf-16"), b"# \xff\n"], ids=range(3)
    )
    def test_what_cannot_be_judged(self, machine: Machine, unreadable: bytes) -> None:
        """It may hold a key, and nothing of it is kept with --force."""
        machine.write("secret.key", unreadable)
        assert not_written(machine, "secret.key") == f"{NOT_EVERY} {CANNOT_BE_JUDGED}"
        assert machine.call("generate", "secret.key", "--write", "--force").status == 0
        assert content(machine)[0] == "KEY\n"


@posix_only
class TestPlace:
    """Where a key is not written, with --force either."""

    @pytest.mark.parametrize("force", [(), ("--force",)])
    @pytest.mark.parametrize("target", ["elsewhere", "nothing", "secret.key", ".", "/dev/zero"])
    def test_a_link(self, machine: Machine, target: str, force: tuple[str, ...]) -> None:
        """Neither through it nor in its place: to a template's copy, nothing, itself, a directory or a device."""
        elsewhere = machine.write("elsewhere", "REPLACE_WITH_A_KEY\n")
        (machine.config / "secret.key").symlink_to(target)
        assert not_written(machine, *force) == f"{NOT_EVERY} is a link, and a key is written through none"
        assert os.readlink(machine.config / "secret.key") == target
        assert elsewhere.read_text(encoding="utf-8") == "REPLACE_WITH_A_KEY\n"
        assert names(machine) == ["elsewhere", "secret.key"]

    @pytest.mark.parametrize("force", [(), ("--force",)])
    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    def test_no_regular_file(self, machine: Machine, make: Callable[[Path], None], force: tuple[str, ...]) -> None:
        """A directory, or a FIFO, for whose other end nobody waits."""
        make(machine.config / "secret.key")
        assert not_written(machine, *force) == f"{NOT_EVERY} is not a regular file"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_cannot_be_read(self, machine: Machine) -> None:
        """It may hold a key."""
        machine.write("secret.key", "REPLACE_WITH_A_KEY", 0o000)
        assert refused(machine, "secret.key", "--write") == f"{NOT_EVERY} {CANNOT_BE_JUDGED}"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_directory_that_cannot_be_written_to(self, machine: Machine) -> None:
        """It is said."""
        machine.config.chmod(0o500)
        try:
            said = not_written(machine)
        finally:
            machine.config.chmod(0o700)
        assert said == "not every key was written: the config directory: it cannot be used: Permission denied"

    @pytest.mark.parametrize("arguments", [(), ("--force",)])
    def test_a_directory_that_others_can_write_to(self, machine: Machine, arguments: tuple[str, ...]) -> None:
        """No service would accept a key from there, and none is left there."""
        machine.config.chmod(0o777)
        assert not_written(machine, *arguments) == (
            f"{NOT_EVERY} would not be accepted there: its directory is writable by others"
        )
        assert names(machine) == []

    def test_a_lock_that_cannot_be_made(self, machine: Machine) -> None:
        """Where a link is in its place, nothing is written."""
        (machine.config / LOCK).symlink_to("elsewhere")
        assert not_written(machine) == (
            "not every key was written: the config directory: its lock file .secretguard.lock cannot be used:"
            f" {os.strerror(errno.ELOOP)}"
        )

    def test_a_lock_that_is_held(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process that writes there is waited for, and not for ever."""
        monkeypatch.setattr(files, "LOCK_SECONDS", 0)
        with files.locked_directory(str(machine.config)):
            said = not_written(machine)
        assert said == (
            "not every key was written: the config directory: another process does not let go of it: try again"
        )
        assert machine.call("generate", "--write").status == 0

    def test_a_file_that_appears_meanwhile(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody else has put there stays: it is not replaced unseen."""
        prepared_file = files.prepared_file

        def prepared_beside_another(*arguments: object) -> object:
            machine.write("secret.key", "somebody else's")
            return prepared_file(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(key_files, "prepared_file", prepared_beside_another)
        assert refused(machine, "secret.key", "--write") == (
            "not every key was written: a file was put there just now: look at it, and try again"
        )
        assert names(machine) == ["secret.key"]
        assert (machine.config / "secret.key").read_text(encoding="utf-8") == "somebody else's"

    @pytest.mark.parametrize(
        ("error", "why"),
        [
            (OSError(errno.EIO, os.strerror(errno.EIO)), "the config directory: it cannot be used: Input/output error"),
            (FileExistsError(), "a file was put there just now: look at it, and try again"),
        ],
        ids=["disk", "appeared"],
    )
    def test_the_second_one_fails(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, error: OSError, why: str
    ) -> None:
        """What was written before that is said: it is there, and whole, and of the other nothing is left."""
        put_in_place = files.put_in_place

        def put_the_first(prepared: str, path: str, *, replace: bool) -> None:
            if names(machine).count("secret.key"):
                raise error
            put_in_place(prepared, path, replace=replace)

        monkeypatch.setattr(key_files, "put_in_place", put_the_first)
        said = refused(machine, "--write")
        assert said == f"not every key was written: {why}; written before that: secret.key"
        assert names(machine) == ["secret.key"]
        assert content(machine)[0] == "KEY\n"

    @pytest.mark.parametrize("before", [None, "REPLACE_WITH_A_KEY\n"], ids=["new", "replaced"])
    def test_no_other_name_of_the_key_is_left(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, before: str | None
    ) -> None:
        """As soon as a key is in its place, it is there alone: a process that is killed then leaves no copy."""
        put_in_place, seen = files.put_in_place, []

        def put_and_look(prepared: str, path: str, *, replace: bool) -> None:
            put_in_place(prepared, path, replace=replace)
            seen.append((os.path.lexists(prepared), os.stat(path).st_nlink, replace))

        monkeypatch.setattr(key_files, "put_in_place", put_and_look)
        if before is not None:
            machine.write("secret.key", before)
        assert machine.call("generate", "secret.key", "--write").status == 0
        assert (seen, names(machine)) == ([(False, 1, before is not None)], ["secret.key"])

    def test_no_hard_links(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system without hard links, such as FAT, holds key files."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
        assert machine.call("generate", "--write").status == 0
        assert names(machine) == ["secret.key", "secret_v2.key"]

    @pytest.mark.parametrize("name", ["secret.key", "secret_v2.key"])
    def test_a_mount_point(self, machine: Machine, name: str) -> None:
        """A key file that is bind-mounted cannot be replaced: the message says where to write the key."""
        (machine.root / "mounted").write_text("# theirs\n", encoding="utf-8")
        machine.write(name, "# ours\n")
        ran = run_with_mounts(
            [f"mount --bind mounted config/{name}"],
            [sys.executable, "-m", "robodj_secretguard", "generate", "--write"],
            env=clean_environment(),
            cwd=machine.root,
        )
        variable, before = {"secret.key": (V1, ""), "secret_v2.key": (V2, "; written before that: secret.key")}[name]
        said = (
            f"robodj-secretguard: not every key was written: config/{name} is a mount point and cannot be replaced:"
            f" write the key to the file that is mounted there, or deliver {variable}{before}\n"
        )
        assert (ran.status, ran.out, ran.err) == (2, "", said)
        assert (machine.root / "mounted").read_text(encoding="utf-8") == "# theirs\n"
        assert [each for each in names(machine) if each.endswith(".new")] == []

    def test_a_full_disk(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The old key stays whole, and nothing is left beside it."""

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        machine.write("secret.key", good_keys()[V1])
        monkeypatch.setattr("os.fsync", full)
        assert not_written(machine, "secret.key", "--force") == (
            "not every key was written: config/secret.key: it cannot be used: No space left on device"
        )
        assert names(machine) == ["secret.key"]

    @pytest.mark.parametrize(
        ("template", "why"),
        [
            ("\f# why\n", "it would hold more than the key"),
            ("#" * MAX_FILE_BYTES, f"it is larger than {MAX_FILE_BYTES} bytes"),
        ],
        ids=["blank", "large"],
    )
    @pytest.mark.parametrize("name", ["secret.key", "secret_v2.key"])
    def test_a_template_that_leaves_no_room(self, machine: Machine, name: str, template: str, why: str) -> None:
        """What no service would accept is not put in place, and no other key either."""
        machine.write(f"{name}.example", template)
        assert not_written(machine) == f"not every key was written: config/{name} would not be accepted there: {why}"
        assert names(machine) == [f"{name}.example"]

    @pytest.mark.parametrize(
        "switch",
        [
            ("ROBODJ_PROTECTED_ENV", "true"),
            ("ROBODJ_PROTECTED_ENV", "maybe"),
            ("ROBODJ_ALLOW_FILE_SECRET_FALLBACK", "false"),
        ],
    )
    def test_environment_only(self, machine: Machine, switch: tuple[str, str]) -> None:
        """Where no key file is allowed, none is made."""
        machine.environ.update([switch])
        assert not_written(machine, "--force") == (
            "nothing was written: fallback files are off, and a key file would be refused; deliver variables"
        )
        assert list(machine.config.iterdir()) == []

    @pytest.mark.parametrize("option", ["--config-dir", "ROBODJ_CONFIG_DIR", None])
    def test_no_directory(self, machine: Machine, option: str | None) -> None:
        """None is made, and what was given is not repeated: it may be a key."""
        machine.config.rmdir()
        named = key_as_argument()
        if option == "ROBODJ_CONFIG_DIR":
            machine.environ[option] = named
        arguments = (option, named) if option == "--config-dir" else ()
        assert refused(machine, "--write", *arguments) == (
            "nothing was written: there is no config directory; make it, or pass --config-dir"
        )
        assert list(machine.root.iterdir()) == []

    def test_no_directory_of_the_file(self, machine: Machine) -> None:
        """Nor is one further down made."""
        assert not_written(machine, "--model", f"{__name__}:One") == (
            "not every key was written: config/keys/own.key: it cannot be used: No such file or directory"
        )
