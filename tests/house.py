"""Measure the source tree, and check its limits: `python tests/house.py [--check]`.

Statements are those of the syntax tree, without docstrings. A start is a `guard()` that passes.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

Function = ast.FunctionDef | ast.AsyncFunctionDef

PACKAGE: Final = "robodj_secretguard"
ROOT: Final = Path(__file__).resolve().parent.parent
# The present figures. Lower a limit after a reduction; raise one only on purpose.
LIMITS: Final = {
    "statements": 13198,
    "statements of a start": 2000,
    "modules of a start": 14,
    "record shapes": 56,
    "names with two meanings": 0,
    "branches of the largest function": 14,
    "statements of tests / 100 of the source": 190,
    "exceptions without the common base": 0,
    "file names used twice": 0,
    "import cycles": 0,
    "modules outside the layout": 0,
}
COMMON_BASE: Final = "SecretGuardError"
TRIALS: Final = ROOT / "tests" / "trials"
"""Measurements and field trials. Their statements are not counted."""

_RECORDS: Final = frozenset({"BaseModel", "Frozen", "NamedTuple", "SimpleNamespace", "TypedDict", "dataclass"})
_START: Final = f"import sys; from {PACKAGE} import guard; guard(); print(*sys.modules)"
_LAYOUT: Final = re.compile(rf"^```\w*\n({PACKAGE}/\n.*?)^```$", re.MULTILINE | re.DOTALL)
_EXCEPTIONS: Final = frozenset(name for name in vars(builtins) if name.endswith(("Error", "Exception")))
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES: Final = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
_REPEATED_NAMES: Final = frozenset({"main", "add", "follow", "log_in", "ready", "FollowingAuth"})
"""Names that mean the same in every module of a command, or in every adapter of a driver."""


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def count_statements(tree: ast.Module) -> int:
    """Count the statements. A constant that stands alone is a docstring."""
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in statements)


def count_branches(function: Function) -> int:
    """Count the ways through a function, without the functions and classes in it."""
    count, nodes = 1, [*ast.iter_child_nodes(function)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(node, _BRANCHES):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += len(node.ifs)
        nodes += ast.iter_child_nodes(node)
    return count


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines at its top level, without the underscore of private ones."""
    for outer in tree.body:
        for node in outer.body if isinstance(outer, ast.If) else [outer]:
            if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                name = node.name
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                name = target.id if isinstance(target, ast.Name) else ""
            else:
                continue
            if name and not name.startswith("__"):
                yield name.lstrip("_")


def names_of(nodes: Sequence[ast.expr]) -> set[str]:
    """Return the last part of the name of each base or decorator."""
    return {re.split(r"[\[(]", ast.unparse(node))[0].rpartition(".")[2] for node in nodes}


def is_a(node: ast.ClassDef, names: AbstractSet[str], classes: Mapping[str, ast.ClassDef]) -> bool:
    """Check whether a class, or one of its bases, has one of these names."""
    bases = names_of(node.bases) - {node.name}
    return bool({node.name, *bases} & names) or any(is_a(classes[base], names, classes) for base in bases & {*classes})


def imports_of(tree: ast.Module, modules: AbstractSet[str]) -> Iterator[str]:
    """Yield the modules of the tree that a module imports by full name, also in functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from {name if name in modules else node.module for name in names} & modules


def packages_of(edges: Mapping[str, AbstractSet[str]]) -> dict[str, set[str]]:
    """Return the subpackages that each subpackage imports modules of."""
    within = {name: name.split(".")[1] for name in edges if name.count(".") > 1}
    pairs = {(within[one], within[other]) for one in within for other in edges[one] if other in within}
    return {one: {target for source, target in pairs if source == one != target} for one in within.values()}


def cycles_of(edges: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Return the import cycles. Each one is broken before the search for the next one."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle = error.args[1]
        return [" <- ".join(cycle), *cycles_of({**edges, cycle[1]: edges[cycle[1]] - {cycle[0]}})]
    return []


def layout_of(page: Path) -> set[str]:
    """Return the modules that the architecture page lists, and their packages."""
    block = _LAYOUT.search(page.read_text(encoding="utf-8"))
    listed, packages = {PACKAGE, f"{PACKAGE}.__main__"}, list[str]()
    for line in block[1].splitlines() if block else ():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        packages = packages[:depth]
        if name.endswith("/"):
            packages.append(name[:-1])
            listed.add(".".join(packages))
        else:
            listed |= {".".join([*packages, module]) for module in re.findall(r"(\w+)\.py\b", line)}
    return listed


def modules_of_a_start() -> list[str]:
    """Return the modules that a start with good keys has imported."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ROBODJ_")}
    environ |= {"ROBODJ_SECRET_KEY": secrets.token_urlsafe(32), "ROBODJ_SECRET_V2_KEY": secrets.token_hex(64)}
    environ["PYTHONPATH"] = str(ROOT / "src")
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-c", _START]
        done = subprocess.run(command, env=environ, cwd=empty, capture_output=True, text=True, check=True)
    return done.stdout.split()


def measure() -> dict[str, int | list[str]]:
    """Return each figure of the source tree, or the list of what is counted."""
    paths = sorted((ROOT / "src").rglob("*.py"))
    names = {path: ".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in paths}
    trees = {name.removesuffix(".__init__"): parse(path) for path, name in names.items()}
    statements = {name: count_statements(tree) for name, tree in trees.items()}
    started = [name for name in modules_of_a_start() if statements.get(name)]

    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    shapes = [node.name for node in nodes if isinstance(node, ast.ClassDef)
              and names_of([*node.bases, *node.decorator_list]) & _RECORDS]  # fmt: skip
    errors = [node for node in classes.values() if is_a(node, _EXCEPTIONS, classes)]
    branches = [count_branches(node) for node in nodes if isinstance(node, _FUNCTIONS)]
    meanings: dict[str, list[str]] = {}
    for module, tree in trees.items():
        for name in {*defined_names(tree)} - _REPEATED_NAMES:
            meanings.setdefault(name, []).append(module.removeprefix(f"{PACKAGE}."))
    files = Counter(path.name for path in paths if not path.name.startswith("__"))
    edges = {name: {*imports_of(tree, trees.keys())} - {name} for name, tree in trees.items()}

    tests = [path for path in (ROOT / "tests").rglob("*.py") if TRIALS not in path.parents]
    total = sum(statements.values())
    return {
        "statements": total,
        "statements of a start": sum(statements[name] for name in started),
        "modules of a start": started,
        "record shapes": shapes,
        "names with two meanings": [
            f"{name}: {', '.join(modules)}" for name, modules in meanings.items() if len(modules) > 1
        ],
        "branches of the largest function": max(branches),
        "statements of tests / 100 of the source": round(100 * sum(map(count_statements, map(parse, tests))) / total),
        "exceptions without the common base": [node.name for node in errors if not is_a(node, {COMMON_BASE}, classes)],
        "file names used twice": [name for name, count in files.items() if count > 1],
        "import cycles": cycles_of(edges) + cycles_of(packages_of(edges)),
        "modules outside the layout": sorted({*trees} - layout_of(ROOT / "docs" / "architecture.md")),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures. Return 1 if `--check` is given and a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--check", action="store_true", help="list what exceeds a limit, and exit with status 1")
    given = parser.parse_args(argv)
    exceeded = False
    for what, value in measure().items():
        figure = len(value) if isinstance(value, list) else value
        is_over = figure > LIMITS[what]
        exceeded |= is_over
        lines = [f"{what:<40} {figure:>6,}  at most {LIMITS[what]:,}{': EXCEEDED' if is_over else ''}"]
        lines += value if given.check and is_over and isinstance(value, list) else []
        print("\n    ".join(lines))  # noqa: T201 - it is a program
    if exceeded:
        print("if this is intended, raise LIMITS in tests/house.py in the same commit")  # noqa: T201
    return int(given.check and exceeded)


if __name__ == "__main__":
    sys.exit(main())
