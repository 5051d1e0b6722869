"""No reporter of another project shows a key. The scenarios are those of `tests/no_leak`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cells import FEW, Cells, shown
from detector import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "win32":
    pytest.skip("the process of a cell is forked", allow_module_level=True)

from reporters import ADVISED_REPORTERS, REPORTERS
from scenarios import SCENARIOS, Scenario, good


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    """Start the process that forks for each cell."""
    made = Cells(tmp_path_factory.mktemp("cells"), Path(__file__).with_name("reporter_cell.py"))
    yield made
    made.stop()


@pytest.mark.parametrize("reporter", REPORTERS)
@pytest.mark.parametrize(
    "scenario", [each if each in FEW else pytest.param(each, marks=pytest.mark.full) for each in SCENARIOS]
)
def test_no_key_is_shown(cells: Cells, scenario: str, reporter: str) -> None:
    """No reporter shows six characters of a key in any form."""
    assert shown(cells, reporter, SCENARIOS[scenario]) == []


@pytest.mark.parametrize("reporter", REPORTERS)
def test_a_guard_that_leaks_is_caught(cells: Cells, reporter: str) -> None:
    """Each reporter shows the key of a guard that leaks where it looks."""
    planted = good()
    assert leaks(cells.run(reporter, REPORTERS[reporter][1], planted).out, planted.secret) != []


@pytest.mark.parametrize("reporter", ADVISED_REPORTERS)
def test_the_advice_for_hosts(cells: Cells, reporter: str) -> None:
    """A reporter that is set up as SECURITY.md says reports, and does not show a key that its frames hold."""
    assert "a constant" in cells.run(reporter, ADVISED_REPORTERS[reporter][1], good()).out
    assert shown(cells, reporter, Scenario(good, ADVISED_REPORTERS[reporter][1])) == []
