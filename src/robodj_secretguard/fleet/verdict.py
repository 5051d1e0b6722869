"""Which instances run on which keys, and what that proves (policy sections 3 and 4). All functions are pure.

"An instance has moved" is only said with evidence of that instance that is younger than the limit. Every other one is
unknown. Clocks may differ by `max_skew`, so evidence for a statement must be that much younger than the limit, and
evidence against it counts for that much longer.
"""

from __future__ import annotations

import contextlib
from dataclasses import field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import to_json

from robodj_secretguard.common.shapes import SHAPE, Fingerprint, FreeText, Instant, SecretName, Slots, must
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.texts import count, is_instance_name, listed
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import MOST_HEARTBEAT_SECONDS, iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from robodj_secretguard.fleet.roster import Service

InstanceName = Annotated[str, must(is_instance_name)]
ConditionName = Literal["moved", "has-next", "none-on"]
Role = Literal["current", "next", "previous", "superseded", "revoked", "unrecorded"]

RoleOf: TypeAlias = "Callable[[str, str | None], Role]"
"""Returns the role of a secret's fingerprint."""
Judge: TypeAlias = "Callable[[Slots], str]"
"""Returns what is wrong with the keys of a process, in words; empty for nothing."""
NotReady: TypeAlias = tuple[str, str, str]
"""An instance for which a condition is not proven, the secret, and why, in words."""

MOVED: Final = "moved"
HAS_NEXT: Final = "has-next"
NONE_ON: Final = "none-on"
UNPROVEN: Final = "unknown"
_HOW_TO_KNOW: Final = {
    MOVED: "pass --from, or --environment with an operations log",
    HAS_NEXT: "stage one (rotate stage)",
}
"""How to make the expected key of a condition known."""
MOST_SECONDS: Final = MOST_HEARTBEAT_SECONDS
"""The largest age, difference between clocks, and heartbeat."""

_NO_KEYS: Final = Slots()


class Use(Frozen):
    """The keys that one process used.

    Attributes:
        service: the service.
        instance: the instance of the service.
        keys: the fingerprints by secret.
        is_fresh: whether it proves something. Otherwise, it only counts against a condition.
        seen: the time of its latest evidence, in seconds.
    """

    service: str
    instance: str
    keys: Mapping[str, Slots]
    is_fresh: bool
    seen: float


class Evidence(Frozen):
    """What events or samples show of the processes of a fleet.

    Attributes:
        at: the time of the verdict, in seconds, by the clock that judged the ages.
        uses: the keys of every process, also of services that the roster lacks.
        unknown: by service and instance: why nothing is certain about it.
        faults: why no condition at all is proven.
        skew: how much clocks may differ, in seconds. A deadline has passed when it is that long ago.
    """

    at: float
    uses: tuple[Use, ...]
    unknown: Mapping[tuple[str, str], str]
    faults: tuple[str, ...]
    skew: float = 0


@dataclass(frozen=True, config=SHAPE)
class Verdict:
    """Whether a condition is proven for each instance of a service, with nothing against it."""

    service: InstanceName
    secret: SecretName
    condition: ConditionName
    fingerprint: Fingerprint
    """The key of the condition."""
    holds: bool
    not_ready: dict[FreeText, FreeText]
    """By instance, such as `api/web-1`: why it does not hold. By service where the reason is not about one instance."""


@dataclass(frozen=True, config=ConfigDict({**SHAPE, "extra": "ignore"}))
class Verdicts:
    """The output of `fleet --format json`, as far as `rotate` reads it."""

    schema: Literal[1]
    kind: Literal["fleet"]
    checked_at: Instant
    verdicts: list[Verdict]


_VERDICTS: Final = TypeAdapter(Verdicts)


def parse_verdicts(content: bytes) -> Verdicts | None:
    """Return the verdicts in the output of `fleet --format json`; `None` for anything else."""
    with contextlib.suppress(ValidationError):
        return _VERDICTS.validate_json(content)
    return None


def judge(
    condition: ConditionName, secret: str, expected: Mapping[Service, str | None], evidence: Evidence
) -> Iterator[Verdict]:
    """Yield the verdict of a condition for each service.

    Args:
        condition: `moved` (signs with the key), `has-next` (has the key as its next one, or already as its current
            one), or `none-on` (has the key in no slot, whatever the secret; a previous key counts until its deadline).
        secret: the secret.
        expected: the services of the roster that have this secret, with the key of the condition; `None` for a service
            that is not asked for one.
        evidence: what is known of all processes. For `none-on`, each process counts against every service. Otherwise,
            one of another service counts against a service if it signs with a key that this service has. It counts
            against every service if no verdict is about it, and it agrees with none of them, or is unknown.
    """
    keys = {service.name: key for service, key in expected.items()}
    strangers = [
        use
        for use in evidence.uses
        if use.service not in keys
        and all(_objection(condition, secret, key, use, evidence) for key in {*keys.values()} if key)
    ]
    unlisted = {(use.service, use.instance) for use in evidence.uses if use.service not in keys and secret in use.keys}
    for service, key in expected.items():
        if not key:
            continue
        own = [use for use in evidence.uses if use.service == service.name]
        held = {key}.union(*(fingerprints_of(use, secret) for use in own))
        others = [
            use
            for use in evidence.uses
            if condition == NONE_ON or (keys.get(use.service) != key and signing_key(use, secret) in held)
        ]
        not_ready = _unproven(service, secret, own, evidence)
        not_ready |= {
            f"{name}/{instance}": f"{UNPROVEN}: {why}"
            for (name, instance), why in evidence.unknown.items()
            if name != service.name and (condition == NONE_ON or (name, instance) in unlisted)
        }
        for use in (*own, *strangers, *others):
            if why := _objection(condition, secret, key, use, evidence):
                not_ready[f"{use.service}/{use.instance}"] = f"{why}, seen {_age(use, evidence)}"
        yield Verdict(service.name, secret, condition, key, not not_ready, not_ready)


def proven_instances(uses: Iterable[Use], secret: str) -> set[str]:
    """Return the instances of which the key that signs is proven."""
    return {use.instance for use in uses if use.is_fresh and signing_key(use, secret)}


def fingerprints_of(use: Use, secret: str) -> set[str]:
    """Return the fingerprints of a secret that a process uses, in whatever slot."""
    keys = use.keys.get(secret, _NO_KEYS)
    return {each for each in (keys.current, keys.next, keys.previous) if each}


def _unproven(service: Service, secret: str, own: Sequence[Use], evidence: Evidence) -> dict[str, str]:
    """Return why the keys of a service are not known completely, by instance or by service."""
    unknown = {instance: why for (name, instance), why in evidence.unknown.items() if name == service.name}
    seen = {use.instance: f", last seen {_age(use, evidence)}" for use in sorted(own, key=attrgetter("seen"))}
    found, instances = dict[str, str](), service.instances
    if isinstance(instances, int):
        known = tuple({**seen, **unknown})
        if len(known) != instances:
            found[service.name] = f"{UNPROVEN}: of {count(instances, 'instance')}, {len(known)} were seen"
        instances = known
    if evidence.faults:
        found[service.name] = f"{UNPROVEN}: {listed(evidence.faults, 3)}"
    proven = proven_instances(own, secret)
    missing = {each: f"no recent evidence of its key{seen.get(each, '')}" for each in instances if each not in proven}
    return found | {f"{service.name}/{each}": f"{UNPROVEN}: {why}" for each, why in (missing | unknown).items()}


def _objection(condition: str, secret: str, key: str, use: Use, evidence: Evidence) -> str:
    """Return what the keys of a process say against a condition, in words; empty for nothing."""
    slots = use.keys.get(secret, _NO_KEYS)
    if condition == MOVED:
        return "" if slots.current in {None, key} else f"signs with {slots.current}"
    if condition == HAS_NEXT:
        has_none = slots.current is slots.next is None
        return "" if has_none or key in {slots.current, slots.next} else f"does not have {key}"
    for of, each in use.keys.items():
        until = each.previous_until
        is_over = until is not None and until.timestamp() <= evidence.at - evidence.skew
        for name in ("current", "next") if is_over else ("current", "next", "previous"):
            if getattr(each, name) == key:
                return f"uses {key} as the {name} key of {of}"
    return ""


def signing_key(use: Use, secret: str) -> str | None:
    """Return the fingerprint of the key that a process signs with, if it is known."""
    return use.keys.get(secret, _NO_KEYS).current


def _age(use: Use, evidence: Evidence) -> str:
    return f"{max(0, round(evidence.at - use.seen))} s ago"


@dataclass(frozen=True, config=SHAPE)
class PastUse:
    """The keys that processes of an instance have used."""

    keys: dict[SecretName, Slots]
    since: Instant | None
    """The first known start of a process with these keys."""
    seen_at: Instant | None
    """The last time that is certain. Null where no clock can be trusted."""
    latest_at: Instant
    """The last time that is possible."""
    heartbeat: Annotated[int, Field(ge=0, le=MOST_SECONDS)] = 0
    """After how many seconds such a process sends the next event. 0 where it is unknown."""


@dataclass(frozen=True, config=SHAPE)
class Instance:
    """An instance of a service."""

    service: InstanceName
    instance: InstanceName
    listed: bool
    """Whether the roster has it."""
    secrets: list[SecretName]
    """The secrets that it must prove. Empty where the roster does not have it."""
    uses: list[PastUse] = field(default_factory=list)
    """What it has used within the limit."""
    last_seen_at: Instant | None = None
    """The time of its last event, also where that is too old."""
    clock_ahead: bool = False
    """Whether an event is of the future, so its clock is wrong."""
    refused_starts: Annotated[int, Field(ge=0)] = 0
    """How many of its starts were refused within the limit."""
    refused_at: Instant | None = None
    """The last time at which a start was refused."""
    refused_checks: list[Check] = field(default_factory=list)
    """The checks that refused it."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.service}/{self.instance}"


@dataclass(frozen=True, config=SHAPE)
class Fleet:
    """What is known of all instances. The output of `fleet status` has it."""

    checked_at: Instant
    max_age: Annotated[int, Field(ge=1, le=MOST_SECONDS)]
    """How old evidence may be, in seconds."""
    max_skew: Annotated[int, Field(ge=0, le=MOST_SECONDS)]
    """How much clocks may differ, in seconds."""
    expected: dict[SecretName, Slots]
    """The expected keys of each secret."""
    instances: list[Instance]
    complete: bool
    """Whether every event was read. Where it is false, no condition holds."""

    def is_proven(self, instance: Instance, secret: str, now: datetime) -> bool:
        """Check whether young evidence proves which key of a secret an instance signs with."""
        skew, limit = timedelta(seconds=self.max_skew), timedelta(seconds=self.max_age - self.max_skew)
        seen = [use.seen_at for use in instance.uses if secret in use.keys and use.keys[secret].current]
        return any(each is not None and -skew <= now - each <= limit for each in seen)

    def is_known(self, instance: Instance) -> bool:
        """Check whether the keys of an instance are proven at the time of the fleet."""
        return all(self.is_proven(instance, secret, self.checked_at) for secret in instance.secrets)

    def counts_until(self, use: PastUse) -> datetime:
        """Return until when a process could still run on some keys."""
        return use.latest_at + timedelta(seconds=max(self.max_age, use.heartbeat) + self.max_skew)

    def possible(self, instance: Instance, secret: str, now: datetime) -> list[PastUse]:
        """Return the keys of a secret on which a process of an instance could still run."""
        return [use for use in instance.uses if secret in use.keys and now <= self.counts_until(use)]

    def is_quiet(self, instance: Instance, secret: str, use: PastUse) -> bool:
        """Check whether a process has probably ended: it missed its heartbeat, and its instance has other keys now."""
        latest = max(each.latest_at for each in instance.uses if secret in each.keys)
        silence = min(latest, self.checked_at) - use.latest_at
        return 0 < use.heartbeat < silence.total_seconds() / 2


_FLEET: Final = TypeAdapter(Fleet)
_OF_FLEET: Final = TypeAdapter(dict[str, Any])


def fleet_as_dict(fleet: Fleet) -> dict[str, Any]:
    """Return a fleet in the plain types of JSON."""
    return dict(_FLEET.dump_python(fleet, mode="json"))


def parse_fleet(content: bytes) -> Fleet | None:
    """Return the fleet in the output of `fleet status --format json`; `None` for anything else."""
    with contextlib.suppress(ValidationError, KeyError):
        document = _OF_FLEET.validate_json(content)
        if (document["kind"], document["schema"]) == ("fleet", 1):
            return _FLEET.validate_json(to_json(document["fleet"]))
    return None


def used(fleet: Fleet) -> list[tuple[str, str]]:
    """Return each secret with each fingerprint that an instance uses."""
    keys = [(secret, of) for each in fleet.instances for use in each.uses for secret, of in use.keys.items()]
    return sorted({(secret, each) for secret, of in keys for each in (of.current, of.next, of.previous) if each})


def judge_of(condition: str, expected: Slots | None, fingerprint: str | None, accepted_until: datetime) -> Judge:
    """Return the function that judges the keys of a process.

    Args:
        condition: `moved`, `has-next` or `none-on`.
        expected: the expected keys of the secret.
        fingerprint: of `none-on`: the key that nothing may use.
        accepted_until: of `none-on`: a previous key whose deadline is not later is not used any more.
    """
    expected = expected or Slots()

    def moved(keys: Slots) -> str:
        return "" if keys.current in {None, expected.current} else f"signs with {keys.current}"

    def has_next(keys: Slots) -> str:
        if expected.next and expected.next in {keys.current, keys.next}:
            return ""
        return f"does not have the next key {expected.next}"

    def none_on(keys: Slots) -> str:
        is_past = keys.previous_until is not None and keys.previous_until <= accepted_until
        used = [
            name
            for name in ("current", "next", "previous")
            if getattr(keys, name) == fingerprint and not (name == "previous" and is_past)
        ]
        return f"uses {fingerprint} as its {used[0]} key" if used else ""

    return {MOVED: moved, HAS_NEXT: has_next, NONE_ON: none_on}[condition]


def judges_of(condition: str, expected: Mapping[str, Slots], role_of: RoleOf, past: datetime) -> dict[str, Judge]:
    """Return the functions that judge the keys of each secret.

    Args:
        condition: `moved`, `has-next`, or `none-on` and a fingerprint.
        expected: the expected keys of each secret.
        role_of: the role of each key.
        past: a deadline before it has passed on every clock.

    Raises:
        UsageError: the key that every instance should have is unknown or revoked.
    """
    name, _, fingerprint = condition.partition(" ")
    slot = {MOVED: "current", HAS_NEXT: "next"}.get(name)
    for secret, keys in expected.items() if slot else ():
        key = getattr(keys, str(slot))
        if not key:
            raise UsageError(
                f"no {slot} key of {secret} is known; {_HOW_TO_KNOW[name]}; to compare only one secret, pass --secret"
            )
        if role_of(secret, key) == "revoked":
            raise UsageError(f"the {slot} key of {secret} is revoked; replace it first: see rotate run --help")
    return {secret: judge_of(name, keys, fingerprint, past) for secret, keys in expected.items()}


def unready_instances(fleet: Fleet, judges: Mapping[str, Judge], now: datetime) -> Iterator[NotReady]:
    """Yield each instance for which a condition is not proven, or is known not to hold.

    Args:
        fleet: what is known.
        judges: by secret: what judges its keys.
        now: the time, which may be later than that of the fleet.
    """
    if not fleet.complete:
        yield "the fleet", ", ".join(judges), f"{UNPROVEN}: there are too many processes for one run"
    for each in fleet.instances:
        for secret, judge in judges.items():
            possible = sorted(fleet.possible(each, secret, now), key=fleet.counts_until, reverse=True)
            if wrong := next((use for use in possible if judge(use.keys[secret])), None):
                why = f"{judge(wrong.keys[secret])}, seen at {iso_utc(wrong.latest_at)}"
                why += f", which counts until {iso_utc(fleet.counts_until(wrong))}"
                yield each.name, secret, f"{why}{'' if each.listed else '; it is not in the roster'}"
            elif secret in each.secrets and not fleet.is_proven(each, secret, now):
                yield each.name, secret, why_unknown(each)


def why_unknown(instance: Instance) -> str:
    """Return why nothing is known of an instance now."""
    if instance.clock_ahead:
        return f"{UNPROVEN}: its clock is ahead"
    if instance.last_seen_at is None:
        return f"{UNPROVEN}: no event of it"
    return f"{UNPROVEN}: last seen at {iso_utc(instance.last_seen_at)}"
