"""Metrics about the secrets, as families of gauges: text for `status`, and the collector of a service makes them too.

Instants are Unix timestamps. No label has anything derived from a key but its fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from robodj_secretguard.startup.report import Finding, SecretStatus, owners_of
from robodj_secretguard.startup.rules import Check, Severity, State

Samples: TypeAlias = "Mapping[tuple[str, ...], float]"
"""The values of a metric, by the values of its labels."""

ALL_SERVICES: Final = "all services"
"""The label `service` of keys that are for all services. No service has this name.

An empty label would not be there, and Prometheus would put the label `service` of a target in its place.
"""

ENVIRONMENT_LABEL: Final = "robodj_environment"
"""The label of each metric with `ROBODJ_ENVIRONMENT`; empty where it is not set.

The label `environment` often belongs to a target, whose word may differ from that of the process.
"""

_SECRET_LABELS: Final = ("secret", "owner")
DECLARED: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "robodj_secret_info": (
        (*_SECRET_LABELS, "slot", "fingerprint", "process"),
        "The keys of a running process, with the value 1.",
    ),
    "robodj_secret_delivered_info": (
        (*_SECRET_LABELS, "slot", "fingerprint"),
        "The keys that the source delivers, with the value 1.",
    ),
    "robodj_secret_expiry_timestamp_seconds": (_SECRET_LABELS, "When the current key expires."),
    "robodj_secret_previous_until_timestamp_seconds": (_SECRET_LABELS, "Until when the previous key is accepted."),
    "robodj_secret_start_timestamp_seconds": ((), "When the guard let this process start."),
    "robodj_secret_processes": (
        ("process",),
        "How many processes may answer a scrape of this one: the workers of a server. 0 if unknown.",
    ),
    "robodj_secret_refresh_timestamp_seconds": ((), "When the keys were last read completely while this process runs."),
    "robodj_secret_state_timestamp_seconds": (
        ("state",),
        "Since when the process is in this state: following, kept, late or ending.",
    ),
    "robodj_secret_refused_logins": (
        ("secret", "slot"),
        "How many logins with this value were refused since the start.",
    ),
    "robodj_secret_rotated_timestamp_seconds": (
        _SECRET_LABELS,
        "The first record of the current key in the operations log.",
    ),
    "robodj_secret_rotation_due_timestamp_seconds": (
        _SECRET_LABELS,
        "When the rotation cadence of the current key ends.",
    ),
    "robodj_secret_findings": (
        ("check", "severity", *_SECRET_LABELS),
        "The number of findings of the last check or read.",
    ),
}
# Without a restart, these can begin: the clock runs on, and the revocation list is read again. So each has a series
# of the value 0, which shows that the check ran. Other checks have a series while they find something.
_WATCHED: Final = (
    (Check.EXPIRED, Severity.ALERT),
    (Check.REVOKED, Severity.ALERT),
    (Check.EXPIRING, Severity.WARNING),
)
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def of_keys(statuses: Sequence[SecretStatus], name: str, *process: str) -> dict[str, Samples]:
    """Return the families about the keys that a report describes. A vendor's secret has no fingerprint.

    `name` is that of the family with the fingerprints: `INFO` with the process that has the keys, or `DELIVERED`.
    """
    keys: dict[tuple[str, ...], float] = {
        (each.secret, each.owner, slot, fingerprint or "", *process): 1.0
        for each in statuses
        for slot, fingerprint, exists in (
            ("current", each.fingerprint, each.state in (State.PRESENT, State.EXPIRED)),
            ("next", each.next_fingerprint, each.next_fingerprint),
            ("previous", each.previous_fingerprint, each.previous_fingerprint),
        )
        if exists
    }
    return {
        name: keys,
        "robodj_secret_expiry_timestamp_seconds": _instants((each, each.expires_at) for each in statuses),
        "robodj_secret_previous_until_timestamp_seconds": _instants((each, each.previous_until) for each in statuses),
    }


def of_rotations(statuses: Sequence[SecretStatus], rotated: Mapping[str, datetime]) -> dict[str, Samples]:
    """Return the families about recorded rotations, of the first record of each secret's current key."""
    found = [(each, rotated[each.secret]) for each in statuses if each.secret in rotated]
    return {
        "robodj_secret_rotated_timestamp_seconds": _instants(found),
        "robodj_secret_rotation_due_timestamp_seconds": _instants(
            (each, at + timedelta(days=each.rotation_days)) for each, at in found
        ),
    }


def of_findings(statuses: Sequence[SecretStatus], findings: Iterable[Finding]) -> dict[str, Samples]:
    """Return the family with the numbers of findings."""
    samples: dict[tuple[str, ...], float] = {
        (str(check), str(severity), each.secret, each.owner): 0.0 for each in statuses for check, severity in _WATCHED
    }
    samples[str(Check.INTERNAL), str(Severity.ALERT), "", owners_of(statuses)] = 0.0
    samples |= Counter((str(each.check), str(each.severity), each.secret or "", each.owner) for each in findings)
    return {"robodj_secret_findings": samples}


def as_openmetrics(families: Mapping[str, Samples], service: str, environment: str) -> str:
    """Return families as text, without the last newline: valid as OpenMetrics and as Prometheus' older text format.

    Each sample has the service and the environment: node_exporter refuses files that have the same series.
    """
    lines = []
    for name, samples in families.items():
        labels, text = DECLARED[name]
        names = ("service", ENVIRONMENT_LABEL, *labels)
        if samples:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        for values, value in samples.items():
            shown_labels = ",".join(
                f'{label}="{text.translate(_ESCAPES)}"'
                for label, text in zip(names, (service, environment, *values), strict=True)
            )
            shown = f"{value:.0f}" if value == int(value) else repr(value)
            lines.append(f"{name}{{{shown_labels}}} {shown}")
    return "\n".join([*lines, "# EOF"])


def _instants(found: Iterable[tuple[SecretStatus, datetime | None]]) -> Samples:
    return {(each.secret, each.owner): at.timestamp() for each, at in found if at}
