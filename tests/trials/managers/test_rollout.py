"""A rotation without a fault, by steps and by hand: no gate reports anything, also on a set that is not the newest."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_line import fingerprint_of
from conftest import V1, good_keys
from test_rotate_steps import DAY, EXPIRES, HOUR, NAME, NEXT, PREVIOUS, UNTIL, WHO, Production, bao, production

from robodj_secretguard.lifecycle import rotator
from robodj_secretguard.startup.inputs import iso_utc

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bao", "production"]
pytestmark = pytest.mark.full
STEPS = ("--attest", "startup", "--attest", "functions")
WEEK = timedelta(days=7)
NOW = datetime.now(UTC).replace(microsecond=0)  # the server dates its versions


@pytest.fixture(autouse=True)
def _any_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the tests differ from that of the server."""
    monkeypatch.setattr(rotator, "MAX_SKEW", 1000 * DAY)


def stored(production: Production) -> dict[str, Any]:
    """Return every field of the current version."""
    fields: dict[str, Any] = production.bao.call("GET", f"secret/data/{production.path}")["data"]["data"]
    return fields


def reported(production: Production, now: datetime, *sets: Mapping[str, Any]) -> list[str]:
    """Return the alerts and warnings of the gate on the manager, and on sets that an agent has written."""
    found, mounted = list[str](), production.machine.root / "mounted"
    for fields in (None, *sets):
        shutil.rmtree(mounted, ignore_errors=True)
        mounted.mkdir(mode=0o755)
        for name, value in (fields or {}).items():
            if isinstance(value, str):
                (mounted / name).write_text(value, encoding="utf-8")
                (mounted / name).chmod(0o600)
        source = production.source if fields is None else "directory:mounted"
        ran = production.machine.call("check", "--from", source, "--require-env-only", now=now)
        found += [line for line in ran.out.splitlines() if line.startswith(("ALERT", "WARNING"))]
    return found


def record(production: Production, now: datetime) -> None:
    """Record the current key."""
    ran = production.machine.call("rotate", "record", NAME, "--from", production.source, *WHO, *STEPS, now=now)
    assert ran.status == 0, ran.err + ran.out


def test_steps(production: Production) -> None:
    """Each step is silent on its own version and on the one before, until the overlap ends."""
    record(production, NOW)
    first = stored(production)
    assert production.rotate("stage", now=NOW).status == 0
    staged = stored(production)
    assert reported(production, NOW + HOUR, first, staged) == []
    assert production.rotate("promote", now=NOW + DAY).status == 0
    promoted = stored(production)
    assert reported(production, NOW + WEEK, first, staged, promoted) == []
    record(production, NOW + WEEK)
    assert reported(production, NOW + WEEK, first, staged, promoted) == []
    assert production.rotate("retire", now=NOW + 16 * DAY).status == 0
    (past,) = reported(production, NOW + 16 * DAY, promoted)
    assert "previous-past" in past


def test_back(production: Production) -> None:
    """A step back is silent but for the expiry of the key that is current again."""
    record(production, NOW)
    production.rotate("stage", now=NOW)
    production.rotate("promote", now=NOW + DAY)
    promoted = stored(production)
    assert production.rotate("back", now=NOW + DAY + HOUR).status == 0
    assert {line.split(": ")[2] for line in reported(production, NOW + DAY + HOUR, promoted)} == {"expiring"}


def test_by_hand(production: Production) -> None:
    """The steps of the plan, in the manager by hand, are silent before the record as well as after it."""
    record(production, NOW)
    old, new = stored(production), good_keys()[V1]
    production.write(**{NEXT: new})
    staged = stored(production)
    assert reported(production, NOW + HOUR, old, staged) == []
    dates = {UNTIL: iso_utc(NOW + 14 * DAY), EXPIRES: iso_utc(NOW + 90 * DAY)}
    production.write(**{NEXT: None, V1: new, PREVIOUS: old[V1], **dates})
    assert reported(production, NOW + HOUR, old, staged) == []
    record(production, NOW + 2 * HOUR)
    assert reported(production, NOW + 3 * HOUR, old, staged) == []
    production.write(**{PREVIOUS: None, UNTIL: None})
    assert reported(production, NOW + 15 * DAY) == []


def test_a_revoked_key_is_never_recommended(production: Production) -> None:
    """After a revocation, a new key is on its way to its record, and no line names the leaked key as one to restore."""
    record(production, NOW)
    leaked = stored(production)
    which = ("--fingerprint", fingerprint_of(leaked[V1]), "--reason", "leak", "--without-replacement", "--yes")
    ran = production.machine.call("revoke", *which, now=NOW + DAY)
    assert ran.status == 0, ran.err
    production.write(**{V1: good_keys()[V1], EXPIRES: iso_utc(NOW + 80 * DAY)})
    ran = production.machine.call("check", "--from", production.source, "--require-env-only", now=NOW + DAY)
    assert (ran.status, "restore" in ran.out, "drift" in ran.out) == (0, False, False)
    record(production, NOW + DAY)
    assert reported(production, NOW + DAY) == []
    assert any("revoked" in line for line in reported(production, NOW + DAY, leaked))
