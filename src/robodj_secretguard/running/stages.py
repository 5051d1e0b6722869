"""The two stages of a read: first revocations and clocks, then the candidate set (policy sections 3, 4 and 6).

The stages do not know each other. Stage one applies to each secret, whatever the rest of the set is. Stage two judges
the candidate set against the keys in use, secret by secret. A start without a second read does not import this module.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final, TypeAlias

from robodj_secretguard.running.keyset import Clock, KeySet
from robodj_secretguard.running.parts import Replaced
from robodj_secretguard.running.store import KeyStore
from robodj_secretguard.running.threads import LOCK_WAIT
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain, type_name
from robodj_secretguard.startup.environments import process_environment, set_environment
from robodj_secretguard.startup.inputs import ENVIRONMENT, REVOKED_FINGERPRINTS
from robodj_secretguard.startup.model_option import with_model
from robodj_secretguard.startup.readings import Reading, RevocationStatus
from robodj_secretguard.startup.report import Finding, Judgement, Report, finding, with_findings
from robodj_secretguard.startup.rules import Check, Problem, Problems, Severity, State, internal
from robodj_secretguard.startup.time_rules import how_to_await

Names: TypeAlias = frozenset[str]
"""The names of secrets."""
Build: TypeAlias = Callable[[Judgement], object]
"""Lets the validators of a host judge a set."""
MOST_REPLACED: Final = 1000
"""How many replaced values a store remembers."""
HELD_SECONDS: Final = 86_400.0
"""How long it remembers one."""
STRIKES: Final = 2
"""How many reads in a row must find the current key revoked, and no good one."""
read_numbers: Final = count(1)
"""The order in which reads begin."""
WHOLE_SET: Final = ""
"""In place of the name of a secret: no value of the set changes."""


class Locks:
    """The lock that is held while the keys in use are replaced. Nothing that can block runs inside."""

    deciding = threading.Lock()

    @classmethod
    def renew(cls) -> None:
        """Make a new one in a fork: a thread of the parent may hold the old one."""
        cls.deciding = threading.Lock()


getattr(os, "register_at_fork", dict)(after_in_child=Locks.renew)  # not on Windows


@contextmanager
def deciding() -> Iterator[bool]:
    """Hold the lock, if it can be had: a signal handler may run while its own thread has it, so nothing waits long."""
    lock = Locks.deciding
    is_held = lock.acquire(timeout=LOCK_WAIT)
    try:
        yield is_held
    finally:
        if is_held:
            lock.release()


def adopt(store: KeyStore, keys: KeySet) -> None:
    """Use other keys, in all views at once, and remember what was in use before."""
    before = store.keys
    in_use = {each.key for reading in keys.readings for each in (reading, *reading.slots)}
    while store.replaced and not is_recent(store.replaced[0]):
        store.replaced.popleft()
    for reading in before.readings:
        for each in (reading, *reading.slots):
            if each.key is not None and each.key not in in_use:
                value = SealedStr(each.key.get_secret_value())
                store.replaced.append(Replaced(reading.policy, value, time.monotonic()))
    store.keys = keys  # last, so that a redactor that sees it knows what it has replaced
    _watch_instants(store)
    while len(store.replaced) > MOST_REPLACED:
        store.replaced.popleft()


def _watch_instants(store: KeyStore) -> None:
    """Let the clock know each instant, so that one that passes stays so although nobody uses its key."""
    instants = [begin for _, begin in store.keys.revocation.begins]
    for slot in [slot for reading in store.keys.readings for slot in reading.slots]:
        if slot.expires_at is not None:
            store.previous_until[slot.fingerprint] = slot.expires_at
            instants.append(slot.expires_at)
    for instant in instants:
        store.clock.watch(instant)
        store.clock.has_passed(instant)


def is_recent(replaced: Replaced) -> bool:
    """Check whether a value was in use in the last 24 hours."""
    return time.monotonic() - replaced.at < HELD_SECONDS


class Plan(Frozen):
    """What a read would change.

    Attributes:
        base: the set in use, against which the candidate was judged.
        result: the set that would result.
        report: the report on what was read, with every finding.
        changed: the secrets that would change.
        kept: the secrets that keep their values: those that are refused, and their groups. `WHOLE_SET` for all.
    """

    base: KeySet
    result: Judgement
    report: Report
    changed: Names = frozenset()
    kept: Names = frozenset()


def learn(store: KeyStore, read: RevocationStatus) -> RevocationStatus:
    """Stage one: apply the revocations that were read to the keys in use, and return all that hold."""
    with deciding():
        known = read.joined(store.keys.revocation)
        if set(known.begins) != set(store.keys.revocation.begins):
            adopt(store, _under(store.keys, known, store.keys.refused))
        _watch_instants(store)
    return known


def _under(keys: KeySet, revocation: RevocationStatus, refused: Names) -> KeySet:
    """Return the same keys under other revocations."""
    return KeySet(keys.readings, keys.report, revocation, refused, keys.changes)


def settle(store: KeyStore) -> list[Reading]:
    """Return the secrets whose current key is revoked now. At the second read in a row, refuse them."""
    with deciding() as is_held:
        return _settled(store) if is_held else []


def _settled(store: KeyStore) -> list[Reading]:
    keys = store.keys
    revoked = [reading for reading in keys.readings if _is_revoked(reading, keys, store.clock)]
    store.strikes = {each.policy.name: store.strikes.get(each.policy.name, 0) + 1 for each in revoked}
    refused = frozenset([name for name, strikes in store.strikes.items() if strikes >= STRIKES])
    if refused != keys.refused:
        adopt(store, _under(keys, keys.revocation, refused))
    return revoked


def _is_revoked(reading: Reading, keys: KeySet, clock: Clock) -> bool:
    begin = keys.begins.get(reading.listed_as)
    return begin is not None and clock.has_passed(begin)


def take(store: KeyStore, judgement: Judgement, build: Build, number: int | None = None) -> tuple[Plan, list[Reading]]:
    """Do stage two of a read, after `learn`. Return what it changed, and the secrets whose current key is revoked.

    Args:
        store: the keys in use.
        judgement: the candidate set.
        build: lets the validators of the host judge the set that would result.
        number: when the read began, as a number of `read_numbers`; `None` for now.
    """
    # Further instances may read many times in a moment: with a reader, only its reads refuse a key.
    is_periodic = number is not None or store.reader is None
    number = next(read_numbers) if number is None else number
    while True:
        plan = planned(store, judgement)
        if plan.changed:
            plan = _validated(plan, build)
        with deciding() as is_held:
            if not is_held or number < store.last_read:  # another thread has read newer files
                return plan._replace(changed=frozenset(), kept=frozenset()), []
            if store.keys.readings is plan.base.readings:  # otherwise another thread has just changed it
                store.last_read = number
                if plan.changed:
                    adopt(store, _resulting_set(store.keys, plan))
                return plan, _settled(store) if is_periodic else []


def _resulting_set(keys: KeySet, plan: Plan) -> KeySet:
    changes = {name: keys.changes.get(name, 0) + 1 for name in plan.changed}
    report = plan.result.report()._replace(checked_at=plan.report.checked_at)
    return KeySet(plan.result.readings, report, keys.revocation, keys.refused, {**keys.changes, **changes})


def _validated(plan: Plan, build: Build) -> Plan:
    """Return the plan, or that nothing changes, where a validator of the host refuses the set that would result."""
    try:
        contain(lambda: build(plan.result))
    except Exception as error:  # noqa: BLE001 - a validator may raise anything
        failed = finding(_policies(plan.base), Check.INTERNAL, internal(type_name(error)))
        return Plan(plan.base, plan.result, with_findings(plan.report, [failed]), kept=frozenset({WHOLE_SET}))
    return plan


def _policies(keys: KeySet) -> list[SecretPolicy]:
    return [reading.policy for reading in keys.readings]


def planned(store: KeyStore, judgement: Judgement) -> Plan:
    """Stage two: judge a candidate set against the keys in use. Nothing changes here."""
    base = store.keys
    report = judgement.report()
    if not report.secrets:  # nothing was read
        return Plan(base, judgement, report, kept=frozenset({WHOLE_SET}))
    discontinuous = [*_discontinuous(store, base, judgement)]
    policies = _policies(base)
    found = [finding(policies, Check.ENVIRONMENT, problem) for problem in _environments(base, judgement)]
    report = with_findings(report, [*discontinuous, *found, *_vanished_markers(base, judgement)])
    stops_all = any(alert.secret is None for alert in report.alerts)
    if discontinuous and not _are_others_continuous(base, judgement, discontinuous):
        stops_all = True
    if stops_all:
        return Plan(base, judgement, report, kept=frozenset({WHOLE_SET}))
    refused = _refused(report, base, judgement.readings)
    result = judgement
    kept = _with_groups(refused, base)
    while kept:
        mixed = [
            before if after.policy.name in kept else after
            for before, after in zip(base.readings, judgement.readings, strict=True)
        ]
        result = Judgement(mixed)
        more = _refused(result.report(), base, mixed) - kept  # such as a new value that a kept secret has
        if not more:
            break
        kept |= _with_groups(more, base)
    changed = _changed(base.readings, result.readings)
    return Plan(base, result, report, changed, _with_groups(refused, base))


def _refused(report: Report, base: KeySet, readings: Sequence[Reading]) -> Names:
    """Return the secrets with an alert. The expiry of a key in use refuses nothing."""
    pairs = zip(base.readings, readings, strict=True)
    in_use = {after.policy.name for before, after in pairs if before.value == after.value}
    alerts = [each for each in report.alerts if each.check is not Check.EXPIRED or each.secret not in in_use]
    names = {each.secret for each in alerts if each.secret}
    if any(each.check is Check.SHARED for each in alerts):  # it names the later one of equal secrets
        reported = {each.secret for each in report.alerts}
        unusable = [each for each in report.secrets if not each.usable and each.state is not State.MISSING]
        names |= {each.secret for each in unusable if each.secret not in reported}
    return frozenset(names)


def _with_groups(names: Iterable[str], keys: KeySet) -> Names:
    """Return some secrets, and the others of their groups."""
    policies = _policies(keys)
    groups = {policy.group for policy in policies if policy.group and policy.name in names}
    return frozenset(names).union([policy.name for policy in policies if policy.group in groups])


def _changed(before: Sequence[Reading], after: Sequence[Reading]) -> Names:
    """Return the secrets of which a slot or a marker is another one."""
    pairs = zip(before, after, strict=True)
    return frozenset([new.policy.name for old, new in pairs if _values(old) != _values(new)])


def _values(reading: Reading) -> list[tuple[object, ...]]:
    return [(each.slot, each.value, each.marker) for each in (reading, *reading.slots)]


def _discontinuous(store: KeyStore, base: KeySet, judgement: Judgement) -> Iterator[Finding]:
    """Yield an alert for each secret whose set does not continue the keys in use: it is another's, or an old one."""
    for before, after in zip(base.readings, judgement.readings, strict=True):
        if not (after.policy.overlap and before.fingerprint and after.fingerprint):
            continue
        source = after.manager or "the environment"
        slots = {each.fingerprint for each in (after, *after.slots)}
        until = store.previous_until.get(after.fingerprint)
        if before.fingerprint not in slots and not _is_revoked(before, base, store.clock):
            why = f"the key that signs now is in no slot of the set in {source}"
        elif after.fingerprint != before.fingerprint and until and store.clock.has_passed(until):
            why = f"the set in {source} would sign with a key whose time has passed"
        else:
            continue
        remedy = (
            "correct what writes it, so that it delivers this service's own keys, and do not restart; in an emergency,"
            f" deliver {REVOKED_FINGERPRINTS} too"
        )
        yield finding((), Check.DISCONTINUOUS, Problem(why, remedy, source), after.policy)


def _are_others_continuous(base: KeySet, judgement: Judgement, discontinuous: Sequence[Finding]) -> bool:
    """Check whether the set is this service's, as the environments and another secret with slots tell."""
    setup = judgement.readings[0].setup
    ours = process_environment(setup)
    if not ours or ours != set_environment(setup):
        return False
    others = {each.secret for each in discontinuous}
    return any(
        before.policy.overlap and before.policy.name not in others and before.fingerprint and after.fingerprint
        for before, after in zip(base.readings, judgement.readings, strict=True)
    )


def _environments(base: KeySet, judgement: Judgement) -> Problems:
    """Yield that the set is of another environment than that of the start, or that nothing tells whose it is."""
    setup = judgement.readings[0].setup
    source = " and ".join(setup.managers)
    of_process = process_environment(setup)
    before = set_environment(base.readings[0].setup)
    ours = of_process or before
    theirs = set_environment(setup)
    if before and not theirs:
        yield Problem(
            f"{source} does not name its environment any more",
            f"restore {ENVIRONMENT} there, with the value {before}",
            source,
        )
    elif not of_process and ours and theirs and ours != theirs:
        remedy = f"correct what writes it, so that it delivers the secrets of {ours}, and do not restart"
        yield Problem(f"{source} has the secrets of {theirs}, and the service started in {ours}", remedy, source)
    pairs = [*zip(base.readings, judgement.readings, strict=True)]
    is_unknown = not (ours and theirs) and not any(policy.overlap for policy in setup.policies)
    if is_unknown and all(before.value != after.value for before, after in pairs):
        yield Problem(
            "every secret has another value, and nothing tells whose they are",
            f"store {ENVIRONMENT} with the secrets, such as prod, and set {ENVIRONMENT} for the service",
            source,
            Severity.WARNING,
        )


def _vanished_markers(base: KeySet, judgement: Judgement) -> Iterator[Finding]:
    """Yield an alert for each expiry marker that is gone, although the key is the same."""
    for before, after in zip(base.readings, judgement.readings, strict=True):
        if before.expires_at and after.marker is None and before.value == after.value:
            name = after.policy.expiry_variable
            source = after.manager or "the environment"
            problem = Problem(
                f"{name} is gone from {source} for the same key, so its old time holds",
                f"restore {name} there from its last version",
                source,
            )
            yield finding((), Check.EXPIRY_MARKER, problem, after.policy)


def revoked_in_use(revoked: Iterable[Reading], report: Report) -> list[Finding]:
    """Return an alert for each key in use that is revoked, unless the report has it already."""
    said = {each.secret for each in report.alerts if each.check is Check.REVOKED}
    found = []
    for reading in revoked:
        if reading.policy.name not in said:
            problem = Problem(
                "the key in use is revoked",
                with_model(how_to_await(reading.policy, reading.manager), report.model),
                reading.used.source,
            )
            found.append(finding((), Check.REVOKED, problem, reading.policy))
    return found
