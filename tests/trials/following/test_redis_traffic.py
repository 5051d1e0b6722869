"""Redis under traffic, while two users are used in turn: how many commands fail."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import redis
from postgres import Delivery
from test_redis import PREVIOUS, URL, Cache, cache

from robodj_secretguard.adapters.redis import follow

CHANGES: Final = 100
THREADS: Final = 16

__all__ = ["cache"]


def test_no_command_fails_while_two_users_are_used_in_turn(cache: Cache, delivery: Delivery) -> None:
    """Each change delivers a new user beside the old one, which is deleted at the end of its overlap."""
    user, password = cache.new_user()
    held = delivery.deliver({URL: cache.url(user, password)})
    client: Any = follow(redis.Redis(), held.database_url)
    ends = threading.Event()
    counts = [0] * THREADS
    errors: list[Exception] = []

    def run(index: int) -> None:
        while not ends.wait(0.01):
            try:
                client.incr("orders")
            except Exception as error:  # noqa: BLE001 - it is what is counted
                errors.append(error)
            counts[index] += 1

    threads = [threading.Thread(target=run, args=(index,)) for index in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    before = threading.active_count()
    try:
        for _ in range(CHANGES):
            old, old_password = user, password
            user, password = cache.new_user()
            delivery.deliver({URL: cache.url(user, password), PREVIOUS: cache.url(old, old_password)})
            client.ping()
            delivery.deliver({URL: cache.url(user, password)})
            cache.wait_until_gone(old)
            cache.execute("ACL", "DELUSER", old)
        rate = sum(counts) / (time.monotonic() - began)
        connections = cache.connections(user)
        active = threading.active_count()
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    refused = sum(held.database_url.store.refused_logins.values())
    print(  # noqa: T201 - the figures
        f"{CHANGES} changes, {sum(counts)} commands, {rate:.0f} a second, {len(errors)} failed, "
        f"{refused} logins refused, {connections} connections"
    )
    assert errors == []
    assert rate >= 200
    assert connections <= THREADS + 1
    assert active <= before + 1
    client.close()
    cache.wait_until_gone(user)
