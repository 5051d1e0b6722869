# ruff: noqa: INP001 - a script, not a package
"""A filter of Cosmic Ray's: skips the mutants of code that is never executed, and those that are no Python.

Usage: python .ci/mutation/skip_what_never_runs.py SESSION
"""

from __future__ import annotations

import ast
import sys
import warnings
from typing import TYPE_CHECKING, Any

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.tools.filters.filter_app import FilterApp
from cosmic_ray.work_item import WorkerOutcome, WorkResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    Span = tuple[tuple[int, int], tuple[int, int]]


def never_executed(node: ast.AST) -> Iterator[ast.AST]:
    """Return what of a node is for type checkers alone: annotations, overloads, what TYPE_CHECKING guards."""
    match node:
        case ast.AnnAssign(annotation=ast.Subscript(value=ast.Name(id="Annotated"))):
            return  # a declared secret: pydantic does
        case ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation):
            yield annotation
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            yield node
        case ast.FunctionDef(decorator_list=[ast.Name(id="overload") as first, *_]):
            yield from (first, node)
        case ast.FunctionDef(returns=ast.expr() as returns):
            yield returns


def spans(source: str) -> list[Span]:
    """Return from where to where the code of a module is never executed, each as line and column."""
    found = [each for node in ast.walk(ast.parse(source)) for each in never_executed(node)]
    return [((each.lineno, each.col_offset - 1), (each.end_lineno, each.end_col_offset)) for each in found]  # type: ignore[attr-defined]


def compiles(source: str) -> bool:
    """Whether source is Python."""
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


class SkipWhatNeverRuns(FilterApp):  # type: ignore[misc]
    """Marks such mutants as skipped in a session that was not executed yet."""

    def description(self) -> str | None:
        """Return the help text."""
        return __doc__

    def filter(self, work_db: Any, _args: object) -> None:
        """Go through a session."""
        for item in work_db.pending_work_items:
            (mutation,) = item.mutations
            source = mutation.module_path.read_text(encoding="utf-8")
            mutant = mutate_code(source, get_operator(mutation.operator_name)(), mutation.occurrence)
            if any(start <= mutation.start_pos < end for start, end in spans(source)) or not compiles(mutant):
                work_db.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED, output="never runs"))


if __name__ == "__main__":
    warnings.simplefilter("ignore", SyntaxWarning)  # a mutant's
    sys.exit(SkipWhatNeverRuns().main())
