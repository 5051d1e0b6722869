"""The one run of all checks: order, combinations, repeatability, and failing closed."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOW, V1, V2, Checker, found, good_keys, marker
from generated import README, SCHEMA, readme_with_table, schema_of_report

from robodj_secretguard import Check, Report, RuntimeSecrets, check
from robodj_secretguard.checks import CHECKS
from robodj_secretguard.material import fingerprint
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import Environment, iso_utc, read, variables_read
from robodj_secretguard.testing import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

K1, K2 = "secret.key", "secret_v2.key"


class TestOrder:
    """The set-up first, then secrets in declared order, then the order of the table."""

    def test_everything_at_once(self, checker: Checker) -> None:
        """All findings come in one run, in order."""
        key = good_keys()[V1]
        checker.write("secret.key", good_keys()[V1])
        checker.write("secret_v2.key.txt", "")
        checker.write("revoked.fingerprints", f"wrong\n{fingerprint(SealedStr(key))}", 0o666)
        checker.write("revoked.fingerprints.txt", "")
        report = checker(
            {
                f"{V2}_FILE": "x",
                f"{V2}_EXPIRES_AT": "soon",
                V2: key[:-1],
                f"{V1}_EXPIRES_AT": marker(timedelta(days=200)),
                V1: key,
                "ROBODJ_PROTECTED_EN": "true",
                "ROBODJ_PROTECTED_ENV": "maybe",
                "ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "perhaps",
                "robodj_config_dir": "x",
                "ROBODJ_REVOKED_FINGERPRINTS": "wrong",
                "ROBODJ_REVOKED_FINGERPRINT": "x",
                "ROBODJ_OPERATIONS_LO": "x",
            }
        )
        unsafe = [("revocation-list", None)] * (os.name == "posix")
        assert found(report) == [
            ("setting", None),
            ("setting", None),
            *unsafe,
            ("revocation-list", None),
            ("revocation-list", None),
            *([("near-miss", None)] * 5),
            ("file-present", K1),
            ("revoked", K1),
            ("cadence", K1),
            ("format", K2),
            ("shared", K2),
            ("expiry-marker", K2),
            ("near-miss", K2),
            ("near-miss", K2),
        ]
        typos = [finding for finding in report.findings if (finding.check, finding.secret) == (Check.NEAR_MISS, None)]
        assert [finding.message.split(" ")[0] for finding in typos] == [
            *(
                "ROBODJ_PROTECTED_EN",
                "robodj_config_dir",
                "ROBODJ_REVOKED_FINGERPRINT",
                "ROBODJ_OPERATIONS_LO",
                "Beside",
            )
        ]
        order = list(Check)
        assert [order.index(finding.check) for finding in report.findings if finding.secret == K2] == sorted(
            order.index(finding.check) for finding in report.findings if finding.secret == K2
        )

    def test_the_environments_order_does_not_matter(self, checker: Checker) -> None:
        """The same input gives the same report."""
        environ = good_keys() | {"ROBODJ_SECRET_KEYS": "x", "ROBODJ_SECRE_KEY": "x", "ROBODJ_SECRET_KEY_EXP": "x"}
        backwards = dict(reversed(environ.items()))
        assert checker(environ) == checker(environ) == checker(backwards)
        assert len(checker(environ).findings) == 3


class TestEnvironment:
    """Which variables are read, where none are passed."""

    @pytest.fixture(autouse=True)
    def _keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.upper().startswith("ROBODJ_")]:
            monkeypatch.delenv(name)
        for name, key in good_keys().items():
            monkeypatch.setenv(name, key)

    def test_the_processes_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of the process are."""
        assert found(check(config_dir=tmp_path, now=NOW)) == []
        monkeypatch.delenv(V1)
        assert found(check(config_dir=tmp_path, now=NOW)) == [("missing", K1)]

    @pytest.mark.skipif(os.name != "posix", reason="on Windows names that differ in case are one")
    def test_another_case_is_another_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On POSIX a process's variable in another case is a typo."""
        monkeypatch.setenv(V1.lower(), "x")
        assert found(check(config_dir=tmp_path, now=NOW)) == [("near-miss", K1)]

    def test_case_on_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """There a process's variables are the same in any case; those that are passed are not."""
        with monkeypatch.context() as patched:
            patched.setattr("robodj_secretguard.sources.os.name", "nt")
            distinguishes = (Environment().distinguishes_case, Environment({}).distinguishes_case)
        assert distinguishes == (False, True)


class TestConfigDirectory:
    """Where the fallback files are."""

    def test_the_argument_before_the_variable_before_the_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first that names a directory decides."""
        monkeypatch.chdir(tmp_path)
        keys = {}
        for name in ("argument", "variable", "config"):
            (tmp_path / name).mkdir(mode=0o700)
            keys[name] = good_keys()[V1]
            (tmp_path / name / "secret.key").write_text(keys[name])
            (tmp_path / name / "secret.key").chmod(0o600)
        environ = {V2: good_keys()[V2]}

        def fingerprint(report: Report) -> str | None:
            assert report.secrets[0].source == "file:config/secret.key"
            return report.secrets[0].fingerprint

        expected = {name: check(environ=environ | {V1: key}).secrets[0].fingerprint for name, key in keys.items()}
        assert fingerprint(check(environ=environ)) == expected["config"]
        assert fingerprint(check(environ=environ | {"ROBODJ_CONFIG_DIR": ""})) == expected["config"]
        named = environ | {"ROBODJ_CONFIG_DIR": str(tmp_path / "variable")}
        assert fingerprint(check(environ=named)) == expected["variable"]
        assert fingerprint(check(environ=named, config_dir=tmp_path / "argument")) == expected["argument"]

    @pytest.mark.parametrize("named", ["nowhere", "", "a\0b", "a-file"])
    def test_a_named_one_that_does_not_exist(self, tmp_path: Path, named: str) -> None:
        """It is an alert, whether or not a file is needed, and the path is not shown."""
        (tmp_path / "a-file").touch()
        report = check(environ=good_keys(), config_dir=named and str(tmp_path / named), now=NOW)
        assert found(report) == [("setting", None)]
        assert report.findings[0].source == "none"
        assert not named or named not in repr(report)

    def test_a_variable_that_names_none(self, tmp_path: Path) -> None:
        """The same for the variable."""
        environ = good_keys() | {"ROBODJ_CONFIG_DIR": str(tmp_path / "nowhere")}
        report = check(environ=environ, now=NOW)
        assert found(report) == [("setting", None)]
        assert report.findings[0].source == "environment"
        assert report.findings[0].message.startswith("The config directory that ROBODJ_CONFIG_DIR names does not exist")

    @pytest.mark.skipif(os.name != "posix", reason="links are POSIX's")
    @pytest.mark.parametrize("target", ["nowhere", "config"], ids=["to-nothing", "to-itself"])
    def test_a_default_that_leads_nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        """Somebody has put it there: the revocation list may be where it should lead."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "config").symlink_to(target)
        report = check(environ=good_keys(), now=NOW)
        assert found(report) == [("setting", None)]
        assert report.findings[0].message.startswith("config under the working directory ")

    def test_the_default_need_not_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody named it; the message says where was looked."""
        monkeypatch.chdir(tmp_path)
        report = check(environ={V2: good_keys()[V2]}, now=NOW)
        assert found(report) == [("missing", K1)]
        assert "there is no file config/secret.key under the working directory" in report.findings[0].message


class TestReport:
    """What `check` returns."""

    def test_as_dict(self, checker: Checker) -> None:
        """It is the document that the README shows, in plain types."""
        keys = good_keys()
        checker.write("secret_v2.key", keys[V2])
        document = checker({V1: keys[V1], f"{V1}_EXPIRES_AT": "2026-11-01T02:00:00.5+02:00"}).as_dict()
        fingerprints = [entry.pop("fingerprint") for entry in document["secrets"]]
        assert all(each.startswith("sgfp1:") and len(each) == 38 for each in fingerprints)
        findings = document.pop("findings")
        assert {type(value) for entry in document["secrets"] for value in entry.values()} == {
            str,
            int,
            bool,
            type(None),
        }
        assert document == {
            "schema": 1,
            "ok": False,
            "checked_at": "2026-12-01T12:00:00Z",
            "require_env_only": False,
            "revocation_list": {"sources": [], "entries": 0},
            "secrets": [
                {
                    "secret": K1,
                    "variable": V1,
                    "source": "environment",
                    "state": "expired",
                    "usable": False,
                    "expires_at": "2026-11-01T00:00:00Z",
                    "owner": "Security Operations",
                    "backup_owner": "Release Manager",
                    "rotation_days": 90,
                },
                {
                    "secret": K2,
                    "variable": V2,
                    "source": "file:config/secret_v2.key",
                    "state": "present",
                    "usable": True,
                    "expires_at": None,
                    "owner": "Security Operations",
                    "backup_owner": "Release Manager",
                    "rotation_days": 30,
                },
            ],
        }
        assert [list(finding) for finding in findings] == [
            ["check", "severity", "secret", "source", "message", "remedy", "owner"]
        ] * 2
        assert {type(value) for finding in findings for value in finding.values()} == {str}
        assert json.loads(json.dumps(findings)) == findings
        assert [(finding["check"], finding["severity"], finding["secret"]) for finding in findings] == [
            ("expired", "alert", K1),
            ("file-fallback", "warning", K2),
        ]

    def test_alerts_and_warnings(self, checker: Checker) -> None:
        """Every finding is one or the other, and only alerts make it not ok."""
        keys = good_keys()
        checker.write("secret.key", keys[V1])
        report = checker({V2: "changeme"})
        assert [str(finding.check) for finding in report.alerts] == ["placeholder"]
        assert [str(finding.check) for finding in report.warnings] == ["file-fallback"]
        assert not report.ok
        assert checker({V2: keys[V2]}).ok

    @pytest.mark.skipif(not hasattr(time, "tzset"), reason="a process's timezone cannot be set on Windows")
    def test_the_machines_timezone_does_not_matter(self, checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every time in a report is in UTC, wherever the machine stands."""
        environ = good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(days=30))}
        expected = checker(environ)
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "JST-9")
            time.tzset()
            report = checker(environ)
        time.tzset()
        assert report.as_dict() == expected.as_dict()
        assert repr(report) == repr(expected)

    def test_a_time_is_told_in_utc(self) -> None:
        """To the second, with `Z`."""
        assert iso_utc(datetime.fromisoformat("2026-11-24T23:30:00.999+01:00")) == "2026-11-24T22:30:00Z"


class TestImmutable:
    """What is returned is what was checked."""

    def test_nothing_can_be_changed_or_attached(self, checker: Checker) -> None:
        """Neither what was declared, nor what was read, nor what was found about it."""
        checker.write("secret.key", good_keys()[V1])
        environ = good_keys() | {f"{V1}S": "x"}
        report = checker(environ)
        policies = tuple(RuntimeSecrets.secret_policies.values())
        (reading, _) = read(
            policies,
            variables_read(policies),
            environment=Environment(environ),
            config_dir=checker.config,
            now=NOW,
        )
        ((meant, _),) = reading.setup.near_misses
        policy = reading.policy
        assert report.revocation_list is not None
        declared: list[Any] = [policy.generator, policy.material, policy.material.base64url]
        was_read = [reading, reading.setup, reading.setup.revocation, *reading.offers, reading.offers[1].text, meant]
        was_found = [report, report.revocation_list, report.findings[0], report.secrets[0]]
        named = [(each, each._fields) for each in (*declared, *was_read, *was_found)]
        for each, names in (*named, (policy, policy._fields)):
            for name in names:
                with pytest.raises(AttributeError):
                    setattr(each, name, None)
            with pytest.raises(AttributeError):
                object.__setattr__(each, "attached", "x")


class TestFailure:
    """A check that fails by itself refuses."""

    @pytest.mark.parametrize("environ", [{V1: 5}, {V1: None}, MappingProxyType({5: "x"})])
    def test_an_environment_that_is_none(self, environ: dict[str, str]) -> None:
        """The error's type is an alert; nothing of its text is shown, and no secret is called verified."""
        report = check(environ=environ, now=NOW)
        assert [str(finding.check) for finding in report.findings] == ["internal"]
        assert not report.ok
        assert report.secrets == ()
        assert report.revocation_list is None

    @pytest.mark.parametrize("name", ["\N{GREEK SMALL LETTER ALPHA}", "a\nALERT: forged"])
    def test_an_error_type_that_would_break_the_line(self, name: str) -> None:
        """A type's name that is more than a name is not shown."""
        error = type(name, (Exception,), {})

        class Hostile(dict[str, str]):
            def __contains__(self, _key: object) -> bool:
                raise error

        assert "(an error)" in check(environ=Hostile({V1: "x"}), now=NOW).findings[0].message

    def test_an_interrupt_is_one(self) -> None:
        """Control-C during a check stays what it is."""

        class Interrupted(dict[str, str]):
            def __contains__(self, _key: object) -> bool:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as raised:
            check(environ=Interrupted({V1: "x"}), now=NOW)
        assert raised.value.__context__ is None

    def test_a_mapping_that_does_not_list_what_it_has(self, checker: Checker) -> None:
        """Every variable that is read is asked for by its name: what is merely not listed loosens no check."""

        class Unlisted(dict[str, str]):
            def __iter__(self) -> Iterator[str]:
                return iter((V1, V2))

        checker.write("secret.key", good_keys()[V1])
        given = good_keys() | {"ROBODJ_PROTECTED_ENV": "true", f"{V2}_EXPIRES_AT": "2020-01-01T00:00:00Z"}
        assert found(checker(Unlisted(given))) == [("file-present", K1), ("expired", K2)]

    def test_what_was_asked_for_is_reported(self) -> None:
        """Environment-only is told as it was asked for, where nothing could be read."""
        environ: dict[str, Any] = {V1: 5}
        assert [check(environ=environ, require_env_only=only, now=NOW).require_env_only for only in (False, True)] == [
            False,
            True,
        ]

    def test_its_time_is_in_utc(self) -> None:
        """After a failure too."""
        report = check(environ={V1: 5}, now=datetime.fromisoformat("2026-12-01T12:00:00+05:00"))  # type: ignore[dict-item]
        assert report.checked_at.isoformat() == "2026-12-01T07:00:00+00:00"

    def test_a_naive_time(self) -> None:
        """A time without a timezone is a programming error."""
        with pytest.raises(ValueError, match=r"^now must have a timezone$"):
            check(environ={}, now=datetime(2026, 12, 1))  # noqa: DTZ001 - the point


class TestUsable:
    """Whether no alert concerns a secret."""

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
    def test_by_findings(self, checker: Checker, more: dict[str, str], usable: list[bool]) -> None:
        """A warning and an alert about the set-up leave it so."""
        assert [status.usable for status in checker(good_keys() | more).secrets] == usable

    def test_a_revoked_key(self, checker: Checker) -> None:
        """It is present, and not usable."""
        keys = good_keys()
        listed = {"ROBODJ_REVOKED_FINGERPRINTS": fingerprint(SealedStr(keys[V1]))}
        report = checker(keys | listed)
        assert [(status.state, status.usable) for status in report.secrets] == [("present", False), ("present", True)]

    def test_shared(self, checker: Checker) -> None:
        """Of two secrets that share a key nobody knows whose it is."""
        key = good_keys()[V2]
        assert [status.usable for status in checker({V1: key, V2: key}).secrets] == [False, False]


class TestTable:
    """One table of checks, from which the documentation and the plugin's kinds come."""

    def test_every_check_has_one_entry_in_its_order(self) -> None:
        """The order of the ids is the order of the report."""
        assert [entry.check for entry in CHECKS] == [*Check]

    def test_every_entry_is_explained(self) -> None:
        """No title, explanation or fix is missing, and each title is a short phrase."""
        assert all(entry.title and entry.explanation and entry.fix for entry in CHECKS)
        assert max(len(entry.title) for entry in CHECKS) <= 60

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
        """The README's table and the JSON Schema are those of the table: python tests/generated.py writes them.

        So no id is renamed, moved or lost without a change of both, which are read by others.
        """
        assert readme_with_table() == README.read_text(encoding="utf-8")
        assert schema_of_report() == SCHEMA.read_text(encoding="utf-8")

    def test_the_schema_names_every_field(self) -> None:
        """A report has the fields of the schema, in their order."""
        schema, report = json.loads(schema_of_report()), check(environ={}).as_dict()
        assert [*schema["properties"]] == [*report]
        for part in ("secrets", "findings"):
            assert {*schema["properties"][part]["items"]["properties"]} == {*report[part][0]}
