"""A set of keys, and the clock that tells which instants have passed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from conftest import NOW
from rings import rotation_keys

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.running.keyset import Clock, KeySet
from robodj_secretguard.settings import judgement_of
from robodj_secretguard.startup.readings import Environment

DAY = timedelta(days=1)


class TestClock:
    """`Clock.has_passed`."""

    def test_it_stays_passed(self) -> None:
        """An instant that has passed stays so when the clock steps back. Others are judged by the clock."""
        times = [NOW]
        clock = Clock(lambda: times[-1])
        assert [clock.has_passed(each) for each in (NOW + DAY, NOW, NOW - DAY)] == [False, True, True]
        times += [NOW - 2 * DAY]
        assert [clock.has_passed(each) for each in (NOW + DAY, NOW, NOW - DAY)] == [False, True, True]

    @pytest.mark.parametrize("is_watched", [True, False])
    def test_the_monotonic_clock(self, monkeypatch: pytest.MonkeyPatch, *, is_watched: bool) -> None:
        """An instant passes by the monotonic clock, from when it was read: now, or at the start."""
        now = time.monotonic()
        clock, instant = Clock(), datetime.now(UTC) + DAY
        monkeypatch.setattr(time, "monotonic", lambda: now + DAY.total_seconds() / 2)
        if is_watched:
            clock.watch(instant)
        for days, is_passed in ((0.9, False), (1.1, not is_watched), (1.6, True)):
            monkeypatch.setattr(time, "monotonic", lambda days=days: now + days * DAY.total_seconds())
            assert clock.has_passed(instant) is is_passed


def test_the_keys_of_a_set() -> None:
    """A set has the keys of each secret: current, next and previous. Each is made once."""
    keys = rotation_keys(NOW + DAY)
    judgement = judgement_of(RuntimeSecrets, Environment(keys), now=NOW)
    made = KeySet(judgement.readings, judgement.report(), judgement.readings[0].setup.revocation)
    held = made.held("secret.key")
    assert [each.key.role for each in held] == ["current", "next", "previous"]
    assert [each.ends for each in held] == [None, None, NOW + DAY]
    assert made.held("secret.key") is held
    assert [each.key.role for each in made.held("secret_v2.key")] == ["current"]
