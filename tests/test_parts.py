"""What a store has beside its keys."""

from __future__ import annotations

from robodj_secretguard.running.parts import Subscription


def test_a_subscription_that_is_behind() -> None:
    """A subscription is behind after each change until it has seen that change."""
    changes = [0]
    subscription = Subscription(lambda: None, lambda: changes[-1])
    assert not subscription.is_behind
    changes.append(1)
    assert subscription.is_behind
    subscription.seen = 1
    assert not subscription.is_behind
