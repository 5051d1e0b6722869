"""Findings and reports as operators read them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from command_line import report_json, report_text
from conftest import V1, V2, Checker, good_keys, marker

from robodj_secretguard import Check, Finding, RevocationStatus, SecretStatus, Severity, State, check
from robodj_secretguard.checks import EARLIEST_CLOCK
from robodj_secretguard.cli.output import PASSED, revocation_line, status_line
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.texts import count

DAY = timedelta(days=1)
EXPIRES = f"{V1}_EXPIRES_AT"
REVOKED = "ROBODJ_REVOKED_FINGERPRINTS"
LIST = "revoked.fingerprints"
LIST_SOURCE = f"file:config/{LIST}"


def finding(secret: str | None, severity: Severity) -> Finding:
    """Make a finding."""
    return Finding(
        check=Check.EXPIRED,
        severity=severity,
        secret=secret,
        source="environment",
        message="It expired.",
        remedy="Rotate it.",
        owner="Us",
    )


class TestLines:
    """What is said of one secret."""

    @pytest.mark.parametrize(
        ("made", "line"),
        [
            (finding("a.key", Severity.ALERT), "ALERT: a.key: expired: It expired. Rotate it. (environment; Us)"),
            (finding("a.key", Severity.WARNING), "WARNING: a.key: expired: It expired. Rotate it. (environment; Us)"),
            (finding(None, Severity.ALERT), "ALERT: expired: It expired. Rotate it. (environment; Us)"),
        ],
    )
    def test_a_finding(self, made: Finding, line: str) -> None:
        """Severity, the secret if it is about one, check, message, remedy, source and owner."""
        assert made.line == line

    @pytest.mark.parametrize(
        ("expires_at", "said"),
        [(None, "no expiry marker"), (datetime(2027, 1, 31, tzinfo=UTC), "expires 2027-01-31T00:00:00Z")],
    )
    def test_a_status(self, expires_at: datetime | None, said: str) -> None:
        """State, source and expiry."""
        status = SecretStatus("a.key", "A_KEY", "none", State.PRESENT, *(True, expires_at), "Us", "Them", 90, None)
        assert status_line(status) == f"a.key: present (source: none; {said})"

    @pytest.mark.parametrize(
        ("sources", "entries", "line"),
        [
            ((), 0, "revocation list: none"),
            ((LIST_SOURCE,), 0, "revocation list: config/revoked.fingerprints, 0 entries"),
            ((LIST_SOURCE,), 1, "revocation list: config/revoked.fingerprints, 1 entry"),
            (("environment",), 2, "revocation list: ROBODJ_REVOKED_FINGERPRINTS, 2 entries"),
            (
                (LIST_SOURCE, "environment"),
                12,
                "revocation list: config/revoked.fingerprints and ROBODJ_REVOKED_FINGERPRINTS, 12 entries",
            ),
        ],
    )
    def test_a_revocation_list(self, sources: tuple[str, ...], entries: int, line: str) -> None:
        """Where it is and how many entries it has; an empty file is a list, and is not none."""
        fingerprints = frozenset(map(str, range(entries)))
        assert revocation_line(RevocationStatus(sources, fingerprints)) == line

    @pytest.mark.parametrize(
        ("number", "words", "text"),
        [
            (0, ("day",), "0 days"),
            (1, ("day",), "1 day"),
            (2, ("day",), "2 days"),
            (0, ("entry", "entries"), "0 entries"),
            (1, ("entry", "entries"), "1 entry"),
            (2, ("entry", "entries"), "2 entries"),
        ],
    )
    def test_a_number_of_things(self, number: int, words: tuple[str, ...], text: str) -> None:
        """One is one; any other number is many, by an s where nothing else is given."""
        assert count(number, *words) == text


IN_DIRECTORY = "secret.key in the configured directory"
COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
DELIVER = (
    f"To mend it, deliver the existing value from the secret manager as {V1};"
    f" only for a first key or a deliberate rotation, generate one: {COMMAND}"
)
ROTATION = (
    f"generate a new key ({COMMAND}), deliver it as {V1}, set {EXPIRES} to at most 90 days from then, and restart;"
    " moving the marker alone is not a rotation."
)
DELETE = "Make sure that the secret manager has the key, then delete the file; if it was exposed, rotate."
SET_UP = "ALERT: setting: "
ENVIRONMENT = "(environment; Security Operations)"
FILE = "(file:config/secret.key; Security Operations)"
LIST_FILE = f"({LIST_SOURCE}; Security Operations)"


class TestEveryCheck:
    """The line of each check, to the letter: it is what somebody reads at three in the morning."""

    @pytest.mark.parametrize(
        ("environ", "line"),
        [
            (
                {V1: None},
                (
                    f"ALERT: secret.key: missing: {V1} is unset, and there is no file {IN_DIRECTORY}. {DELIVER}"
                    " (none; Security Operations)"
                ),
            ),
            (
                {V1: "changeme"},
                f"ALERT: secret.key: placeholder: {V1} holds a placeholder, not a key. {DELIVER} {ENVIRONMENT}",
            ),
            (
                {V1: "short"},
                (
                    f"ALERT: secret.key: format: {V1} does not hold a well-formed key: it has fewer than 16 base64url"
                    f" characters where at least 43 are needed. {DELIVER} {ENVIRONMENT}"
                ),
            ),
            (
                {V1: "Zy" * 30},
                (
                    f"ALERT: secret.key: weak: {V1} holds a key that is plainly not random: it has fewer than 16"
                    f" distinct characters. No approved generator makes such a key. Rotate to a generated one:"
                    f" {COMMAND} {ENVIRONMENT}"
                ),
            ),
            (
                {EXPIRES: marker(-DAY)},
                (
                    f"ALERT: secret.key: expired: The key expired at 2026-11-30T12:00:00Z ({EXPIRES})."
                    f" Rotate: {ROTATION} {ENVIRONMENT}"
                ),
            ),
            (
                {EXPIRES: "never"},
                (
                    f"ALERT: secret.key: expiry-marker: {EXPIRES} is set, but not to an instant in ISO-8601 with a"
                    " timezone. Write it like 2027-01-31T00:00:00Z, the instant by which the key must be rotated, or"
                    f" unset it. {ENVIRONMENT}"
                ),
            ),
            (
                {EXPIRES: marker(5 * DAY)},
                (
                    f"WARNING: secret.key: expiring: The key expires at 2026-12-06T12:00:00Z ({EXPIRES}),"
                    f" within 5 days. Rotate before then: {ROTATION} {ENVIRONMENT}"
                ),
            ),
            (
                {EXPIRES: marker(300 * DAY)},
                (
                    f"WARNING: secret.key: cadence: {EXPIRES} is 2027-09-27T12:00:00Z, further ahead than the cadence"
                    f" of 90 days. Set it to the last rotation's date plus 90 days. {ENVIRONMENT}"
                ),
            ),
            (
                {"ROBODJ_PROTECTED_ENV": "maybe"},
                (
                    f"{SET_UP}ROBODJ_PROTECTED_ENV is neither true nor false, so fallback files are off."
                    f" Set it to one of 1, true, yes, on, 0, false, no, off, or unset it. {ENVIRONMENT}"
                ),
            ),
            (
                {f"{V1}_FILE": "x"},
                (
                    f"WARNING: secret.key: near-miss: {V1}_FILE is set, and nothing reads it: {V1} is probably meant."
                    f" If it holds what {V1} should hold, rename it; otherwise remove it. {ENVIRONMENT}"
                ),
            ),
        ],
        ids=range(10),
    )
    def test_of_a_variable(self, checker: Checker, environ: dict[str, str | None], line: str) -> None:
        """What is wrong with a variable, and what to do."""
        given = {name: value for name, value in (good_keys() | environ).items() if value is not None}
        assert [each.line for each in checker(given).findings] == [line]

    @pytest.mark.parametrize(
        ("mode", "said", "remedy"),
        [
            (
                0o644,
                f"WARNING: secret.key: file-permissions: {IN_DIRECTORY} is open too wide: it is readable by others.",
                "Make the service's user its owner, and run: chmod 600 secret.key in the configured directory",
            ),
            (
                0o666,
                f"ALERT: secret.key: file-unsafe: {IN_DIRECTORY} may not be used: it is writable by others.",
                (
                    f"Deliver the key as {V1} instead; or make it a UTF-8 file of the key alone, at most 4096 bytes,"
                    " that nobody else can write: chmod 600 secret.key in the configured directory;"
                    " chmod -R go-w on the directory that the argument names."
                ),
            ),
        ],
    )
    @pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
    def test_of_a_files_mode(self, checker: Checker, mode: int, said: str, remedy: str) -> None:
        """Who can read or write the file."""
        checker.write("secret.key", good_keys()[V1], mode)
        assert checker({V2: good_keys()[V2]}).findings[-1].line == f"{said} {remedy} {FILE}"

    def test_of_a_file_in_use(self, checker: Checker) -> None:
        """It is break-glass."""
        checker.write("secret.key", good_keys()[V1])
        (line,) = (each.line for each in checker({V2: good_keys()[V2]}).findings)
        assert line == (
            f"WARNING: secret.key: file-fallback: The value comes from the break-glass file {IN_DIRECTORY}."
            f" Deliver the key as {V1}, then delete the file. {FILE}"
        )

    def test_of_a_file_of_two_lines(self, checker: Checker) -> None:
        """Nobody can tell which is meant."""
        checker.write("secret.key", "a\nb\n")
        assert checker({V2: good_keys()[V2]}).findings[0].line == (
            f"ALERT: secret.key: format: {IN_DIRECTORY} has 2 lines besides blanks and comments where exactly one is"
            f" needed. {DELIVER} {FILE}"
        )

    def test_of_a_file_that_is_not_needed(self, checker: Checker) -> None:
        """It is one too many."""
        checker.write("secret.key", good_keys()[V1])
        stale, present = (checker(good_keys(), require_env_only=only).findings[0] for only in (False, True))
        assert stale.line == (
            f"WARNING: secret.key: file-stale: {IN_DIRECTORY} holds key material, while {V1} delivers the key."
            f" {DELETE} {FILE}"
        )
        assert present.line == (
            f"ALERT: secret.key: file-present: {IN_DIRECTORY} holds key material, while fallback files are off."
            f" {DELETE} {FILE}"
        )

    def test_of_a_file_with_a_second_ending(self, checker: Checker) -> None:
        """An editor gave it."""
        checker.write("secret.key.txt", "x")
        (line,) = (each.line for each in checker(good_keys()).findings)
        assert line == (
            f"WARNING: secret.key: near-miss: Beside {IN_DIRECTORY} there is a file of that name and .txt, and nothing"
            f" reads it. If it holds the key, deliver that as {V1}; then delete the file. {FILE}"
        )

    @pytest.mark.parametrize(
        ("variable", "name", "command"),
        [(V1, "secret.key", "secrets.token_urlsafe(32)"), (V2, "secret_v2.key", "secrets.token_hex(64)")],
    )
    def test_of_a_revoked_key(self, checker: Checker, variable: str, name: str, command: str) -> None:
        """Which key it is, and where its replacement comes from."""
        keys = good_keys()
        listed = fingerprint(SealedStr(keys[variable]))
        (line,) = (each.line for each in checker(keys | {REVOKED: listed}).findings)
        assert line == (
            f"ALERT: {name}: revoked: The key is revoked: {listed} is on the revocation list. Deliver its replacement"
            f" from the secret manager as {variable}; if there is none yet, rotate:"
            f' python -c "import secrets; print({command})" {ENVIRONMENT}'
        )

    def test_of_a_revocation_list_that_cannot_be_relied_on(self, checker: Checker) -> None:
        """Why, and how it is mended."""
        checker.write(LIST, b"\xff")
        (line,) = (each.line for each in checker(good_keys()).findings)
        assert line == (
            f"ALERT: revocation-list: The revocation list {LIST} in the configured directory cannot be relied on: it is"
            f" not UTF-8. Restore it from version control. {LIST_FILE}"
        )

    def test_of_entries_that_cannot_be_read(self, checker: Checker) -> None:
        """Which of them, what an entry looks like, and nothing of what is there."""
        checker.write(LIST, "wrong\n")
        in_file, in_variable = (each.line for each in checker(good_keys() | {REVOKED: "wrong," * 7}).findings)
        form = "sgfp1: and 32 hexadecimal digits in lower case"
        assert in_file == (
            f"ALERT: revocation-list: The revocation list {LIST} in the configured directory has lines that are not"
            " fingerprints: entry 1, comments and blank lines not counted."
            f" Restore them from version control: each is {form}; keep the fingerprints. {LIST_FILE}"
        )
        assert in_variable == (
            f"ALERT: revocation-list: {REVOKED} has entries that are not fingerprints:"
            " entries 1, 2, 3, 4, 5 and 2 more."
            f" Correct it: {form} each, separated by commas or blanks. {ENVIRONMENT}"
        )

    def test_of_a_revocation_list_with_a_second_ending(self, checker: Checker) -> None:
        """An editor gave it."""
        checker.write(f"{LIST}.txt", "x")
        (line,) = (each.line for each in checker(good_keys()).findings)
        assert line == (
            f"ALERT: near-miss: Beside {LIST} in the configured directory there is a file of that name and .txt, and"
            f" nothing reads it. Add its lines to {LIST} in the configured directory, then delete it. {LIST_FILE}"
        )

    def test_of_a_typo_of_the_librarys_own(self, checker: Checker) -> None:
        """An alert where a revoked key could pass, a warning where a log is only somewhere else."""
        typos = {f"{REVOKED}S": "x", "ROBODJ_OPERATIONS_LOGS": "x"}
        lines = [each.line for each in checker(good_keys() | typos).findings]
        assert lines == [
            f"{severity}: near-miss: {meant}S is set, and nothing reads it: {meant} is probably meant."
            f" If it holds what {meant} should hold, rename it; otherwise remove it. {ENVIRONMENT}"
            for severity, meant in (("ALERT", REVOKED), ("WARNING", "ROBODJ_OPERATIONS_LOG"))
        ]

    def test_of_two_that_are_one(self, checker: Checker) -> None:
        """The later is named, and the earlier is too."""
        key = good_keys()[V2]
        (line,) = (each.line for each in checker({V1: key, V2: key}).findings)
        assert line == (
            "ALERT: secret_v2.key: shared: Its value and that of secret.key are equal, or one contains the other."
            " Every secret needs its own key. Rotate secret_v2.key:"
            f' python -c "import secrets; print(secrets.token_hex(64))" {ENVIRONMENT}'
        )

    def test_of_the_clock(self, checker: Checker) -> None:
        """It is the machine's, and no secret's."""
        now = EARLIEST_CLOCK - DAY
        (line,) = (each.line for each in checker(good_keys() | {EXPIRES: marker(DAY)}, now=now).findings)
        assert line == (
            f"ALERT: secret.key: clock: The clock says 2026-10-31T00:00:00Z, which is before this program was made:"
            f" {EXPIRES} cannot be judged. Set the clock of this machine, then start again. {ENVIRONMENT}"
        )

    def test_of_a_directory_that_does_not_exist(self, checker: Checker) -> None:
        """Whoever named it is told, and it is not."""
        checker.config.rmdir()
        may = "It may hold the revocation list or key files. Correct"
        said, argument = f"{SET_UP}The config directory that", "the config_dir argument"
        (line,) = (each.line for each in checker(good_keys()).findings)
        remedy = f"{may} {argument}, or restore that directory."
        assert line == f"{said} {argument} names does not exist. {remedy} (none; Security Operations)"
        remedy = f"{may} ROBODJ_CONFIG_DIR, or restore that directory."
        (variable,) = (
            each.line for each in check(environ=good_keys() | {"ROBODJ_CONFIG_DIR": str(checker.config)}).findings
        )
        assert variable == f"{said} ROBODJ_CONFIG_DIR names does not exist. {remedy} {ENVIRONMENT}"

    def test_of_a_check_that_failed(self) -> None:
        """By its type alone."""
        (line,) = (each.line for each in check(environ={V1: 5}).findings)  # type: ignore[dict-item]
        assert line == (
            "ALERT: internal: The check itself failed (TypeError): nothing is verified. If the service passes arguments"
            " or has validators of its own, ask its developers; else report a bug. (none; Security Operations)"
        )


class TestReport:
    """What is said of all of them."""

    def test_a_failed_one_as_text(self, checker: Checker) -> None:
        """Findings, a line for each secret, the mode, and last how much is wrong."""
        keys = good_keys()
        environ = {V1: keys[V1], f"{V1}S": "x", f"{V1}_EXPIRES_AT": marker(timedelta(days=30))}
        lines = report_text(checker(environ, require_env_only=True), passed=False, model="model: m:M").split("\n")
        assert [line.split(": ")[:3] for line in lines[:2]] == [
            ["WARNING", "secret.key", "near-miss"],
            ["ALERT", "secret_v2.key", "missing"],
        ]
        assert lines[2:] == [
            "secret.key: present (source: environment; expires 2026-12-31T12:00:00Z)",
            "secret_v2.key: missing (source: none; no expiry marker)",
            "model: m:M",
            "mode: environment only",
            "revocation list: none",
            "Secret integrity check FAILED: 1 alert(s), 1 warning(s). Do not release.",
        ]

    def test_its_revocation_list(self, checker: Checker) -> None:
        """It stands between the mode and the verdict, and in the document, with how many keys are revoked."""
        keys, others = good_keys(), [fingerprint(SealedStr(key)) for key in good_keys().values()]
        checker.write(LIST, "\n".join(others))
        report = checker(keys | {REVOKED: others[0]})
        assert report_text(report, passed=True, model="model: m:M").split("\n")[-3:] == [
            "mode: environment, then fallback files",
            f"revocation list: config/{LIST} and {REVOKED}, 2 entries",
            PASSED,
        ]
        document = json.loads(report_json(report, passed=True, model={}))
        assert document["revocation_list"] == {"sources": [LIST_SOURCE, "environment"], "entries": 2}
        assert list(document) == [
            *("schema", "ok", "checked_at", "require_env_only", "revocation_list", "secrets", "findings", "model")
        ]

    def test_an_empty_revocation_list(self, checker: Checker) -> None:
        """It was found, and has nothing in it."""
        checker.write(LIST, "# nothing is revoked\n")
        report = checker(good_keys())
        assert (
            report_text(report, passed=True, model="model: m:M").split("\n")[-2]
            == f"revocation list: config/{LIST}, 0 entries"
        )
        assert report.as_dict()["revocation_list"] == {"sources": [LIST_SOURCE], "entries": 0}

    def test_a_revocation_list_that_could_not_be_looked_for(self) -> None:
        """After a check that failed nobody knows whether there is one."""
        report = check(environ={V1: 5})  # type: ignore[dict-item]
        assert report.revocation_list is None
        assert report.as_dict()["revocation_list"] is None
        assert [
            line.partition(":")[0] for line in report_text(report, passed=False, model="model: m:M").split("\n")
        ] == [*("ALERT", "model", "mode", "revocation list", "Secret integrity check FAILED")]
        assert "revocation list: not looked for" in report_text(report, passed=False, model="model: m:M")

    @pytest.mark.parametrize("passed", [True, False])
    def test_the_verdict_is_the_gates(self, checker: Checker, passed: bool) -> None:  # noqa: FBT001
        """A strict gate refuses what a service may start with."""
        report = checker(good_keys() | {f"{V2}S": "x"})
        assert (report_text(report, passed=passed, model="model: m:M").split("\n")[-1] == PASSED) is passed
        assert json.loads(report_json(report, passed=passed, model={})) == report.as_dict() | {
            "ok": passed,
            "model": {},
        }

    def test_json_is_for_people_too(self, checker: Checker) -> None:
        """The document is indented by two spaces, and ASCII."""
        text = report_json(checker({}), passed=False, model={})
        assert text == json.dumps(json.loads(text), indent=2)
        assert text.isascii()
