"""The sources of values and of the set-up, and how they are read."""

from __future__ import annotations

import builtins
import errno
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import NOW, V1, V2, as_user, found, good_keys, posix_only, process_environment, put, root_only
from rule_cases import new_fingerprint, spelled

from robodj_secretguard import Material, RuntimeSecrets, check
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.directory import Delivery, delivery_of
from robodj_secretguard.startup.inputs import (
    CANNOT_BE_READ,
    IN_OWNED,
    IN_WRITABLE,
    MAX_CHARACTERS,
    NO_TEXT,
    NOT_ALLOWED,
    REVOKED_FINGERPRINTS,
    WRITABLE,
    TextFile,
    variables_read,
)
from robodj_secretguard.startup.list_rules import invalid_entries, invalid_lines
from robodj_secretguard.startup.readings import (
    MAX_FILE_BYTES,
    MAX_LIST_BYTES,
    NOTHING,
    SHOWN_DIRECTORIES,
    WORKING_DIRECTORY_DELETED,
    Environment,
    KeyFiles,
    ModelSetup,
    NamedBy,
    Offer,
    Reading,
    Setup,
    are_files_off,
    config_directory,
    event_setting,
    read,
    revocation_list,
    shown_path,
    switches_of,
)

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
LIST = "revoked.fingerprints"
LIST_SOURCE = f"file:config/{LIST}"
ABOVE = "run namei -l {}, then chmod o-w where the mode ends in rwx"
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


def managed(name: str, variables: dict[str, str]) -> Delivery:
    """Return what a manager has delivered."""
    return delivery_of(name, variables, variables)


def first(environ: dict[str, str], **more: Any) -> Reading:
    """Return the first reading of the two secrets."""
    return read(POLICIES, variables_read(POLICIES), environment=Environment(environ), now=NOW, **more)[0]


def setup(environ: dict[str, str], **more: Any) -> Setup:
    """Return the set-up that is read with the two secrets."""
    return first(environ, **more).setup


class TestEnvironment:
    """The variables of a mapping or of the process."""

    def test_the_processes_own(self) -> None:
        """Without a mapping, the variables of the process are read."""
        with process_environment({V1: "x", V2: ""}):
            environment = Environment()
            assert {*environment.names()} == {V1, V2}
            assert [environment.is_set(name) for name in (V1, V2, "OTHER")] == [True, False, False]
            assert environment.get(V1) == SealedStr("x")
            assert environment.get("OTHER") is None

    def test_a_mapping_that_does_not_list_what_it_has(self) -> None:
        """Each variable is read by its name, so a variable that is missing from a listing loosens no check."""

        class Unlisted(dict[str, str]):
            def __iter__(self) -> Iterator[str]:
                return iter(())

        reading = first(Unlisted({V1: "x", f"{V1}_EXPIRES_AT": "never", PROTECTED: "true"}))
        assert (reading.found, reading.setup.protected, reading.marker) == (True, True, SealedStr("never"))

    @pytest.mark.parametrize(("environ", "absent"), [({}, f"{V1} is not set"), ({V1: ""}, f"{V1} is empty")])
    def test_an_offer_without_a_value(self, environ: dict[str, str], absent: str) -> None:
        """An empty variable is not a value, and is described as empty."""
        assert Environment(environ).offer(POLICIES[0]) == Offer(
            "environment", V1, absent=absent, is_empty="empty" in absent
        )

    def test_an_offer_of_a_value(self) -> None:
        """A value is one unchanged line."""
        assert Environment({V1: " \n"}).offer(POLICIES[0]).lines == (SealedStr(" \n"),)


class TestKeyFiles:
    """The fallback files of a config directory."""

    @pytest.mark.parametrize(
        ("content", "off", "absent"),
        [
            (None, "", ", and there is no secret.key in config_dir"),
            ("# none", "", ", and secret.key in config_dir has no value"),
            ("# none", "why", " (why)"),
            ("x", "why", " (why)"),
        ],
    )
    def test_an_offer(self, config: Path, content: str | None, off: str, absent: str) -> None:
        """An offer names the declared file, and says why the file delivers no value."""
        if content:
            put(config / "secret.key", content)
        offer = KeyFiles(str(config), "argument", off=off).offer(POLICIES[0])
        where = ("file:config/secret.key", "secret.key in config_dir")
        lines = (SealedStr("x"),) if content == "x" else ()
        assert offer._replace(file=None) == Offer(
            *where, lines, absent=absent, is_empty=bool(content) and not off, is_off=bool(off)
        )
        assert offer.file is not None
        assert (offer.file.exists, offer.file.lines) == (content is not None, lines)

    @pytest.mark.parametrize("size", [MAX_CHARACTERS, MAX_CHARACTERS + 1])
    def test_an_issued_secret_is_taken_whole(self, config: Path, size: int) -> None:
        """The value of an issued secret is the whole file, of at most 64 KiB."""
        text = "# a\n".ljust(size, "b")
        put(config / "secret.key", text)
        policy = POLICIES[0]._replace(material=Material.opaque(), generator=None, issuer="x")
        offer = KeyFiles(str(config), None, off="").offer(policy)
        good, too_large = ((), (SealedStr(text),)), (("is larger than 65536 bytes",), ())
        assert (offer.faults, offer.lines) == (good if size == MAX_CHARACTERS else too_large)

    @posix_only
    def test_a_link_to_nothing(self, config: Path) -> None:
        """A link to a missing file has a separate message."""
        (config / "secret.key").symlink_to("..data/secret.key")
        offer = KeyFiles(str(config), None, off="").offer(POLICIES[0])
        assert offer.absent == ", and config/secret.key is a broken link"

    def test_no_directory(self) -> None:
        """Without a named directory, the file is read below the working directory."""
        offer = KeyFiles(None, None, off="").offer(POLICIES[0])
        assert offer.absent == ", and there is no config/secret.key in the working directory"
        assert (offer.file, offer.faults) == (NO_TEXT, ())

    def test_without_a_descriptor_for_its_reader_a_file_cannot_be_read(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The module that reads files is imported late. Where that fails, the file counts as one with a key."""
        import_module = builtins.__import__

        def fail(name: str, *rest: Any) -> Any:
            if name.endswith("file_reader"):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return import_module(name, *rest)

        monkeypatch.setattr(builtins, "__import__", fail)
        offer = KeyFiles(str(config), None, off="").offer(POLICIES[0])
        assert (offer.faults, offer.lines) == ((CANNOT_BE_READ,), ())

    def test_an_offer_of_an_unsafe_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An offer has the faults of its file."""
        file = TextFile(exists=True, lines=(SealedStr("x"),), exposed=(WRITABLE, IN_WRITABLE))
        monkeypatch.setattr(KeyFiles, "read", lambda *_: file)
        offer = KeyFiles("config", None, off="").offer(POLICIES[0])
        assert (offer.file, offer.faults) == (file, (WRITABLE, IN_WRITABLE))

    def test_an_unsafe_file_without_a_key_refuses_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Others could write a file that has no key: then there is no value, and no fault of one."""
        monkeypatch.setattr(KeyFiles, "read", lambda *_: TextFile(exists=True, exposed=(WRITABLE,)))
        offer = KeyFiles("config", None, off="").offer(POLICIES[0])
        assert (offer.faults, offer.absent) == ((), ", and config/secret.key has no value")

    @root_only
    @pytest.mark.parametrize(("mode", "mode_of_directory"), [(0o600, 0o755), (0o000, 0o755)])
    def test_the_fix_of_permissions_is_enough(self, mode: int, mode_of_directory: int) -> None:
        """After the fix, the user of the service can read the key: neither the file nor its directory prevents it."""
        key = good_keys()[V1]
        # Not below pytest's or nox's directory, which other users cannot enter.
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            file, service = put(Path(directory) / "secret.key", key, mode), 65534
            Path(directory).chmod(mode_of_directory)
            readings = []
            for _ in range(2):
                with as_user(service):
                    readings.append(first({}, config_dir=directory))
                os.chown(file, service, -1)
                file.chmod(0o600)
                Path(directory).chmod(0o711)
        assert [reading.used.faults for reading in readings] == [(NOT_ALLOWED,), ()]
        assert [each.value for each in readings] == [None, SealedStr(key)]

    @root_only
    def test_a_directory_that_cannot_be_entered(self) -> None:
        """It is one fault of the set-up: no file below it is reported."""
        with tempfile.TemporaryDirectory() as directory:
            put(Path(directory) / "secret.key", good_keys()[V1])
            with as_user(65534):
                reading = first({}, config_dir=directory)
        assert (reading.setup.directory_fault, reading.used) == (NOT_ALLOWED, NOTHING)

    @pytest.mark.parametrize("make", [Path.mkdir, pytest.param(lambda path: path.symlink_to(path), marks=posix_only)])
    def test_the_fix_of_what_cannot_be_read(self, config: Path, make: Callable[[Path], None]) -> None:
        """The variable is used even if the file cannot be read."""
        make(config / "secret.key")
        assert not first({}, config_dir=config).found
        assert first(good_keys(), config_dir=config).used.source == "environment"


class TestReading:
    """The offer that delivers a secret."""

    def test_the_first_that_has_a_value(self, config: Path) -> None:
        """Sources are asked in order: the managers, the environment, the file."""
        key = good_keys()[V1]
        put(config / "secret.key", key)
        for environ, managers, source, value in (
            ({V1: "x"}, [managed("a", {}), managed("b", {V1: "v"}), managed("c", {V1: "w"})], "b", "v"),
            ({V1: "x"}, [managed("a", {V2: "v"})], "environment", "x"),
            ({V1: ""}, [], "file:config/secret.key", key),
        ):
            reading = first(environ, config_dir=config, managers=managers)
            assert (reading.used.source, reading.value, reading.found) == (source, SealedStr(value), True)
            assert reading.manager == (source if managers[1:] else "")
            assert [each.source for each in reading.offers[-2:]] == ["environment", "file:config/secret.key"]

    def test_all_variables_of_a_manager(self) -> None:
        """A manager that has one variable of a secret delivers all of them, or none where it has no key."""
        slots = {f"{V1}_NEXT": "n", f"{V1}_PREVIOUS": "p", f"{V1}_PREVIOUS_UNTIL": "2026-12-01T00:00Z"}
        environ = {V1: "x", f"{V1}_EXPIRES_AT": "2027-01-15T00:00Z", **slots}
        reading = first(environ, managers=[managed("a", {f"{V1}_NEXT": "m"})])
        assert (reading.used, reading.value, reading.marker, reading.manager) == (NOTHING, None, None, "a")
        assert [(each.slot, each.value, each.manager) for each in reading.slots] == [("next", SealedStr("m"), "a")]
        environ_of_next = {f"{V1}_NEXT": "m"}
        reading = first({}, managers=[managed("a", {}), managed("b", environ_of_next), managed("c", {V1: "x"})])
        assert reading.manager == "b"
        assert first({}, managers=[managed("a", {}), managed("b", {})]).manager == "a"
        reading = first({}, managers=[managed("a", environ)])
        assert reading.expires_at == datetime(2027, 1, 15, tzinfo=UTC)
        assert [(each.slot, each.used.source, each.found) for each in reading.slots] == [
            ("next", "a", True),
            ("previous", "a", True),
        ]

    def test_the_lists_are_joined(self) -> None:
        """The revocation lists of the managers and of the environment hold together."""
        fingerprints = [new_fingerprint() for _ in range(3)]
        one, two, three = ({REVOKED_FINGERPRINTS: each} for each in fingerprints)
        revocation = setup(one, managers=[managed("a", two), managed("b", three)]).revocation
        assert (revocation.fingerprints, revocation.sources) == (frozenset(fingerprints), ("environment", "a", "b"))

    def test_misspelled_variables_of_a_manager(self) -> None:
        """A misspelled variable of a manager is found. A switch is not, as a manager delivers none."""
        names = {f"{V1}_EXPIRY": "x", "ROBODJ_PROTECTED_ENVS": "x", "ROBODJ_PROTECTED_ENV": "x", "OTHER": "x"}
        (miss,) = setup({}, managers=[managed("a", names)]).near_misses
        assert (miss.meant.name, miss.manager) == (f"{V1}_EXPIRES_AT", "a")

    @pytest.mark.parametrize(
        ("environ", "is_off"),
        [
            ({}, True),
            ({f"{V2}S": "x"}, True),
            ({V1: "", "ROBODJ_SECRETS_EPHEMERAL": "1"}, True),
            *(({name: "x"}, False) for name in (V1, f"{V1}S", f"{V1}_EXPIRES_AT", f"{V1}_NEXT")),
            ({V1: ""}, False),
        ],
    )
    def test_an_optional_secret(self, environ: dict[str, str], *, is_off: bool) -> None:
        """It is off where nothing of it is set: no value, no date, no slot, and no misspelled name of one."""
        policies = (POLICIES[0]._replace(required=False), POLICIES[1])
        reading, required = read(policies, variables_read(policies), environment=Environment(environ), now=NOW)
        assert (reading.is_off, required.is_off) == (is_off, False)

    def test_a_fingerprint(self) -> None:
        """A key has one, unless its value could be guessed from it. The list may name a key without one."""
        reading = first(good_keys())
        assert reading.key is not None
        assert reading.fingerprint == reading.listed_as == fingerprint(reading.key)
        assert reading._replace(is_legacy=True).fingerprint == ""
        assert first({}).listed_as == ""
        old = (secrets.token_hex(12), secrets.token_hex(32), "short")
        assert [first({f"{V1}_PREVIOUS": text}).slots[0].is_legacy for text in old] == [True, False, False]

    def test_no_value(self, config: Path) -> None:
        """A disabled file delivers nothing, and a file with two lines delivers neither."""
        put(config / "secret.key", "x")
        reading = first({}, config_dir=config, require_env_only=True)
        assert (reading.used, reading.found, reading.value) == (NOTHING, False, None)
        put(config / "secret.key", "x\ny")
        reading = first({}, config_dir=config)
        assert (reading.used.source, reading.found, reading.value) == ("file:config/secret.key", True, None)

    def test_the_marker(self) -> None:
        """The expiry marker is read from the environment. An empty one is unset."""
        name = f"{V1}_EXPIRES_AT"
        assert first({name: "2027-01-15T00:00Z"}).expires_at == datetime(2027, 1, 15, tzinfo=UTC)
        assert first({name: "never"}).expires_at is None
        assert first({name: ""}).marker is None
        assert first({name: "never"}).marker == SealedStr("never")


@pytest.mark.usefixtures("_in_directory")
class TestDirectory:
    """The config directory and its faults: any other object at its path could hide a revocation list."""

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
        """The argument wins over the variable, and the variable over the model."""
        found = config_directory(Environment({CONFIG_DIR: variable}), argument, ModelSetup(config_dir=model))
        assert found == expected

    @pytest.mark.parametrize(
        ("named", "fault"),
        [
            ("nowhere", "does not exist"),
            ("", "does not exist"),
            ("file", "is not a directory"),
            ("a\0b", "cannot be read"),
            ("directory", ""),
            pytest.param("file/config", "is not a directory", marks=posix_only),
            pytest.param("link", "is a broken link", marks=posix_only),
            pytest.param("loop", "cannot be read", marks=posix_only),
        ],
    )
    def test_a_fault(self, tmp_path: Path, named: str, fault: str) -> None:
        """A named directory must exist. The default one may be missing, but nothing else may be at its path."""
        (tmp_path / "file").touch()
        (tmp_path / "directory").mkdir()
        if os.name == "posix":
            (tmp_path / "link").symlink_to("nowhere")
            (tmp_path / "loop").symlink_to("loop")
        found = setup({}, config_dir=named)
        assert (found.directory_named_by, found.directory_fault) == ("argument", fault)
        (tmp_path / "argument").mkdir()
        both = setup({}, config_dir="argument", model_setup=ModelSetup(config_dir=named))
        assert both.model_directory_fault == ("" if fault == "does not exist" else fault)
        assert setup({}, model_setup=ModelSetup(config_dir=named)).directory_fault == fault
        if named in {"file", "link", "loop"}:
            (tmp_path / named).rename(tmp_path / "config")
            assert setup({}).directory_named_by is None
            assert setup({}).directory_fault == (fault if named == "file" else "is a broken link")

    def test_no_default(self) -> None:
        """A service without a config directory starts."""
        assert setup({}).directory_fault == setup({}).model_directory_fault == ""
        assert not setup({}).list_required

    @posix_only
    def test_a_working_directory_that_was_deleted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is found under a deleted working directory."""
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert setup({}).directory_fault == WORKING_DIRECTORY_DELETED


class TestSwitches:
    """The switches of fallback files and of temporary keys."""

    @pytest.mark.parametrize("value", ["1", "true", "YES", "On", "0", "False", "no", "OFF", ""])
    def test_known(self, value: str) -> None:
        """The two switches have opposite meanings. Empty is unset."""
        on = value.lower() in {"1", "true", "yes", "on"}
        protected, allowed = setup({PROTECTED: value}), setup({ALLOW: value})
        assert (protected.protected, protected.files_off, protected.unknown_switches) == (on, on, ())
        assert (allowed.protected, allowed.files_off, allowed.unknown_switches) == (False, not on and bool(value), ())

    @pytest.mark.parametrize("value", ["2", "maybe", " true", "ye", "\n"])
    def test_unknown(self, value: str) -> None:
        """An unknown value is reported, and the stricter setting applies."""
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
        """The switch turns on what the model turned off, but nothing that the environment or a caller turned off."""
        for model_setup, expected in ((ModelSetup(), off), (ModelSetup(file_fallback=False), off_by_model)):
            assert setup(environ, model_setup=model_setup).files_off is expected
            assert are_files_off(switches_of(Environment(environ)), model_setup) is expected
            assert setup(environ, model_setup=model_setup, require_env_only=True).files_off
        assert setup(environ, require_env_only=True).protected

    @pytest.mark.parametrize(
        ("environ", "more", "why"),
        [
            ({ALLOW: "false"}, {}, "fallback files are not read"),
            ({}, {"model_setup": ModelSetup(file_fallback=False)}, "fallback files are not read"),
            ({PROTECTED: "true"}, {}, "protected environment: fallback files are not read"),
            ({}, {"require_env_only": True}, "protected environment: fallback files are not read"),
        ],
    )
    def test_why_files_are_off(self, environ: dict[str, str], more: dict[str, Any], why: str) -> None:
        """If fallback files are off because the environment is protected, the message says so."""
        offer = first(environ, **more).offers[-1]
        assert (offer.is_off, offer.absent) == (True, f" ({why})")

    def test_settings_of_the_events(self) -> None:
        """An invalid setting is named and ignored, and empty is unset."""
        name = "ROBODJ_SERVICE"
        for text, used, faults in (("api", "api", ()), ("-api", "", (name,)), ("", "", ())):
            assert event_setting(Environment({name: text}), name) == used
            assert setup({name: text}).event_faults == faults

    def test_temporary_keys(self) -> None:
        """Keys are temporary if the variable has any value."""
        assert [setup({"ROBODJ_SECRETS_EPHEMERAL": value}).ephemeral for value in ("0", "")] == [True, False]


def test_the_set_up_of_a_model(config: Path) -> None:
    """The model's set-up applies to the checks, and to an instance that is made without guard()."""

    class Strict(RuntimeSecrets, config_dir=config, file_fallback=False, require_revocation_list=True):
        pass

    put(config / "secret.key", good_keys()[V1])
    report = check(Strict, environ={V2: good_keys()[V2]}, now=NOW)
    assert found(report) == [("revocation-list", None), ("missing", "secret.key"), ("file-present", "secret.key")]
    with process_environment(good_keys()), pytest.raises(ValueError, match="the model requires one"):
        Strict()


class TestNames:
    """The variables that are read, and their typos."""

    @pytest.mark.parametrize(
        ("name", "intended", "secret", "loosens"),
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
    def test_typos(self, name: str, intended: str, secret: str | None, *, loosens: bool) -> None:
        """Each typo has the intended variable, its secret, and whether ignoring it loosens a check."""
        (miss,) = setup({name: "x"}).near_misses
        assert (miss.name, miss.meant.name, miss.meant.loosens, miss.is_meant_set) == (name, intended, loosens, False)
        assert (miss.meant.policy.name if miss.meant.policy else None) == secret
        assert setup({name: "x", intended: "x"}).near_misses == (miss._replace(is_meant_set=True),)
        assert setup({name: ""}).near_misses == setup({intended: "x"}).near_misses == ()

    @pytest.mark.parametrize(
        ("named_by", "directory", "file"),
        [
            (None, "config", "config/a/b.key"),
            ("environment", "$ROBODJ_CONFIG_DIR", "$ROBODJ_CONFIG_DIR/a/b.key"),
            ("argument", "config_dir", "a/b.key in config_dir"),
            ("model", "the model's config_dir", "a/b.key in the model's config_dir"),
        ],
    )
    def test_places(self, named_by: NamedBy | None, directory: str, file: str) -> None:
        """A path is written for a shell if the environment or nothing names the directory. No named path is shown."""
        assert (SHOWN_DIRECTORIES[named_by], shown_path("config/a/b.key", named_by)) == (directory, file)


class TestRevocationList:
    """The entries of revocation lists, and the places of lists."""

    @pytest.mark.parametrize(
        ("line", "entries"),
        [
            *((line, 1) for line in ("{a}", "{a} # leaked", "{a}\t#", "{a}# {b} is another one")),
            *((line, 1) for line in ("{a}@2026-12-10T00:00:00Z", "{a}@2026-12-10T01:00+01:00 # replaced")),
            *((line, 0) for line in ("{a}@", "{a}@2026-12-10", "{a}@2026-12-10T00:00:00", "{a} @2026-12-10T00:00:00Z")),
            *(
                (line, 0)
                for line in ("@2026-12-10T00:00:00Z", "{a}@1796385600", "{a}@{b}", "{a}@2026-12-10T00:00:00Z@")
            ),
            *((line, 0) for line in ("{A}", "{a} {b}", "{a},{b}", "{a}\r{b}", "{a}\0", "key: {a}", "{a} leaked", "\f")),
            *((f"{{b}} # why{end}{{a}}", 0) for end in "\r\x0b\x0c\x1e\x85\u2028\u2029"),
        ],
    )
    def test_a_line_of_the_file(self, line: str, entries: int) -> None:
        """A line is a fingerprint, with or without a comment. A comment cannot hide another line of an editor."""
        file = TextFile(exists=True, lines=(SealedStr(spelled(line)),), numbers=(7,))
        found = revocation_list([file])
        assert (len(found.begins), found.sources) == (entries, (LIST_SOURCE,))
        assert invalid_lines(file) == ([] if entries else [7])

    @pytest.mark.parametrize(
        ("value", "valid", "invalid"),
        [
            ("{a}", 1, []),
            ("{a},{a}", 1, []),
            *((value, 1, []) for value in ("{a},{a}@0001-01-01T00:00:00Z", "{a}@0001-01-01T00:00:00Z {a}")),
            *((value, 2, []) for value in ("{a},{b}", "{a}\n{b}\n", ",,{a}, ,\t{b}\r\n,", "\x0b{a}\xa0{b}\u2028")),
            *((value, 0, [1]) for value in ("none", "{A}", "{a};{b}", '"{a}"', "{a}#")),
            (" , \n", 0, []),
            ("{a},wrong,,{b} wrong", 2, [2, 4]),
            ("{a} # why", 1, [2, 3]),
        ],
    )
    def test_the_variable(self, value: str, valid: int, invalid: list[int]) -> None:
        """Commas and blanks separate entries, and may surround them. Comments are not entries."""
        variable = SealedStr(spelled(value))
        found = revocation_list([NO_TEXT], [("environment", variable)])
        assert (len(found.fingerprints), found.sources) == (valid, ("environment",))
        assert invalid_entries(variable) == invalid

    def test_where_it_is(self) -> None:
        """A file that exists, or a link to nothing, is a list even without an entry. An empty variable is not."""
        both = revocation_list(
            [TextFile(exists=True, lines=(SealedStr("x"),)), NO_TEXT], [("environment", SealedStr("x"))]
        )
        assert (both.sources, len(both.begins)) == ((LIST_SOURCE, "environment"), 0)
        assert revocation_list([NO_TEXT]).sources == ()
        for file in (TextFile(exists=True), TextFile(dangling=True)):
            assert revocation_list([file]).sources == (LIST_SOURCE,)
        assert setup({REVOKED: ""}).revocation.sources == ()
        assert setup({REVOKED: "x"}).revocation.sources == ("environment",)

    def test_of_two_directories(self, tmp_path: Path) -> None:
        """The argument and the variable add a list to the model's. One directory has one list."""
        listed = {}
        for name in ("model", "other"):
            (tmp_path / name).mkdir(mode=0o700)
            listed[name] = new_fingerprint()
            put(tmp_path / name / LIST, f"# ours\n{listed[name]}\n")
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
        """The owner of the directory may have removed the list. An existing list is judged alone."""
        os.chown(config, 65534, -1)
        assert setup({}, config_dir=config).lists[0].foreign == (IN_OWNED,)
        put(config / LIST, "# none")
        assert setup({}, config_dir=config).lists[0].foreign == (IN_OWNED,)
