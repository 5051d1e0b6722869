"""The roster of a fleet, and what evidence proves about its keys (policy sections 3 and 4). All functions are pure.

A condition holds for a service if each instance of the roster has a fresh proof, nothing about an instance is unknown,
and nothing is against it. What is against it counts whether it is fresh or not, and whether the roster has it or not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import attrgetter, itemgetter
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import to_json

from robodj_secretguard.common.grouping import grouped
from robodj_secretguard.common.shapes import (
    SHAPE,
    EnvironmentName,
    Fingerprint,
    FreeText,
    Instant,
    SecretName,
    Slots,
    must,
)
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.texts import count, is_instance_name

ConditionName = Literal["moved", "has-next", "none-on"]

UNPROVEN: Final = "unknown"
ONLY_SEEN: Final = "only these instances were seen"
"""Without a roster, nobody knows which instances are absent."""
_NO_KEYS: Final = Slots()

# A million events have few names.
InstanceName = Annotated[str, must(lru_cache(1 << 14)(is_instance_name))]


@dataclass(frozen=True, config=SHAPE)
class Service:
    """A service of the roster.

    Attributes:
        name: the name of the service, with its namespace where there is one: `prod/api`.
        instances: how many instances there should be, or their names; `None` where no roster says it.
        secrets: the secrets that each instance uses; empty for all.
        sources: where its expected keys are, as for `--from`; empty for those of the command.
        environment: its environment in the operations log; `None` for that of the command.
    """

    name: Annotated[InstanceName, Field(alias="")]  # the key of its table
    instances: (
        Annotated[int, Field(ge=1)]
        | Annotated[tuple[InstanceName, ...], Field(min_length=1), must(lambda names: len({*names}) == len(names))]
        | None
    )
    secrets: Annotated[tuple[SecretName, ...], Field(min_length=1)] = ()
    sources: Annotated[tuple[str, ...], Field(min_length=1, alias="from")] = ()
    environment: EnvironmentName | None = None


_SERVICE_FIELDS: Final = ("instances", "secrets", "from", "environment")
_SERVICES: Final = TypeAdapter(Annotated[tuple[Service, ...], Field(min_length=1)])


def parse_roster(text: str) -> tuple[Service, ...]:
    """Return the services of a roster in TOML.

    Raises:
        UsageError: it is invalid. The message has no part of the text.
    """
    which = "the file"
    try:
        return _SERVICES.validate_json(to_json([{**table, "": name} for name, table in tomllib.loads(text).items()]))
    except ValidationError as error:
        where = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        if where:
            which = f"service {int(where[0]) + 1}"
            if where[1:2] and where[1] in _SERVICE_FIELDS:  # any other name is a text of the file
                which += f" ({where[1]})"
    except (ValueError, TypeError, RecursionError):  # not TOML, or not a table
        pass
    raise UsageError(
        f"--roster: {which} is invalid; write a table for each service, with instances (a number, or each name once)"
        ' and, where needed, secrets, from and environment; quote a name with a slash: ["prod/api"]'
    )


class Use(Frozen):
    """The keys that one process used.

    Attributes:
        service: the service.
        instance: the instance of the service.
        keys: the fingerprints by secret.
        is_fresh: whether it proves something. Otherwise, it only counts against a condition.
        seen: the time of its latest evidence, in seconds.
        state: what it does where it does not follow what is delivered, since when, and why; otherwise empty.
    """

    service: str
    instance: str
    keys: Mapping[str, Slots]
    is_fresh: bool
    seen: float
    state: str = ""


class Evidence(Frozen):
    """What events or samples show of the processes of a fleet.

    Attributes:
        at: the time of the verdict, in seconds, by the clock that judged the ages.
        uses: the keys of every process, also of services that the roster lacks.
        unknown: by service and instance: why nothing is certain about it.
        faults: why no condition at all is proven.
        skew: how much clocks may differ, in seconds. A deadline has passed when it is that long ago.
        elsewhere: the instances of other environments, which do not count.
        reported: of the fingerprints that are asked about, those that any line has, however old.
    """

    at: float
    uses: tuple[Use, ...]
    unknown: Mapping[tuple[str, str], str]
    faults: tuple[str, ...]
    skew: float = 0
    elsewhere: tuple[str, ...] = ()
    reported: frozenset[str] = frozenset()


@dataclass(frozen=True, config=SHAPE)
class Verdict:
    """Whether a condition is proven for each instance of a service, with nothing against it."""

    service: InstanceName
    secret: SecretName
    condition: ConditionName
    fingerprint: Fingerprint
    """The key of the condition."""
    checked_at: Instant
    """The time of the evidence, by the clock that judged its age."""
    holds: bool
    not_ready: dict[FreeText, FreeText]
    """By instance, such as `api/web-1`: why it does not hold. By service where the reason is not about one instance."""


VERDICTS: Final = TypeAdapter(list[Verdict])


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
            against every service if no verdict is about it, and it agrees with none of them, or is unknown. One that
            does not say its namespace may be of any service of its name.
    """
    at = datetime.fromtimestamp(evidence.at, UTC)
    keys = {service.name: key for service, key in expected.items()}
    asked = {service: key for service, key in expected.items() if key}
    about = partial(_objection, condition, secret, evidence)
    uses_of = grouped(evidence.uses, attrgetter("service"))
    signing_with = grouped(evidence.uses, partial(signing_key, secret=secret))
    unknown_of = grouped(evidence.unknown, itemgetter(0))
    strangers = [use for use in evidence.uses if use.service not in keys]
    others = dict.fromkeys((use.service, use.instance) for use in strangers if secret in use.keys)
    doubtful = [who for who in evidence.unknown if who in others]
    unqualified = grouped(others, itemgetter(0))
    if condition == "none-on":
        strangers = [*evidence.uses]
        doubtful = [*evidence.unknown]
    strangers = [use for use in strangers if all(about(use, key) for key in {*asked.values()})]
    for service, key in asked.items():
        own = uses_of[service.name]
        held = {each for use in own for each in fingerprints_of(use, secret)}
        sharing = [use for each in sorted(held) for use in signing_with[each] if keys.get(use.service) != key]
        unknown = {
            "/".join(who): f"{UNPROVEN}: {evidence.unknown[who]}" for who in (*unknown_of[service.name], *doubtful)
        }
        against = {
            f"{use.service}/{use.instance}": f"{why}, {_seen(use, evidence)}{use.state and f'; {use.state}'}"
            + ("" if use.service in keys else "; pass a --roster that has its service, or leave it out of the evidence")
            for use in sorted((*own, *strangers, *sharing), key=attrgetter("is_fresh"))  # the certain reason replaces
            if (why := about(use, key))
        }
        nameless = {
            "/".join(who): f"{UNPROVEN}: it does not say its namespace"  # it may be of this one
            for who in unqualified[service.name.partition("/")[2]]
        }
        missing = _missing(service, secret, own, unknown_of[service.name], evidence)
        not_ready = dict(reversed((missing | nameless | unknown | against).items()))
        yield Verdict(service.name, secret, condition, key, at, not not_ready, not_ready)


def proven_instances(uses: Iterable[Use], secret: str) -> set[str]:
    """Return the instances of which the key that signs is proven."""
    return {use.instance for use in uses if use.is_fresh and signing_key(use, secret)}


def fingerprints_of(use: Use, secret: str) -> set[str]:
    """Return the fingerprints of a secret that a process uses, in whatever slot."""
    keys = use.keys.get(secret, _NO_KEYS)
    return {each for each in (keys.current, keys.next, keys.previous) if each}


def _missing(
    service: Service, secret: str, own: Sequence[Use], unknown: Iterable[tuple[str, str]], evidence: Evidence
) -> dict[str, str]:
    """Return of which instances there is no proof, and why there is none at all, by instance or by service."""
    seen = {use.instance: f", {_seen(use, evidence)}" for use in sorted(own, key=attrgetter("seen"))}
    reasons = [*evidence.faults]
    instances = service.instances
    if not isinstance(instances, tuple):
        known = {*seen, *(instance for _, instance in unknown)}
        if instances is None:
            reasons.append(ONLY_SEEN)
        elif len(known) != instances:
            reasons.append(f"the roster has {count(instances, 'instance')}, and {len(known)} were seen")
        instances = tuple(sorted(known))
    proven = proven_instances(own, secret)
    found = {service.name: f"{UNPROVEN}: {'; '.join(reasons)}"} if reasons else {}
    return found | {
        f"{service.name}/{each}": f"{UNPROVEN}: no recent evidence of its key{seen.get(each, '')}"
        for each in instances
        if each not in proven
    }


def _objection(condition: str, secret: str, evidence: Evidence, use: Use, key: str) -> str:
    """Return what the keys of a process say against a condition, in words; empty for nothing."""
    slots = use.keys.get(secret, _NO_KEYS)
    if condition == "moved":
        return "" if slots.current in {None, key} else f"signs with {slots.current}"
    if condition == "has-next":
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


def _seen(use: Use, evidence: Evidence) -> str:
    return f"{'seen' if use.is_fresh else 'last seen at most'} {max(0, round(evidence.at - use.seen))} s ago"
