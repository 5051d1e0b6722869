"""The plan of a rotation and of an emergency: its steps in each state. `tests/trials/plans` pastes them."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from typing import Annotated, Any, Final

import pytest
from command_line import fingerprint_of, rotated
from conftest import NOW, marker

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings
from robodj_secretguard.lifecycle.records import LastStep, StepName
from robodj_secretguard.lifecycle.runbook import (
    Place,
    PlannedStep,
    plan_after,
    plan_emergency,
    plan_lines,
    plan_proof,
    plan_question,
    plan_rotation,
)
from robodj_secretguard.lifecycle.steps import StoredKeys, kid_of, stored_keys

DAY: Final = timedelta(days=1)
OVERLAP: Final = 14 * DAY
MOST_LINES: Final = 15
MOST_IN_LINE: Final = 140


class Planned(SecretSettings):
    """Secrets with an overlap, with stored data, of a vendor, without an overlap, and of a vendor with an overlap."""

    session_key: Annotated[Secret, SecretPolicy(overlap=OVERLAP, stores_data=False)]
    data_key: Annotated[Secret, SecretPolicy(overlap=OVERLAP, stores_data=True)]
    stripe: Annotated[Secret, SecretPolicy(material=Material.opaque(prefix="sk_live_"), issuer="stripe.example/keys")]
    short_key: Annotated[Secret, SecretPolicy(overlap=timedelta(0))]
    vendor: Annotated[Secret, SecretPolicy(material=Material.opaque(), overlap=OVERLAP)]


POLICIES: Final = Planned.secret_policies
KEYS: Final = {slot: secrets.token_urlsafe(32) for slot in ("", "_NEXT", "_PREVIOUS")}
CURRENT, NEXT, PREVIOUS = (fingerprint_of(text) for text in KEYS.values())
OTHER: Final = f"sgfp1:{'a' * 32}"
PLACE: Final = Place(source="vault:secret/my-service", who=("--operator", "dana"), refresh=30)
FOLLOW: Final = "Instances that refresh have it within 60 seconds. Restart the others."
RESTART: Final = "Restart the instances one after another, and see that each one starts."
TO: Final = "--to vault:secret/my-service --operator dana"
FROM: Final = "--from vault:secret/my-service"
DISABLE: Final = (
    "When each instance has read that, disable an old value where it was issued, but keep a user that has the new one."
)
TEST: Final = "Test sign-in and decryption. Then record that they work:"
PROOF: Final = "The last line of this proves that the rotation is complete:"


def keys_of(name: str, *slots: str, until: str | None = None, undone: bool = False, legacy: str = "") -> StoredKeys:
    """Return the keys of a secret with these slots filled, by default with the keys of the tests."""
    policy = POLICIES[name]
    fields: dict[str, Any] = {f"{policy.variable}{slot}": KEYS[slot] for slot in slots}
    if legacy:  # a slot that has a text without a fingerprint
        fields[f"{policy.variable}{legacy.removeprefix('current')}"] = "sk_live_a passphrase from before"
    if until:
        fields[policy.slot_variables[2]] = until
    keys = stored_keys(policy, fields)
    step = LastStep("back", [rotated(NOW, CURRENT)]) if undone else None
    return keys._replace(step=step, is_undone=undone)


def planned(name: str, keys: StoredKeys, place: Place = PLACE, **options: Any) -> list[tuple[str, ...]]:
    """Return the text and the commands of each step of a rotation, without the program's name."""
    return shown(plan_rotation(POLICIES[name], keys, NOW, place, **options))


def shown(steps: list[PlannedStep]) -> list[tuple[str, ...]]:
    """Return the text and the commands of each step, without the program's name."""
    return [
        (each.text, *(one.removeprefix("robodj-secretguard ") for one in each.command.splitlines())) for each in steps
    ]


def record(name: str) -> str:
    """Return the command that completes a record."""
    return f"rotate record {name} {FROM} --operator dana --attest startup --attest functions"


def proof(name: str) -> tuple[str, str]:
    """Return the last step."""
    return PROOF, f"status --secret {name} --strict {FROM}"


class TestRotation:
    """The steps of a rotation, from the one that comes next."""

    def test_nothing_is_staged(self) -> None:
        """A rotation stages, promotes, records, retires, and proves that it is complete."""
        assert planned("session_key", keys_of("session_key", "")) == [
            ("Store a next key. It verifies, and signs nothing yet:", f"rotate stage session_key {TO}"),
            (
                f"{FOLLOW} An hour later, make it current. The old key verifies for 14 days:",
                f"rotate promote session_key {TO}",
            ),
            (f"{FOLLOW} {TEST}", record("session_key")),
            (
                f"14 days after the promotion, remove the old key, {CURRENT}:",
                f"rotate retire session_key {TO}",
            ),
            proof("session_key"),
        ]

    def test_a_next_key_is_staged(self) -> None:
        """The plan then begins with the promotion, and says when its hour is over."""
        keys = keys_of("session_key", "", "_NEXT")._replace(staged_at=NOW)
        first, *others = planned("session_key", keys)
        when = "After 2026-12-01T13:00:00Z, when every instance has the next key, make it current."
        assert first == (f"{when} The old key verifies for 14 days:", f"rotate promote session_key {TO}")
        assert len(others) == 3

    def test_a_promotion_that_was_undone(self) -> None:
        """Nobody promotes that key again before the reason is gone."""
        keys = keys_of("session_key", "", "_NEXT", undone=True)
        assert planned("session_key", keys)[0][0].startswith("The promotion was undone. When its reason is gone, make")

    @pytest.mark.parametrize(
        ("until", "when"),
        [
            (marker(5 * DAY), f"After 2026-12-06T12:00:00Z, remove the previous key, {PREVIOUS}:"),
            (marker(-DAY), f"Remove the previous key, {PREVIOUS}. Its time is over:"),
            (None, f"Correct the deadline of {PREVIOUS}. When it is over, remove it:"),
        ],
        ids=["to come", "over", "none"],
    )
    def test_an_overlap(self, until: str | None, when: str) -> None:
        """In an overlap, only the end of the previous key is left."""
        keys = keys_of("session_key", "", "_PREVIOUS", until=until)
        assert planned("session_key", keys) == [(when, f"rotate retire session_key {TO}"), proof("session_key")]

    def test_a_rotation_that_is_not_recorded(self) -> None:
        """Its record is completed first, as the last step would fail without it."""
        keys = keys_of("session_key", "", "_PREVIOUS", until=marker(5 * DAY))
        steps = planned("session_key", keys, is_recorded=False)
        assert steps[0] == (f"{FOLLOW} {TEST}", record("session_key"))
        assert [step[1].split()[1] for step in steps[1:]] == ["retire", "--secret"]
        steps = shown(plan_emergency(POLICIES["session_key"], keys, PREVIOUS, PLACE, is_recorded=False))
        assert steps[1] == (f"{FOLLOW} {TEST}", record("session_key"))

    def test_a_next_key_in_an_overlap(self) -> None:
        """The previous key ends before the next one is promoted."""
        steps = planned("session_key", keys_of("session_key", *KEYS, until=marker(5 * DAY)))
        assert [step[1].split()[1] for step in steps] == ["retire", "promote", "record", "retire", "--secret"]
        assert PREVIOUS in steps[0][0]
        assert CURRENT in steps[3][0]

    def test_a_key_from_before_the_adoption(self) -> None:
        """A key without a fingerprint gets a deadline as well."""
        keys = keys_of("session_key", legacy="current")
        assert planned("session_key", keys)[3][0].endswith("remove the old value:")

    def test_a_previous_key_from_before_the_adoption_without_a_deadline(self) -> None:
        """It is named by its place."""
        keys = keys_of("session_key", "", legacy="_PREVIOUS")
        assert planned("session_key", keys)[0][0].startswith("Correct the deadline of the previous key. When")

    def test_stored_data(self) -> None:
        """Stored data is re-encrypted before its key is removed, and the step says that it was."""
        *_, retire, _ = planned("data_key", keys_of("data_key", ""))
        assert retire == (
            f"Re-encrypt its data (docs/recipes.md). 14 days after the promotion, remove the old key, {CURRENT}:",
            f"rotate retire data_key --data-done {kid_of(CURRENT)} {TO}",
        )

    def test_an_unfit_key(self) -> None:
        """A key on which no service starts is replaced at once. It verifies for the overlap where it stays."""
        put = ("Put a new key into vault:secret/my-service, in the place of the current one:",)
        steps = planned("session_key", keys_of("session_key", ""), is_unfit=True)
        assert steps == [
            (*put, f"rotate put session_key {TO}"),
            (f"{FOLLOW} {TEST}", record("session_key")),
            ("14 days later, remove the old value:", f"rotate retire session_key {TO}"),
            proof("session_key"),
        ]
        gone = planned("session_key", keys_of("session_key"), is_unfit=True, stays=False)
        assert gone == [steps[0], steps[1], steps[3]]

    def test_an_unfit_key_with_a_next_one(self) -> None:
        """The next key takes its place without an hour. What waits for a previous key comes later."""
        keys = keys_of("session_key", "", "_NEXT", "_PREVIOUS", until=marker(DAY))
        steps = planned("session_key", keys, is_unfit=True)
        assert steps[0] == (
            "Make the next key current at once, as no service starts on the current one:",
            f"rotate promote session_key --now {TO}",
        )
        assert [step[1].split()[1] for step in steps[1:]] == ["record", "retire", "--secret"]
        steps = planned("session_key", keys_of("session_key", "_NEXT"), is_unfit=True, stays=False)
        assert [step[1].split()[1] for step in steps] == ["promote", "record", "--secret"]

    def test_a_recorded_key(self) -> None:
        """Where an earlier version has the recorded key, putting it back is the whole plan, also with a next key.

        A promotion would take the recorded key away, which services still sign with.
        """
        for slots in ((), ("_NEXT",)):
            steps = planned("session_key", keys_of("session_key", *slots), is_unfit=True, restorable=OTHER)
            assert steps == [
                (
                    "An earlier version has the recorded key. Put it back; then nothing else is needed:",
                    f"rotate restore session_key --fingerprint {OTHER} {TO}",
                )
            ]

    def test_a_vendors_secret(self) -> None:
        """A vendor's value is issued, stored, and the old one disabled there."""
        steps = planned("stripe", keys_of("stripe", legacy="current"))
        assert steps == [
            (
                "Issue a new one at stripe.example/keys. This asks for it, and puts it into the store:",
                f"rotate put stripe {TO}",
            ),
            (f"{FOLLOW} Test the logins. Then record that they work:", record("stripe")),
            (DISABLE,),
            proof("stripe"),
        ]

    def test_a_vendors_secret_with_an_overlap(self) -> None:
        """Its old value is removed first, and then disabled: until then, connections use it."""
        steps = planned("vendor", keys_of("vendor", legacy="current"))
        assert " If one user keeps its name, set its new password at the server now. Test the logins." in steps[1][0]
        assert [step[0].partition(" ")[0] for step in steps[-2:]] == ["When", "The"]
        assert [step[1].split()[1] for step in steps if len(step) > 1] == ["put", "record", "retire", "--secret"]

    @pytest.mark.parametrize(
        ("step", "name", "expected"),
        [
            (
                "retire",
                "vendor",
                DISABLE,
            ),
            (
                "put",
                "stripe",
                DISABLE,
            ),
        ],
    )
    def test_what_follows_a_step_disables_a_vendors_old_value(self, step: StepName, name: str, expected: str) -> None:
        """Somebody who follows the output of a step alone leaves no old value that works."""
        steps = shown(plan_after(step, POLICIES[name], keys_of(name, legacy="current"), NOW, PLACE))
        assert steps[-2:] == [(expected,), proof(name)]

    @pytest.mark.parametrize(
        ("step", "name", "condition"),
        [
            ("stage", "session_key", "has-next"),
            ("promote", "session_key", "moved"),
            ("retire", "session_key", "none-on PREVIOUS"),
            ("put", "short_key", "moved"),
            ("put", "stripe", ""),
        ],
    )
    def test_after_a_step_a_command_shows_who_follows(self, step: StepName, name: str, condition: str) -> None:
        """The command asks for what the step is about. A secret without a fingerprint has none."""
        place = Place(source="directory:keys", proof=("--events", "events.jsonl"))
        found = shown(plan_proof(step, POLICIES[name], keys_of(name, "", "_PREVIOUS"), place))
        condition = condition.replace("PREVIOUS", PREVIOUS)
        fleet = f"fleet --events events.jsonl --secret {name} --require {condition} --from directory:keys"
        text = "This shows which instances have followed. docs/logs.md says how to collect their events:"
        assert found == ([(text, fleet)] if condition else [])

    def test_no_overlap(self) -> None:
        """Without an overlap, the key is replaced in one step, and nothing is left to remove."""
        steps = planned("short_key", keys_of("short_key", ""))
        assert [step[1].split()[1] for step in steps] == ["put", "record", "--secret"]

    @pytest.mark.parametrize(
        ("place", "follow"),
        [
            (Place(source="directory:secrets"), RESTART),
            (
                Place(source="envfile:service.env"),
                "Restart each unit, and create each container anew (not docker restart).",
            ),
            (Place(source="exec:/opt/helper", refresh=5), FOLLOW.replace("60", "10")),
            (Place(source="aws:my-service"), RESTART),
        ],
    )
    def test_how_the_instances_follow(self, place: Place, follow: str) -> None:
        """A plan says what is restarted, by the store and by whether the services refresh."""
        steps = planned("session_key", keys_of("session_key", ""), place)
        assert [text.startswith(f"{follow} ") for text, _ in steps] == [False, True, True, False, False]


class TestEmergency:
    """The steps after a key has leaked."""

    def test_which_key(self) -> None:
        """An emergency begins with which key leaked. Each key that the store has can be named."""
        keys = keys_of("session_key", *KEYS, until=marker(DAY))
        first, *others = shown(plan_question(POLICIES["session_key"], keys, PLACE))
        plan = "rotate plan session_key --emergency"
        assert first[1:] == (f"{plan} --key-from ../leaked.txt {FROM} --operator dana",)
        assert [each[1] for each in others] == [
            f"{plan} --fingerprint {key} {FROM} --operator dana" for key in (CURRENT, NEXT, PREVIOUS)
        ]

    @pytest.mark.parametrize(
        ("leaked", "begin", "words"),
        [
            (CURRENT, "Replace the current key and revoke the leaked one", ["run", "record", "revoke", "status"]),
            (PREVIOUS, "Remove the previous key and revoke it", ["run", "", "revoke", "status"]),
            (NEXT, "Replace the next key and revoke it", ["run", "", "revoke", "status"]),
            (OTHER, "Revoke it on the repository's list too", ["revoke", "status"]),
        ],
        ids=["current", "previous", "next", "none"],
    )
    def test_each_key(self, leaked: str, begin: str, words: list[str]) -> None:
        """The leaked key is taken away and revoked in one write. An innocent current key stays."""
        keys = keys_of("session_key", *KEYS, until=marker(DAY))
        steps = shown(plan_emergency(POLICIES["session_key"], keys, leaked, PLACE))
        names = [(each[1].removeprefix("rotate ").split()[0] if len(each) > 1 else "") for each in steps]
        assert names == words
        assert steps[0][0].startswith(begin)
        revoke = f"revoke session_key --fingerprint {leaked} --reason WHY --yes {FROM} --operator dana"
        assert steps[-2][1] == revoke
        if leaked != OTHER:
            assert steps[0][1] == f"rotate run session_key --emergency --fingerprint {leaked} --reason WHY {TO}"
        assert ("sessions" in steps[-2][0]) == (leaked == CURRENT)

    def test_stored_data(self) -> None:
        """One job gets the leaked key from the store. Then the key can be removed."""
        keys = keys_of("data_key", "", "_PREVIOUS", until=marker(DAY))
        for leaked, count in ((CURRENT, 1), (PREVIOUS, 1), (OTHER, 0)):
            steps = shown(plan_emergency(POLICIES["data_key"], keys, leaked, PLACE))
            found = [each[1:] for each in steps if len(each) > 2]
            retire = f"rotate retire data_key --data-done {kid_of(leaked)} {TO}"
            assert found == [(f"exec --previous {leaked} {FROM} -- python reencrypt.py", retire)] * count

    def test_the_proof_of_the_fleet(self) -> None:
        """Where the operator names a roster, the plan proves that no instance runs on the leaked key."""
        place = PLACE._replace(proof=("--roster", "roster.toml"))
        steps = shown(plan_emergency(POLICIES["session_key"], keys_of("session_key", ""), CURRENT, place))
        assert steps[-2][1] == f"fleet --roster roster.toml --require none-on {CURRENT} {FROM}"


OPTIONS: Final = {
    "no options": ((), ()),
    "an operator": (("--operator", "dana"), ()),
    "an operator and a ticket": (("--operator", "dana", "--ticket", "SEC-1423"), ()),
    "a model": (("--operator", "dana"), ("--model", "shop.settings:ShopSecrets")),
    "a model and a ticket": (
        ("--operator", "dana", "--ticket", "SEC-1423"),
        ("--model", "shop.settings:ShopSecrets"),
    ),
}
STATES: Final[dict[str, dict[str, Any]]] = {
    "nothing staged": {"slots": ("",)},
    "staged": {"slots": ("", "_NEXT")},
    "an overlap": {"slots": ("", "_PREVIOUS"), "until": marker(DAY)},
    "an overlap and a next key": {"slots": ("", "_NEXT", "_PREVIOUS"), "until": marker(DAY)},
    "no deadline": {"slots": ("", "_PREVIOUS")},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["session_key", "data_key", "short_key"])
def test_each_size(name: str, options: str, state: str) -> None:
    """A plan has 15 lines, texts of 140 characters and ten commands at most, and no word to replace but WHY."""
    who, more = OPTIONS[options]
    place = PLACE._replace(who=who, options=more)
    made = STATES[state]
    slots = made["slots"] if POLICIES[name].overlap else ("",)
    keys = keys_of(name, *slots, until=made.get("until"))
    policy = POLICIES[name]
    plans = {
        "rotation": plan_rotation(policy, keys, NOW, place),
        "question": plan_question(policy, keys, place),
        "emergency": plan_emergency(policy, keys, CURRENT, place),
    }
    for kind, steps in plans.items():
        lines = ["title", *plan_lines(steps)]
        assert len(lines) <= MOST_LINES, kind
        assert max(len(step.text) for step in steps) <= MOST_IN_LINE
        commands = [each for step in steps for each in step.command.splitlines()]
        assert len(commands) <= 10
        assert not re.search(r"\$\(|\(\)|&&|\|", "".join(commands))
        assert {*re.findall(r"(?<![A-Z-])[A-Z]{3,}(?![A-Z-])", " ".join(commands))} <= {"WHY"}


def test_each_command_is_one_line() -> None:
    """A command is a line of its own, which can be pasted."""
    place = PLACE._replace(options=("--model", "shop.settings:ShopSecrets", "--operations-log", "/var/log/it's here"))
    steps = plan_rotation(POLICIES["data_key"], keys_of("data_key", ""), NOW, place)
    commands = [each.strip() for each in plan_lines(steps) if each.startswith(" ")]
    assert commands == [each for step in steps for each in step.command.splitlines()]


def test_a_step_as_json() -> None:
    """A step is an object of its text and its commands, one a line."""
    assert PlannedStep("Wait.").as_dict() == {"text": "Wait.", "command": None}
    assert PlannedStep("Wait:", "one\ntwo").as_dict() == {"text": "Wait:", "command": "one\ntwo"}
