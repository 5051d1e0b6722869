"""The records of the operations log: their JSON, and what they say of a rotation and its validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import pytest
from command_line import OTHER, rotated
from conftest import NOW, V1, V2, Checker, good_keys, marker
from detector import leaks

from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.records import (
    Event,
    Proof,
    Record,
    Validation,
    Who,
    completion,
    draft,
    draft_rotation,
    judge_drafts,
    parse_record,
    recorded_keys,
    revoked,
    rotations,
    slots_of,
    unkept_key,
)
from robodj_secretguard.startup.rules import Problem

VALIDATION: dict[str, Proof] = {"gate": "verified", "startup": "attested", "functions": "attested", "log": "verified"}
FIELDS = {
    "schema": 1,
    "sequence": 7,
    "recorded_at": "2026-11-02T08:30:00Z",
    "event": "rotated",
    "secret": "secret.key",
    "environment": "prod",
    "owner": "Security Operations",
    "operator": "Zoë",
    "ticket": "SEC-1",
    "reason": "it was due",
    "note": "reviewed by Grace",
    "fingerprint": f"sgfp1:{'0a' * 16}",
    "expires_at": "2027-01-31T00:00:00Z",
    "replaced": f"sgfp1:{'0d' * 16}",
    "replaced_until": "2026-11-16T08:30:00Z",
    "validation": VALIDATION,
    "previous": f"sha256:{'0c' * 32}",
}
LINE = json.dumps(FIELDS, ensure_ascii=False, separators=(",", ":")).encode()
KEYS = good_keys()
REFUSED: tuple[tuple[str, object], ...] = (
    ("schema", 2),
    ("sequence", 0),
    ("sequence", "7"),
    ("sequence", 7.0),
    ("sequence", True),
    ("recorded_at", None),
    ("recorded_at", 1793606400),
    ("recorded_at", "2026-11-02"),
    ("recorded_at", "2026-11-02T08:30:00"),
    ("recorded_at", "9999-12-31T23:59:59-23:00"),
    ("recorded_at", "0001-01-01T00:00:00+23:00"),
    ("event", "rotate"),
    ("secret", "secret key"),
    ("environment", "Prod"),
    ("owner", "two\nlines"),
    ("operator", ""),
    ("operator", 7),
    ("operator", "two\rlines"),
    ("operator", f"https://{KEYS[V1]}@example.org/"),
    ("ticket", "\x1b[2J"),
    ("ticket", "\x7f"),
    ("ticket", "\x85"),
    ("ticket", "\N{NO-BREAK SPACE}leaked"),
    ("ticket", f"SEC-1-{KEYS[V1]}"),
    ("reason", "x" * 501),
    ("reason", KEYS[V2][:64].upper()),
    ("note", f"{KEYS[V1]}{'abcdefghijklmnopqrstuvwxyz' * 2}"),
    ("fingerprint", f"sgfp1:{'0A' * 16}"),
    ("expires_at", "soon"),
    ("replaced", f"sgfp1:{'0D' * 16}"),
    ("replaced_until", "2026-11-16T08:30:00"),
    ("validation", {"gate": "verified"}),
    ("validation", dict.fromkeys(("gate", "startup", "functions", "log"), "done")),
    ("previous", f"sha256:{'0C' * 32}"),
    ("hash", f"sha256:{'0d' * 32}"),
    ("more", None),
)
NO_RECORD: dict[str, bytes] = {
    **{
        f"refused field {number}: {field}": json.dumps(FIELDS | {field: value}).encode()
        for number, (field, value) in enumerate(REFUSED)
    },
    **{
        f"no {field}": json.dumps({name: FIELDS[name] for name in FIELDS if name != field}).encode()
        for field in ("sequence", "recorded_at", "event")
    },
    **{
        f"no object {number}": line
        for number, line in enumerate(
            (b"", b" ", b"null", b"[]", b"{}", b"\0\0", b"\xff", b"[" * 10_000, LINE[:-1], LINE + b"}")
        )
    },
}
NAME = "secret.key"
KEY, OLD, OLDER = (f"sgfp1:{digit * 32}" for digit in "cba")
DAY = timedelta(days=1)
NEW = rotated(NOW, KEY)
DONE = "--attest startup --attest functions"
PROGRAM = "robodj-secretguard"
VERIFIED: Final = "verified"
ATTESTED: Final = "attested"
NOT_DONE: Final = "not-done"


def recorded(days: int, key: str = OLD, **fields: Any) -> Record:
    """Return the record of a rotation some days ago."""
    return rotated(NOW - days * DAY, key, **fields)


def revocation(days: int, key: str = OLD) -> Record:
    """Return the record of a revocation some days ago."""
    return replace(draft("revoked", reason="leaked", fingerprint=key), recorded_at=NOW - days * DAY)


def validated(record: Record, startup: Proof, functions: Proof) -> Record:
    """Return the record of a rotation with these steps of its validation."""
    validation = Validation(gate=VERIFIED, startup=startup, functions=functions, log=VERIFIED)
    event: Event = "rotation-incomplete" if NOT_DONE in {startup, functions} else "rotated"
    return replace(record, event=event, validation=validation)


class TestLine:
    """A line of the log."""

    def test_a_line_is_read_back_unchanged(self) -> None:
        """A line is compact JSON with every field in a fixed order. Its hash is the SHA-256 of its bytes."""
        record = parse_record(LINE)
        assert record is not None
        assert (record.line(), record.recorded_at) == (LINE, datetime(2026, 11, 2, 8, 30, tzinfo=UTC))
        assert record.as_dict() == FIELDS | {"hash": f"sha256:{sha256(LINE).hexdigest()}"}
        assert replace(record).as_dict() == FIELDS
        assert parse_record(LINE.replace(b"08:30:00Z", b"09:30:00+01:00", 1)).recorded_at == record.recorded_at  # type: ignore[union-attr]

    def test_an_absent_field_is_null(self) -> None:
        """A draft has the number 1, and the subject of a record without a secret is unknown."""
        least = replace(draft("revoked"), recorded_at=NOW)
        known = {"schema": 1, "sequence": 1, "recorded_at": "2026-12-01T12:00:00Z", "event": "revoked"}
        assert least.as_dict() == dict.fromkeys(FIELDS) | known
        assert (least.subject, NEW.subject, least.open_steps) == ("an unknown secret", NAME, ())

    @pytest.mark.parametrize("line", NO_RECORD.values(), ids=NO_RECORD)
    def test_a_line_that_is_no_record(self, line: bytes) -> None:
        """A line with an invalid, missing or unknown field, or without a JSON object, is not a record."""
        assert parse_record(line) is None

    @pytest.mark.parametrize("field", ["operator", "ticket", "reason"])
    def test_key_in_free_text(self, field: str) -> None:
        """A draft with a key in an operator's text is refused, and the error does not show the key."""
        for key in KEYS.values():
            with pytest.raises(UsageError, match=rf"\Ainvalid {field}; ") as caught:
                draft("rotated", **{field: key})
            assert leaks(f"{caught.value} {caught.value!r}", [key]) == []

    def test_a_record_is_frozen(self) -> None:
        """Nothing of a record changes after it was made."""
        for frozen in (NEW, NEW.validation):
            with pytest.raises(FrozenInstanceError):
                frozen.schema = 1  # type: ignore[misc, union-attr]


class TestRecords:
    """The keys of a secret in the records of a log."""

    def test_rotations_of_one_secret(self) -> None:
        """They are returned in order, also incomplete ones, in all environments or in one. Each key is listed once."""
        dev, open_one, prod = recorded(4, environment="dev"), recorded(3, startup=NOT_DONE), recorded(1, KEY)
        records = [dev, open_one, recorded(2, OLDER, secret=OTHER), revocation(2), prod]
        assert rotations(records, NAME) == [dev, open_one, prod]
        assert rotations(records, NAME, "prod") == [open_one, prod]
        assert recorded_keys(records, NAME) == f"{OLD} prod 2026-11-28T12:00:00Z; {KEY} prod 2026-11-30T12:00:00Z"
        assert recorded_keys(records[2:4], NAME) == "none is recorded"

    def test_each_revoked_key_is_returned_once(self) -> None:
        """They are returned in order."""
        assert revoked([revocation(4), recorded(3, OLDER), revocation(2, KEY), revocation(1)]) == [OLD, KEY]

    @pytest.mark.parametrize(
        ("records", "replaced", "is_unkept"),
        [
            ([recorded(3, OLDER), recorded(2), revocation(1, OLDER)], None, True),
            ([recorded(2)], OLD, False),
            ([], None, False),
            ([recorded(2), NEW], None, False),
            ([recorded(2), revocation(1, OLD)], None, False),
            ([recorded(2, environment="dev"), recorded(1, secret=OTHER)], None, False),
        ],
        ids=["no previous key", "a previous key", "no record", "completed", "revoked", "others"],
    )
    def test_a_key_that_is_not_kept(self, records: Sequence[Record], replaced: str | None, *, is_unkept: bool) -> None:
        """Without a previous key, what the old key signed is refused. That is a warning."""
        warning = unkept_key(replace(NEW, replaced=replaced), records)
        begin = f"WARNING: no previous key of {NAME} is set here, so what {OLD} signed is refused."
        assert (warning is not None and warning.startswith(begin)) is is_unkept


class TestDraft:
    """The draft of a rotation, from the report of a check."""

    @pytest.mark.parametrize(("startup", "event"), [(NOT_DONE, "rotation-incomplete"), (VERIFIED, "rotated")])
    def test_a_draft(self, checker: Checker, startup: Proof, event: Event) -> None:
        """A rotation is recorded with the result of the gate, and as incomplete while a step is open."""
        status = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(9 * DAY)}).secrets[0]
        new = draft_rotation(status, startup, ATTESTED, Who(environment="prod", operator="Ada", ticket="OPS-1"))
        assert new == draft(
            event,
            secret=NAME,
            environment="prod",
            owner="Security Operations",
            operator="Ada",
            ticket="OPS-1",
            fingerprint=status.fingerprint,
            expires_at=NOW + 9 * DAY,
            validation=Validation(gate=VERIFIED, startup=startup, functions=ATTESTED, log=VERIFIED),
        )
        assert new.open_steps == (("startup",) if startup == NOT_DONE else ())

    def test_a_draft_of_a_promotion(self, checker: Checker) -> None:
        """A promotion has the previous key and its deadline. A previous key that equals the current one is none."""
        status = checker(good_keys()).secrets[0]._replace(next_fingerprint=KEY, previous_until=NOW + DAY)
        for previous, expected in ((OLD, (OLD, NOW + DAY)), (status.fingerprint, (None, None)), (None, (None, None))):
            promoted = status._replace(previous_fingerprint=previous)
            new = draft_rotation(promoted, ATTESTED, ATTESTED, Who())
            assert (new.replaced, new.replaced_until) == expected
            assert slots_of(promoted) == Slots(status.fingerprint, KEY, previous, NOW + DAY)


def deliver(why: str, name: str = NAME) -> Problem:
    """Return the problem of a key that is not new."""
    plan = f"{PROGRAM} rotate plan {name} --environment prod --log x --model m:C"
    return Problem(why, f"deliver the new key of {name} from the secret manager; if none was made, run {plan}")


class TestJudge:
    """The decision whether a rotation may be recorded."""

    UNCHANGED = "this key is already recorded"

    @staticmethod
    def judged(
        *records: Record, new: Sequence[Record] = (NEW,), named: bool = False
    ) -> tuple[list[Record], list[str], dict[str | None, Problem]]:
        drafts = {each.secret or "": each for each in new}
        return judge_drafts(drafts, records, are_named=named, options=("--log", "x", "--model", "m:C"))

    @pytest.mark.parametrize(
        ("records", "why"),
        [
            (
                [recorded(3, KEY, environment="dev"), revocation(1, KEY)],
                "this key was revoked at 2026-11-30T12:00:00Z",
            ),
            (
                [recorded(3, KEY), recorded(2, KEY, environment="dev", startup=NOT_DONE)],
                "the environment dev has this key, and each environment needs its own",
            ),
            (
                [recorded(3, KEY), recorded(2, KEY, secret=OTHER)],
                f"{OTHER} has this key, and each secret needs its own",
            ),
            (
                [recorded(3, KEY), recorded(2, KEY), recorded(1)],
                "this is an old key, recorded at 2026-11-28T12:00:00Z",
            ),
        ],
        ids=["revoked", "environment", "secret", "used before"],
    )
    def test_a_key_that_has_records(self, records: Sequence[Record], why: str) -> None:
        """A key that was revoked, is used elsewhere or was used before is refused. One without a record is accepted."""
        assert self.judged(*records) == ([], [], {NAME: deliver(why)})
        assert self.judged(recorded(2), revocation(1), recorded(1, secret=OTHER)) == ([NEW], [], {})

    def test_an_unchanged_key(self) -> None:
        """A key that is already recorded is ignored if another key is new and its secret was not named."""
        other, refused = rotated(NOW, OLD, secret=OTHER), {NAME: deliver(self.UNCHANGED)}
        assert self.judged(recorded(1, KEY, startup=NOT_DONE), NEW) == ([], [NAME], refused)
        assert self.judged(NEW, new=(NEW, other)) == ([other], [NAME], {})
        assert self.judged(NEW, new=(NEW, other), named=True) == ([other], [NAME], refused)
        assert self.judged(NEW, other, new=(NEW, other))[2] == refused | {OTHER: deliver(self.UNCHANGED, OTHER)}

    @pytest.mark.parametrize("before", [(NOT_DONE, NOT_DONE), (ATTESTED, NOT_DONE)], ids=["no step", "a step"])
    def test_a_rotation_is_completed_by_a_record_of_every_step(self, before: tuple[Proof, Proof]) -> None:
        """An incomplete rotation is completed by a record that has every step, whichever was done before."""
        earlier = validated(recorded(1, KEY), *before)
        assert self.judged(earlier, new=(NEW,)) == ([NEW], [], {})

    def test_an_incomplete_rotation_is_not_recorded_again(self) -> None:
        """An incomplete rotation without every step is refused, with the command that completes it."""
        earlier = validated(recorded(1, KEY), ATTESTED, NOT_DONE)
        why = "this rotation was recorded as incomplete at 2026-11-30T12:00:00Z, and not every step is confirmed"
        again = f"rotate record {NAME} --environment prod --operator Ada {DONE} --log x --model m:C"
        problem = Problem(why, f"do the open steps, then run {PROGRAM} {again}")
        assert self.judged(earlier, new=(validated(NEW, NOT_DONE, ATTESTED),)) == ([], [], {NAME: problem})


def test_completion() -> None:
    """The command confirms every step, quotes the operator, and leaves out unknown values."""
    open_one = validated(rotated(NOW, KEY, operator="dana o'neil"), NOT_DONE, NOT_DONE)
    begin = f"{PROGRAM} rotate record {NAME} --environment prod --operator"
    assert completion(open_one, ("--model", "m:C")) == f"{begin} 'dana o'\"'\"'neil' {DONE} --model m:C"
    described = replace(NEW, operator="-x", ticket="OPS-17", note="by Grace")
    assert completion(described, ()) == f"{begin}=-x --ticket OPS-17 --note 'by Grace' {DONE}"
