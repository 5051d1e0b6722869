"""Measure the source tree, and check its limits: `python tests/house.py [SRC] [--against SRC] [--check]`."""

from __future__ import annotations

import argparse
import ast
import builtins
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

PACKAGE: Final = "robodj_secretguard"
COMMON_BASE: Final = "SecretGuardError"
# The present numbers. Lower a limit after a reduction; raise one only on purpose.
LIMITS: Final = {
    "modules of a start": 15,
    "statements of a start": 2075,
    "statements": 9540,
    "lines": 18340,
    "record types": 47,
    "exceptions without the common base": 0,
    "file names used twice": 0,
    "import cycles": 0,
    "modules outside the layout": 0,
}
_START: Final = f"import sys; sys.path.insert(0, sys.argv[1]); import {PACKAGE}; print(*sys.modules)"
_LAYOUT: Final = re.compile(rf"^```\w*\n({PACKAGE}/\n.*?)^```$", re.MULTILINE | re.DOTALL)
_EXCEPTIONS: Final = {name for name in vars(builtins) if name.endswith(("Error", "Exception"))}


def imports_of(tree: ast.Module, modules: AbstractSet[str]) -> Iterator[str]:
    """Yield the modules of the tree that a module imports by full name, also in functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {each.name for each in node.names} & modules
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{each.name}" for each in node.names)
            yield from {name if name in modules else node.module for name in names} & modules


def layout_of(page: Path) -> list[str]:
    """Return the modules that the architecture page lists, and their packages."""
    block = _LAYOUT.search(page.read_text(encoding="utf-8")) if page.exists() else None
    order, packages = list[str](), list[str]()
    for line in block[1].splitlines() if block else ():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        order += [".".join(packages[:level]) for level in range(len(packages), depth, -1)]
        packages = packages[:depth]
        found = packages if name.endswith("/") else order
        found.append(name[:-1] if name.endswith("/") else ".".join([*packages, name.removesuffix(".py")]))
    return [*dict.fromkeys([*order, PACKAGE, f"{PACKAGE}.__main__"])] if order else []


def cycles_of(edges: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Return the import cycles. Each one is broken before the search for the next one."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle = error.args[1]
        return [" <- ".join(cycle), *cycles_of({**edges, cycle[1]: edges[cycle[1]] - {cycle[0]}})]
    return []


def packages_of(edges: Mapping[str, AbstractSet[str]]) -> dict[str, set[str]]:
    """Return the subpackages that each subpackage imports modules of."""
    within = {name: name.split(".")[1] for name in edges if name.count(".") > 1}
    pairs = {(within[one], within[other]) for one in within for other in edges[one] if other in within}
    return {one: {other for each, other in pairs if each == one != other} for one in within.values()}


def names_of(nodes: Sequence[ast.expr]) -> set[str]:
    """Return the last part of the name of each base or decorator."""
    return {re.split(r"[\[(]", ast.unparse(each))[0].rpartition(".")[2] for each in nodes}


def is_a(node: ast.ClassDef, names: AbstractSet[str], classes: Mapping[str, ast.ClassDef]) -> bool:
    """Check whether a class, or one of its bases, has one of these names."""
    bases = names_of(node.bases) - {node.name}
    return bool({node.name, *bases} & names) or any(is_a(classes[base], names, classes) for base in bases & {*classes})


def measured(source: Path) -> dict[str, list[str] | int]:
    """Return each number of a source tree, or the list of the counted items."""
    names = {path: ".".join(path.relative_to(source).with_suffix("").parts) for path in sorted(source.rglob("*.py"))}
    paths = {name.removesuffix(".__init__"): path for path, name in names.items()}
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    coverage = Coverage(config_file=str(source.parent / "pyproject.toml"), data_file=None)
    statements = {name: len(coverage.analysis2(str(path))[1]) for name, path in paths.items()}
    done = subprocess.run([sys.executable, "-c", _START, str(source)], capture_output=True, text=True, check=True)
    started = [name for name in done.stdout.split() if statements.get(name)]
    nodes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    classes = {node.name: node for node in nodes}
    bases = {node.name for node in nodes if "dataclass_transform" in names_of(node.decorator_list)}
    # No TypedDict: it describes a JSON document.
    by_base = [node for node in nodes if is_a(node, bases | {"NamedTuple"}, classes) and node.name not in bases]
    records = [each for each in nodes if each in by_base or "dataclass" in names_of(each.decorator_list)]
    errors = [each for each in nodes if is_a(each, _EXCEPTIONS, classes)]
    files = Counter(path.name for path in paths.values() if not path.name.startswith("__"))
    edges = {name: {*imports_of(tree, paths.keys())} - {name} for name, tree in trees.items()}
    listed = layout_of(source.parent / "docs" / "architecture.md")
    return {
        "modules of a start": started,
        "statements of a start": sum(statements[name] for name in started),
        "statements": sum(statements.values()),
        "lines": sum(text.count("\n") for text in texts.values()),
        "record types": [each.name for each in records],
        "exceptions": [each.name for each in errors],
        "exceptions without the common base": [e.name for e in errors if not is_a(e, {COMMON_BASE}, classes)],
        "file names used twice": [name for name, count in files.items() if count > 1],
        "import cycles": cycles_of(edges) + cycles_of(packages_of(edges)),
        "modules outside the layout": [name for name in paths if listed and name not in listed],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the numbers. Return 1 if `--check` is given and a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    default = Path(__file__).resolve().parent.parent / "src"
    parser.add_argument("source", nargs="?", type=Path, default=default, metavar="SRC", help="the tree (%(default)s)")
    parser.add_argument("--against", type=Path, metavar="SRC", help="an earlier tree, whose numbers are printed first")
    parser.add_argument("--check", action="store_true", help="list what exceeds a limit, and exit with status 1")
    given = parser.parse_args(argv)
    trees = [measured(each.resolve()) for each in (given.against, given.source) if each]
    broken = False
    for what, last in trees[-1].items():
        numbers = [value if isinstance(value, int) else len(value) for value in (tree[what] for tree in trees)]
        is_over = numbers[-1] > LIMITS.get(what, sys.maxsize)
        broken |= is_over
        limit = f"at most {LIMITS[what]}{': BROKEN' if is_over else ''}" if what in LIMITS else ""
        listed = last if given.check and is_over and isinstance(last, list) else []
        columns = [f"{what:<36}", *(f"{number:>8,}" for number in numbers), f"  {limit}"]
        print("\n    ".join([" ".join(columns).rstrip(), *listed]))  # noqa: T201 - it is a program
    if broken:
        print("if this is intended, raise LIMITS in tests/house.py in the same commit")  # noqa: T201
    return int(given.check and broken)


if __name__ == "__main__":
    sys.exit(main())
