"""The roster of a fleet, and what evidence proves of its services."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Final

import pytest
from conftest import NOW
from fleets import COMING, GONE, NAME, NEW, OLD, OTHER, SECOND, WEB, evidence_of, used
from hypothesis import given, settings
from hypothesis import strategies as st

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import UsageError
from robodj_secretguard.fleet.verdict import ConditionName, Evidence, Service, Use, judge, parse_roster

API: Final = Service("api", ("web-1",))
WORKER: Final = Service("worker", 1)


def objections(
    *uses: Use, condition: ConditionName = "moved", key: str = NEW, service: Service = API, **more: object
) -> dict[str, str]:
    """Return why a condition does not hold for a service."""
    (verdict,) = judge(condition, NAME, {service: key}, evidence_of(*uses, **more))  # type: ignore[arg-type]
    assert verdict.holds is not bool(verdict.not_ready)
    return verdict.not_ready


def verdicts(expected: Mapping[Service, str | None], *uses: Use, condition: ConditionName = "moved") -> dict[str, bool]:
    """Return for which services a condition holds."""
    return {each.service: each.holds for each in judge(condition, NAME, expected, evidence_of(*uses))}


class TestKeys:
    """What the keys of a process say about a condition."""

    @pytest.mark.parametrize(
        ("condition", "key", "keys", "why"),
        [
            ("moved", NEW, Slots(NEW), ""),
            ("moved", NEW, Slots(NEW, COMING, OLD), ""),
            ("moved", NEW, Slots(OLD), f"signs with {OLD}"),
            ("moved", NEW, Slots(OLD, NEW), f"signs with {OLD}"),
            ("moved", NEW, Slots(OLD, NEW, NEW), f"signs with {OLD}"),
            ("moved", NEW, Slots(OLD, OLD), f"signs with {OLD}"),
            ("has-next", COMING, Slots(NEW, COMING), ""),
            ("has-next", COMING, Slots(COMING), ""),
            ("has-next", COMING, Slots(NEW), f"does not have {COMING}"),
            ("has-next", COMING, Slots(NEW, previous=COMING), f"does not have {COMING}"),
            ("has-next", COMING, Slots(None, GONE), f"does not have {COMING}"),
            ("none-on", GONE, Slots(NEW, COMING, OLD), ""),
            ("none-on", GONE, Slots(GONE), f"uses {GONE} as the current key of secret.key"),
            ("none-on", GONE, Slots(NEW, GONE), f"uses {GONE} as the next key of secret.key"),
            ("none-on", GONE, Slots(NEW, None, GONE), f"uses {GONE} as the previous key of secret.key"),
            (
                "none-on",
                GONE,
                Slots(NEW, None, GONE, NOW - 4 * SECOND),
                f"uses {GONE} as the previous key of secret.key",
            ),
            ("none-on", GONE, Slots(NEW, None, GONE, NOW - 5 * SECOND), ""),
            ("none-on", GONE, Slots(NEW, GONE, GONE, NOW - 5 * SECOND), f"uses {GONE} as the next key of secret.key"),
            (
                "none-on",
                GONE,
                Slots(GONE, None, GONE, NOW - 5 * SECOND),
                f"uses {GONE} as the current key of secret.key",
            ),
        ],
    )
    @pytest.mark.parametrize("is_fresh", [True, False])
    def test_a_process(self, condition: ConditionName, key: str, keys: Slots, why: str, is_fresh: bool) -> None:  # noqa: FBT001
        """Each condition judges the slots that matter to it, whatever the age. A previous key counts to its deadline.

        The deadline has passed on every clock when it is the difference between clocks ago.
        """
        others = [used(COMING_IN[condition])]
        found = objections(*others, used(keys, age=7, is_fresh=is_fresh), condition=condition, key=key)
        seen = "seen" if is_fresh else "last seen at most"
        assert found == ({"api/web-1": f"{why}, {seen} 7 s ago"} if why else {})

    @pytest.mark.parametrize("condition", ["moved", "has-next", "none-on"])
    @pytest.mark.parametrize("keys", [Slots(), Slots(None, COMING), Slots(None, None, OLD)])
    def test_no_current_key(self, condition: ConditionName, keys: Slots) -> None:
        """Evidence that does not say with which key an instance signs proves nothing."""
        key = COMING if condition == "has-next" else GONE
        found = objections(used(keys, age=2), condition=condition, key=key)
        assert found == {"api/web-1": "unknown: no recent evidence of its key, seen 2 s ago"}

    def test_a_key_of_another_secret(self) -> None:
        """A key that nothing may use counts as whatever secret. For other conditions, other secrets say nothing."""
        other = used(Slots(GONE), secret=OTHER)
        assert objections(used(), other) == {}
        assert objections(other) == {"api/web-1": "unknown: no recent evidence of its key, seen 0 s ago"}
        found = objections(used(), other, condition="none-on", key=GONE)
        assert found == {"api/web-1": f"uses {GONE} as the current key of {OTHER}, seen 0 s ago"}


COMING_IN: Final = {"moved": Slots(NEW), "has-next": Slots(NEW, COMING), "none-on": Slots(NEW)}
"""Keys with which each of these conditions holds."""


class TestProof:
    """A row of the roster needs a fresh proof, and nothing unknown."""

    def test_old_evidence(self) -> None:
        """Evidence that is not fresh proves nothing. The message has the latest time."""
        found = objections(used(age=300, is_fresh=False), used(age=200, is_fresh=False))
        assert found == {"api/web-1": "unknown: no recent evidence of its key, last seen at most 200 s ago"}

    def test_no_evidence(self) -> None:
        """An instance of which nothing is known is not ready, whatever others have proven."""
        found = objections(used(), used(who=("api", "web-3")), service=Service("api", ("web-1", "web-2")))
        assert found == {"api/web-2": "unknown: no recent evidence of its key"}

    @pytest.mark.parametrize("who", [WEB, ("api", "web-9")])
    @pytest.mark.parametrize("service", [API, Service("api", 1)])
    def test_an_unknown_instance(self, who: tuple[str, str], service: Service) -> None:
        """No instance of the service may be unknown, listed or not, although it has a fresh proof."""
        found = objections(used(), unknown={who: "its target is down"}, service=service)
        assert found["/".join(who)] == "unknown: its target is down"
        assert objections(used(), unknown={("worker", "w"): "its target is down"}, service=service) == {}

    def test_what_is_against_it_is_said_first(self) -> None:
        """Where an instance is unknown and is known to use another key, the key is the reason."""
        found = objections(used(Slots(OLD)), unknown={WEB: "several processes"})
        assert found == {"api/web-1": f"signs with {OLD}, seen 0 s ago"}

    def test_faults(self) -> None:
        """Where the evidence is not complete, nothing is proven."""
        assert objections(used(), faults=["3 events could not be read"]) == {
            "api": "unknown: 3 events could not be read"
        }

    @pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
    def test_a_number_of_instances(self, number: int) -> None:
        """Exactly as many instances are seen as the roster declares: one more could stand for one that is silent."""
        uses = [used(who=("api", f"10.0.0.{each}")) for each in range(number)]
        found = objections(*uses, service=Service("api", 3))
        assert found == ({} if number == 3 else {"api": f"unknown: the roster has 3 instances, and {number} were seen"})

    def test_an_unknown_instance_is_seen(self) -> None:
        """An instance that is unknown counts as one of the declared ones, and is the only reason."""
        found = objections(used(), unknown={("api", "web-2"): "it is down"}, service=Service("api", 2))
        assert found == {"api/web-2": "unknown: it is down"}

    def test_instances_that_are_not_fresh_are_seen(self) -> None:
        """An instance without a fresh proof is counted, and is not ready: it does not stand for another one."""
        uses = [used(), used(who=("api", "web-2"), is_fresh=False, age=30), used(who=("api", "web-3"), secret=OTHER)]
        why = "unknown: no recent evidence of its key"
        found = objections(*uses, service=Service("api", 3))
        assert found == {"api/web-2": f"{why}, last seen at most 30 s ago", "api/web-3": f"{why}, seen 0 s ago"}
        assert "api" in objections(*uses, service=Service("api", 1))


class TestOthers:
    """Processes of other services, and of instances that the roster does not have."""

    def test_unlisted_instance(self) -> None:
        """An instance that the roster does not have proves nothing, and counts against the condition."""
        other = ("api", "web-9")
        assert objections(used(), used(who=other)) == {}
        assert objections(used(), used(Slots(OLD), who=other, age=9, is_fresh=False)) == {
            "api/web-9": f"signs with {OLD}, last seen at most 9 s ago"
        }

    @pytest.mark.parametrize("condition", ["moved", "has-next"])
    def test_unlisted_service(self, condition: ConditionName) -> None:
        """It counts against every service, unless it agrees with one of them: services may have keys of their own."""
        expected = {API: NEW, WORKER: COMING}
        both = [used(), used(Slots(COMING), ("worker", "w"))]
        for keys, holds in ((Slots(NEW), True), (Slots(COMING), True), (Slots(OLD), False), (Slots(), True)):
            found = verdicts(expected, *both, used(keys, ("legacy", "x")), condition=condition)
            assert found == {"api": holds, "worker": holds}

    def test_service_with_another_key(self) -> None:
        """A listed service with keys of its own does not concern the others."""
        expected = {API: NEW, WORKER: COMING}
        assert verdicts(expected, used(), used(Slots(OLD), ("worker", "w"))) == {"api": True, "worker": False}

    def test_service_that_is_not_asked(self) -> None:
        """A service without a key of the condition has no verdict. It concerns others if it signs with their key."""
        for keys, holds in ((Slots(GONE), True), (Slots(NEW), False)):
            uses = [used(Slots(NEW, COMING)), used(keys, ("worker", "w"))]
            assert verdicts({API: COMING, WORKER: None}, *uses, condition="has-next") == {"api": holds}

    def test_service_that_shares_a_key(self) -> None:
        """A service that signs with a key of another one counts against both, although the roster keeps them apart."""
        expected = {API: NEW, WORKER: COMING}
        found = verdicts(expected, used(Slots(NEW, previous=OLD)), used(Slots(OLD), ("worker", "w")))
        assert found == {"api": False, "worker": False}

    def test_service_with_the_same_keys(self) -> None:
        """Where services have the same keys, each one has the verdict on its own instances."""
        expected = {API: NEW, WORKER: NEW}
        found = verdicts(expected, used(Slots(NEW, previous=OLD)), used(Slots(OLD), ("worker", "w")))
        assert found == {"api": True, "worker": False}

    def test_service_without_its_namespace(self) -> None:
        """A process that does not say its namespace may be of any service of its name: each one is unknown."""
        expected = {Service("prod/api", ("web-1",)): NEW, Service("staging/api", ("web-2",)): OLD}
        both = [used(who=("prod/api", "web-1")), used(Slots(OLD), ("staging/api", "web-2"))]
        assert verdicts(expected, *both) == {"prod/api": True, "staging/api": True}
        for keys in (Slots(NEW), Slots(OLD)):
            assert verdicts(expected, *both, used(keys)) == {"prod/api": False, "staging/api": False}
        assert all(verdicts(expected | {API: NEW}, *both, used()).values())

    @pytest.mark.parametrize("who", [("worker", "w"), ("legacy", "x"), ("api", "web-9")])
    def test_none_on_counts_everywhere(self, who: tuple[str, str]) -> None:
        """A key that nothing may use counts against every service, whoever uses it."""
        expected = {API: GONE, WORKER: GONE}
        both = [used(), used(who=("worker", "w"))]
        assert verdicts(expected, *both, condition="none-on") == {"api": True, "worker": True}
        found = verdicts(expected, *both, used(Slots(NEW, GONE), who), condition="none-on")
        assert found == {"api": False, "worker": False}

    def test_service_whose_roster_lacks_the_secret(self) -> None:
        """A service that need not have the secret, and has it, counts like one that is not in the roster."""
        assert verdicts({API: NEW}, used(), used(Slots(OLD), ("worker", "w"))) == {"api": False}

    def test_an_unknown_instance_of_an_unlisted_service(self) -> None:
        """It counts where it is known to have the secret: another process behind it may use an old key."""
        other = used(who=("legacy", "x"))
        found = objections(used(), other, unknown={("legacy", "x"): "several processes"})
        assert found == {"legacy/x": "unknown: several processes"}
        of_other_secret = used(who=("legacy", "x"), secret=OTHER)
        for more in ([], [of_other_secret]):
            assert objections(used(), *more, unknown={("legacy", "x"): "its target is down"}) == {}
        found = objections(used(), condition="none-on", key=GONE, unknown={("legacy", "x"): "its target is down"})
        assert found == {"legacy/x": "unknown: its target is down"}


KEYS: Final = st.builds(Slots, *[st.sampled_from((None, NEW, COMING, OLD))] * 3)
USES: Final = st.lists(
    st.builds(
        used,
        KEYS,
        st.tuples(st.sampled_from(("api", "worker", "legacy")), st.sampled_from("abc")),
        is_fresh=st.booleans(),
        secret=st.sampled_from((NAME, NAME, NAME, OTHER)),
    ),
    max_size=8,
)
CONDITIONS: Final = st.sampled_from(("moved", "has-next", "none-on"))


def holding(condition: ConditionName, key: str, found: Evidence, instances: int = 2) -> set[str]:
    """Return the services for which a condition holds. The number of the instances of one is declared."""
    expected = {Service("api", ("a", "b")): key, Service("worker", instances): key}
    return {each.service for each in judge(condition, NAME, expected, found) if each.holds}


class TestAnyEvidence:
    """What holds for any evidence."""

    @settings(max_examples=80)
    @given(USES, USES, CONDITIONS, st.sampled_from((NEW, COMING)), st.sampled_from("abc"))
    def test_doubt_proves_nothing(
        self, uses: list[Use], more: list[Use], condition: ConditionName, key: str, unknown: str
    ) -> None:
        """A use that is not fresh, something unknown or a fault never makes a condition hold."""
        before, old = holding(condition, key, evidence_of(*uses)), [use._replace(is_fresh=False) for use in more]
        assert holding(condition, key, evidence_of(*uses, *old)) <= before
        assert holding(condition, key, evidence_of(*uses, unknown={("api", unknown): "it is down"})) <= before - {"api"}
        assert holding(condition, key, evidence_of(*uses, faults=["an event is cut"])) == set()

    @settings(max_examples=80)
    @given(USES, USES, CONDITIONS, st.sampled_from((NEW, COMING)), st.sets(st.sampled_from("abc")))
    def test_no_false_all_clear(
        self, live: list[Use], dead: list[Use], condition: ConditionName, key: str, silent: set[str]
    ) -> None:
        """Where a condition holds, each process that runs agrees with it.

        A reader keeps its part: only what runs is fresh, and an instance from which something is fresh hides nothing.
        """
        truth = [use._replace(is_fresh=True) for use in live]
        seen = [use for use in live if use.instance not in silent or use.service == "legacy"]
        found = evidence_of(*seen, *(use._replace(is_fresh=False) for use in dead))
        number = len({use.instance for use in live if use.service == "worker"}) or 1
        for service in holding(condition, key, found, number):
            wrong = [use for use in truth if use.service in {service, "legacy"} and not agrees(condition, key, use)]
            assert wrong == []


def agrees(condition: ConditionName, key: str, use: Use) -> bool:
    """Check whether a process that runs agrees with a condition, or has no key that matters to it."""
    if condition == "none-on":
        return all(key not in {keys.current, keys.next, keys.previous} for keys in use.keys.values())
    keys = use.keys.get(NAME, Slots())
    signing, held = {keys.current} - {None}, {keys.current, keys.next} - {None}
    return signing <= {key} if condition == "moved" else key in held or not held


def test_services_of_a_roster() -> None:
    """A table has the instances of a service, as a number or as names, and what differs from the command."""
    text = """
        [api]
        instances = 40
        ["prod/worker"]
        instances = ["w-1", "w-2:8000"]
        secrets = ["secret.key"]
        from = ["vault:secret/worker", "directory:/run/worker"]
        environment = "prod-eu"
    """
    sources = ("vault:secret/worker", "directory:/run/worker")
    assert parse_roster("[api]\ninstances = 40") == (Service("api", 40),)
    assert parse_roster(text) == (
        Service("api", 40),
        Service("prod/worker", ("w-1", "w-2:8000"), ("secret.key",), sources, "prod-eu"),
    )


@pytest.mark.parametrize(
    ("fields", "which"),
    [
        ("", "service 2 (instances)"),
        ("instances = 0", "service 2 (instances)"),
        ("instances = true", "service 2 (instances)"),
        ("instances = 1.0", "service 2 (instances)"),
        ("instances = '1'", "service 2 (instances)"),
        ("instances = []", "service 2 (instances)"),
        ("instances = ['a', 'b', 'a']", "service 2 (instances)"),
        ("instances = ['a', 'b c']", "service 2 (instances)"),
        ("instances = 1\nname = 'worker'", "service 2"),
        ("instances = 1\nsources = ['json:-']", "service 2"),
        ("instances = 1\nsecrets = []", "service 2 (secrets)"),
        ("instances = 1\nsecrets = 'secret.key'", "service 2 (secrets)"),
        ("instances = 1\nfrom = []", "service 2 (from)"),
        ("instances = 1\nenvironment = 'Prod'", "service 2 (environment)"),
        ("instances = 1\n[api.more]\ninstances = 1", "service 2"),
    ],
)
def test_invalid_service_in_a_roster(fields: str, which: str) -> None:
    """What is missing, unknown or twice in a table is refused with the number of the service and the known field."""
    with pytest.raises(UsageError, match=rf"\A--roster: {re.escape(which)} is invalid; "):
        parse_roster(f"[first]\ninstances = 1\n[api]\n{fields}\n")


@pytest.mark.parametrize(
    "text",
    ["# [api]", "api web-1", "api = 3", "[[api]]\ninstances = 1", "[api]\ninstances = 1\n[api]\ninstances = 2"],
)
def test_roster_without_a_service(text: str) -> None:
    """A file without a service is refused. A service that is there twice may be a typo of another one."""
    with pytest.raises(UsageError, match=r"\A--roster: the file is invalid; "):
        parse_roster(text)


@settings(max_examples=80)
@given(st.text() | st.text(alphabet="[]\"'=\n 1aei{}.").map(lambda text: f"[api]\ninstances = {text}"))
def test_any_text_as_a_roster(text: str) -> None:
    """Any text is a roster or a usage error."""
    with contextlib.suppress(UsageError):
        assert parse_roster(text)
