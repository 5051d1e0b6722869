# ruff: noqa: INP001, T201 - a program, not a package
"""Mutation testing: `.ci/mutation.py MODULE... [--tests PATH...] [--every N]` with Cosmic Ray's operators (POSIX).

Each mutant of a module runs the module's own tests, then those of its neighbours, until one fails. It runs in a forked
process that already has the imports of the tests. The source files do not change: only that process loads the mutant.
A mutant that passes all tests is printed as a diff.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import importlib.abc
import importlib.util
import os
import re
import signal
import sys
import time
import warnings
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "robodj_secretguard"
# An arithmetic operator has one replacement. A comparison has its negation and the other side of its boundary.
OPERATORS: Final = re.compile(
    r"core/(?!ReplaceBinaryOperator|ReplaceComparisonOperator|.*Variable)"
    r"|.*_(Add_Sub|Sub_Add|Mul_FloorDiv|FloorDiv_Mul|Mod_Mul|BitAnd_BitOr|BitOr_BitAnd"
    r"|Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt|Is_IsNot|IsNot_Is)$"
)
WARM: Final = (
    "hypothesis",
    "pydantic_settings",
    "structlog",
    "pytest_django.plugin",
    "xdist.plugin",
    "cryptography.fernet",
)


# Tests of what the modules of a folder do together.
TOGETHER: Final = {
    "lifecycle": ("revoke", "rotate"),
    "managers": ("delivery", "json_object"),
    "startup": ("adoption", "fixes", "optional", "vendor"),
}


class TypeCheckingRemover(ast.NodeTransformer):
    """Remove code that only type checkers use."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop the blocks under TYPE_CHECKING."""
        return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        """Drop overloads and the annotation of the result."""
        node.returns = None
        return None if "overload" in map(ast.unparse, node.decorator_list) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drop an argument's annotation."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Drop an annotation, except one that declares a secret: pydantic executes it."""
        if not ast.unparse(node.annotation).startswith("Annotated"):
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def normalized(source: str) -> str:
    """Return a text that is equal for sources with the same behaviour."""
    try:
        return ast.dump(TypeCheckingRemover().visit(ast.parse(source)))
    except SyntaxError:
        return ""


def mutants(source: str) -> Iterator[str]:
    """Yield every valid mutant of a source that changes what runs."""
    seen = {normalized(source), ""}
    for operator in sorted(filter(OPERATORS.match, operator_names())):
        for occurrence in count():
            try:
                mutant = mutate_code(source, get_operator(operator)(), occurrence)
            except AttributeError:  # ExceptionReplacer cannot mutate `except (one.Error, other.Error)`
                break
            if mutant is None:
                break
            if (code := normalized(mutant)) not in seen:
                seen.add(code)
                yield mutant


class Loader(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    """Load one module from other source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Return a spec for that module alone."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_source(self, _fullname: str) -> str:
        """Return the source."""
        return self._source

    def get_code(self, _fullname: str) -> CodeType:
        """Return the code, with the file's name."""
        return compile(self._source, self._path, "exec", dont_inherit=True)


def start(name: str, path: Path, source: str, tests: Sequence[str], seconds: int) -> int:
    """Fork a process that runs tests on a mutant, and return its id."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    signal.alarm(seconds)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    status = 1
    try:
        sys.meta_path.insert(0, Loader(name, path, source))
        status = int(pytest.main(["-x", "-q", "-n0", "--assert=plain", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(status)


def end() -> tuple[int, bool]:
    """Wait for a process, and return its id and whether its tests failed."""
    process, status = os.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)  # processes that it left
    return process, status != 0


def tests_of(path: Path) -> list[str]:
    """Return the tests of a module, then those of its neighbours."""
    names = [path.stem, *sorted(each.stem for each in path.parent.glob("*.py")), *TOGETHER.get(path.parent.name, ())]
    found = [test for name in names for test in Path("tests").rglob(f"test_{name}.py")]
    return [*map(str, dict.fromkeys(found))]


def examine(path: Path, tests: Sequence[str], workers: int, every: int) -> tuple[int, int]:
    """Run the mutants of a module, print the survivors, and return the number of killed mutants and of all."""
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    source, running, killed, survivors = path.read_text(encoding="utf-8"), dict[int, str](), 0, list[str]()
    begun = time.monotonic()
    start(name, path, source, tests, 600)
    if end()[1]:
        sys.exit(f"{name}: its tests fail without a mutant")
    seconds = int(10 + 10 * (time.monotonic() - begun))
    for mutant in (*islice(mutants(source), 0, None, every), *[None] * workers):
        while len(running) >= workers or (running and mutant is None):
            process, failed = end()
            text = running.pop(process)
            killed += failed
            survivors += [] if failed else [text]
        if mutant is not None:
            running[start(name, path, mutant, tests, seconds)] = mutant
    for survivor in survivors:
        print(*difflib.unified_diff(source.splitlines(), survivor.splitlines(), name, n=1, lineterm=""), sep="\n")
    print(f"{name}: {killed} of {killed + len(survivors)}", flush=True)
    return killed, killed + len(survivors)


def main() -> int:
    """Run the mutants of modules, and print the score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="for instance checks, or scan.git")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="tests to run instead")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at once (%(default)s)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="run every Nth mutant (%(default)s)")
    given = parser.parse_args()
    os.chdir(ROOT)
    warnings.simplefilter("ignore", SyntaxWarning)  # a mutant's
    for each in WARM:
        importlib.import_module(each)
    scores = []
    for module in given.modules:
        path = ROOT / "src" / PACKAGE / f"{module.replace('.', '/')}.py"
        scores.append(examine(path, given.tests or tests_of(path), given.workers, given.every))
    killed, total = map(sum, zip(*scores, strict=True))
    print(f"killed {killed} of {total}: {killed / max(total, 1):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
