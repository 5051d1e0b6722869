"""The plan of a rotation: in three stages with an overlap, or at once (policy sections 1 and 3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import Check
from robodj_secretguard.lifecycle.rotation import Step, has_overlap, recorded_environments, revoked, rotations, stage_of
from robodj_secretguard.material import PREFIX
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import MANAGER, command, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.lifecycle.rotation import Stage
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Report
    from robodj_secretguard.shapes import Record

PLACEHOLDERS: Final = ("ENVIRONMENT", "YOUR-NAME", MANAGER, "WHY")
"""The words in the commands of a plan that the operator replaces."""

_UNFIT: Final = {Check.PLACEHOLDER, Check.FORMAT, Check.WEAK, Check.SHARED, Check.REVOKED}
"""The checks that refuse a key in every slot. A current key with such an alert cannot become the previous one."""


_RESTART: Final = "Restart the instances one after another. Make sure that each startup check passes."


class Plan:
    """The plan of a secret's rotation, from the keys that are set here and from the records.

    Args:
        policy: the policy of the secret.
        report: the report of a check.
        records: the records of the operations log.
        environment: the environment that the operator named, if any.
        who: the options for the operator and the ticket.
        options: the options for every command.
        log_options: the options for commands that use the log.
        is_emergency: whether the operator wants no overlap.
    """

    def __init__(
        self,
        policy: SecretPolicy,
        report: Report,
        records: Sequence[Record],
        *,
        environment: str | None,
        who: Sequence[str],
        options: Sequence[str],
        log_options: Sequence[str],
        is_emergency: bool = False,
    ) -> None:
        self._policy, self._report, self._records, self._is_emergency = policy, report, records, is_emergency
        status = next((each for each in report.secrets if each.secret == policy.name), None)
        keys = (status.previous_fingerprint, status.fingerprint) if status else ()
        own = [each for key in keys if key for each in recorded_environments(key, policy.name, records)]
        self._environment = environment or next(reversed(own), None) or "ENVIRONMENT"
        # The keys that are set here may be those of another environment.
        self._status = None if own and self._environment not in own else status
        self._here = rotations(records, policy.name, self._environment)
        alerts = [each for each in report.alerts if each.secret == policy.name and each.slot == "current"]
        self._alerts = {each.check for each in alerts} if self._status else set()
        attested = ("--attest", "startup", "--attest", "functions")
        of_record = ("rotate", "record", policy.name, "--environment", self._environment)
        self._record = command(*of_record, *who, *attested, *log_options, *options)
        slot = ("--next",) if self.stage else ()
        generate = f"{command('generate', policy.name, *slot, *options)} | {MANAGER}"
        self._generate = None if policy.is_opaque else generate
        self._check = command("check", "--require-env-only", *options)
        current = self._status.fingerprint if self._status else None
        self._is_promoted = self.stage == "retire"
        last = self._here[-1] if self._here else None
        self._promotion = last if last and last.fingerprint == current else None
        self._set_here = self._status.previous_fingerprint if self._status and self._is_promoted else current
        if not self.stage:
            self._set_here = self._replaced_at_once(current) or current
        self._is_replaced = not self.stage and current not in {None, self._set_here}
        self._old = self._set_here or (last.fingerprint if last else None)
        which = ("--fingerprint", self._old) if self._old else (policy.name, "--last-recorded")
        self._revoke = command("revoke", *which, "--reason", "WHY", *who, *log_options, *options)

    def _replaced_at_once(self, current: str | None) -> str | None:
        """Return the revoked key that the current key replaces, while this rotation may not be finished."""
        others, are_revoked = [each for each in self._here if each.fingerprint != current], revoked(self._records)
        if current in {None, *are_revoked} or not others or others[-1].fingerprint not in are_revoked:
            return None
        since = self._promotion.recorded_at if self._promotion else self._report.checked_at
        is_recent = self._report.checked_at <= since + (self._policy.overlap or self._policy.warn_before)
        return others[-1].fingerprint if is_recent else None

    @property
    def stage(self) -> Stage | None:
        """The stage that comes next; `None` for a rotation at once.

        A rotation is at once without an overlap, and for a key that no service would accept as the previous one.
        """
        if self._is_emergency or not self._policy.overlap or self._alerts & _UNFIT:
            return None
        stage: Stage = stage_of(self._status) if self._status else "next"
        return "next" if stage == "retire" and Check.EXPIRED in self._alerts else stage

    def steps(self) -> list[Step]:
        """Return the steps. Those that the program can see are marked as done."""
        return [*(self._in_stages() if self.stage else self._at_once())]

    def _at_once(self) -> Iterator[Step]:
        policy, environment = self._policy, self._environment
        coming, previous, until = policy.slot_variables
        unset = f" Unset {coming}, {previous} and {until}." if policy.overlap else ""
        is_set, is_recorded = self._is_replaced, self._is_replaced and self._promotion is not None
        open_steps = self._promotion.open_steps if is_recorded and self._promotion else ("startup", "functions")
        only = "Revoke the old key" if self._is_emergency else "Only if others may know the old key, revoke it"
        is_revoked = self._old is not None and self._old in revoked(self._records)
        revoke = Step(f"{only} (add --yes to do it):", is_revoked, self._revoke)
        if not policy.is_opaque:
            yield self._record_old()
        if self._is_emergency and not policy.is_opaque:
            yield revoke
        yield self._make_new("a new version", done=is_set)
        yield Step(f"Set {policy.variable} in {environment} to the new key from the secret manager.{unset}", is_set)
        yield Step(
            f"Set the expiry marker ({count(policy.cadence.days, 'day')} from now), here and in the settings of the"
            " deployment:",
            is_recorded,
            f"export {policy.expiry_variable}={iso_utc(self._report.checked_at + policy.cadence)}",
        )
        yield Step("Run the check there:", is_recorded, self._check)
        yield Step("Restart the services. Make sure that each startup check passes.", "startup" not in open_steps)
        yield Step("Test the functions that depend on authentication or encryption.", "functions" not in open_steps)
        yield Step(
            f"Record the rotation in {environment}. Leave out --attest for a step that you did not do:",
            is_recorded and not open_steps,
            self._record,
        )
        if policy.overlap and not policy.is_opaque:
            yield self._re_encrypt()
        yield self._disable()
        if not self._is_emergency and not policy.is_opaque:
            yield revoke

    def _in_stages(self) -> Iterator[Step]:
        policy, status, is_promoted, now = self._policy, self._status, self._is_promoted, self._report.checked_at
        variable, (coming, previous, until) = policy.variable, policy.slot_variables
        if self._are_swapped():
            yield Step(
                f"{variable} and {previous} look swapped: the log has the previous key as the later one. Set each to"
                " its own value from the secret manager, then print this plan again."
            )
            return
        has_next, passes = self.stage != "next", self._report.ok
        validation = self._promotion.validation if is_promoted and self._promotion else None
        open_steps = validation.open_steps if validation else ("startup", "functions")
        expires = status.expires_at if status and is_promoted else None
        ends = status.previous_until if status and is_promoted else None
        waits = status.previous_until if status and not is_promoted and has_overlap(status, now) else None
        start = waits or now
        ends = ends or min(start + policy.overlap, self._listed_from() or datetime.max.replace(tzinfo=UTC))
        if not policy.is_opaque:
            yield self._record_old()
        yield self._make_new(coming, done=has_next)
        if Check.EXPIRED not in self._alerts:  # an instance does not start on an expired key
            text = f"Set {coming} on every instance to this key from the secret manager. {variable} stays as it is."
            yield Step(text, has_next)
            yield Step("Run the check there:", has_next and (passes or is_promoted), self._check)
            yield Step(_RESTART, is_promoted)
        wait = "only when every instance has it" if Check.EXPIRED not in self._alerts else "at once"
        if waits:
            wait += f", and after {iso_utc(waits)}, when {previous} has ended"
        again = " First print this plan again: its dates count from now." if waits or not has_next else ""
        text = f"Promote the next key, {wait}.{again} Change these in one write, with the values from before it:"
        assignments = (
            f'export {previous}="${variable}"',
            f"export {until}={iso_utc(ends)}",
            f'export {variable}="${coming}"',
            f"export {policy.expiry_variable}={iso_utc(expires or start + policy.cadence)}",
            f"unset {coming}",
        )
        yield Step(text, is_promoted, "\n".join(assignments))
        yield Step("Run the check there:", is_promoted and passes, self._check)
        yield Step(_RESTART, "startup" not in open_steps)
        yield Step("Test the functions that depend on authentication or encryption.", "functions" not in open_steps)
        yield Step(
            f"Record the rotation in {self._environment}, where {previous} is set. Leave out --attest for a step that"
            " you did not do:",
            validation is not None and not open_steps,
            self._record,
        )
        if not policy.is_opaque:
            yield Step(
                "Commit the revocation list, and deploy it with every service. The record has added the old key."
            )
            yield self._re_encrypt()
        yield Step(f"After {iso_utc(ends)}, unset the previous key:", command=f"unset {previous} {until}")
        yield self._disable()

    def _are_swapped(self) -> bool:
        """Check whether the log has the previous key as the last one, and the current key as an earlier one."""
        keys = [each.fingerprint for each in self._here]
        status = self._status
        return bool(keys and status and keys[-1] == status.previous_fingerprint and status.fingerprint in keys[:-1])

    def _listed_from(self) -> datetime | None:
        """Return the instant from which the old key is revoked, if that is to come: a rollback was promoted again."""
        listed = self._report.revocation_list
        begin = listed.begin(self._old) if listed and self._old else None
        return begin if begin and begin > self._report.checked_at else None

    def _record_old(self) -> Step:
        known = [each for each in self._here if self._set_here and each.fingerprint == self._set_here]
        if known:
            which = "old" if self._is_promoted or self._is_replaced else "current"
            since = iso_utc(known[0].recorded_at)
            return Step(f"The {which} key is already recorded ({self._set_here}, since {since}). Continue.", done=True)
        if self._is_promoted:
            return Step("The old key has no record. Continue.", done=True)
        if self._alerts & {*_UNFIT, Check.EXPIRED}:
            return Step("The current key fails the check, so it cannot be recorded. Go to step 2.")
        text = (
            f"Record the current key, where {self._policy.variable} is set. Only a recorded key can be revoked by name:"
        )
        return Step(text, command=self._record)

    def _make_new(self, stored_as: str, *, done: bool = False) -> Step:
        policy, alone = self._policy, f"for {self._environment} alone"
        new = f"{policy.replacement} {alone}" if policy.is_opaque else f"generate a new key {alone}"
        text = f"{new[0].upper() + new[1:]}, and store it in the secret manager as {stored_as}."
        skip = f"Skip this if the manager already has a newer {'one.' if policy.is_opaque else 'key:'}"
        return Step(f"{text} {skip}", done, self._generate)

    def _re_encrypt(self) -> Step:
        kid = f" (key id {self._old.removeprefix(PREFIX)})" if self._old else ""
        return Step(f"Re-encrypt stored data that the old key{kid} has encrypted.")

    def _disable(self) -> Step:
        if self._policy.is_opaque:
            where = "where it was issued, and its version in the secret manager"
            return Step(f"If the test passed, disable the old one {where}.")
        last = next((each for each in reversed(self._here) if each.fingerprint == self._old), None)
        which = f" ({last.fingerprint}, recorded at {iso_utc(last.recorded_at)})" if last else ""
        return Step(f"If the test passed, disable the old version in the secret manager{which}.")
