"""The plan of a rotation or of an emergency: what happens when, with whole commands (policy sections 3 to 5)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, TypeAlias

from robodj_secretguard.lifecycle.records import StepName
from robodj_secretguard.lifecycle.steps import MIN_AGE, StoredKeys, is_over, kid_of
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import COMMAND_INDENT, command, count
from robodj_secretguard.startup.inputs import iso_utc
from robodj_secretguard.startup.time_rules import in_words

DATA_PAGE: Final = "docs/recipes.md"
EVENTS_PAGE: Final = "docs/logs.md"
REASON: Final = "WHY"
"""The word in a command that the operator replaces."""
JOB: Final = "python reencrypt.py"
"""The project's own job, in the command that gives it a leaked key."""
LEAKED_FILE: Final = "../leaked.txt"
"""The file with the leaked text, outside the repository."""


class PlannedStep(Frozen):
    """A step of a plan: what happens, and the commands in a line each, if it has any."""

    text: str
    command: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the step in the plain types of JSON."""
        return {"text": self.text, "command": self.command or None}


Steps: TypeAlias = list[PlannedStep]
"""The steps of a plan, in order."""
_DISABLE: Final = PlannedStep(
    "When each instance has read that, disable an old value where it was issued, but keep a user that has the new one."
)


def plan_lines(steps: Steps) -> Iterator[str]:
    """Yield the steps with their numbers, and each command in one line."""
    for number, step in enumerate(steps, start=1):
        yield f"{number}. {step.text}"
        for text in step.command.splitlines():
            yield f"{COMMAND_INDENT}{text}"


class Place(Frozen, kw_only=True):
    """Where the keys of a plan are, and who uses them.

    Attributes:
        source: the store, such as `vault:secret/shop`.
        who: the options of a step for the environment, the operator and the ticket.
        options: the options for the log, the config directory and the model.
        refresh: after how many seconds the services read their secrets directory again; `None` for never.
        proof: the options of `fleet` for the roster and its evidence; none where the operator named none.
        writer: the option of a step and of a plan for a program that compares no versions, if the operator passed it.
    """

    source: str
    who: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    refresh: int | None = None
    proof: tuple[str, ...] = ()
    writer: tuple[str, ...] = ()

    @property
    def of_step(self) -> tuple[str, ...]:
        """The options of a step in the store."""
        return ("--to", self.source, *self.writer, *self.who, *self.options)

    def step(self, step: str, name: str, *more: str) -> str:
        """Return the command of a step in the store."""
        return command("rotate", step, name, *more, *self.of_step)

    def record(self, name: str) -> str:
        """Return the command that completes the record of a rotation."""
        attested = ("--attest", "startup", "--attest", "functions")
        return command("rotate", "record", name, "--from", self.source, *self.who, *attested, *self.options)

    def reading(self, *words: str) -> str:
        """Return a command that reads the store."""
        return command(*words, "--from", self.source, *self.options)

    def named(self, *words: str) -> str:
        """Return a command that reads the store and records who did it."""
        return command(*words, "--from", self.source, *self.who, *self.options)

    @property
    def follow(self) -> str:
        """How the instances get what the store has."""
        if self.refresh:
            return f"Instances that refresh have it within {count(2 * self.refresh, 'second')}. Restart the others."
        if self.source.startswith("envfile:"):
            return "Restart each unit, and create each container anew (not docker restart)."
        return "Restart the instances one after another, and see that each one starts."

    @property
    def follow_at_once(self) -> str:
        """How the instances get what the store has, in an emergency."""
        return self.follow.replace("one after another", "at once")


def plan_rotation(
    policy: SecretPolicy,
    keys: StoredKeys,
    now: datetime,
    place: Place,
    *,
    is_unfit: bool = False,
    stays: bool = True,
    restorable: str = "",
    is_recorded: bool = True,
) -> Steps:
    """Return the steps of a rotation, from the one that comes next.

    Args:
        policy: the policy of the secret.
        keys: its keys in the store.
        now: the time.
        place: where the keys are, and who uses them.
        is_unfit: whether no service starts on the current key, as it is missing, invalid, shared or expired.
        stays: whether the current key verifies for the overlap after a new one has taken its place.
        restorable: the recorded key, if an earlier version of the store has it; empty where none has.
        is_recorded: whether the log has the rotation to the current key as complete.
    """
    name = policy.name
    has_next = "next" in keys.filled
    has_previous = "previous" in keys.filled
    if policy.is_issued or not policy.overlap or (is_unfit and (restorable or not has_next)):
        return [*_new_value(policy, keys, place, restorable, stays=stays)]
    ending = _ending(policy, keys.slots.previous, place, _when_over(keys, now))
    if has_previous and not has_next:
        return ending if is_recorded else plan_after("promote", policy, keys, now, place)
    steps = ending[:-1] if has_previous and not is_unfit else []
    if not has_next:
        stage = place.step("stage", name)
        steps.append(PlannedStep("Store a next key. It verifies, and signs nothing yet:", stage))
    steps.append(_promotion(policy, keys, now, place, is_unfit=is_unfit))
    steps.append(_validation(policy, place, place.follow))
    if is_unfit and not stays:
        return [*steps, _last_step(name, place)]
    after = f"{in_words(policy.overlap)} after the promotion, remove {_old_key('old', keys.slots.current)}:"
    return [*steps, *_ending(policy, keys.slots.current, place, after)]


def plan_after(step: StepName, policy: SecretPolicy, keys: StoredKeys, now: datetime, place: Place) -> Steps:
    """Return what follows a step that was taken. `keys` are those after it."""
    if step == "retire":
        disable = [_DISABLE] if policy.is_issued else []
        return [*disable, _last_step(policy.name, place)]
    if step == "restore":
        return [PlannedStep(place.follow)]
    if step in {"stage", "back"}:
        return [PlannedStep(place.follow), *plan_rotation(policy, keys, now, place)]
    validation = _validation(policy, place, place.follow)
    if "previous" not in keys.filled:
        old = [_DISABLE] if policy.is_issued else []
        return [validation, *old, _last_step(policy.name, place)]
    return [validation, *_ending(policy, keys.slots.previous, place, _when_over(keys, now))]


def plan_proof(step: StepName, policy: SecretPolicy, keys: StoredKeys, place: Place) -> Steps:
    """Return the step that shows which instances follow a step that was taken. `keys` are those before it."""
    condition = ["has-next" if step == "stage" else "moved"]
    if step == "retire":
        condition = ["none-on", keys.slots.previous or ""]
    if not policy.material.has_fingerprint or "" in condition:
        return []
    return [_fleet_step("have followed", place, "--secret", policy.name, "--require", *condition)]


def _fleet_step(what: str, place: Place, *options: str) -> PlannedStep:
    """Return the step that shows which instances do something."""
    hint = f". {EVENTS_PAGE} says how to collect their events" if "--events" in place.proof else ""
    return PlannedStep(f"This shows which instances {what}{hint}:", place.reading("fleet", *place.proof, *options))


def _old_key(which: str, key: str | None) -> str:
    return f"the {which} key, {key}" if key else f"the {which} value"


def _promotion(policy: SecretPolicy, keys: StoredKeys, now: datetime, place: Place, *, is_unfit: bool) -> PlannedStep:
    """Return the step that makes the next key current."""
    if is_unfit:
        text = "Make the next key current at once, as no service starts on the current one:"
        return PlannedStep(text, place.step("promote", policy.name, "--now"))
    when = f"{place.follow} An hour later"
    if "next" in keys.filled:
        when = f"After {iso_utc(max(now, (keys.staged_at or now) + MIN_AGE))}, when every instance has the next key"
    if keys.is_undone:
        when = "The promotion was undone. When its reason is gone"
    text = f"{when}, make it current. The old key verifies for {in_words(policy.overlap)}:"
    return PlannedStep(text, place.step("promote", policy.name))


def _validation(policy: SecretPolicy, place: Place, follow: str) -> PlannedStep:
    """Return the step of the validation after a new key is current."""
    what = "the logins" if policy.is_issued else "sign-in and decryption"
    if policy.is_issued and policy.overlap:
        follow = f"{follow} If one user keeps its name, set its new password at the server now."
    return PlannedStep(f"{follow} Test {what}. Then record that they work:", place.record(policy.name))


def _when_over(keys: StoredKeys, now: datetime) -> str:
    """Return when the previous key may be removed."""
    key = _old_key("previous", keys.slots.previous)
    if is_over(keys, now):
        return f"Remove {key}. Its time is over:"
    if keys.slots.previous_until is None:
        return f"Correct the deadline of {keys.slots.previous or 'the previous key'}. When it is over, remove it:"
    return f"After {iso_utc(keys.slots.previous_until)}, remove {key}:"


def _ending(policy: SecretPolicy, old: str | None, place: Place, when: str) -> Steps:
    """Return the steps that take an old key away, and prove that the rotation is complete."""
    done: tuple[str, ...] = ()
    if policy.stores_data:
        when = f"Re-encrypt its data ({DATA_PAGE}). {when}"
        done = ("--data-done", kid_of(old))
    steps = [PlannedStep(when, place.step("retire", policy.name, *done))]
    if policy.is_issued:  # until then, connections use it
        steps.append(_DISABLE)
    return [*steps, _last_step(policy.name, place)]


def _last_step(name: str, place: Place) -> PlannedStep:
    """Return the last step."""
    text = "The last line of this proves that the rotation is complete:"
    return PlannedStep(text, place.reading("status", "--secret", name, "--strict"))


def _new_value(
    policy: SecretPolicy, keys: StoredKeys, place: Place, restorable: str, *, stays: bool
) -> Iterator[PlannedStep]:
    """Yield the steps that put a new value into the place of the current one."""
    name = policy.name
    if restorable:
        restore = place.step("restore", name, "--fingerprint", restorable)
        yield PlannedStep("An earlier version has the recorded key. Put it back; then nothing else is needed:", restore)
        return
    what = f"Put a new key into {place.source}, in the place of the current one:"
    if policy.is_issued:
        what = f"{policy.replacement[0].upper()}{policy.replacement[1:]}. This asks for it, and puts it into the store:"
    yield PlannedStep(what, place.step("put", name))
    yield _validation(policy, place, place.follow)
    if policy.overlap and stays:
        after = f"{in_words(policy.overlap)} later, remove the old value:"
        yield from _ending(policy, keys.slots.current, place, after)
        return
    if policy.is_issued:
        yield _DISABLE
    yield _last_step(name, place)


def plan_question(policy: SecretPolicy, keys: StoredKeys, place: Place) -> Steps:
    """Return the beginning of an emergency: how to find out which key leaked."""
    name = policy.name
    plan = ("rotate", "plan", name, "--emergency", *place.writer)
    steps = [
        PlannedStep(
            f"Write the leaked text into {LEAKED_FILE}. This finds out which key it is. Then delete that file:",
            place.named(*plan, "--key-from", LEAKED_FILE),
        )
    ]
    for slot in ("current", "next", "previous"):
        key = getattr(keys.slots, slot)
        if key is not None:
            text = f"If nobody has the text, and the {slot} key of {name} may have leaked:"
            steps.append(PlannedStep(text, place.named(*plan, "--fingerprint", key)))
    return steps


def plan_leaked_value(policy: SecretPolicy, place: Place) -> Steps:
    """Return the steps of an emergency of a secret that others issue (policy sections 4 and 5)."""
    issue = f"{policy.replacement[0].upper()}{policy.replacement[1:]}, and disable the leaked one there."
    put = place.step("put", policy.name, "--emergency", "--reason", REASON)
    return [
        PlannedStep(f"{issue} This asks for the new one, and forgets the leaked one:", put),
        _validation(policy, place, place.follow_at_once),
        _last_step(policy.name, place),
    ]


def plan_emergency(
    policy: SecretPolicy, keys: StoredKeys, leaked: str, place: Place, *, is_recorded: bool = True
) -> Steps:
    """Return the steps of an emergency (policy sections 4 and 5).

    Args:
        policy: the policy of the secret.
        keys: its keys in the store.
        leaked: the fingerprint of the key that others may know.
        place: where the keys are, and who uses them.
        is_recorded: whether the log has the rotation to the current key as complete.
    """
    name = policy.name
    slots = keys.slots
    steps: Steps = []
    run = place.step("run", name, "--emergency", "--fingerprint", leaked, "--reason", REASON)
    if leaked == slots.current:
        text = "Replace the current key and revoke the leaked one, in one write. What the leaked key signed is refused:"
        steps.append(PlannedStep(text, run))
    elif leaked == slots.previous:
        text = "Remove the previous key and revoke it, in one write. The current key stays:"
        steps.append(PlannedStep(text, run))
    elif leaked == slots.next:
        steps.append(PlannedStep("Replace the next key and revoke it, in one write. The current key stays:", run))
    if leaked == slots.current or not is_recorded:
        steps.append(_validation(policy, place, place.follow_at_once))
    elif steps:
        steps.append(PlannedStep(place.follow_at_once))
    revoke = place.named("revoke", name, "--fingerprint", leaked, "--reason", REASON, "--yes")
    text = "Revoke it on the repository's list too. Commit the list, and deploy it:"
    if leaked == slots.current:
        text = f"Invalidate the sessions and tokens that it has signed. {text}"
    steps.append(PlannedStep(text, revoke))
    if policy.stores_data and leaked in {slots.current, slots.previous}:
        steps.append(_rescue(policy, leaked, place))
    if place.proof:
        steps.append(_fleet_step("still use the leaked key", place, "--require", "none-on", leaked))
    steps.append(_last_step(name, place))
    return steps


def _rescue(policy: SecretPolicy, leaked: str, place: Place) -> PlannedStep:
    """Return the step that re-encrypts stored data with a leaked key, which services do not get any more."""
    job = f"{place.reading('exec', '--previous', leaked)} -- {JOB}"
    retire = place.step("retire", policy.name, "--data-done", kid_of(leaked))
    text = f"Re-encrypt the stored data of the leaked key: {JOB} stands for the job ({DATA_PAGE}). Then remove the key:"
    return PlannedStep(text, f"{job}\n{retire}")
