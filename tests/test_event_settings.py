"""The settings of the events: which texts are valid."""

from __future__ import annotations

import pytest
from conftest import V1, good_keys, posix_only

from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.event_settings import valid_event_setting


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        (
            "ROBODJ_SERVICE",
            ["api", "API_2", "robodj@1", "a/b", "x" * 120],
            ["-api", "a b", "api\n", "\u00e4pi", "x" * 121, "api-{key}"],
        ),
        ("ROBODJ_INSTANCE", ["web-1:8000", "10.0.0.1", "0"], ["[::1]", ".x", "x\u202e", "a;b", "{key}:80"]),
        (
            "ROBODJ_SECRET_HEARTBEAT",
            ["1", "60", "86400"],
            ["86401", "0", "-1", "0.5", "1e3", " 60", "060", "\u0661", "60\n"],
        ),
        (
            "ROBODJ_SECRET_EVENTS",
            ["stdout", "stderr", "/var/log/robodj/events.jsonl"],
            ["events.jsonl", "-", "stdin", "STDOUT", "/a\n", "/run/\udcff", "/run/{key}/events", "stdout{key}"],
        ),
        (
            "ROBODJ_ENVIRONMENT",
            ["prod", "staging", "eu-west_1", "x" * 31],
            ["Prod", "-prod", "a b", "prod\n", "\u00e4", "x" * 32, "{key}", "prod/eu"],
        ),
    ],
    ids=["service", "instance", "seconds", "file", "environment"],
)
@posix_only
def test_settings_of_the_events(name: str, valid: list[str], invalid: list[str]) -> None:
    """An invalid setting has no text. A text that may hold a key is invalid."""
    for text in (*valid, *invalid, ""):
        given = SealedStr(text.format(key=good_keys()[V1]))
        assert valid_event_setting(name, given) == (text if text in valid else "")
