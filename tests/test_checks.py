"""Each check: its text to the letter, both sides of its boundary, and that only that check fires."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOW, V1, V2, Checker, found, good_keys, marker, posix_only
from generated import README, readme_with_table
from spellings import respelled

from robodj_secretguard import Check, RuntimeSecrets, Severity, State, check
from robodj_secretguard.checks import CHECKS, EARLIEST_CLOCK, Problem, internal, revocation_list_problems
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import Environment, Setup, read, variables_read
from robodj_secretguard.testing import KINDS
from robodj_secretguard.textfile import TextFile

if TYPE_CHECKING:
    from collections.abc import Sequence

K1, K2 = "secret.key", "secret_v2.key"
E1, E2 = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"
REVOKED, LIST = "ROBODJ_REVOKED_FINGERPRINTS", "revoked.fingerprints"
PROTECTED, EPHEMERAL = "ROBODJ_PROTECTED_ENV", "ROBODJ_SECRETS_EPHEMERAL"
MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)
WEAK = "Zy" * 30
POLICIES = tuple(RuntimeSecrets.secret_policies.values())


def listed(*keys: str) -> str:
    """Write a revocation list of these keys."""
    return "".join(f"{fingerprint(SealedStr(key))}\n" for key in keys)


def a_setup(**changes: Any) -> Setup:
    """Return the set-up of two good keys, with changes."""
    environment = Environment(good_keys())
    reading, _ = read(POLICIES, variables_read(POLICIES), environment=environment, config_dir="/", now=NOW)
    return reading.setup._replace(**changes)


def problems(of: Check, setup: Setup) -> list[Problem]:
    """Return what the rule of a check finds about a set-up."""
    (rule,) = (entry.of_setup for entry in CHECKS if entry.check is of)
    assert rule is not None
    return [*rule(setup)]


class TestTable:
    """One table of checks, from which the documentation and the plugin's kinds come."""

    def test_every_check_has_one_entry_in_its_order(self) -> None:
        """The order of the ids is the order of the report."""
        assert [entry.check for entry in CHECKS] == [*Check]

    def test_every_check_of_the_guard_has_a_rule(self) -> None:
        """The rules of the others are where the operations log is read, and where a check fails."""
        without = [entry.scope for entry in CHECKS if not (entry.of_secret or entry.of_all or entry.of_setup)]
        assert without == ["log", "none"]

    def test_the_kinds_of_the_plugin(self) -> None:
        """Each check that the guard runs on what a test can set up has a kind: the clock is not one of these."""
        assert [*KINDS] == [
            entry.check for entry in CHECKS if entry.scope not in {"log", "none"} and entry.check is not Check.CLOCK
        ]

    def test_the_documentation(self) -> None:
        """The README's table is up to date: `python tests/generated.py` writes it."""
        assert readme_with_table() == README.read_text(encoding="utf-8")


KEY = good_keys()[V1]
HERE, LIST_HERE = f"{K1} in the configured directory", f"{LIST} in the configured directory"
ONE, TWO = (f'python -c "import secrets; print(secrets.{each})"' for each in ("token_urlsafe(32)", "token_hex(64)"))
DELIVER = f"""To mend it, deliver the existing value from the secret manager as {V1}; only for a first key or a
deliberate rotation, generate one: {ONE}"""
ROTATION = f"""generate a new key ({ONE}), deliver it as {V1}, set {E1} to at most 90 days from then, and restart;
moving the marker alone is not a rotation."""
NOT_RANDOM = f"""holds a key that is plainly not random: it has fewer than 16 distinct characters. No approved generator
makes such a key. Rotate to a generated one: {ONE}"""
TEMPORARY = f"{EPHEMERAL} is set: the keys are temporary, for an image build or a test"
SERVE = f"To serve, leave out exec --ephemeral, unset {EPHEMERAL}, and deliver the keys from the manager;"
DELETE = "Make sure that the secret manager has the key, then delete the file; if it was exposed, rotate."
FORM = "sgfp1: and 32 hexadecimal digits in lower case"
US, FILE, LIST_FILE = (
    f"({source}; Security Operations)" for source in ("environment", f"file:config/{K1}", f"file:config/{LIST}")
)

# What is set, and the line of it, in the same order. A line is wrapped here alone.
VARIABLES: list[dict[str, str]] = [
    *({V1: value} for value in ("", "changeme", "short=", WEAK)),
    *({E1: text} for text in (marker(-DAY), "never", marker(5 * DAY), marker(300 * DAY))),
    *({PROTECTED: "maybe"}, {f"{V1}_FILE": "x"}, {REVOKED: "wrong," * 7}, {V1: KEY, REVOKED: listed(KEY)}),
    *({EPHEMERAL: "1"}, {EPHEMERAL: "0", PROTECTED: "1"}, {V1: KEY, V2: KEY + "a" * 43}),
]
LINES = f"""
ALERT: secret.key: missing: {V1} is set but empty, and there is no file {HERE}. {DELIVER} (none; Security Operations)

ALERT: secret.key: placeholder: {V1} holds a placeholder, not a key. {DELIVER} {US}

ALERT: secret.key: format: {V1} does not hold a well-formed key: it ends with = padding; it has fewer than 16 base64url
characters where at least 43 are needed. {DELIVER} {US}

ALERT: secret.key: weak: {V1} {NOT_RANDOM} {US}

ALERT: secret.key: expired: The key expired at 2026-11-30T12:00:00Z ({E1}). Rotate: {ROTATION} {US}

ALERT: secret.key: expiry-marker: {E1} is set, but not to an instant in ISO-8601 with a timezone. Write it like
2027-01-31T00:00:00Z, the instant by which the key must be rotated, or unset it. {US}

WARNING: secret.key: expiring: The key expires at 2026-12-06T12:00:00Z ({E1}), within 5 days. Rotate before then:
{ROTATION} {US}

WARNING: secret.key: cadence: {E1} is 2027-09-27T12:00:00Z, further ahead than the cadence of 90 days. Set it to the
last rotation's date plus 90 days. {US}

ALERT: setting: {PROTECTED} is neither true nor false, so fallback files are off. Set it to one of 1, true, yes, on, 0,
false, no, off, or unset it. {US}

WARNING: secret.key: near-miss: {V1}_FILE is set, and nothing reads it: {V1} is probably meant. If it holds what {V1}
should hold, rename it; otherwise remove it. {US}

ALERT: revocation-list: {REVOKED} has entries that are not fingerprints: entries 1, 2, 3, 4, 5 and 2 more. Correct it:
{FORM} each, separated by commas or blanks. {US}

ALERT: secret.key: revoked: The key is revoked: {listed(KEY)} is on the revocation list. Deliver its replacement from
the secret manager as {V1}; if there is none yet, rotate: {ONE} {US}

WARNING: ephemeral: {TEMPORARY}. {SERVE} a build or a test needs nothing. {US}

ALERT: ephemeral: {TEMPORARY}, and the environment is protected. {SERVE} to build or test, do so outside of the
protected environment. {US}

ALERT: secret_v2.key: shared: Its value and that of secret.key are equal, or one contains the other. Every secret needs
its own key. Rotate secret_v2.key: {TWO} {US}
"""
FILES: list[tuple[str, str | bytes, int, dict[str, str]]] = [
    *(
        (K1, *file, {V1: ""})
        for file in ((KEY, 0o600), ("a\nb\n", 0o600), (WEAK, 0o600), (KEY, 0o644), (b"\xff", 0o666))
    ),
    *((K1, KEY, 0o600, {}), (K1, b"\xff", 0o600, {PROTECTED: "1"}), (f"{K1}.txt", "", 0o600, {})),
    *((LIST, *file, {}) for file in ((b"\xff", 0o600), ("", 0o666), ("wrong\n", 0o600))),
    (f"{LIST}.txt", "", 0o600, {PROTECTED: "1"}),
]
LINES_OF_FILES = f"""
WARNING: secret.key: file-fallback: The value comes from the break-glass file {HERE}. Deliver the key as {V1}, then
delete the file. {FILE}

ALERT: secret.key: format: {HERE} has 2 lines besides blanks and comments where exactly one is needed. {DELIVER} {FILE}

ALERT: secret.key: weak: {HERE} {NOT_RANDOM} {FILE}

WARNING: secret.key: file-permissions: {HERE} is open too wide: it is readable by others. Make the service's user its
owner, and run: chmod 600 {HERE} {FILE}

ALERT: secret.key: file-unsafe: {HERE} may not be used: it is not UTF-8; it is writable by others. Deliver the key as
{V1} instead; or make it a UTF-8 file of the key alone, at most 4096 bytes, that nobody else can write: chmod 600
{HERE}; chmod -R go-w on the directory that the argument names. {FILE}

WARNING: secret.key: file-stale: {HERE} holds key material, while {V1} delivers the key. {DELETE} {FILE}

ALERT: secret.key: file-present: {HERE} cannot be judged, while fallback files are off. {DELETE} {FILE}

WARNING: secret.key: near-miss: Beside {HERE} there is a file of that name and .txt, and nothing reads it. If it holds
the key, deliver that as {V1}; then delete the file. {FILE}

ALERT: revocation-list: The revocation list {LIST_HERE} cannot be relied on: it is not UTF-8. Restore it from version
control. {LIST_FILE}

ALERT: revocation-list: The revocation list {LIST_HERE} cannot be relied on: it is writable by others. Compare it with
version control, and run: chmod -R go-w on the directory that the argument names. {LIST_FILE}

ALERT: revocation-list: The revocation list {LIST_HERE} has lines that are not fingerprints: entry 1, comments and blank
lines not counted. Restore them from version control: each is {FORM}; keep the fingerprints. {LIST_FILE}

ALERT: near-miss: Beside {LIST_HERE} there is a file of that name and .txt, and nothing reads it. Add its lines to
{LIST_HERE}, then delete it. {LIST_FILE}
"""


def unwrapped(text: str) -> list[str]:
    """Return the lines of a text in which each is a paragraph."""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


class TestLines:
    """The line of each check, to the letter."""

    @pytest.mark.parametrize(("environ", "line"), [*zip(VARIABLES, unwrapped(LINES), strict=True)], ids=range(15))
    def test_of_a_variable(self, checker: Checker, environ: dict[str, str], line: str) -> None:
        """What is wrong with a variable, and what to do."""
        assert [each.line for each in checker(good_keys() | environ).findings] == [line]

    @pytest.mark.parametrize(("file", "line"), [*zip(FILES, unwrapped(LINES_OF_FILES), strict=True)], ids=range(12))
    @posix_only
    def test_of_a_file(self, checker: Checker, file: tuple[Any, ...], line: str) -> None:
        """What is wrong with a file, and what to do; a file in use has its own warning."""
        name, content, mode, environ = file
        checker.write(name, content, mode)
        lines = [each.line for each in checker(good_keys() | environ).findings]
        assert [each for each in lines if each == line or "file-fallback" not in each] == [line]

    def test_of_the_clock(self, checker: Checker) -> None:
        """The message is about the clock of the machine."""
        (finding,) = checker(good_keys() | {E1: marker(DAY)}, now=EARLIEST_CLOCK - DAY).findings
        assert (finding.message, finding.remedy) == (
            f"The clock says 2026-10-31T00:00:00Z, which is before this program was made: {E1} cannot be judged.",
            "Set the clock of this machine, then start again.",
        )

    @pytest.mark.parametrize(
        ("named_by", "what", "fix"),
        [
            (None, "", "Start in the service's own directory, and restore config as a directory from version control."),
            ("environment", "ROBODJ_CONFIG_DIR", "Correct ROBODJ_CONFIG_DIR, or restore that directory."),
            ("argument", "the config_dir argument", "Correct the config_dir argument, or restore that directory."),
            ("model", "the model", "Restore that directory from version control or the deployment."),
        ],
    )
    def test_of_a_directory(self, named_by: str | None, what: str, fix: str) -> None:
        """The message names who set the directory, and not its path."""
        what = f"The config directory that {what} names" if named_by else "config under the working directory"
        source = "environment" if named_by == "environment" else "none"
        expected = Problem(f"{what} fails.", f"It may hold the revocation list or key files. {fix}", source)
        assert problems(Check.SETTING, a_setup(directory_named_by=named_by, directory_fault="fails")) == [expected]
        if named_by == "model":
            assert problems(Check.SETTING, a_setup(model_directory_fault="fails")) == [expected]

    def test_of_a_check_that_failed(self) -> None:
        """An error is reported by its type alone."""
        assert internal("TypeError") == Problem(
            "The check itself failed (TypeError): nothing is verified.",
            "If the service passes arguments or has validators of its own, ask its developers; else report a bug.",
            "none",
        )

    @pytest.mark.parametrize("name", ["\N{GREEK SMALL LETTER ALPHA}", "a\nALERT: forged"])
    def test_of_an_error_whose_type_would_break_the_line(self, name: str) -> None:
        """A type's name that is more than a name is not shown."""
        error = type(name, (Exception,), {})

        class Hostile(dict[str, str]):
            def __contains__(self, _key: object) -> bool:
                raise error

        assert "(an error)" in check(environ=Hostile({V1: "x"}), now=NOW).findings[0].message


class TestValue:
    """Checks of the value itself: a secret has the first finding only."""

    @pytest.mark.parametrize(
        ("value", "fired", "state"),
        [
            ("", "missing", State.MISSING),
            ("changeme", "placeholder", State.INVALID_FORMAT),
            ("short", "format", State.INVALID_FORMAT),
            ("=", "format", State.INVALID_FORMAT),
            ("é" * 43, "format", State.INVALID_FORMAT),
            ("\udcff" * 43, "format", State.INVALID_FORMAT),
            (WEAK, "weak", State.INVALID_FORMAT),
            (None, None, State.PRESENT),
        ],
    )
    def test_the_first(self, checker: Checker, value: str | None, fired: str | None, state: State) -> None:
        """Only a sound key is looked up on the revocation list, whatever is on it."""
        keys = good_keys()
        given = keys | ({} if value is None else {V1: value})
        report = checker(given | {REVOKED: listed(secrets.token_urlsafe(32), *filter(str.isascii, [value or "x"]))})
        assert found(report) == ([(fired, K1)] if fired else [])
        assert report.secrets[0].state is state

    @pytest.mark.parametrize("require_env_only", [False, True])
    def test_revoked(self, checker: Checker, *, require_env_only: bool) -> None:
        """A key on either list is revoked, in environment-only too, also as another secret; no other key is."""
        keys = good_keys()
        revoked = listed(keys[V2]).strip()
        near = revoked[:-1] + ("0" if revoked[-1] != "0" else "1")
        assert found(checker(keys | {REVOKED: near}, require_env_only=require_env_only)) == []
        report = checker(keys | {REVOKED: f"{near},{revoked}"}, require_env_only=require_env_only)
        assert (found(report), report.secrets[1].state) == ([("revoked", K2)], State.PRESENT)
        checker.write(LIST, f"{near}\n{revoked}\n")
        assert found(checker(keys, require_env_only=require_env_only)) == [("revoked", K2)]
        assert found(checker({V1: keys[V2].upper(), V2: good_keys()[V2]})) == [("revoked", K1)]

    @posix_only
    def test_of_files(self, checker: Checker) -> None:
        """A key from a file is judged, and neither one that may not be used nor one that is not needed."""
        keys = good_keys()
        checker.write(K1, keys[V1])
        revoked = {V2: keys[V2], REVOKED: listed(keys[V1])}
        assert found(checker(revoked)) == [("revoked", K1), ("file-fallback", K1)]
        assert found(checker(good_keys() | {REVOKED: listed(keys[V1])})) == [("file-stale", K1)]
        checker.write(K1, keys[V1], 0o666)
        report = checker(revoked)
        assert found(report) == [("file-unsafe", K1)]
        assert (report.secrets[0].state, report.secrets[0].fingerprint) == (State.INVALID_FORMAT, None)
        checker.write(K1, "# none", 0o666)
        assert found(checker(revoked)) == [("missing", K1)]


class TestShared:
    """Two declared secrets are one."""

    @pytest.mark.parametrize("size", [32, 64])
    def test_in_any_spelling(self, checker: Checker, size: int) -> None:
        """A key that equals or contains another one is reported on the later secret, also respelled in unused bits."""
        key, more = secrets.token_urlsafe(size), secrets.token_urlsafe(32)
        for first, second in [pair for other in (key, *respelled(key)[:3]) for pair in ((key, other), (other, key))]:
            for value in (second, more + second, second + more):
                for pair in ({V1: first, V2: value}, {V1: value, V2: first}):
                    assert ("shared", K2) in found(checker(pair))

    def test_case(self, checker: Checker) -> None:
        """Hexadecimal is compared in lower case, base64url as it is; another digit makes another key."""
        key, text = secrets.token_hex(64), secrets.token_urlsafe(64)
        assert found(checker({V1: key.upper(), V2: key})) == [("shared", K2)]
        assert found(checker({V1: text.swapcase(), V2: text})) == []
        for one, at in ((key, -1), (text, -2)):
            other = [*one]
            other[at] = "0" if one[at] != "0" else "1"
            assert found(checker({V1: "".join(other), V2: one})) == []

    def test_malformed_values(self, checker: Checker) -> None:
        """Every value but a placeholder is compared, and both findings are reported."""
        key = secrets.token_urlsafe(30)
        assert found(checker({V1: key, V2: key})) == [("format", K1), ("format", K2), ("shared", K2)]
        assert found(checker({V1: "changeme", V2: "changeme"})) == [("placeholder", K1), ("placeholder", K2)]


class TestMarker:
    """The optional expiry marker, and the clock that it is compared with."""

    @pytest.mark.parametrize(
        ("name", "ahead", "fired", "said"),
        [
            (E1, -DAY, "expired", ""),
            (E1, 0 * DAY, "expired", ""),
            (E1, MICROSECOND, "expiring", "within 1 day."),
            (E1, DAY, "expiring", "within 1 day."),
            (E1, DAY + MICROSECOND, "expiring", "within 2 days."),
            (E1, 14 * DAY, "expiring", "within 14 days."),
            (E1, 14 * DAY + MICROSECOND, None, ""),
            (E1, 91 * DAY, None, ""),
            (E1, 91 * DAY + MICROSECOND, "cadence", ""),
            (E2, 7 * DAY, "expiring", "within 7 days."),
            (E2, 7 * DAY + MICROSECOND, None, ""),
            (E2, 31 * DAY + MICROSECOND, "cadence", ""),
        ],
    )
    def test_windows(self, checker: Checker, name: str, ahead: timedelta, fired: str | None, said: str) -> None:
        """Now or past is expired, the warn window is inclusive, the cadence has a day of grace; each has its own."""
        report = checker(good_keys() | {name: marker(ahead)})
        secret = report.secrets[name == E2]
        assert found(report) == ([(fired, secret.secret)] if fired else [])
        assert not said or report.findings[0].message.endswith(said)
        assert secret.state is (State.EXPIRED if fired == "expired" else State.PRESENT)

    def test_only_of_a_value_that_was_found(self, checker: Checker) -> None:
        """A malformed or revoked key expires, and a missing one does not. Temporary keys do not expire soon."""
        keys = good_keys()
        for text in (marker(-DAY), "never"):
            assert found(checker({V2: keys[V2], E1: text}, now=EARLIEST_CLOCK - DAY)) == [("missing", K1)]
        report = checker(keys | {V1: "short", E1: marker(-DAY)})
        assert found(report) == [("format", K1), ("expired", K1)]
        assert report.secrets[0].state is State.INVALID_FORMAT
        report = checker(keys | {E1: marker(-DAY), REVOKED: listed(keys[V1])})
        assert found(report) == [("expired", K1), ("revoked", K1)]
        assert found(checker(keys | {E1: marker(DAY), EPHEMERAL: "1"})) == [("ephemeral", None)]

    @pytest.mark.parametrize(
        ("now", "text", "fired"),
        [
            (EARLIEST_CLOCK, marker(20 * DAY, now=EARLIEST_CLOCK), []),
            (EARLIEST_CLOCK - MICROSECOND, marker(20 * DAY, now=EARLIEST_CLOCK), ["clock"]),
            (EARLIEST_CLOCK - DAY, marker(DAY, now=EARLIEST_CLOCK - DAY), ["clock"]),
            (EARLIEST_CLOCK - DAY, marker(400 * DAY, now=EARLIEST_CLOCK), ["clock"]),
            (EARLIEST_CLOCK - DAY, marker(-2 * DAY, now=EARLIEST_CLOCK), ["expired", "clock"]),
            (EARLIEST_CLOCK - DAY, "never", ["expiry-marker", "clock"]),
            (EARLIEST_CLOCK - DAY, "", []),
        ],
        ids=range(7),
    )
    def test_the_clock(self, checker: Checker, now: datetime, text: str, fired: list[str]) -> None:
        """A clock earlier than the source is an alert that silences `expiring` and `cadence`, where a marker is set."""
        assert found(checker(good_keys() | {E1: text}, now=now)) == [(each, K1) for each in fired]

    def test_the_earliest_clock(self) -> None:
        """It is not later than this source, or a correct clock would be refused; only a release moves it."""
        assert datetime(2026, 11, 1, tzinfo=UTC) == EARLIEST_CLOCK


class TestFiles:
    """A fallback file in use, and one that is not needed."""

    @pytest.mark.parametrize(
        ("content", "holds"),
        [
            ("", False),
            ("# template\nREPLACE_WITH_A_KEY\nCHANGEME\n", False),
            ("leftover", True),
            ("REPLACE_WITH_A_KEY\nleftover", True),
            (b"\xff\xfe", True),
        ],
    )
    def test_left_behind(self, checker: Checker, content: str | bytes, *, holds: bool) -> None:
        """Anything but blanks, comments and placeholders is key material, and so is what cannot be judged."""
        checker.write(K1, content, 0o666)
        stale, present = checker(good_keys()), checker(good_keys(), require_env_only=True)
        assert (found(stale), found(present)) == ([("file-stale", K1)] * holds, [("file-present", K1)] * holds)
        keys = good_keys()
        missing = checker({V2: keys[V2]}, require_env_only=True)
        assert found(missing) == [("missing", K1)] + [("file-present", K1)] * holds

    def test_on_a_read_only_mount(self) -> None:
        """No chmod is advised where it would fail."""
        policy, variables = POLICIES[0], {V1: good_keys()[V1]}
        offer = Environment(variables).offer(policy)
        offer = offer._replace(text=offer.text._replace(lax=("it is lax",), lax_way=("its directory is lax",)))
        reading, _ = read(POLICIES, variables_read(POLICIES), environment=Environment(variables), now=NOW)
        (rule,) = (entry.of_secret for entry in CHECKS if entry.check is Check.FILE_PERMISSIONS)
        assert rule is not None
        assert [*rule(reading._replace(used=offer))] == [
            Problem(
                f"{V1} is open too wide: it is lax; its directory is lax.",
                f"Deliver the key as {V1} instead: the mount is read-only, and chmod fails there.",
            )
        ]
        assert [*rule(reading._replace(used=offer, found=False))] == []


class TestRevocationList:
    """What is wrong with the list."""

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (1, "entry 1"),
            (2, "entries 1, 2"),
            (5, "entries 1, 2, 3, 4, 5"),
            (6, "entries 1, 2, 3, 4, 5 and 1 more"),
            (40, "entries 1, 2, 3, 4, 5 and 35 more"),
        ],
    )
    def test_how_many_entries_are_reported(self, wrong: int, said: str) -> None:
        """The first five are reported, and how many more there are, of the file and of the variable."""
        text = "wrong " * wrong
        file = TextFile(exists=True, lines=tuple(map(SealedStr, text.split())))
        in_file, in_variable = revocation_list_problems(a_setup(lists=(file,), added=SealedStr(text)))
        assert f"fingerprints: {said}, comments" in in_file.what
        assert f"fingerprints: {said}." in in_variable.what

    def test_of_the_models_directory(self) -> None:
        """The second list is described as the one in the model's directory."""
        exposed = TextFile(exists=True, lines=(SealedStr("wrong"),), exposed=("it is open",), foreign=("it is theirs",))
        dangling = TextFile(dangling=True)
        setup = a_setup(lists=(dangling, exposed), added=SealedStr("wrong"))
        where = f"The revocation list {LIST} in the model's directory"
        found = revocation_list_problems(setup)
        assert [each.what.partition(": ")[0] for each in found] == [
            f"The revocation list {LIST} in the configured directory cannot be relied on",
            f"{where} cannot be relied on",
            f"{where} has lines that are not fingerprints",
            f"{where} could be changed by others",
            f"{REVOKED} has entries that are not fingerprints",
        ]
        assert found[0].fix == "Restore it from version control."
        assert found[1].fix.endswith("run: chmod -R go-w on the directory that the model names.")

    @pytest.mark.parametrize(
        ("files", "changes", "places"),
        [
            ([TextFile()], {}, [f"{LIST} in the configured directory"]),
            ([TextFile(), TextFile(exists=True)], {}, [f"{LIST} in the model's directory"]),
            ([TextFile(exists=True, empty=False)], {}, []),
            ([TextFile()], {"list_required": False}, []),
            ([TextFile()], {"directory_fault": "does not exist"}, []),
        ],
        ids=range(5),
    )
    def test_a_required_list(self, files: list[TextFile], changes: dict[str, Any], places: Sequence[str]) -> None:
        """A model that requires a list needs one that has a line; a directory that is missing is reported instead."""
        setup = a_setup(lists=tuple(files), **{"list_required": True} | changes)
        assert [(each.what, each.fix) for each in problems(Check.REVOCATION_LIST, setup)] == [
            (
                f"There is no revocation list {place}, or it is empty, and the model requires one.",
                f"Restore {place} from version control; a new project begins one with a comment as its only line.",
            )
            for place in places
        ]

    @pytest.mark.parametrize(
        ("file", "which"),
        [
            (TextFile(exists=True, lax_way=("a",), foreign=("b",)), "revocation list"),
            (TextFile(lax_way=("a",), foreign=("b",)), "directory of the revocation list"),
        ],
    )
    def test_of_others(self, file: TextFile, which: str) -> None:
        """Who else could change a list, or the directory of one that is not there, is a warning."""
        (problem,) = problems(Check.FILE_PERMISSIONS, a_setup(lists=(file,)))
        assert problem == Problem(
            f"The {which} {LIST} in the configured directory could be changed by others: a; b.",
            "Make root or this user the owner of it, of its directory and of those above, and the only writer.",
            f"file:config/{LIST}",
        )


class TestNearMiss:
    """A set variable or a file that is a typo of one that is read."""

    @pytest.mark.parametrize(
        ("name", "secret", "severity"),
        [
            (f"{V1}S", K1, Severity.WARNING),
            (f"{V2}_EXPIRES", K2, Severity.ALERT),
            (f"{PROTECTED}S", None, Severity.ALERT),
            ("ROBODJ_CONFIG_DIRS", None, Severity.WARNING),
        ],
    )
    def test_a_variable(self, checker: Checker, name: str, secret: str | None, severity: Severity) -> None:
        """A typo is an alert where ignoring it loosens a check, and a warning where a key is merely missed."""
        report = checker(good_keys() | {name: "true"})
        assert [(*each, report.findings[0].severity) for each in found(report)] == [("near-miss", secret, severity)]

    def test_a_second_ending_that_another_secret_has(self) -> None:
        """A file that another secret declares is not a typo."""
        named = POLICIES[1]._replace(file="config/secret.key.txt")
        list_too = POLICIES[1]._replace(file=f"config/{LIST}.txt")
        files = [TextFile(misnamed=True)]
        for policies, number in ((POLICIES, 1), ((POLICIES[0], list_too), 0), ((POLICIES[0], named), 1)):
            setup = a_setup(policies=policies, lists=tuple(files))
            assert len(problems(Check.NEAR_MISS, setup)) == number
