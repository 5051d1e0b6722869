"""Metrics as families, and as text that Prometheus' own parsers accept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Annotated

import pytest
from command_line import fingerprint_of
from conftest import NOW, V1, V2, Checker, good_keys, marker
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_as_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_as_text
from pydantic import SecretStr

from robodj_secretguard import Generator, Material, RuntimeSecrets, SecretPolicy, check
from robodj_secretguard.fleet.metrics import DECLARED, Samples, as_openmetrics, of_findings, of_keys, of_rotations
from robodj_secretguard.startup.rules import Check

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OWNER = "Security Operations"
NAME, OTHER = "secret.key", "secret_v2.key"
declared = partial(SecretPolicy, owner="Integrations", cadence=30 * DAY, warn_before=DAY)


class Own(RuntimeSecrets):
    """The runtime secrets, and one that a vendor issues."""

    icecast: Annotated[
        SecretStr,
        declared(
            name="icecast.password",
            variable="ICECAST_PASSWORD",
            material=Material.opaque(),
            issuer="https://radio.example",
        ),
    ]


class Odd(RuntimeSecrets):
    """A secret whose owner has characters that the formats escape."""

    odd: Annotated[
        SecretStr,
        SecretPolicy(
            name="odd.key",
            variable="ODD_KEY",
            generator=Generator("token_urlsafe", 32),
            owner='A "B" \\ C',
            cadence=DAY,
            warn_before=HOUR,
        ),
    ]


def samples(metrics: Iterable[Metric]) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples of parsed families, by name and by the values of their labels in declared order."""
    return {
        each.name: {tuple(one.labels[label] for label in DECLARED[each.name][0]): one.value for one in each.samples}
        for each in metrics
    }


class TestFamilies:
    """What each family has."""

    def test_keys(self, checker: Checker) -> None:
        """Each slot with a key has a fingerprint, and each instant is a timestamp."""
        keys = {**good_keys(), f"{V1}_NEXT": good_keys()[V1], f"{V1}_PREVIOUS": good_keys()[V1]}
        instants = {f"{V1}_EXPIRES_AT": marker(30 * DAY), f"{V1}_PREVIOUS_UNTIL": marker(HOUR)}
        assert of_keys(checker(keys | instants).secrets, "robodj_secret_delivered_info") == {
            "robodj_secret_delivered_info": {
                (NAME, OWNER, "current", fingerprint_of(keys[V1])): 1,
                (NAME, OWNER, "next", fingerprint_of(keys[f"{V1}_NEXT"])): 1,
                (NAME, OWNER, "previous", fingerprint_of(keys[f"{V1}_PREVIOUS"])): 1,
                (OTHER, OWNER, "current", fingerprint_of(keys[V2])): 1,
            },
            "robodj_secret_expiry_timestamp_seconds": {(NAME, OWNER): (NOW + 30 * DAY).timestamp()},
            "robodj_secret_previous_until_timestamp_seconds": {(NAME, OWNER): (NOW + HOUR).timestamp()},
        }

    def test_missing_and_vendors_keys(self, checker: Checker) -> None:
        """A missing key has no series. A vendor's key has one with an empty fingerprint."""
        environ = {V1: good_keys()[V1], "ICECAST_PASSWORD": good_keys()[V1][:20]}
        report = check(Own, environ=environ, config_dir=checker.config, now=NOW)
        assert of_keys(report.secrets, "robodj_secret_info", "of a process")["robodj_secret_info"] == {
            (NAME, OWNER, "current", fingerprint_of(environ[V1]), "of a process"): 1,
            ("icecast.password", "Integrations", "current", "", "of a process"): 1,
        }

    def test_rotations(self, checker: Checker) -> None:
        """A recorded rotation is due after the cadence of its secret."""
        assert of_rotations(checker(good_keys()).secrets, {OTHER: NOW}) == {
            "robodj_secret_rotated_timestamp_seconds": {(OTHER, OWNER): NOW.timestamp()},
            "robodj_secret_rotation_due_timestamp_seconds": {(OTHER, OWNER): (NOW + 30 * DAY).timestamp()},
        }

    def test_findings(self, checker: Checker) -> None:
        """What may begin without a restart has a series, also of the value 0. Others have one while they are found."""
        environ = good_keys() | {f"{V1}_EXPIRES_AT": marker(-DAY), "ROBODJ_PROTECTED_ENV": "yess"}
        environ |= {f"{V1}_NEXT": "short", f"{V1}_PREVIOUS": "short", f"{V1}_PREVIOUS_UNTIL": marker(HOUR)}
        report = checker(environ)
        zero = {
            *((check_id, "alert", name, OWNER) for check_id in ("expired", "revoked") for name in (NAME, OTHER)),
            *(("expiring", "warning", name, OWNER) for name in (NAME, OTHER)),
            ("internal", "alert", "", OWNER),
        }
        found = {("expired", "alert", NAME, OWNER): 1, ("setting", "alert", "", OWNER): 1}
        found["format", "alert", NAME, OWNER] = 2
        assert of_findings(report.secrets, report.findings) == {
            "robodj_secret_findings": dict.fromkeys(zero, 0) | found
        }
        assert {str(each) for each in Check} > {check_id for check_id, *_ in zero}


class TestText:
    """The text is valid in both formats."""

    def test_a_whole_text(self) -> None:
        """The text has the help, the type and the values of families that have any, with service and environment."""
        keys: Samples = {("a.key", "Ops", "current", ""): 1.0}
        text = as_openmetrics(
            {
                "robodj_secret_delivered_info": keys,
                "robodj_secret_expiry_timestamp_seconds": {},
                "robodj_secret_start_timestamp_seconds": {(): 1796256000.25},
            },
            "api",
            "prod",
        )
        own = 'service="api",robodj_environment="prod"'
        assert text.splitlines() == [
            "# HELP robodj_secret_delivered_info The keys that the source delivers, with the value 1.",
            "# TYPE robodj_secret_delivered_info gauge",
            f'robodj_secret_delivered_info{{{own},secret="a.key",owner="Ops",slot="current",fingerprint=""}} 1',
            "# HELP robodj_secret_start_timestamp_seconds When the guard let this process start.",
            "# TYPE robodj_secret_start_timestamp_seconds gauge",
            f"robodj_secret_start_timestamp_seconds{{{own}}} 1796256000.25",
            "# EOF",
        ]

    @pytest.mark.parametrize("parse", [parsed_as_openmetrics, parsed_as_text], ids=["openmetrics", "text"])
    def test_parsers(self, checker: Checker, parse: partial[Iterable[Metric]]) -> None:
        """Each parser reads back every value, with an owner that is escaped."""
        keys = good_keys() | {"ODD_KEY": good_keys()[V1], f"{V1}_EXPIRES_AT": marker(30 * DAY)}
        report = check(Odd, environ=keys, config_dir=checker.config, now=NOW)
        families = of_keys(report.secrets, "robodj_secret_delivered_info") | of_rotations(report.secrets, {NAME: NOW})
        families |= of_findings(report.secrets, report.findings)
        families["robodj_secret_start_timestamp_seconds"] = {(): (NOW + timedelta(microseconds=1)).timestamp()}
        parsed = samples(parse(as_openmetrics(families, "api", "prod") + "\n"))
        assert parsed == {name: each for name, each in families.items() if each}
        assert any(owner == 'A "B" \\ C' for _, owner, *_ in parsed["robodj_secret_delivered_info"])
