"""Redis under traffic, while two users are used in turn: how many commands fail."""

from __future__ import annotations

import threading
import time
from typing import Any

import redis
from postgres import Delivery
from test_database_traffic import THREADS, Traffic, changes
from test_redis import PREVIOUS, URL, Cache, cache

from robodj_secretguard.adapters.redis import follow

__all__ = ["cache", "changes"]


def test_no_command_fails_while_two_users_are_used_in_turn(cache: Cache, delivery: Delivery, changes: int) -> None:
    """Each change delivers a new user next to the old one, which is deleted at the end of its overlap."""
    user, password = cache.new_user()
    held = delivery.deliver({URL: cache.url(user, password)})
    client: Any = follow(redis.Redis(), held.database_url)
    with Traffic(lambda: client.incr("orders")) as traffic:
        began, before = time.monotonic(), threading.active_count()
        for _ in range(changes):
            old, old_password = user, password
            user, password = cache.new_user()
            delivery.deliver({URL: cache.url(user, password), PREVIOUS: cache.url(old, old_password)})
            client.ping()
            delivery.deliver({URL: cache.url(user, password)})
            cache.wait_until_gone(old)
            cache.execute("ACL", "DELUSER", old)
        rate = traffic.queries / (time.monotonic() - began)
        connections = cache.connections(user)
        active = threading.active_count()
    assert traffic.errors == []
    assert rate >= 200
    assert connections <= THREADS + 1
    assert active <= before + 1
    client.close()
    cache.wait_until_gone(user)
