"""The plan of a rotation: in three stages with an overlap, or at once (policy sections 1 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.lifecycle.rotation import Step, has_overlap, recorded_environments, revoked, rotations, stage_of
from robodj_secretguard.secret.material import PREFIX
from robodj_secretguard.secret.texts import MANAGER, command, count
from robodj_secretguard.startup.rules import Check
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robodj_secretguard.lifecycle.records import Record
    from robodj_secretguard.lifecycle.rotation import Stage
    from robodj_secretguard.secret.policy import SecretPolicy
    from robodj_secretguard.startup.report import Report

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
        until = self._status.previous_until if self._status else None
        is_waiting = self._status and not self._is_promoted and has_overlap(self._status, report.checked_at)
        self._waits = until if is_waiting else None
        self._start = self._waits or report.checked_at
        self._ends = (until if self._is_promoted else None) or self._start + policy.overlap
        listed = report.revocation_list.begin(self._old or "") if report.revocation_list else None
        if listed and report.checked_at < listed < self._ends and not self._is_promoted:
            self._ends = listed  # a key that is promoted again after a rollback keeps its deadline
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
        return [*self._steps()]

    def _steps(self) -> Iterator[Step]:
        policy, is_own, is_at_once = self._policy, not self._policy.is_opaque, not self.stage
        _, previous, until = policy.slot_variables
        if not is_at_once and self._are_swapped():
            yield Step(
                f"{policy.variable} and {previous} look swapped: the log has the previous key as the later one. Set"
                " each to its own value from the secret manager, then print this plan again."
            )
            return
        recorded = self._promotion if self._is_promoted or self._is_replaced else None
        open_steps = recorded.open_steps if recorded else ("startup", "functions")
        only = "Revoke the old key" if self._is_emergency else "Only if others may know the old key, revoke it"
        is_revoked = self._old is not None and self._old in revoked(self._records)
        revoke = Step(f"{only} (add --yes to do it):", is_revoked, self._revoke)
        if is_own:
            yield self._record_old()
            yield from [revoke] * self._is_emergency
        yield from self._to_replace() if is_at_once else self._to_promote()
        passes = recorded is not None if is_at_once else self._is_promoted and self._report.ok
        yield Step("Run the check there:", passes, self._check)
        restart = "Restart the services. Make sure that each startup check passes." if is_at_once else _RESTART
        yield Step(restart, "startup" not in open_steps)
        yield Step("Test the functions that depend on authentication or encryption.", "functions" not in open_steps)
        where = self._environment if is_at_once else f"{self._environment}, where {previous} is set"
        text = f"Record the rotation in {where}. Leave out --attest for a step that you did not do:"
        yield Step(text, recorded is not None and not open_steps, self._record)
        if is_own and not is_at_once:
            text = "Commit the revocation list, and deploy it with every service. The record has added the old key."
            yield Step(text)
        if is_own and policy.overlap:
            kid = f" (key id {self._old.removeprefix(PREFIX)})" if self._old else ""
            yield Step(f"Re-encrypt stored data that the old key{kid} has encrypted.")
        if not is_at_once:
            yield Step(f"After {iso_utc(self._ends)}, unset the previous key:", command=f"unset {previous} {until}")
        yield self._disable()
        if is_own and is_at_once and not self._is_emergency:
            yield revoke

    def _to_replace(self) -> Iterator[Step]:
        """Yield the steps that replace the current key at once."""
        policy, is_set = self._policy, self._is_replaced
        coming, previous, until = policy.slot_variables
        unset = f" Unset {coming}, {previous} and {until}." if policy.overlap else ""
        yield self._make_new("a new version", done=is_set)
        text = f"Set {policy.variable} in {self._environment} to the new key from the secret manager.{unset}"
        yield Step(text, is_set)
        yield Step(
            f"Set the expiry marker ({count(policy.cadence.days, 'day')} from now), here and in the settings of the"
            " deployment:",
            is_set and self._promotion is not None,
            f"export {policy.expiry_variable}={iso_utc(self._report.checked_at + policy.cadence)}",
        )

    def _to_promote(self) -> Iterator[Step]:
        """Yield the steps from a new next key to its promotion."""
        policy, is_promoted = self._policy, self._is_promoted
        variable, (coming, previous, until) = policy.variable, policy.slot_variables
        has_next = self.stage != "next"
        yield self._make_new(coming, done=has_next)
        wait = "at once"
        if Check.EXPIRED not in self._alerts:  # an instance does not start on an expired key
            wait = "only when every instance has it"
            text = f"Set {coming} on every instance to this key from the secret manager. {variable} stays as it is."
            yield Step(text, has_next)
            yield Step("Run the check there:", has_next and (self._report.ok or is_promoted), self._check)
            yield Step(_RESTART, is_promoted)
        if self._waits:
            wait += f", and after {iso_utc(self._waits)}, when {previous} has ended"
        again = "" if has_next and not self._waits else " First print this plan again: its dates count from now."
        expires = self._status.expires_at if self._status and is_promoted else None
        assignments = (
            f'export {previous}="${variable}"',
            f"export {until}={iso_utc(self._ends)}",
            f'export {variable}="${coming}"',
            f"export {policy.expiry_variable}={iso_utc(expires or self._start + policy.cadence)}",
            f"unset {coming}",
        )
        text = f"Promote the next key, {wait}.{again} Change these in one write, with the values from before it:"
        yield Step(text, is_promoted, "\n".join(assignments))

    def _are_swapped(self) -> bool:
        """Check whether the log has the previous key as the last one, and the current key as an earlier one."""
        keys = [each.fingerprint for each in self._here]
        status = self._status
        return bool(keys and status and keys[-1] == status.previous_fingerprint and status.fingerprint in keys[:-1])

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

    def _make_new(self, stored_as: str, *, done: bool) -> Step:
        policy, alone = self._policy, f"for {self._environment} alone"
        new = f"{policy.replacement} {alone}" if policy.is_opaque else f"generate a new key {alone}"
        text = f"{new[0].upper() + new[1:]}, and store it in the secret manager as {stored_as}."
        skip = f"Skip this if the manager already has a newer {'one.' if policy.is_opaque else 'key:'}"
        return Step(f"{text} {skip}", done, self._generate)

    def _disable(self) -> Step:
        if self._policy.is_opaque:
            where = "where it was issued, and its version in the secret manager"
            return Step(f"If the test passed, disable the old one {where}.")
        last = next((each for each in reversed(self._here) if each.fingerprint == self._old), None)
        which = f" ({last.fingerprint}, recorded at {iso_utc(last.recorded_at)})" if last else ""
        return Step(f"If the test passed, disable the old version in the secret manager{which}.")
