"""Templates of public projects: their values in example files, with what each is declared as.

`dev` was read while the rule was written. `held` was collected and judged by others: the figures count for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from robodj_secretguard import Kind, Material

KINDS: Final[dict[str, Kind]] = {
    "key": Material.key(),
    "opaque": Material.opaque(),
    "connection": Material.opaque(),
    "url": Material.url(),
    "pem": Material.pem(),
    "json": Material.json(),
}
LINES = Path(__file__).with_name("templates.tsv").read_text(encoding="utf-8").splitlines()
ROWS = [line.split("\t") for line in LINES if not line.startswith("#")]


def refused(rows: list[list[str]]) -> float:
    """Return how many of some templates are refused, in percent."""
    found = [KINDS[kind].fault(json.loads(value), variable) for _, kind, _, _, variable, value, _ in rows]
    return 100 * sum(fault is not None for fault in found) / len(found)


@pytest.mark.parametrize(("name", "of_all", "of_clear"), [("dev", 96, 99), ("held", 95, 98)])
def test_templates_are_refused(name: str, of_all: int, of_clear: int) -> None:
    """Nearly every template is refused, and nearly each that says that it is one."""
    rows = [row for row in ROWS if row[0] == name]
    assert len(rows) > 350
    assert refused(rows) >= of_all
    assert refused([row for row in rows if row[2] == "yes"]) >= of_clear
    assert refused([row for row in rows if row[1] == "key"]) >= 98
