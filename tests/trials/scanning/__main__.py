"""Compare how many planted keys scanners find, how fast, and in how much memory: `python tests/trials/scanning`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

_TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:1] = [_TESTS, os.path.join(_TESTS, "benchmarks")]

from machine import describe  # noqa: E402 - these modules are not in this directory

from scanning import contents, tools  # noqa: E402
from scanning.history import Kept, plant_history  # noqa: E402
from scanning.plants import Place, new_keys, plant_files  # noqa: E402
from scanning.real import real_files  # noqa: E402
from scanning.tools import DETECT_SECRETS, GITLEAKS, OURS, RIPGREP, Bench, Run, Spot, spots  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MIB = 1 << 20
PARTS = ("recall", "speed", "memory", "history")
NOT_INSTALLED = "not installed"
MOST_FOR_ONE_FILE = 120
"""The time limit of a scan of one file, in seconds."""


def show(*lines: str) -> None:
    """Print lines, and flush them."""
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    columns = head.split(" | ")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)) + "\n"


def installed(*wanted: str) -> list[str]:
    """Return the tools that are installed."""
    absent = tools.missing()
    return [each for each in wanted if each not in absent]


def is_found(place: Place, found: set[Spot]) -> bool:
    """Check whether a spot is in the file and the lines of a planted key."""
    if place.where == "name":
        return Spot(place.path) in found
    lines = range(place.line or 1, (place.last_line or 1) + 1)
    return any(Spot(place.path, line) in found for line in lines)


def is_kept_found(kept: Kept, found: set[Spot]) -> bool:
    """Check whether a spot is the object, or a commit and path that carry it."""
    if any(each.object == kept.object for each in found):
        return True
    return any((each.commit, each.path) in kept.carriers for each in found if each.object is None)


def _shares(planted: dict[str, str], found: dict[str, set[str]], columns: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield a row for each group: the number of planted keys, and how many each tool found."""
    of_group = defaultdict(list)
    for name, group in planted.items():
        of_group[group].append(name)
    for group, names in [*of_group.items(), ("**all**", list(planted))]:
        cells = [str(len(found[each] & set(names))) if each in found else NOT_INSTALLED for each in columns]
        yield (group, str(len(names)), *cells)


def recall(work: Path) -> None:
    """Compare the findings in files with planted keys, and in real files without keys."""
    keys = new_keys()
    bench = Bench(work / "bench", keys)
    planted, history, real = work / "planted", work / "repository", work / "real"
    places, kept = plant_files(planted, keys), plant_history(history, keys)
    copied = 0
    for path, name in real_files():
        if os.path.getsize(path) <= tools.MOST_FOR_DETECT_SECRETS:
            copy = real / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            copied += 1
    columns = (*OURS, GITLEAKS, DETECT_SECRETS)
    in_files, in_history, alarms = {}, {}, {}
    with ThreadPoolExecutor(2) as pool:
        runs = {
            (tool, where): pool.submit(bench.run, tool, where)
            for where in (real, planted)
            for tool in installed(DETECT_SECRETS, *OURS, GITLEAKS)
        }
    for tool, where in [each for each, future in runs.items() if future.result().status < 0]:
        show(f"**{tool} timed out** after {tools.LIMIT} s on the {where.name} files: its column is incomplete.\n")
    for (tool, where), future in runs.items():
        if where == planted:
            found = set(spots(tool, future.result(), planted))
            in_files[tool] = {name for name, place in places.items() if is_found(place, found)}
        else:
            alarms[tool] = spots(tool, future.result(), real)
    for tool in installed(*OURS, GITLEAKS):
        found = set(spots(tool, bench.run(tool, history, history=True), history))
        in_history[tool] = {name for name, each in kept.items() if is_kept_found(each, found)}
    show("### Planted keys in files, and how many are found\n")
    head = f"place or encoding | planted | {' | '.join(columns)}"
    show(table(head, _shares({name: each.group for name, each in places.items()}, in_files, columns)))
    show("### Planted keys in a git repository, and how many are found\n")
    head = f"place | planted | {' | '.join(columns[:3])}"
    show(table(head, _shares({name: each.group for name, each in kept.items()}, in_history, columns[:3])))
    show("detect-secrets does not scan history. It did not get files over 256 KiB, which take it minutes.\n")
    show(f"### Findings in {copied:,} real files without keys\n")
    rows = []
    for tool in columns:
        if tool in alarms:
            files = Counter(each.path for each in alarms[tool])
            rows.append((tool, str(len(alarms[tool])), str(len(files))))
        else:
            rows.append((tool, NOT_INSTALLED, ""))
    show(table("tool | findings | in files", rows))


def _figures(runs: Sequence[Run], size: int) -> tuple[str, ...]:
    """Return the table cells for the runs of a tool."""
    seconds = statistics.median(each.seconds for each in runs)
    ends = f"{min(each.seconds for each in runs):.1f} to {max(each.seconds for each in runs):.1f}"
    cpu_seconds = statistics.median(each.cpu_seconds for each in runs)
    timed_out = " (timed out)" if any(each.status < 0 for each in runs) else ""
    return (
        f"{seconds:.1f}{timed_out}",
        ends,
        f"{cpu_seconds:.1f}",
        f"{size / MIB / seconds:.0f}",
        f"{max(each.mib for each in runs):.0f}",
    )


def _interleaved(
    bench: Bench, names: Sequence[str], directory: Path, rounds: int, *, history: bool = False
) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in random.sample(names, k=len(names)):
            runs[name].append(bench.run(name, directory, history=history))
    return runs


def speed(work: Path, size: int, rounds: int) -> None:
    """Measure the throughput on a mixture of files."""
    bench, root = Bench(work / "bench", new_keys()), work / "mixed"
    made = contents.mix(root, size)
    contents.read_all(root)
    runs = _interleaved(bench, installed(*OURS, GITLEAKS, RIPGREP), root, rounds)
    show(f"### {size // MIB:,} MiB of mixed files, rounds: {rounds}\n")
    show(table("files | number | MiB", ((kind, str(n), f"{of / MIB:.0f}") for kind, (n, of) in made.items())))
    rows = [(name, *_figures(each, size)) for name, each in runs.items()]
    rows += [(name, NOT_INSTALLED, *[""] * 4) for name in (GITLEAKS, RIPGREP) if name not in runs]
    show(table("tool | median, s | from, to, s | CPU, s | MiB/s | most memory, MiB", rows))


def memory(work: Path, sizes: Sequence[int]) -> None:
    """Measure the memory for one file, with several sizes."""
    bench = Bench(work / "bench", new_keys())
    rows = []
    names = installed(*OURS, GITLEAKS, RIPGREP)
    for size in sizes:
        directory = work / "single"
        contents.single(directory / "file.txt", size)
        contents.read_all(directory)
        runs = [bench.run(name, directory, limit=MOST_FOR_ONE_FILE) for name in names]
        timed_out = [" (timed out)" if each.status < 0 else "" for each in runs]
        figures = [f"{each.mib:.0f} MiB, {each.seconds:.1f} s" for each in runs]
        rows.append((f"{size // MIB:,} MiB", *map("".join, zip(figures, timed_out, strict=True))))
        shutil.rmtree(directory)
    show("### One file of real text and code: the most memory, and the time\n")
    show(table(f"file | {' | '.join(names)}", rows))


def history(work: Path, objects: int, rounds: int) -> None:
    """Measure the scan of a repository."""
    bench, root = Bench(work / "bench", new_keys()), work / "repository"
    count = contents.repository(root, objects)
    contents.read_all(root)
    names = installed(*OURS, GITLEAKS)
    runs = _interleaved(bench, names, root, rounds, history=True)
    show(f"### A repository of {count:,} objects with all of its history, rounds: {rounds}\n")
    rows = []
    for name, each in runs.items():
        seconds, ends, cpu_seconds, _, mib = _figures(each, 0)
        rows.append((name, seconds, ends, cpu_seconds, mib))
    show(table("tool | median, s | from, to, s | CPU, s | most memory, MiB", rows))


def main() -> int:
    """Compare and measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python tests/trials/scanning", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="how often each run is timed")
    parser.add_argument("--smoke", action="store_true", help="test each part with little data")
    options = parser.parse_args()
    show(*(f"- {what}: {text}" for what, text in describe().items()), f"- tools: {tools.versions()}")
    for tool in tools.missing():
        show(f"- **{tool} is not installed**, and was skipped")
    show("")
    if options.smoke:
        show("**A smoke run: these figures are not measurements.**\n")
    rounds, sizes = (1, [MIB, 4 * MIB]) if options.smoke else (options.rounds, [16 * MIB, 256 * MIB, 1024 * MIB])
    parts: dict[str, Callable[[Path], None]] = {
        "recall": recall,
        "speed": lambda work: speed(work, 16 * MIB if options.smoke else 1024 * MIB, rounds),
        "memory": lambda work: memory(work, sizes),
        "history": lambda work: history(work, 400 if options.smoke else 50_000, rounds),
    }
    for part in options.part or PARTS:
        with tempfile.TemporaryDirectory() as directory:
            work = Path(directory).resolve()
            (work / "bench").mkdir()
            parts[part](work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
