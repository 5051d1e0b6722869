"""Nothing shows a key. Every scenario before every observer, each cell in a process of its own.

The ordinary run has every scenario with the strongest observer, and every observer with a few scenarios.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Ran, clean_environment
from detector import RUN, leaks, without_fingerprints
from forks import HUNG, Forks

from robodj_secretguard import Check
from robodj_secretguard.scan.result import Rule, Scope, Where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

if sys.platform == "win32":
    pytest.skip("the process of a cell is forked", allow_module_level=True)

from observers import ADVISED, OBSERVERS, SEEN_BY_THE_STRONGEST, STRONGEST
from scenarios import SCENARIOS, Planted, Scenario, good

LOOKS = 4
"""With how many sets of keys a hit must be met to be a leak: chance does not meet six characters of each of them."""


FEW = ("success", "format-escapes", "host-field-chained")
"""A start, a refusal by the library and one by the host's own validator: what every observer is shown."""


def cells_of(*, whole: bool) -> list[tuple[str, str]]:
    """Return the pairs of a scenario and an observer: those of the ordinary run, or all the others."""
    pairs = itertools.product(SCENARIOS, OBSERVERS)
    return [(scenario, observer) for scenario, observer in pairs if (observer == STRONGEST or scenario in FEW) != whole]


def few_of(scenarios: Iterable[str]) -> list[Any]:
    """Mark all but a few scenarios for the full run."""
    return [pytest.param(each, marks=[] if each in FEW else pytest.mark.full) for each in scenarios]


class Cells:
    """Runs one observer of one scenario after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "cell"
        # Coverage is measured elsewhere: what forks here would write over its parent's.
        env = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
        self._forks = Forks(Path(__file__).with_name("cell.py"), env | {"PYTHONDONTWRITEBYTECODE": "1"})
        self.stop = self._forks.stop

    def run(self, observer: str, action: str, planted: Planted) -> Ran:
        """Run one cell to its end, with what it wrote to stdout and stderr in one.

        Args:
            observer: who looks.
            action: what the process does.
            planted: what it is given.
        """
        planted.put(self._directory)
        environ = {"PATH": os.defpath, "HOME": str(self._directory), "COLUMNS": "200"}
        environ["SENTRY_RELEASE"] = "1"  # or it asks git, which takes a while
        try:
            return self._forks.run(self._directory, environ | planted.environ, (observer, action))
        finally:
            shutil.rmtree(self._directory)


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    """Start the process that forks for each cell."""
    made = Cells(tmp_path_factory.mktemp("cells"))
    yield made
    made.stop()


def shown(cells: Cells, observer: str, scenario: Scenario) -> list[str]:
    """Return what of the planted keys an observer shows, whichever keys are planted."""
    hits: list[str] = []
    for _ in range(LOOKS):
        planted = scenario.plant()
        ran = cells.run(observer, scenario.action, planted)
        assert ran.status != HUNG
        hits = leaks(ran.out, planted.secret, folded=RUN)
        if not hits:
            break
    return hits


@pytest.mark.parametrize(("scenario", "observer"), cells_of(whole=False))
def test_nothing_of_a_key_shows(cells: Cells, scenario: str, observer: str) -> None:
    """No observer is shown six characters of a key in any form, and no process hangs."""
    assert shown(cells, observer, SCENARIOS[scenario]) == []


@pytest.mark.full
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_of_a_key_shows_anywhere(cells: Cells, scenario: str) -> None:
    """Nor do the other observers of a scenario see one: the whole cross product."""
    observers = [observer for each, observer in cells_of(whole=True) if each == scenario]
    assert {each: hits for each in observers if (hits := shown(cells, each, SCENARIOS[scenario]))} == {}


@pytest.mark.parametrize(
    ("observer", "leak"),
    [(name, leak) for name, (_, leak) in OBSERVERS.items()] + [(STRONGEST, leak) for leak in SEEN_BY_THE_STRONGEST],
)
def test_a_guard_that_leaks_is_caught(cells: Cells, observer: str, leak: str) -> None:
    """Each observer shows the key of a guard that leaks where it looks: it is not blind."""
    planted = good()
    assert leaks(cells.run(observer, leak, planted).out, planted.secret) != []


@pytest.mark.parametrize("observer", ADVISED)
def test_what_hosts_are_advised_to_do_helps(cells: Cells, observer: str) -> None:
    """Set up as SECURITY.md says, a host does not show a key that its own frames hold."""
    assert shown(cells, observer, Scenario(good, ADVISED[observer][1])) == []


def test_an_interrupt_at_any_line_shows_nothing(cells: Cells) -> None:
    """Control-C, wherever in the library it comes, brings no frame to light that holds a key."""
    assert shown(cells, "uncaught", Scenario(good, "be_interrupted_everywhere")) == []


def written(cells: Cells, scenario: str, action: str, observer: str = "exception_chain") -> str:
    """Return all that a process wrote, less its fingerprints, the time, addresses and what git makes of contents.

    The lines of a scan, which lists git's objects and keys by names that are made of contents, are sorted.
    """
    ran = cells.run(observer, action, SCENARIOS[scenario].plant())
    shown = without_fingerprints(f"{ran.status}\n{ran.out}")
    shown = re.sub(r"datetime\.datetime\([^)]*\)|\d{4}-\d\d-\d\d[ T][\d:.]+|0x[0-9a-f]+", "", shown)
    shown = re.sub(r'"checked_at": "[^"]*"', '"checked_at"', shown)
    if observer == STRONGEST:  # which shows a frame again where an address in it is another one
        shown = "\n".join(dict.fromkeys(shown.splitlines()))
    if scenario.startswith("scan"):
        shown = re.sub(r'\b[0-9a-f]{40}\b|"size": [0-9]+', "", shown)  # git compresses what it keeps
        parts = re.split(r"\\*\n|\\+[nr]|\r|(?=ALERT: )", shown)
        shown = "\n".join(sorted(parts))
    return shown


@pytest.mark.parametrize("scenario", few_of(SCENARIOS))
def test_the_output_depends_on_no_value(cells: Cells, scenario: str) -> None:
    """Two sets of keys, one output: of what the scenario does, and of the guard, a report and the command line."""
    for action in (SCENARIOS[scenario].action, "write_everything"):
        first, second = (written(cells, scenario, action) for _ in range(2))
        assert first == second


@pytest.mark.parametrize("scenario", few_of(SCENARIOS))
def test_nothing_that_is_looked_at_depends_on_a_value(cells: Cells, scenario: str) -> None:
    """Nor do the locals of any frame, or any attribute: what the search would miss is in no form there either."""
    first, second = (written(cells, scenario, SCENARIOS[scenario].action, STRONGEST) for _ in range(2))
    assert first == second


@pytest.mark.full
def test_the_scans_find(cells: Cells) -> None:
    """What is planted for a scan is found there, in every kind of place, and some of it cannot be looked at."""
    names = [scenario for scenario in SCENARIOS if scenario.startswith("scan")]
    everything = "".join(written(cells, scenario, SCENARIOS[scenario].action) for scenario in names)
    assert set(re.findall(r'"rule": "([a-z-]+)"', everything)) == {*Rule}
    assert set(re.findall(r'"where": "([a-z-]+)"', everything)) == {*Where}
    assert set(re.findall(r'"object_type": "([a-z]+)"', everything)) == {"blob", "commit", "tag", "tree"}
    assert {"raw", "hex", "base64", "utf-16"} <= set(re.findall(r'"form": "([a-z0-9-]+)"', everything))
    assert set(re.findall(r'"scope": "([a-z-]+)"', everything)) == {*Scope}
    assert set(re.findall(r"the command failed \(([A-Za-z]+)\)", everything)) >= {"KeyboardInterrupt", "LookupError"}
    assert "INCOMPLETE" in everything
    assert "scanned, 0.0 MiB" in everything


@pytest.mark.full
def test_the_scenarios_are_of_every_check(cells: Cells) -> None:
    """No check, and no rule of a scan, is left out of the suite."""
    everything = "".join(written(cells, scenario, each.action) for scenario, each in SCENARIOS.items())
    everything += "".join(written(cells, scenario, "write_everything") for scenario in SCENARIOS)
    fired = set(re.findall(r"(?:ALERT|WARNING): (?:\S+: )?([a-z-]+):", everything))
    fired |= set(re.findall(r"check=<Check\.[A-Z_]+: '([a-z-]+)'>", everything))
    assert fired == {str(each) for each in (*Check, *Rule)}
