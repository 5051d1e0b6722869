"""The types of JSON documents: what each one accepts, and how it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from robodj_secretguard.common.shapes import EnvironmentName, Fingerprint, Instant, SecretName


def test_instant_is_converted_to_utc() -> None:
    """An instant with another offset is converted to UTC, and written with a Z."""
    adapter = TypeAdapter(Instant)
    instant = adapter.validate_json(b'"2026-11-02T09:30:00+01:00"')
    assert instant == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
    assert adapter.dump_json(instant) == b'"2026-11-02T08:30:00Z"'


@pytest.mark.parametrize("text", ["2026-11-02T08:30:00", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00"])
def test_instant_without_a_time_in_utc_is_invalid(text: str) -> None:
    """An instant without a timezone, or outside of the years that UTC has, is invalid."""
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_json(f'"{text}"')


@pytest.mark.parametrize(
    ("kind", "valid", "invalid"),
    [
        (SecretName, "secret.key", "secret key"),
        (EnvironmentName, "prod", "Prod"),
        (Fingerprint, f"sgfp1:{'0a' * 16}", f"sgfp1:{'0A' * 16}"),
    ],
    ids=["secret", "environment", "fingerprint"],
)
def test_text_is_compared_with_its_rule(kind: Any, valid: str, invalid: str) -> None:
    """A text is accepted only if the function of its type accepts it."""
    adapter = TypeAdapter[Any](kind)
    assert adapter.validate_python(valid, strict=True) == valid
    with pytest.raises(ValidationError):
        adapter.validate_python(invalid, strict=True)
