"""What a store does with a field of its own, and what a helper program does wrong."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Final

from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.helper import CHANGED_MEANWHILE, Helper
from robodj_secretguard.managers.local import LocalStore
from robodj_secretguard.managers.manager import STORE_CHECK, Fields, Store, Stored, sealed
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.startup.rules import Problem, Problems

STEP_LIMIT: Final = 30.0
"""The time limit of each read and write."""
ALL_STEPS_LIMIT: Final = 20 * STEP_LIMIT
_CHECK_FIELDS: Final = (STORE_CHECK, f"{STORE_CHECK}_2")
_DIFFICULT: Final = "'\"\\n$HOME`%s\t#\u00e9\u4e16\n  -x=\\\n"
"""What a program changes that puts a value into a shell or into a line."""
_KEEP_ALL: Final = "let set put the object fields in place of everything, and let get print all of it"


def declared_in(store: Store, policies: Sequence[SecretPolicy]) -> str:
    """Return a declared variable that a store has; empty where it has none. It runs inside `contain()`."""
    fields = _found(store).opened()
    names = [name for policy in policies for name in policy.variables]
    return next((name for name in names if fields.get(name) is not None), "")


def faults_of(store: Store) -> list[Problem]:
    """Return what is wrong with a store that has no keys. It runs inside `contain()`.

    Raises:
        ManagerError: the store cannot be read, or did not answer.
    """
    store.seconds = STEP_LIMIT
    before = _found(store)
    faults: list[Problem] = []
    others = {
        name: value for name, value in before.opened().items() if name not in _CHECK_FIELDS
    }  # also of an ended check
    first = others | _samples(store)
    second = others | _samples(store)
    try:
        found = _after_write(store, first, before, faults)
        if not faults:
            again = _after_write(store, second, found, faults)
            faults += _judge_versions(store, first, found, again)
        if not faults:
            faults += _judge_comparison(store, first, before)
    finally:
        store.single_writer = True  # only for the fields that are there since a moment ago
        left = _after_write(store, others, _found(store), [])
    if STORE_CHECK in left.opened():
        faults.append(Problem("keeps a field that set was not given any more", _KEEP_ALL))
    if isinstance(store, Helper) and store.prints_at_set:
        faults.append(Problem("prints something at set, which could have a key", "send that output to /dev/null"))
    if isinstance(store, Helper) and store.holds_output:
        remedy = "start that process with >/dev/null; only what is printed before the end is read"
        faults.append(Problem("leaves a process that keeps its output open", remedy))
    return faults


def _found(store: Store) -> Stored:
    """Return what is there; `ABSENT` for nothing."""
    try:
        return store.found()
    except ManagerError as error:
        if not isinstance(store, Helper):
            raise
        remedy = f"{error.remedy}; where nothing is there, get must end with status 66"
        raise ManagerError(error.message, remedy, is_temporary=error.is_temporary) from None


def _samples(store: Store) -> dict[str, str]:
    """Return new fields. A file of this machine has no place for a value or a name that no declared secret has."""
    text = secrets.token_urlsafe(32)
    if isinstance(store, LocalStore):
        return {STORE_CHECK: text}
    return dict(zip(_CHECK_FIELDS, (text + _DIFFICULT, text), strict=True))


def _after_write(store: Store, fields: Fields, current: Stored, faults: list[Problem]) -> Stored:
    """Write fields, and return what is there then. Add what is wrong with it."""
    failure = None
    try:
        store.write(sealed(fields), current)
    except ManagerError as error:
        if error.is_temporary:
            raise
        failure = Problem(error.message, error.remedy)
    stored = _found(store)
    found = stored.opened()
    if stored is not current and found != fields and found != current.opened():
        failure = Problem("returns other fields than it was given", _KEEP_ALL)
        if not fields.keys() <= found.keys():
            failure = Problem("loses fields that it was given", _KEEP_ALL)
        elif any(found[name] != fields[name] for name in fields):
            failure = Problem("changes values", "store the JSON as it is: values have quotes, newlines and backslashes")
    if failure:
        faults.append(failure)
    return stored


def _judge_versions(store: Store, first: object, found: Stored, again: Stored) -> Problems:
    """Add what is wrong with the versions after two writes."""
    if found.version and found.version == again.version:
        yield Problem("has the same version after another write", "let get print another version each time")
    current, *earlier = store.versions() or [again.version]
    if again.version and current != again.version:
        yield Problem("does not name the current version first", "let versions begin with version")
    elif earlier and store.version(earlier[0]).opened() != first:
        remedy = "let get VERSION print the fields of that version; otherwise print no versions"
        yield Problem("does not return an earlier version", remedy)


def _judge_comparison(store: Store, fields: Fields, old: Stored) -> Problems:
    """Add what is wrong with a write that names an old version."""
    now = _found(store)
    if not now.version:
        return
    if isinstance(store, Helper):  # it compares before its program does
        request = {"fields": fields, "version": old.version or None}
        done = store.run("set", given=json.dumps(request).encode())
        if done.returncode == 0:
            yield Problem(
                "does not compare versions, although get prints one",
                f"let set end with status {CHANGED_MEANWHILE} for another version, or let get print no version",
            )
        elif done.returncode != CHANGED_MEANWHILE:
            yield Problem(
                f"ends with status {done.returncode} where another version is current",
                f"let set end with status {CHANGED_MEANWHILE} there",
            )
        elif _found(store).opened() != now.opened():
            yield Problem(
                f"writes although it ends with status {CHANGED_MEANWHILE}",
                "let set compare first, and write in the same transaction",
            )
        return
    try:
        store.write(sealed(fields), old)
    except ManagerError:
        return
    yield Problem("does not refuse a write from an old version", "report a bug with this line")
