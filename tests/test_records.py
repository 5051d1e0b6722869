"""The records in the operations log and its head file: their JSON, and invalid values."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from conftest import V1, V2, good_keys
from detector import leaks

from robodj_secretguard.errors import UsageError
from robodj_secretguard.lifecycle.records import (
    Head,
    Proof,
    Validation,
    draft,
    hash_of,
    is_hash,
    parse_head,
    parse_record,
)

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
FULL = parse_record(LINE) or draft("continued")
HEAD = Head(sequence=1, hash=hash_of(b"line"))
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


class TestRecord:
    """A line of the log."""

    def test_line(self) -> None:
        """A line is compact JSON with every field in a fixed order and times in UTC, and is read back unchanged."""
        assert FULL.line() == LINE
        assert FULL.as_dict() == FIELDS | {"hash": hash_of(LINE)}
        assert replace(FULL).as_dict() == FIELDS
        assert FULL.recorded_at == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
        assert FULL.validation == Validation(**VALIDATION)

    def test_fields_that_do_not_apply(self) -> None:
        """An absent field is null, and a draft has the number 1."""
        least = replace(draft("revoked"), recorded_at=FULL.recorded_at).as_dict()
        known = {"schema": 1, "sequence": 1, "recorded_at": "2026-11-02T08:30:00Z", "event": "revoked"}
        assert least == dict.fromkeys(FIELDS) | known

    def test_other_offset(self) -> None:
        """A time with another offset is converted to UTC."""
        line = json.dumps(FIELDS | {"recorded_at": "2026-11-02T09:30:00+01:00"}).encode()
        assert getattr(parse_record(line), "recorded_at", None) == FULL.recorded_at

    @pytest.mark.parametrize(("field", "value"), REFUSED, ids=range(len(REFUSED)))
    def test_refused_field(self, field: str, value: object) -> None:
        """A line with an invalid or unknown field is not a record."""
        assert parse_record(json.dumps(FIELDS | {field: value}).encode()) is None

    @pytest.mark.parametrize("field", ["sequence", "recorded_at", "event"])
    def test_missing_field(self, field: str) -> None:
        """A line without a required field is not a record."""
        assert parse_record(json.dumps({name: FIELDS[name] for name in FIELDS if name != field}).encode()) is None

    @pytest.mark.parametrize(
        "line",
        [b"", b" ", b"null", b"[]", b"{}", b"\0\0", b"\xff", b"[" * 10_000, LINE[:-1], LINE + b"}"],
        ids=range(10),
    )
    def test_not_an_object(self, line: bytes) -> None:
        """A line that is not a JSON object is not a record."""
        assert parse_record(line) is None

    @pytest.mark.parametrize("field", ["operator", "ticket", "reason"])
    def test_key_in_free_text(self, field: str) -> None:
        """A draft with a key in an operator's text is refused, and the error does not show the key."""
        for key in KEYS.values():
            with pytest.raises(UsageError, match=rf"\Ainvalid {field}; ") as caught:
                draft("rotated", **{field: key})
            assert leaks(f"{caught.value} {caught.value!r}", [key]) == []

    def test_frozen(self) -> None:
        """A record, its validation and a head cannot be changed."""
        for record in (FULL, FULL.validation, HEAD):
            with pytest.raises(FrozenInstanceError):
                record.schema = 1  # type: ignore[misc, union-attr]

    def test_subject(self) -> None:
        """The subject is the name of the secret, or says that the secret is unknown."""
        assert FULL.subject == "secret.key"
        assert draft("revoked").subject == "an unknown secret"

    @pytest.mark.parametrize("step", ["gate", "startup", "functions", "log"])
    def test_open_steps(self, step: str) -> None:
        """The open steps are those that are not done. A record without a validation has none."""
        assert FULL.open_steps == draft("revoked").open_steps == ()
        assert replace(FULL, validation=Validation(**VALIDATION | {step: "not-done"})).open_steps == (step,)


class TestHash:
    """The hash of a line, which the next record contains."""

    def test_hash_of_a_line(self) -> None:
        """The hash is the SHA-256 of the bytes of the line."""
        assert hash_of(b"line") == f"sha256:{sha256(b'line').hexdigest()}"
        assert is_hash(hash_of(b""))

    @pytest.mark.parametrize(
        "text",
        ["", "0a" * 32, f"sha256:{'0A' * 32}", f"sha256:{'0a' * 31}", f"sha256:{'0a' * 32}\n", f"md5:{'0a' * 16}"],
    )
    def test_not_a_hash(self, text: str) -> None:
        """A hash has only one spelling."""
        assert not is_hash(text)


class TestHead:
    """The content of the head file."""

    def test_line(self) -> None:
        """A head is one line of JSON, and is read back unchanged."""
        fields = {"sequence": 1, "hash": hash_of(b"line")}
        assert HEAD.as_dict() == fields
        assert HEAD.line() == json.dumps({"schema": 1} | fields, separators=(",", ":")).encode()
        assert parse_head(HEAD.line() + b"\n") == HEAD

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"}", b""),
            (b'"schema":1', b'"schema":2'),
            (b'"sequence":1', b'"sequence":0'),
            (b'"sequence":1', b'"sequence":"1"'),
            (b"sha256", b"sha1"),
            (b"{", b'{"more":1,'),
            (HEAD.line(), b""),
            (HEAD.line(), b"null"),
            (HEAD.line(), b"\xff"),
        ],
        ids=range(9),
    )
    def test_malformed(self, old: bytes, new: bytes) -> None:
        """A line with another schema, number, hash or field is not a head."""
        assert parse_head(HEAD.line().replace(old, new)) is None
