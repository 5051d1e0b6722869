"""`store check`: what a store does with a field of its own, and what a helper program does wrong."""

from __future__ import annotations

from robodj_secretguard.cli.options import Commands, Request, add_command, add_group
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_UNAVAILABLE, MODEL, Result, fail
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.secret.texts import RED, count, mark
from robodj_secretguard.startup.rules import Problem


def add(commands: Commands) -> None:
    """Add the command."""
    group = add_group(commands, "store", "Check whether a store of keys works", {"check": "before the first rotation"})
    add_command(
        group,
        "check",
        _check_store,
        required=("--to",),
        options=("--single-writer", "--model", "--format"),
        own={
            "--show-errors": "let the errors of a helper program through to the terminal; they may have keys",
        },
        kind="store-check",
        description="Check whether a store works. It writes, reads and removes a field of its own, tries a write from"
        " an old version, and says what a helper program does wrong. The store must have no declared variable.",
        examples=("store check --to exec:/opt/robodj/keys",),
        statuses={
            "0": "the store works",
            "1": "it has a fault, or refused",
            "2": "usage error, or the store has declared variables",
            "75": "the store did not answer in time",
        },
    )


def _check_store(request: Request, *, to: str, single_writer: bool, show_errors: bool) -> Result:
    from robodj_secretguard.managers.conformance import ALL_STEPS_LIMIT, STEP_LIMIT, declared_in, faults_of  # noqa: PLC0415
    from robodj_secretguard.managers.manager import open_store  # noqa: PLC0415 - the help does not need them

    policies = request.policies
    store = open_store(to, policies, single_writer=single_writer)
    store.show_errors = show_errors
    status = EXIT_CLEAN
    faults: list[Problem] = []
    try:
        if declared := store.within(STEP_LIMIT, lambda: declared_in(store, policies)):
            fail(f"--to: the store has {declared}; check a store that has no keys yet, of the same kind")
        faults = store.within(ALL_STEPS_LIMIT, lambda: faults_of(store))
    except ManagerError as error:
        faults = [Problem(error.message, error.remedy)]
        status = EXIT_UNAVAILABLE if error.is_temporary else EXIT_ALERTS
    lines = [
        line
        for fault in faults
        for line in (mark(f"FAULT: {store.name} {fault.message}", RED), f"  fix: {fault.remedy}")
    ]
    last = f"Store check FAILED: {count(len(faults), 'fault')}." if faults else "Store check passed."
    document = {
        "kind": "store-check",
        "store": store.name,
        "faults": [{"message": fault.message, "remedy": fault.remedy} for fault in faults],
    }
    if faults and not status:
        status = EXIT_ALERTS
    return Result(status, [*lines, MODEL, last], lambda: document)
