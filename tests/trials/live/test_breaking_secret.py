"""A secret that breaks again and again: each time is said, and so is each time that it is valid again."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from conftest import V2, clean_environment, posix_only
from detector import leaks
from live_hosts import HOSTS, Running
from live_model import DATABASE, address
from publications import first, text_of, volume
from running_service import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [posix_only, pytest.mark.full]

TIMES: Final = 3
BROKEN: Final = {
    "secret_v2.key": (V2, "changeme-changeme-changeme", "placeholder"),
    "database_url": (DATABASE, "postgresql://service:<password>@db.internal/shop", "placeholder"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_secret_that_breaks_three_times(name: str, tmp_path: Path) -> None:
    """Three faults of one secret are three alerts and three notices, although nobody waits an hour."""
    variable, text, check = BROKEN[name]
    good = {**first(), DATABASE: address()}
    volume(tmp_path / "keys", good)
    environ = clean_environment() | {
        "ROBODJ_SECRETS_DIR": str(tmp_path / "keys"),
        "ROBODJ_SECRETS_REFRESH": "1",
        "ROBODJ_SECRET_EVENTS": str(tmp_path / "events"),
    }
    alert, notice = rf"^ALERT: {re.escape(name)}: {check}: ", rf"^NOTICE: {re.escape(name)} follows again$"
    with Running(HOSTS[0], tmp_path, environ).started() as running:

        def count(pattern: str) -> int:
            return len(re.findall(pattern, running.log, re.MULTILINE))

        began = time.monotonic()
        for number in range(1, TIMES + 1):
            volume(tmp_path / "keys", {**good, variable: text})
            until(lambda: count(alert) >= number)  # noqa: B023 - called at once
            time.sleep(1.5)  # one more read at least: it says nothing
            volume(tmp_path / "keys", good)
            until(lambda: count(notice) >= number)  # noqa: B023
            time.sleep(1.5)
        assert running.service.ask("state").status == 200
        found, log = (count(alert), count(notice)), running.log
    events = [json.loads(line)["secret_event"] for line in (tmp_path / "events").read_text().splitlines()]
    print(f"{name}: {found[0]} alerts, {found[1]} notices in {time.monotonic() - began:.0f} s, events {events}")  # noqa: T201
    assert found == (TIMES, TIMES)
    assert {each: Counter(events)[each] for each in ("kept", "following", "switched")} == {
        "kept": TIMES,
        "following": TIMES,
        "switched": 0,
    }
    assert leaks(log, [text_of(good, V2), text_of(good, DATABASE).split(":")[2].partition("@")[0]]) == []
