"""The service as tasks of celery, with a Redis server that has the queue and the answers."""

from __future__ import annotations

import json
import os
from typing import Final

from celery import Celery
from redis import Redis

NAME: Final = "perform"


def make(port: int) -> Celery:
    """Return the app, without tasks: the client sends them by name, and has no keys."""
    made = Celery("service", broker=f"redis://127.0.0.1:{port}/0")
    made.conf.task_ignore_result = True
    made.conf.worker_prefetch_multiplier = 1
    made.conf.broker_connection_retry_on_startup = True
    return made


if port := int(os.environ.get("TRIAL_REDIS", "0")):
    import live_views

    app = make(port)

    @app.task(name=NAME)  # type: ignore[untyped-decorator]
    def perform(reply: str, view: str, action: str, argument: str) -> None:
        """Sign or verify, and send the status, the text and the process id."""
        try:
            status, text = live_views.perform(view, action, argument)
        except Exception as error:  # noqa: BLE001 - the client counts it
            status, text = 500, type(error).__name__
        with Redis("127.0.0.1", port) as redis:
            redis.lpush(reply, json.dumps((status, text, os.getpid())))
            redis.expire(reply, 60)
