"""A service whose issued secrets are broken as it really happens does not start, and shows nothing of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from conftest import Ran, clean_environment
from detector import leaks
from forks import Forks
from issued_faults import FAULTS, Made

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.full, pytest.mark.skipif(sys.platform == "win32", reason="each start is a fork")]
HERE: Final = Path(__file__).parent
ALL_FAULTS: Final = [(variable, fault) for variable, faults in FAULTS.items() for fault in faults]
COMMANDS: Final = [["check", "--format", "json"], ["status"]]
SHORT: Final = 4
"""How many letters of a host, a user or a database are a leak. They are random."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """The process that forks for each start."""
    path = f"{HERE}{os.pathsep}{HERE.parents[1]}"
    forks = Forks(HERE / "issued_start.py", clean_environment() | {"PYTHONPATH": path})
    yield forks
    forks.stop()


@pytest.fixture(scope="module")
def sets() -> tuple[Made, Made]:
    """Two sets of values with the same lengths."""
    return Made(), Made()


def start(forks: Forks, values: Mapping[str, str], cwd: Path, what: object = None) -> Ran:
    """Start the guard in a new process."""
    return forks.run(cwd, {"PATH": os.defpath, "SENTRY_RELEASE": "1", "COLUMNS": "200", **values}, what)


def shown(text: str, made: Made) -> list[str]:
    """Return the parts of values, hosts, users and databases that a text has."""
    folded = text.casefold()
    parts = {word[at : at + SHORT] for word in made.names() for at in range(len(word) - SHORT + 1)}
    return sorted(each for each in parts if each in folded) + leaks(text, made.secret())


@pytest.mark.parametrize(("variable", "fault"), ALL_FAULTS)
def test_a_broken_value_is_refused_and_not_shown(
    variable: str, fault: str, forks: Forks, sets: tuple[Made, Made], tmp_path: Path
) -> None:
    """The service does not start, and one alert names the variable. Other values give the same text.

    No line, event, document, error or frame shows a part of a value, a host, a user or a database.
    """
    values, others = (made.broken(variable, fault) for made in sets)
    ran = start(forks, values, tmp_path)
    assert ran.status == 3
    assert len(ran.alerts) == 1
    assert variable in ran.alerts[0]
    assert ran == start(forks, others, tmp_path)
    if values[variable] != others[variable]:  # it has a part of a right value
        ran = start(forks, values, tmp_path, COMMANDS)
        assert ran.status == 0
        assert shown(ran.out, sets[0]) == []


def test_no_channel_shows_a_part_of_right_values(forks: Forks, sets: tuple[Made, Made], tmp_path: Path) -> None:
    """No channel of a start that passes, and no scan that finds the values, shows a part of them."""
    values = sets[0].values()
    (tmp_path / "leaked").write_text("\n".join(values.values()), encoding="utf-8")
    commands = [["scan", ".", "--format", form] for form in ("text", "json")]
    commands += [["check"], ["status", "--format", "json"], *COMMANDS]
    ran = start(forks, values, tmp_path, commands)
    assert "leaked" in ran.out
    assert shown(ran.out, sets[0]) == []
