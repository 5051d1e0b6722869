"""Write the table of docs/hosts.md from the results of a run: `python tests/trials/hosts/table.py RESULTS`."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from matrix import HOSTS, End

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix import Host
    from running import Seen

PAGE = Path(__file__).parents[3] / "docs" / "hosts.md"
BEGIN = "<!-- tests/trials/hosts/table.py writes this table from the results of a run. -->\n"
END = "<!-- End of the table. -->\n"
HEAD = """\
| the host, with the guard alone | hosts, and where the guard is if not at import |
|---|---|
"""


class Run(enum.StrEnum):
    """The three runs of a host."""

    ALONE = enum.auto()
    EXEC = enum.auto()
    GOOD = enum.auto()


Results = dict[tuple[str, str], dict[str, Any]]
"""The results, by the name of the row and the run."""


def add(path: str, host: Host, run: Run, seen: Seen, versions: Mapping[str, str]) -> None:
    """Add a result to a file."""
    line = {"host": str(host), "run": run, "versions": dict(versions)} | dataclasses.asdict(seen)
    with open(path, "a", encoding="utf-8") as results:
        results.write(json.dumps(line) + "\n")


def read(path: Path) -> Results:
    """Read the results in a file. Of several results of one run, the last one counts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {(result["host"], result["run"]): result for result in map(json.loads, lines)}


def render(results: Results) -> str:
    """Return the table, with the totals above it.

    Raises:
        LookupError: the results of a run of a host are missing.
    """
    missing = [f"{host}: {run}" for host in HOSTS for run in Run if (str(host), run) not in results]
    if missing:
        msg = f"not run: {', '.join(missing)}"
        raise LookupError(msg)
    alone, behind = ([results[str(host), run] for host in HOSTS] for run in (Run.ALONE, Run.EXEC))
    pythons = sorted({result["versions"]["CPython"] for result in results.values()})
    counts = "".join(
        f"- {what}: {count(alone)} with the guard alone, {count(behind)} behind `exec`\n" for what, count in SUMS
    )
    groups = defaultdict[str, list[str]](list)
    for host in HOSTS:
        groups[_outcome(*(results[str(host), run] for run in Run))].append(label(host))
    rows = "".join(f"| {outcome} | {'; '.join(labels)} |\n" for outcome, labels in groups.items())
    return f"{len(HOSTS)} hosts, on CPython {', '.join(pythons)}:\n\n{counts}\n{HEAD}{rows}"


def _worked(results: list[dict[str, Any]]) -> int:
    return sum(each["worked"] for each in results)


def _starting_again(results: list[dict[str, Any]]) -> int:
    return sum(each["end"] == End.STARTS_AGAIN for each in results)


def _telling(results: list[dict[str, Any]]) -> int:
    return sum(bool(each["status"]) for each in results)


SUMS: Final = (
    ("refused services that answered a request with success or did their work", _worked),
    ("hosts that started a refused service again forever", _starting_again),
    ("hosts that ended with a status other than 0", _telling),
)


def label(host: Host) -> str:
    """Return the name of a host, with the place of the guard if it is not at import."""
    return host.name if host.guard == "at import" else f"{host.name} ({host.guard})"


def _outcome(alone: dict[str, Any], behind: dict[str, Any], good: dict[str, Any]) -> str:
    """Return how the host ended, and what is not as in the sentence above the table."""
    exceptions = (
        (not alone["alert"], "**no ALERT is visible**"),
        (alone["port_open"], "its port is **open**"),
        (alone["worked"], "**it serves**"),
        (behind["boots"] or _end(behind) != "ends, 3", f"behind `exec` {_end(behind)}, boots: {behind['boots']}"),
        (not good["worked"], "**good keys fail**"),
    )
    return "; ".join([_end(alone), *(text for is_so, text in exceptions if is_so)])


def _end(result: dict[str, Any]) -> str:
    if result["end"] != End.ENDS:
        return f"**{result['end']}**"
    return f"ends, {result['status'] or '**0**'}"


def shown() -> list[str]:
    """Return the labels of the hosts in the page."""
    rows = _parts()[1].split(HEAD)[1].splitlines()
    return [each for row in rows if row for each in row.removesuffix(" |").split(" | ")[1].split("; ")]


def _parts() -> tuple[str, str, str]:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    made, after = rest.split(END)
    return before, made, after


def main(path: str) -> None:
    """Write the table of a run to the page."""
    before, _, after = _parts()
    PAGE.write_text(f"{before}{BEGIN}\n{render(read(Path(path)))}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
