"""`rotate plan`: what happens in a rotation or in an emergency, and the commands (policy sections 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from robodj_secretguard.cli.log import find_log
from robodj_secretguard.cli.options import (
    Commands,
    Request,
    add_command,
    given,
    given_option,
    given_set_up,
    judged,
    policy_of,
    read_sources,
)
from robodj_secretguard.cli.output import (
    EXIT_CLEAN,
    EXIT_USAGE,
    MODEL,
    Result,
    fail,
    failed_result,
)
from robodj_secretguard.cli.revoke import leaked_key
from robodj_secretguard.lifecycle.drift import delivered_keys
from robodj_secretguard.lifecycle.records import Record, Records, only_environment, rotations_to
from robodj_secretguard.lifecycle.replacements import VERSION_SECONDS, can_restore, is_shared
from robodj_secretguard.lifecycle.rotator import NO_ENVIRONMENT
from robodj_secretguard.lifecycle.runbook import (
    Place,
    Steps,
    plan_emergency,
    plan_leaked_value,
    plan_lines,
    plan_question,
    plan_rotation,
)
from robodj_secretguard.lifecycle.standing import expected_keys, roles_of
from robodj_secretguard.lifecycle.steps import StoredKeys, due, environment_in
from robodj_secretguard.managers.manager import open_store
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import contain
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM, YELLOW, command, mark, option
from robodj_secretguard.settings import setup_of
from robodj_secretguard.startup.directory import Policies, first_with
from robodj_secretguard.startup.readings import PIPED
from robodj_secretguard.startup.report import Report, for_gate
from robodj_secretguard.startup.rules import Check

ROTATED_STORES: Final = (
    ("vault:MOUNT/PATH", "HashiCorp Vault or OpenBao, a KV engine of version 2"),
    ("aws:SECRET_ID", "AWS Secrets Manager, a JSON secret"),
    ("exec:/PATH/PROGRAM", "any other secret manager, by a helper program (docs/other-managers.md)"),
    ("directory:PATH", "files in a directory, without a secret manager"),
    ("envfile:PATH", "an environment file of systemd or docker, without a secret manager"),
)
"""The stores that a rotation can write."""
_UNFIT: Final = frozenset({Check.MISSING, Check.PLACEHOLDER, Check.FORMAT, Check.WEAK, Check.EXPIRED})


def add_plan(group: Commands, shared: Sequence[str]) -> None:
    """Add the command."""
    add_command(
        group,
        "plan",
        _plan,
        options=("--from", "--environment", "--operator", "--single-writer", *shared),
        own={
            "name": ("NAME", "the secret, such as secret.key"),
            "--emergency": "others may know a key: replace it at once, and revoke it",
            "--key-from": (
                "FILE",
                "with --emergency: the file with the leaked text (- for stdin), to find out which key it is",
            ),
            "--fingerprint": {
                "dest": "leaked",
                "metavar": "SGFP1",
                "help": "with --emergency: the fingerprint of the leaked key",
            },
            **{
                f"--{name}": (
                    metavar,
                    "with --emergency: as for fleet, whose command then proves where the leaked key runs",
                )
                for name, metavar in (("roster", "FILE"), ("prometheus", "URL"), ("events", "FILE"))
            },
        },
        kind="rotation-plan",
        description="Explain a rotation, from the step that comes next: what happens, which key, until when, and the"
        " commands.",
        examples=(
            "rotate plan secret.key --from vault:secret/my-service",
            "rotate plan secret.key --emergency --from directory:secrets",
        ),
        statuses={
            "0": "printed",
            "1": "the keys cannot be read",
            "2": "usage error, or no store is named",
            "75": "the store of --from did not answer in time",
        },
    )


def _plan(
    request: Request,
    *,
    name: str,
    emergency: bool,
    key_from: str | None,
    leaked: str | None,
    single_writer: bool,
    **proof: str | None,
) -> Result:
    policy = policy_of(request.model_class, name)
    if not emergency and (key_from is not None or leaked is not None):
        fail("--key-from and --fingerprint work only with --emergency; leave them out")
    leaked = leaked_key(request, leaked, key_from)
    if not [each for each in request.sources if each != PIPED]:
        return _without_store(request, policy)
    sources = read_sources(request)
    report = judged(request, sources)
    if sources is None or not report.secrets:  # no key was read, so nothing is known
        return failed_result(report)
    log = find_log(request).read()
    delivery = first_with(sources.deliveries, policy) or sources.deliveries[0]
    subject = _Subject(
        policy=policy,
        policies=request.policies,
        keys=contain(partial(delivered_keys, policy, delivery)),
        report=report,
        records=log.records,
    )
    place = Place(
        source=delivery.name,
        who=(*subject.environment_options(request.environment), *given(request, "operator", "ticket")),
        options=tuple(given_set_up(request)),
        refresh=setup_of(request.model_class).refresh,
        writer=("--single-writer",) if single_writer or _compares_nothing(delivery.name, subject.policies) else (),
        proof=tuple(word for name, value in proof.items() if value for word in option(f"--{name}", value)),
    )
    title, steps = _title_and_steps(subject, place, leaked, is_emergency=emergency)
    step = due(policy, subject.keys, subject.rotated_at, report.checked_at)
    return Result(
        EXIT_CLEAN,
        [title, *plan_lines(steps), "", MODEL],
        lambda: {
            "kind": "rotation-plan",
            "secret": policy.name,
            "due": step,
            "steps": [each.as_dict() for each in steps],
        },
        log.complaint,
    )


def _compares_nothing(source: str, policies: Policies) -> bool:
    """Check whether a store is a helper program without versions. Then each step says what two machines can lose."""
    if not source.startswith("exec:"):
        return False
    store = open_store(source, policies)
    return store.within(VERSION_SECONDS, store.current).version == ""


class _Subject(Frozen):
    """A secret, its keys in the store, and what is known about them.

    Attributes:
        policy: the policy of the secret.
        policies: all declared secrets.
        keys: its keys in the store.
        report: the report on the store.
        records: the records of the operations log.
    """

    policy: SecretPolicy
    policies: Policies
    keys: StoredKeys
    report: Report
    records: Records

    @property
    def of_current(self) -> list[Record]:
        """The rotations to the current key."""
        return rotations_to(self.keys.slots.current, self.policy.name, self.records)

    @property
    def rotated_at(self) -> datetime | None:
        """When the current key was recorded first."""
        return self.of_current[0].recorded_at if self.of_current else None

    @property
    def is_recorded(self) -> bool:
        """Whether the log has the rotation to the current key as complete."""
        return self.of_current[-1:] != [] and self.of_current[-1].event != "rotation-incomplete"

    @property
    def checks(self) -> set[Check]:
        """The checks of the alerts about the current key."""
        alerts = for_gate(self.report).alerts
        return {each.check for each in alerts if each.secret == self.policy.name and each.slot in {None, "current"}}

    @property
    def restorable(self) -> str | None:
        """The recorded key, where it is not the current one and may be used."""
        name = self.policy.name
        expected = expected_keys(self.report, self.records, self.keys.environment or None)
        key = expected[name].current
        is_revoked = roles_of(self.report, self.records, expected)(name, key) == "revoked"
        return None if key == self.keys.slots.current or is_revoked else key

    def environment_options(self, environment: str | None) -> list[str]:
        """Return the option for the environment, which a command needs where nothing else names it."""
        name = self.policy.name
        known = environment_in(self.keys, name, self.records) or only_environment(name, self.records)
        if not (environment or known):
            fail(NO_ENVIRONMENT)
        return given_option("environment", None if environment == known else environment)


def _title_and_steps(subject: _Subject, place: Place, leaked: str, *, is_emergency: bool) -> tuple[str, Steps]:
    """Return the title and the steps of a plan."""
    policy = subject.policy
    keys = subject.keys
    if not leaked and Check.REVOKED in subject.checks:
        leaked = keys.slots.current or ""
    emergency = f"Emergency of {policy.name} in {place.source}"
    if leaked:
        title = f"{emergency}. {_which_key(keys, leaked)}:"
        return title, plan_emergency(policy, keys, leaked, place, is_recorded=subject.is_recorded)
    if is_emergency and policy.is_issued:
        return f"{emergency}:", plan_leaked_value(policy, place)
    if is_emergency:
        return f"{emergency}. First find out which key leaked:", plan_question(policy, keys, place)
    current = f"The current key is {keys.slots.current}"
    if keys.slots.current is None:
        current = "Its current value has no fingerprint" if "current" in keys.filled else "It has no current key"
    title = f"Rotation of {policy.name} in {place.source}. {current}:"
    return "\n".join([title, *_other_alerts(policy, subject.report, place)]), _rotation(subject, place)


def _rotation(subject: _Subject, place: Place) -> Steps:
    """Return the steps of a rotation, by what is wrong with the current key."""
    policy = subject.policy
    keys = subject.keys
    is_twice = is_shared(keys.slots.current, subject.report)
    is_unfit = "current" not in keys.filled or bool(subject.checks & _UNFIT) or is_twice
    restorable = subject.restorable if is_unfit else None
    if restorable is not None and not can_restore(subject.policies, place.source, policy, restorable):
        restorable = None
    return plan_rotation(
        policy,
        keys,
        subject.report.checked_at,
        place,
        is_unfit=is_unfit,
        is_recorded=subject.is_recorded,
        stays=not is_twice and subject.checks.isdisjoint({Check.MISSING, Check.PLACEHOLDER}),
        restorable=restorable or "",
    )


def _other_alerts(policy: SecretPolicy, report: Report, place: Place) -> list[str]:
    """Return that a step would be refused, where something else is wrong."""
    others = [each for each in for_gate(report).alerts if each.secret != policy.name]
    if not others:
        return []
    check = place.reading("check")
    return [mark(f"FIRST: correct the other alerts, as they stop each step: {check}", YELLOW)]


def _which_key(keys: StoredKeys, leaked: str) -> str:
    """Return which key has leaked."""
    for slot in ("current", "next", "previous"):
        if getattr(keys.slots, slot) == leaked:
            return f"The leaked key is the {slot} one, {leaked}"
    return f"The leaked key, {leaked}, has no place there"


def _without_store(request: Request, policy: SecretPolicy) -> Result:
    """Return how to name a store, as nothing is known about the keys without one."""
    rows = [f"{COMMAND_INDENT}{form:<20}{what}" for form, what in ROTATED_STORES]
    plan = command("rotate", "plan", policy.name, "--from", "SOURCE", *given(request, "model"))
    return Result(
        EXIT_USAGE,
        [
            f"Name the store that has the keys of {policy.name}:",
            f"{COMMAND_INDENT}{plan}",
            "SOURCE is one of:",
            *rows,
            "",
            MODEL,
        ],
        lambda: {"kind": "rotation-plan", "secret": policy.name, "due": None, "steps": []},
        [f"{PROGRAM}: no plan was printed, as --from names no store that can be written"],
    )
