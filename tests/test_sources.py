"""Where values and the set-up come from, and what is read of them."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOW, V1, V2, found, good_keys, posix_only, process_environment, put, root_only

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import (
    MAX_FILE_BYTES,
    MAX_LIST_BYTES,
    NOTHING,
    Environment,
    KeyFiles,
    ModelSetup,
    Offer,
    Reading,
    Setup,
    absent_lists,
    are_files_off,
    chmod,
    config_directory,
    invalid_entries,
    iso_utc,
    parse_marker,
    place,
    read,
    revocation_list,
    variables_read,
)
from robodj_secretguard.textfile import NO_TEXT, TextFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from robodj_secretguard.policy import SecretPolicy

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
LIST = "revoked.fingerprints"
LIST_SOURCE = f"file:config/{LIST}"
REVOKED, CONFIG_DIR = "ROBODJ_REVOKED_FINGERPRINTS", "ROBODJ_CONFIG_DIR"
ALLOW, PROTECTED = "ROBODJ_ALLOW_FILE_SECRET_FALLBACK", "ROBODJ_PROTECTED_ENV"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty config directory."""
    (tmp_path / "config").mkdir(mode=0o700)
    return tmp_path / "config"


@pytest.fixture
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def first(environ: dict[str, str], **more: Any) -> Reading:
    """Read the two secrets, and return the first reading."""
    return read(POLICIES, variables_read(POLICIES), environment=Environment(environ), now=NOW, **more)[0]


def setup(environ: dict[str, str], **more: Any) -> Setup:
    """Read the two secrets, and return the set-up."""
    return first(environ, **more).setup


def new_fingerprint() -> str:
    """Make the fingerprint of a key that no other test has."""
    return fingerprint(SealedStr(secrets.token_urlsafe(32)))


def spelled(text: str) -> str:
    """Write two fingerprints for `{a}` and `{b}`, and the first one in upper case for `{A}`."""
    a = new_fingerprint()
    return text.format(a=a, b=new_fingerprint(), A=a.upper())


class TestEnvironment:
    """Single variables, of a mapping or of the process."""

    def test_the_processes_own(self) -> None:
        """Without a mapping, the variables of the process are read."""
        with process_environment({V1: "x", V2: ""}):
            environment = Environment()
            assert {*environment.names()} == {V1, V2}
            assert [environment.is_set(name) for name in (V1, V2, "OTHER")] == [True, False, False]
            assert environment.get(V1) == SealedStr("x")
            assert environment.get("OTHER") is None

    def test_case(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variables of a process on Windows are the same in any case; those of a mapping are not."""
        near = {V1.lower(): "x"}
        assert [shown for _, shown in setup(near).near_misses] == [*near]
        with monkeypatch.context() as patched:
            for name in ("nt", "posix"):
                patched.setattr("robodj_secretguard.sources.os.name", name)
                distinguishes = [each.distinguishes_case for each in (Environment(), Environment({}))]
                assert distinguishes == [name == "posix", True]

    def test_a_mapping_that_does_not_list_what_it_has(self) -> None:
        """Each variable is asked for by its name: one that is merely not listed loosens no check."""

        class Unlisted(dict[str, str]):
            def __iter__(self) -> Iterator[str]:
                return iter(())

        reading = first(Unlisted({V1: "x", f"{V1}_EXPIRES_AT": "never", PROTECTED: "true"}))
        assert (reading.found, reading.setup.protected, reading.marker) == (True, True, SealedStr("never"))

    @pytest.mark.parametrize(("environ", "absent"), [({}, f"{V1} is unset"), ({V1: ""}, f"{V1} is set but empty")])
    def test_an_offer_without_a_value(self, environ: dict[str, str], absent: str) -> None:
        """An empty variable is not a value, and is described as empty."""
        assert Environment(environ).offer(POLICIES[0]) == Offer("environment", V1, NO_TEXT, absent)

    def test_an_offer_of_a_value(self) -> None:
        """A value is one line, as it is."""
        assert Environment({V1: " \n"}).offer(POLICIES[0]).text == TextFile(lines=(SealedStr(" \n"),))


class TestKeyFiles:
    """The fallback files of a config directory."""

    @pytest.mark.parametrize(
        ("content", "is_off", "absent"),
        [
            (None, False, "there is no file secret.key in the configured directory"),
            ("# none", False, "secret.key in the configured directory has nothing but blanks and comments"),
            ("# none", True, "fallback files are off: secret.key in the configured directory is not used"),
            ("x", True, "fallback files are off: secret.key in the configured directory is not used"),
        ],
    )
    def test_an_offer(self, config: Path, content: str | None, absent: str, *, is_off: bool) -> None:
        """An offer names the declared file, and says why a value is missing."""
        if content:
            put(config / "secret.key", content)
        offer = KeyFiles(str(config), "argument", is_off=is_off).offer(POLICIES[0])
        where = ("file:config/secret.key", "secret.key in the configured directory")
        assert offer._replace(text=NO_TEXT) == Offer(*where, NO_TEXT, absent, is_off, is_break_glass=True)
        assert [line.get_secret_value() for line in offer.text.lines] == ["x"] * (content == "x")

    @posix_only
    def test_a_link_to_nothing(self, config: Path) -> None:
        """A link to a target that is gone has its own message."""
        (config / "secret.key").symlink_to("..data/secret.key")
        offer = KeyFiles(str(config), None, is_off=False).offer(POLICIES[0])
        assert offer.absent == "config/secret.key is a link to a file that is not there"

    def test_no_directory(self) -> None:
        """Where nothing names the directory, the file is looked for under the working directory."""
        offer = KeyFiles(None, None, is_off=False).offer(POLICIES[0])
        assert offer.absent == "there is no file config/secret.key under the working directory"
        assert offer.text is NO_TEXT

    @posix_only
    @pytest.mark.parametrize(
        ("content", "mode", "end"),
        [
            ("\0" * (MAX_FILE_BYTES + 1), 0o600, "."),
            ("x", 0o602, "; chmod -R go-w on the directory that the argument names."),
        ],
    )
    def test_the_fix_of_an_unsafe_file(self, config: Path, content: str, mode: int, end: str) -> None:
        """The fix says what the file must be, and how to take it from others who can write it."""
        put(config / "secret.key", content, mode)
        offer = KeyFiles(str(config), "argument", is_off=False).offer(POLICIES[0])
        assert offer.fix == (
            f"Deliver the key as {V1} instead; or make it a UTF-8 file of the key alone, at most 4096 bytes, that"
            f" nobody else can write: chmod 600 secret.key in the configured directory{end}"
        )

    @posix_only
    def test_the_command_for_a_directory(self) -> None:
        """The command names the directory as the operator knows it, and the directories above where they matter."""
        assert [chmod(TextFile(), named_by) for named_by in (None, "environment", "model")] == [
            "chmod -R go-w config",
            'chmod -R go-w "$ROBODJ_CONFIG_DIR"',
            "chmod -R go-w on the directory that the model names",
        ]
        above = TextFile(exposed=("x", "a directory on the way to it is writable by others"))
        assert chmod(above, None).endswith("config; and chmod go-w for every directory above it that others may write")

    @posix_only
    def test_the_commands_are_enough(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A clone under umask 0 is safe after the commands, and the next look says which are left."""
        monkeypatch.chdir(config.parent)
        for path, mode in ((put(config / LIST, ""), 0o666), (config, 0o777), (config.parent, 0o777)):
            path.chmod(mode)
        above = "; and chmod go-w for every directory above it that others may write"
        for command, fix in (("true", above), ("chmod -R go-w config", above), ("chmod go-w .", "")):
            os.system(command)  # noqa: S605 - as the message says
            (file,) = setup({}).lists
            assert (chmod(file, None), bool(file.exposed)) == (f"chmod -R go-w config{fix}", bool(fix))


class TestReading:
    """Which offer delivers a secret."""

    class Vault:
        """A source of a test's own."""

        def __init__(self, **text: Any) -> None:
            self._text = TextFile(**text)

        def offer(self, policy: SecretPolicy) -> Offer:
            return Offer("vault", policy.name, self._text, "none")

    def test_the_first_that_has_a_value(self, config: Path) -> None:
        """Sources are asked in order: those that are passed, the environment, the file."""
        key, vault = good_keys()[V1], self.Vault(lines=(SealedStr("v"),))
        put(config / "secret.key", key)
        for environ, sources, source, value in (
            ({V1: "x"}, [vault], "vault", "v"),
            ({V1: "x"}, [self.Vault()], "environment", "x"),
            ({V1: ""}, [], "file:config/secret.key", key),
        ):
            reading = first(environ, config_dir=config, sources=sources)
            assert (reading.used.source, reading.value, reading.found) == (source, SealedStr(value), True)
            assert [each.source for each in reading.offers[-2:]] == ["environment", "file:config/secret.key"]

    @pytest.mark.parametrize("text", [{"unreadable": ("it is locked",)}, {"lines": ("v",), "exposed": ("it is open",)}])
    def test_a_source_that_refuses(self, text: dict[str, Any]) -> None:
        """No later source is asked where a source has a value that may not be used."""
        reading = first({V1: "x"}, sources=[self.Vault(**text)])
        assert (reading.used.source, reading.found, reading.value) == ("vault", False, None)

    def test_no_value(self, config: Path) -> None:
        """A file that is off delivers nothing; of two lines neither is the value."""
        put(config / "secret.key", "x")
        reading = first({}, config_dir=config, require_env_only=True)
        assert (reading.used, reading.found, reading.value) == (NOTHING, False, None)
        put(config / "secret.key", "x\ny")
        reading = first({}, config_dir=config)
        assert (reading.used.source, reading.found, reading.value) == ("file:config/secret.key", True, None)

    def test_the_marker(self) -> None:
        """The expiry marker is read from the environment; an empty one is unset."""
        name = f"{V1}_EXPIRES_AT"
        assert first({name: "2027-01-15T00:00Z"}).expires_at == datetime(2027, 1, 15, tzinfo=UTC)
        assert first({name: "never"}).expires_at is None
        assert first({name: ""}).marker is None
        assert first({name: "never"}).marker == SealedStr("never")


@pytest.mark.usefixtures("_in_directory")
class TestDirectory:
    """The config directory, and why it cannot be used: whatever is there instead could hide a revocation list."""

    @pytest.mark.parametrize(
        ("argument", "variable", "model", "expected"),
        [
            ("a", "b", "c", ("a", "argument")),
            ("", "b", "c", ("", "argument")),
            (None, "b", "c", ("b", "environment")),
            (None, "", "c", ("c", "model")),
            (None, "", None, ("config", None)),
        ],
    )
    def test_what_names_it(
        self, argument: str | None, variable: str, model: str | None, expected: tuple[str, str | None]
    ) -> None:
        """The argument comes before the variable, and that before the model."""
        found = config_directory(Environment({CONFIG_DIR: variable}), argument, ModelSetup(config_dir=model))
        assert found == expected

    @pytest.mark.parametrize(
        ("named", "fault"),
        [
            ("nowhere", "does not exist"),
            ("", "does not exist"),
            ("file", "is not a directory"),
            ("a\0b", "cannot be examined"),
            ("directory", ""),
            pytest.param("file/config", "cannot be examined", marks=posix_only),
            pytest.param("link", "is a link to nothing", marks=posix_only),
            pytest.param("loop", "cannot be examined", marks=posix_only),
        ],
    )
    def test_a_fault(self, tmp_path: Path, named: str, fault: str) -> None:
        """A named directory must be there; the default one need not be, but nothing else may be in its place."""
        (tmp_path / "file").touch()
        (tmp_path / "directory").mkdir()
        if os.name == "posix":
            (tmp_path / "link").symlink_to("nowhere")
            (tmp_path / "loop").symlink_to("loop")
        found = setup({}, config_dir=named)
        assert (found.directory_named_by, found.directory_fault) == ("argument", fault)
        (tmp_path / "argument").mkdir()
        beside = setup({}, config_dir="argument", model_setup=ModelSetup(config_dir=named))
        assert beside.model_directory_fault == ("" if fault == "does not exist" else fault)
        assert setup({}, model_setup=ModelSetup(config_dir=named)).directory_fault == fault
        if named in {"file", "link", "loop"}:
            (tmp_path / named).rename(tmp_path / "config")
            assert setup({}).directory_named_by is None
            assert setup({}).directory_fault == (fault if named == "file" else "is a link to nothing")

    def test_no_default(self) -> None:
        """A service without a config directory starts."""
        assert setup({}).directory_fault == setup({}).model_directory_fault == ""
        assert not setup({}).list_required

    @posix_only
    def test_a_working_directory_that_was_deleted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is found under a deleted working directory, whatever was there."""
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert setup({}).directory_fault == "cannot be found, since the working directory was deleted"


class TestSwitches:
    """Where fallback files are off, and where temporary keys are refused."""

    @pytest.mark.parametrize("value", ["1", "true", "YES", "On", "0", "False", "no", "OFF", ""])
    def test_known(self, value: str) -> None:
        """The two switches point in opposite directions; empty is unset."""
        on = value.lower() in {"1", "true", "yes", "on"}
        protected, allowed = setup({PROTECTED: value}), setup({ALLOW: value})
        assert (protected.protected, protected.files_off, protected.unknown_switches) == (on, on, ())
        assert (allowed.protected, allowed.files_off, allowed.unknown_switches) == (False, not on and bool(value), ())

    @pytest.mark.parametrize("value", ["2", "maybe", " true", "ye", "\n"])
    def test_unknown(self, value: str) -> None:
        """An unknown value is reported, and the stricter side holds."""
        found = setup({PROTECTED: value})
        assert (found.protected, found.files_off, found.unknown_switches) == (True, True, (PROTECTED,))
        found = setup({ALLOW: value})
        assert (found.protected, found.files_off, found.unknown_switches) == (False, True, (ALLOW,))

    @pytest.mark.parametrize(
        ("environ", "off", "off_by_model"),
        [
            ({}, False, True),
            ({ALLOW: "true"}, False, False),
            ({ALLOW: "false"}, True, True),
            ({ALLOW: "true", PROTECTED: "true"}, True, True),
            ({ALLOW: "true", PROTECTED: "0"}, False, False),
        ],
    )
    def test_any_is_enough(self, environ: dict[str, str], *, off: bool, off_by_model: bool) -> None:
        """The switch turns on what the model turned off, and nothing what a protected environment or a caller did."""
        for model_setup, expected in ((ModelSetup(), off), (ModelSetup(file_fallback=False), off_by_model)):
            assert setup(environ, model_setup=model_setup).files_off is expected
            assert are_files_off(Environment(environ), model_setup) is expected
            assert setup(environ, model_setup=model_setup, require_env_only=True).files_off
        assert setup(environ, require_env_only=True).protected

    def test_temporary_keys(self) -> None:
        """Keys are temporary where the variable is set to anything."""
        assert [setup({"ROBODJ_SECRETS_EPHEMERAL": value}).ephemeral for value in ("0", "")] == [True, False]


def test_the_set_up_of_a_model(config: Path) -> None:
    """What a model declares reaches the checks, and an instance that is made without guard()."""

    class Strict(RuntimeSecrets, config_dir=config, file_fallback=False, require_revocation_list=True):
        pass

    put(config / "secret.key", good_keys()[V1])
    report = check(Strict, environ={V2: good_keys()[V2]}, now=NOW)
    assert found(report) == [("revocation-list", None), ("missing", "secret.key"), ("file-present", "secret.key")]
    with process_environment(good_keys()), pytest.raises(ValueError, match="the model requires one"):
        Strict()


class TestNames:
    """Which variables are read, and what is mistaken for them."""

    @pytest.mark.parametrize(
        ("name", "meant", "secret", "loosens"),
        [
            (f"{V1}S", V1, "secret.key", False),
            (f"{V1}_FILE", V1, "secret.key", False),
            (f"{V1}_EXPIRE_AT", f"{V1}_EXPIRES_AT", "secret.key", True),
            (f"{V2}_EXPIRES", f"{V2}_EXPIRES_AT", "secret_v2.key", True),
            ("ROBODJ_PROTECTED_EN", PROTECTED, None, True),
            ("ROBODJ_PROTECTED_MODE", PROTECTED, None, True),
            ("ROBODJ_ALLOW_FILE_SECRETS_FALLBACK", ALLOW, None, True),
            ("ROBODJ_ALLOW_FILES", ALLOW, None, True),
            ("ROBODJ_CONFIG_DIRS", CONFIG_DIR, None, False),
            ("ROBODJ_SECRET_EPHEMERAL", "ROBODJ_SECRETS_EPHEMERAL", None, True),
            (f"{REVOKED}_FILE", REVOKED, None, True),
            ("ROBODJ_OPERATION_LOG", "ROBODJ_OPERATIONS_LOG", None, False),
        ],
    )
    def test_typos(self, name: str, meant: str, secret: str | None, *, loosens: bool) -> None:
        """Each typo has the variable that is meant, its secret, and whether ignoring it loosens a check."""
        ((target, shown),) = setup({name: "x"}).near_misses
        assert (shown, target.name, target.loosens) == (name, meant, loosens)
        assert (target.policy.name if target.policy else None) == secret
        assert setup({name: ""}).near_misses == setup({meant: "x"}).near_misses == ()

    def test_places(self) -> None:
        """A file is named by its declared path, or within the directory that somebody named."""
        assert place("config/a/b.key", None) == "config/a/b.key"
        assert place("config/a/b.key", "model") == "a/b.key in the configured directory"


class TestRevocationList:
    """What is an entry, and where lists are."""

    @pytest.mark.parametrize(
        ("line", "entries"),
        [
            *((line, 1) for line in ("{a}", "{a} # leaked", "{a}\t#", "{a}# {b} is another one")),
            *((line, 0) for line in ("{A}", "{a} {b}", "{a},{b}", "{a}\r{b}", "{a}\0", "key: {a}", "{a} leaked", "\f")),
            *((f"{{b}} # why{end}{{a}}", 0) for end in "\r\x0b\x0c\x1e\x85\u2028\u2029"),
        ],
    )
    def test_a_line_of_the_file(self, line: str, entries: int) -> None:
        """A line is a fingerprint, with or without a comment; a comment hides no further line of an editor's."""
        file = TextFile(exists=True, lines=(SealedStr(spelled(line)),))
        found = revocation_list([file])
        assert (len(found.fingerprints), found.sources) == (entries, (LIST_SOURCE,))
        assert invalid_entries(file) == ([] if entries else [1])

    @pytest.mark.parametrize(
        ("value", "valid", "invalid"),
        [
            ("{a}", 1, []),
            ("{a},{a}", 1, []),
            *((value, 2, []) for value in ("{a},{b}", "{a}\n{b}\n", ",,{a}, ,\t{b}\r\n,", "\x0b{a}\xa0{b}\u2028")),
            *((value, 0, [1]) for value in ("none", "{A}", "{a};{b}", '"{a}"', "{a}#")),
            (" , \n", 0, []),
            ("{a},wrong,,{b} wrong", 2, [2, 4]),
            ("{a} # why", 1, [2, 3]),
        ],
    )
    def test_the_variable(self, value: str, valid: int, invalid: list[int]) -> None:
        """Commas and blanks separate entries, and may surround them; comments are not entries."""
        variable = SealedStr(spelled(value))
        found = revocation_list([NO_TEXT], variable)
        assert (len(found.fingerprints), found.sources) == (valid, ("environment",))
        assert invalid_entries(variable) == invalid

    def test_where_it_is(self) -> None:
        """A file that exists or a link to nothing is a list, also without an entry; an empty variable is not."""
        both = revocation_list([TextFile(exists=True, lines=(SealedStr("x"),)), NO_TEXT], SealedStr("x"))
        assert (both.sources, both.entries) == ((LIST_SOURCE, "environment"), 0)
        assert revocation_list([NO_TEXT]).sources == ()
        for file in (TextFile(exists=True), TextFile(dangling=True)):
            assert revocation_list([file]).sources == (LIST_SOURCE,)
        assert setup({REVOKED: ""}).revocation.sources == ()
        assert setup({REVOKED: "x"}).revocation.sources == ("environment",)

    @pytest.mark.parametrize(
        ("files", "absent"),
        [
            ([NO_TEXT], (0,)),
            ([TextFile(exists=True)], (0,)),
            ([TextFile(exists=True, empty=False)], ()),
            ([TextFile(exists=True, unreadable=("it cannot be read",))], ()),
            ([TextFile(dangling=True)], ()),
            ([NO_TEXT, TextFile(exists=True, empty=False)], ()),
            ([TextFile(exists=True), NO_TEXT], (0, 1)),
        ],
    )
    def test_what_a_model_that_requires_one_finds_absent(self, files: list[TextFile], absent: tuple[int, ...]) -> None:
        """Its own list must be there, any list must have a line, and what cannot be read has another alert."""
        assert absent_lists(files) == absent

    def test_of_two_directories(self, tmp_path: Path) -> None:
        """The argument and the variable add a list to the model's; one directory has one list."""
        listed = {}
        for name in ("model", "other"):
            (tmp_path / name).mkdir(mode=0o700)
            listed[name] = new_fingerprint()
            put(tmp_path / name / LIST, listed[name])
        model_setup = ModelSetup(config_dir=str(tmp_path / "model"))
        for environ, named, both in (
            ({}, "other", True),
            ({CONFIG_DIR: str(tmp_path / "other")}, None, True),
            ({}, None, False),
            ({}, "model", False),
            ({}, "nowhere", False),
        ):
            found = setup(environ, config_dir=named and tmp_path / named, model_setup=model_setup)
            assert found.revocation.fingerprints == ({*listed.values()} if both else {listed["model"]})
            assert len(found.lists) == 2 if named != "model" and (both or named) else 1
            assert found.revocation.sources == (LIST_SOURCE,)

    def test_size(self, config: Path) -> None:
        """A list may be larger than a key file: 256 KiB."""
        for size, fits in ((MAX_LIST_BYTES, True), (MAX_LIST_BYTES + 1, False)):
            put(config / LIST, f"#{'-' * (size - 2)}\n")
            assert (setup({}, config_dir=config).lists[0].unreadable == ()) is fits
        assert (MAX_LIST_BYTES, MAX_FILE_BYTES) == (262144, 4096)

    @root_only
    def test_no_list(self, config: Path) -> None:
        """The owner of the directory may have removed the list; a list that exists is judged alone."""
        os.chown(config, 65534, -1)
        assert setup({}, config_dir=config).lists[0].foreign == ("it is owned by another ordinary user",)
        put(config / LIST, "# none")
        foreign = ("its directory is owned by another ordinary user",)
        assert setup({}, config_dir=config).lists[0].foreign == foreign


class TestMarker:
    """An instant in ISO-8601 to the minute, second or fraction, with a timezone."""

    @pytest.mark.parametrize(
        ("text", "microsecond"),
        [
            ("2027-01-15T00:00Z", 0),
            ("2027-01-15T00:00:00Z", 0),
            ("2027-01-15T02:00+02:00", 0),
            ("2027-01-15T05:45+05:45", 0),
            ("2027-01-14T19:00:00.5-05:00", 500_000),
            ("2027-01-15T00:00:00.000001Z", 1),
            ("2027-01-15T00:00:00.123456Z", 123_456),
            ("2027-01-15T00:00:00.1234569Z", 123_456),
        ],
    )
    def test_accepted(self, text: str, microsecond: int) -> None:
        """A fraction counts to the microsecond, and what is finer is cut off."""
        assert parse_marker(SealedStr(text)) == datetime(2027, 1, 15, microsecond=microsecond, tzinfo=UTC)

    @pytest.mark.parametrize(
        "text",
        [
            *("20270101", "1767225600", "0", "-1", "never", "2027-01-15", "2027-01-15T00:00", "2027-01-15 00:00Z"),
            *("2027-01-15T00:00z", "2027-01-15T00:00:00+0200", "2027-01-15T00:00:00+24:00", "2027-01-15T00:00+02:60"),
            *("2027-01-15T24:00Z", "2027-01-15T00:00:60Z", "2027-02-29T00:00Z", "0000-01-01T00:00Z"),
            *("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2027-01-15T00:00:00.Z", " 2027-01-15T00:00Z"),
            *("2027-01-15T00:00Z\n", "\N{FULLWIDTH DIGIT TWO}027-01-15T00:00Z"),
        ],
    )
    def test_refused(self, text: str) -> None:
        """Any other text, and an instant that is not in the calendar, is invalid."""
        assert parse_marker(SealedStr(text)) is None

    def test_a_time_in_utc(self) -> None:
        """A time is written in UTC to the second, with `Z`."""
        assert iso_utc(datetime.fromisoformat("2026-11-24T23:30:00.999+01:00")) == "2026-11-24T22:30:00Z"
        assert parse_marker(None) is None
