"""The result of the checks: findings in order, the status of each secret, and both as text and as JSON."""

from __future__ import annotations

import json
import os
import secrets
import time
from datetime import timedelta
from typing import Any

import pytest
from conftest import NOW, V1, V2, Checker, document_of, found, good_keys, marker

from robodj_secretguard import Check, Finding, Report, RuntimeSecrets, Severity, State
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import variables_read
from robodj_secretguard.startup.readings import Environment, read
from robodj_secretguard.startup.report import LONGEST_FIX, REFUSED, Judgement, finding, for_gate, with_findings
from robodj_secretguard.startup.rules import Problem

K1, K2 = "secret.key", "secret_v2.key"
REVOKED, LIST = "ROBODJ_REVOKED_FINGERPRINTS", "revoked.fingerprints"
POLICIES = tuple(RuntimeSecrets.secret_policies.values())


def a_finding(check: Check, severity: Severity, secret: str | None = K1) -> Finding:
    """Return a finding."""
    return Finding(check, severity, secret, "current", "environment", "it expired", "rotate it", "Us")


class TestFinding:
    """One fault."""

    @pytest.mark.parametrize(
        ("made", "line"),
        [
            (a_finding(Check.EXPIRED, Severity.ALERT), "ALERT: secret.key: expired: it expired"),
            (a_finding(Check.CLOCK, Severity.WARNING), "WARNING: secret.key: clock: it expired"),
            (a_finding(Check.SETTING, Severity.NOTE, None), "NOTE: setting: it expired"),
        ],
    )
    def test_finding_has_two_lines(self, made: Finding, line: str) -> None:
        """The first line has severity, secret, check and message. The second line has the fix, and the owner if any."""
        assert made._replace(owner="").lines == (line, "  fix: rotate it")
        assert made.text == f"{line}\n  fix: rotate it. Owner: Us"

    def test_owner_is_left_out_of_a_long_line(self) -> None:
        """A fix has at most 180 characters with its owner. A longer one is whole, and has no owner."""
        made = a_finding(Check.EXPIRED, Severity.ALERT)
        room = LONGEST_FIX - len("  fix: ") - len(f". Owner: {made.owner}")
        for length, has_owner in ((room, True), (room + 1, False)):
            fix = made._replace(remedy="x" * length).lines[1]
            assert (len(fix) <= LONGEST_FIX, "Owner" in fix) == (True, has_owner)

    def test_finding_about_the_set_up_has_all_owners(self) -> None:
        """A finding about the set-up names the owners of all secrets that have one, each once."""
        policies = [POLICIES[0]._replace(owner=owner) for owner in ("Us", "Them", "", "Us")]
        made = finding(policies, Check.CADENCE, Problem("What.", "Fix."))
        assert (made.owner, made.severity, made.secret, made.source) == ("Us, Them", Severity.WARNING, None, "none")
        made = finding(policies, Check.CADENCE, Problem("What.", "Fix.", "x", Severity.NOTE), policies[1])
        assert (made.owner, made.severity, made.secret, made.source) == ("Them", Severity.NOTE, K1, "x")


class TestOrder:
    """First the set-up, then secrets in declared order, then checks in the order of the table."""

    def test_one_run_reports_everything_in_order(self, checker: Checker) -> None:
        """One run reports all findings in order, whatever the order of the environment."""
        key = good_keys()[V1]
        checker.write("secret.key", good_keys()[V1])
        checker.write("secret_v2.key.txt", "")
        checker.write(LIST, f"wrong\n{fingerprint(SealedStr(key))}", 0o666)
        checker.write(f"{LIST}.txt", "")
        environ = {
            f"{V2}_FILE": "x",
            f"{V2}_EXPIRES_AT": "soon",
            V2: key[:-1],
            f"{V1}_EXPIRES_AT": marker(timedelta(days=200)),
            V1: key,
            "ROBODJ_PROTECTED_EN": "true",
            "ROBODJ_PROTECTED_ENV": "maybe",
            "ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "perhaps",
            "robodj_config_dir": "x",
            REVOKED: "wrong",
            "ROBODJ_OPERATIONS_LO": "x",
        }
        report = checker(environ)
        assert found(report) == [
            *(("setting", None), ("setting", None)),
            *([("revocation-list", None)] * (3 if os.name == "posix" else 2)),
            *([("near-miss", None)] * 4),
            *(("file-present", K1), ("revoked", K1), ("cadence", K1)),
            *(("format", K2), ("shared", K2), ("expiry-marker", K2), ("near-miss", K2), ("near-miss", K2)),
        ]
        assert checker(dict(reversed(environ.items()))) == report

    def test_a_revoked_key_in_any_slot_fails_the_gate(self, checker: Checker) -> None:
        """A start has only a warning of a revoked next key. For the gate it is an alert, and nothing else changes."""
        environ = good_keys() | {f"{V1}_NEXT": secrets.token_urlsafe(32), f"{V2}S": "x"}
        report = checker(environ | {REVOKED: fingerprint(SealedStr(environ[f"{V1}_NEXT"]))})
        gate = for_gate(report)
        assert (report.ok, found(gate)) == (True, found(report))
        assert [str(each.check) for each in gate.alerts] == ["revoked"]
        assert [status.usable for status in gate.secrets] == [False, True]

    def test_further_findings_are_sorted_in(self, checker: Checker) -> None:
        """Later findings are sorted in. An alert makes its secret unusable, and `internal` of the set-up each one."""
        report = checker(good_keys() | {f"{V1}S": "x", f"{V2}S": "x"})
        further = [(Check.REVOKED, Severity.ALERT, K2), (Check.SETTING, Severity.ALERT, None)]
        more = with_findings(report, [*(a_finding(*each) for each in further), a_finding(Check.CADENCE, Severity.NOTE)])
        assert found(more) == [
            *(("setting", None), ("near-miss", K1), ("cadence", K1), ("revoked", K2), ("near-miss", K2)),
        ]
        assert [status.usable for status in more.secrets] == [True, False]
        for secret, usable in ((K2, [True, False]), (None, [False, False])):
            failed = with_findings(report, [a_finding(Check.INTERNAL, Severity.ALERT, secret)])
            assert [status.usable for status in failed.secrets] == usable
        assert [len(each) for each in (more.alerts, more.warnings, report.alerts)] == [2, 2, 0]
        assert (report.ok, more.ok) == (True, False)
        assert with_findings(report, [a_finding(Check.CADENCE, Severity.NOTE)]).ok

    def test_one_secret_can_be_judged_alone(self) -> None:
        """One secret can be judged alone. Only the first finding of the checks of its value is reported."""
        given = Environment({V1: "changeme", f"{V1}_EXPIRES_AT": "never"})
        readings = read(POLICIES[:1], variables_read(POLICIES), environment=given, config_dir="/", now=NOW)
        judgement = Judgement(readings)
        for added, checks in (((), []), ((a_finding(Check.DRIFT, Severity.WARNING),), [("drift", K1)])):
            judgement.add(added)
            assert found(judgement.report()) == [("placeholder", K1), ("expiry-marker", K1), *checks]

    def test_a_failure_is_the_only_finding(self) -> None:
        """Where the secrets directory delivers nothing, that is the only finding, and no secret has a status."""
        readings = read(POLICIES[:1], variables_read(POLICIES), environment=Environment({}), config_dir="/", now=NOW)
        report = Judgement(readings, failure := a_finding(Check.SOURCE, Severity.ALERT, None)).report()
        assert (report.findings, report.secrets, report.checked_at) == ((failure,), (), NOW)


@pytest.mark.parametrize(
    ("alerts", "warnings", "exit_status", "rest"),
    [
        ("expired", "", REFUSED, "1 alert (exit status 3). {} expired"),
        ("expired", "", 0, "1 alert (exit status 0). {} expired"),
        ("weak expired weak", "cadence", None, "3 alerts. {} weak expired"),
        ("", "cadence", None, "1 warning. {} cadence"),
        ("missing format weak shared expired", "", None, "5 alerts. {} missing format weak shared"),
    ],
)
def test_refusal_counts_and_explains(alerts: str, warnings: str, exit_status: int | None, rest: str) -> None:
    """It counts the alerts, or the warnings where there is no alert, and names at most four checks to explain."""
    findings = [a_finding(Check(each), Severity.ALERT) for each in alerts.split()]
    findings += [a_finding(Check(each), Severity.WARNING) for each in warnings.split()]
    report = Report(NOW, require_env_only=True, revocation_list=None, secrets=(), findings=tuple(findings))
    expected = rest.format("Details: robodj-secretguard explain")
    assert report.refusal("stopped", exit_status) == f"ALERT: robodj-secretguard stopped: {expected}"


class TestStatus:
    """The status of each secret."""

    @pytest.mark.parametrize(
        ("more", "usable"),
        [
            ({}, [True, True]),
            ({f"{V1}_EXPIRES_AT": "2026-11-01T00:00:00Z"}, [False, True]),
            ({f"{V2}S": "a warning"}, [True, True]),
            ({f"{V2}_EXPIRES_A": "an alert"}, [True, False]),
            ({"ROBODJ_PROTECTED_ENV": "an alert about the set-up"}, [True, True]),
            ({V2: ""}, [True, False]),
        ],
    )
    def test_only_an_alert_about_a_secret_makes_it_unusable(
        self, checker: Checker, more: dict[str, str], usable: list[bool]
    ) -> None:
        """A secret stays usable with a warning, or with an alert about the set-up."""
        assert [status.usable for status in checker(good_keys() | more).secrets] == usable

    def test_shared_key_makes_both_secrets_unusable(self, checker: Checker) -> None:
        """Two secrets with the same key are both unusable, and both have its fingerprint."""
        key = good_keys()[V2]
        shown = fingerprint(SealedStr(key))
        report = checker({V1: key, V2: key})
        assert [(status.usable, status.fingerprint) for status in report.secrets] == [(False, shown)] * 2

    def test_only_a_valid_key_has_a_fingerprint(self, checker: Checker) -> None:
        """Only a key that passed the format and strength checks has a fingerprint: it could reveal a passphrase."""
        for value in ("", "changeme", "short", "Zy" * 30, good_keys()[V1] + "\n"):
            assert checker(good_keys() | {V1: value}).secrets[0].fingerprint is None
        (expired, _) = checker(good_keys() | {f"{V1}_EXPIRES_AT": "2026-01-01T00:00Z"}).secrets
        assert (expired.state, expired.fingerprint is None) == (State.EXPIRED, False)


class TestReport:
    """The report that `check` returns."""

    def test_document_has_plain_types(self, checker: Checker) -> None:
        """The document has plain types, and is the one in the README."""
        keys = good_keys()
        checker.write("secret_v2.key", keys[V2])
        document = checker({V1: keys[V1], f"{V1}_EXPIRES_AT": "2026-11-01T02:00:00.5+02:00"}).as_dict()
        owners = {"owner": "Security Operations", "backup_owner": "Release Manager"}
        shown = [fingerprint(SealedStr(keys[name])) for name in (V1, V2)]
        findings = document["findings"]
        slots = dict.fromkeys(("next_fingerprint", "previous_fingerprint", "previous_until"))
        assert {**document, "findings": []} == {
            "schema": 1,
            "kind": "report",
            "ok": False,
            "checked_at": "2026-12-01T12:00:00Z",
            "require_env_only": False,
            "revocation_list": {"sources": [], "entries": 0},
            "secrets": [
                {"secret": K1, "variable": V1, "source": "environment", "state": "expired", "usable": False}
                | {
                    "required": True,
                    "expires_at": "2026-11-01T00:00:00Z",
                    **owners,
                    "rotation_days": 90,
                    "fingerprint": shown[0],
                    **slots,
                },
                {"secret": K2, "variable": V2, "source": "file:config/secret_v2.key", "state": "present"}
                | {"usable": True, "required": True, "expires_at": None, **owners, "rotation_days": 30}
                | {"fingerprint": shown[1], **slots},
            ],
            "findings": [],
        }
        values = [value for each in document["secrets"] for value in each.values()]
        assert {type(value) for value in values} == {str, int, bool, type(None)}
        assert [[*each] for each in findings] == [[*Finding._fields]] * 2
        assert {type(value) for each in findings for value in each.values()} == {str}
        assert [(each["check"], each["severity"], each["secret"], each["source"]) for each in findings] == [
            ("expired", "alert", K1, "environment"),
            ("file-fallback", "warning", K2, "file:config/secret_v2.key"),
        ]
        assert json.loads(json.dumps(findings)) == findings

    def test_report_counts_each_revoked_fingerprint_once(self, checker: Checker) -> None:
        """The report names the places of the revocation list, and counts each fingerprint once."""
        others = [fingerprint(SealedStr(secrets.token_urlsafe(32))) for _ in range(2)]
        checker.write(LIST, "\n".join(others))
        document = checker(good_keys() | {REVOKED: others[0]}).as_dict()
        assert document["revocation_list"] == {"sources": [f"file:config/{LIST}", "environment"], "entries": 2}
        empty = Report(NOW, require_env_only=True, revocation_list=None, secrets=(), findings=())
        assert (document_of(json.dumps(empty.as_dict()))["revocation_list"], empty.ok) == (None, True)

    def test_either_list_is_judged(self, checker: Checker) -> None:
        """An invalid entry is found where there is only the variable, and where there is only the file."""
        variable_only = found(checker(good_keys() | {REVOKED: "wrong"}))
        checker.write(LIST, "wrong")
        assert variable_only == found(checker(good_keys())) == [("revocation-list", None)]

    @pytest.mark.skipif(not hasattr(time, "tzset"), reason="a process's timezone cannot be set on Windows")
    def test_every_time_is_in_utc(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every time in a report is in UTC, whatever the timezone of the machine."""
        environ = good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(days=30))}
        expected = checker(environ)
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "JST-9")
            time.tzset()
            report = checker(environ)
        time.tzset()
        assert (report.as_dict(), repr(report)) == (expected.as_dict(), repr(expected))

    def test_report_cannot_be_changed(self, checker: Checker) -> None:
        """Neither the declarations, nor the readings, nor the findings of a report can be changed."""
        checker.write("secret.key", good_keys()[V1])
        given = Environment(good_keys() | {f"{V1}S": "x"})
        readings = read(POLICIES, variables_read(POLICIES), environment=given, config_dir=checker.config, now=NOW)
        report, (reading, _) = Judgement(readings).report(), readings
        ((intended, *_),) = reading.setup.near_misses
        declared: list[Any] = [POLICIES[0], POLICIES[0].generator, POLICIES[0].material, *POLICIES[0].material]
        was_read = [reading, reading.setup, reading.setup.revocation, *reading.offers, reading.offers[1].file, intended]
        was_found = [report, report.revocation_list, report.findings[0], report.secrets[0]]
        for each in (*declared, *was_read, *was_found):
            for name in each._fields:
                with pytest.raises(AttributeError):
                    setattr(each, name, None)
            with pytest.raises(AttributeError):
                object.__setattr__(each, "attached", "x")
