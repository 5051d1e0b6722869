"""Nothing shows a key. Every scenario is run with every observer, each pair (a cell) in a separate process.

The fast run has every scenario with the strongest observer, and every observer with a few scenarios.
"""

from __future__ import annotations

import itertools
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import pytest
from cells import FEW, Cells, shown
from detector import leaks, without_fingerprints

from robodj_secretguard import Check
from robodj_secretguard.scan.result import Rule, Scope, Where

if sys.platform == "win32":
    pytest.skip("the process of a cell is forked", allow_module_level=True)

from observers import ADVISED, OBSERVERS, SEEN_BY_THE_STRONGEST, STRONGEST
from scenarios import SCENARIOS, Scenario, good


def cells_of(*, whole: bool) -> list[tuple[str, str]]:
    """Return the pairs of a scenario and an observer: those of the fast run, or all others."""
    pairs = itertools.product(SCENARIOS, OBSERVERS)
    return [(scenario, observer) for scenario, observer in pairs if (observer == STRONGEST or scenario in FEW) != whole]


def few_of(scenarios: Iterable[str]) -> list[Any]:
    """Mark all but a few scenarios for the full run."""
    return [pytest.param(each, marks=[] if each in FEW else pytest.mark.full) for each in scenarios]


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    """Start the process that forks for each cell."""
    made = Cells(tmp_path_factory.mktemp("cells"))
    yield made
    made.stop()


@pytest.mark.parametrize(("scenario", "observer"), cells_of(whole=False))
def test_no_key_is_shown(cells: Cells, scenario: str, observer: str) -> None:
    """No observer sees six characters of a key in any form, and no process hangs."""
    assert shown(cells, observer, SCENARIOS[scenario]) == []


@pytest.mark.full
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_key_is_shown_to_the_other_observers(cells: Cells, scenario: str) -> None:
    """The other observers of each scenario see none either."""
    observers = [observer for each, observer in cells_of(whole=True) if each == scenario]
    assert {each: hits for each in observers if (hits := shown(cells, each, SCENARIOS[scenario]))} == {}


@pytest.mark.parametrize(
    ("observer", "leak"),
    [(name, leak) for name, (_, leak) in OBSERVERS.items()] + [(STRONGEST, leak) for leak in SEEN_BY_THE_STRONGEST],
)
def test_a_guard_that_leaks_is_caught(cells: Cells, observer: str, leak: str) -> None:
    """Each observer shows the key of a guard that leaks where the observer looks."""
    planted = good()
    assert leaks(cells.run(observer, leak, planted).out, planted.secret) != []


@pytest.mark.parametrize("observer", ADVISED)
def test_the_advice_for_hosts(cells: Cells, observer: str) -> None:
    """A host that is set up as SECURITY.md says does not show a key that its frames hold."""
    assert shown(cells, observer, Scenario(good, ADVISED[observer][1])) == []


@pytest.mark.parametrize(
    ("scenario", "action"),
    [
        ("success", "be_interrupted_everywhere"),
        pytest.param("event-setting-is-a-key-ROBODJ_INSTANCE", "be_interrupted_everywhere", marks=pytest.mark.full),
        pytest.param("refresh-by-a-thread", "be_interrupted_in_a_refresh", marks=pytest.mark.full),
    ],
)
def test_an_interrupt_at_any_line_shows_nothing(cells: Cells, scenario: str, action: str) -> None:
    """An interrupt at any line of the library shows no frame that holds a key."""
    assert shown(cells, "uncaught", Scenario(SCENARIOS[scenario].plant, action)) == []


def written(cells: Cells, scenario: str, action: str, observer: str = "exception_chain") -> str:
    """Return all that a process wrote, without its fingerprints, times, addresses and hashes of contents.

    The lines of a scan are sorted: it lists objects and keys by names that depend on contents.
    """
    ran = cells.run(observer, action, SCENARIOS[scenario].plant())
    shown = without_fingerprints(f"{ran.status}\n{ran.out}")
    shown = re.sub(r"datetime\.datetime\([^)]*\)|\d{4}-\d\d-\d\d[ T][\d:.]+|0x[0-9a-f]+|-?\d+\.\d{3,}", "", shown)
    shown = re.sub(
        r"\b[0-9a-f]{32}\b|(?<=ed )[0-9]{6,}|(?<=daemon )[0-9]{6,}|(?<=owner=)[0-9]+", "", shown
    )  # the ids of keys and of threads
    shown = re.sub(r'"checked_at": "[^"]*"', '"checked_at"', shown)
    shown = re.sub(
        rf"{re.escape(socket.gethostname())}:\d+|\b\d+(?=\.\d+@)|\b\d+-\d{{16}}\b|(?<=process )\d+", "", shown
    )  # ids in an event
    if observer == STRONGEST:  # which prints a frame again where its address differs
        shown = "\n".join(dict.fromkeys(shown.splitlines()))
    if scenario.startswith("scan"):
        shown = re.sub(r'\b[0-9a-f]{40}\b|"size": [0-9]+', "", shown)  # git compresses what it stores
        parts = re.split(r"\\*\n|\\+[nr]|\r|(?=ALERT: )", shown)
        shown = "\n".join(sorted(parts))
    return shown


@pytest.mark.parametrize("scenario", few_of(SCENARIOS))
def test_nothing_depends_on_a_value(cells: Cells, scenario: str) -> None:
    """With two sets of keys, the scenario, the guard, a report and the command line write the same.

    The locals of every frame and all attributes are the same too, in any form.
    """
    action = SCENARIOS[scenario].action
    for each, *observer in ((action,), ("write_everything",), (action, STRONGEST)):
        first, second = (written(cells, scenario, each, *observer) for _ in range(2))
        assert first == second


@pytest.mark.parametrize("scenario", ["events", "events-of-a-refusal"])
def test_no_event_depends_on_a_value(cells: Cells, scenario: str) -> None:
    """With two sets of keys, the events are the same."""
    first, second = (written(cells, scenario, SCENARIOS[scenario].action) for _ in range(2))
    assert first == second
    kinds = re.findall(r'"secret_event": "(\w+)"', first)
    assert kinds == (["refused"] if "refusal" in scenario else ["started", "running", "ended"])


@pytest.mark.full
def test_the_scans_find(cells: Cells) -> None:
    """What is planted for a scan is found in every kind of place, and a part of it is unreadable."""
    names = [scenario for scenario in SCENARIOS if scenario.startswith("scan")]
    everything = "".join(written(cells, scenario, SCENARIOS[scenario].action) for scenario in names)
    assert set(re.findall(r'"rule": "([a-z-]+)"', everything)) == {*get_args(Rule)}
    assert set(re.findall(r'"where": "([a-z-]+)"', everything)) == {*get_args(Where)}
    assert set(re.findall(r'"object_type": "([a-z]+)"', everything)) == {"blob", "commit", "tag", "tree"}
    assert {"raw", "hex", "base64", "utf-16"} <= set(re.findall(r'"form": "([a-z0-9-]+)"', everything))
    assert set(re.findall(r'"scope": "([a-z-]+)"', everything)) == {*get_args(Scope)}
    assert set(re.findall(r"the command failed \(([A-Za-z]+)\)", everything)) >= {"KeyboardInterrupt", "LookupError"}
    assert "INCOMPLETE" in everything


@pytest.mark.full
def test_every_check_has_a_scenario(cells: Cells) -> None:
    """Every check, and every rule of a scan, is in the suite."""
    everything = "".join(written(cells, scenario, each.action) for scenario, each in SCENARIOS.items())
    everything += "".join(written(cells, scenario, "write_everything") for scenario in SCENARIOS)
    fired = set(re.findall(r"(?:ALERT|WARNING): (?:\S+\.key: )?([a-z-]+): ", everything))
    fired |= set(re.findall(r"check=<Check\.[A-Z_]+: '([a-z-]+)'>", everything))
    assert fired == {str(each) for each in (*Check, *get_args(Rule))}
