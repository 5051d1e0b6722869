"""No generated key is refused."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.material import format_defects, is_placeholder, weakness

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATORS = {
    "token_urlsafe(32)": ("secret_key", lambda: secrets.token_urlsafe(32)),
    "token_hex(64)": ("secret_v2_key", lambda: secrets.token_hex(64)),
    "token_urlsafe(64)": ("secret_v2_key", lambda: secrets.token_urlsafe(64)),
}


def refused(field: str, generate: Callable[[], str], count: int) -> int:
    """Count the generated keys that any rule of material refuses."""
    material = RuntimeSecrets.secret_policies[field].material
    keys = (generate() for _ in range(count))
    return sum(bool(is_placeholder(key) or format_defects(key, material) or weakness(key)) for key in keys)


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_sample(generator: str) -> None:
    """None of ten thousand of each kind."""
    assert refused(*GENERATORS[generator], 10_000) == 0


@pytest.mark.full
def test_a_million_of_sixteen_bytes() -> None:
    """None of a million short keys is a placeholder."""
    assert sum(is_placeholder(secrets.token_urlsafe(16)) for _ in range(1_000_000)) == 0


@pytest.mark.full
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_million(generator: str) -> None:
    """None of a million of each kind."""
    assert refused(*GENERATORS[generator], 1_000_000) == 0
