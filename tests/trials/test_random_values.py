"""Real values pass: generated keys, and values of the formats in which vendors issue secrets."""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING

import pytest
from formats import FORMATS, filled
from values import ROWS, declared

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.secret.material import is_well_formed, placeholder, weakness
from robodj_secretguard.secret.policy import LEAST_MATERIAL
from robodj_secretguard.secret.templates import template

if TYPE_CHECKING:
    from robodj_secretguard import Material

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
REAL = {row[2]: (declared(row[1]), filled(row[2])) for row in ROWS if row[0] == "pass" and "{" in row[2]}


@pytest.mark.parametrize("count", [100, pytest.param(20_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", [*FORMATS, *REAL])
def test_no_false_alarm_in_values_of_a_format(name: str, count: int) -> None:
    """No random value of a format is refused. Only the full run makes 20,000 of each."""
    (kind, make), rng = (FORMATS | REAL)[name], random.Random(name)  # noqa: S311
    assert [value for value in (make(rng) for _ in range(count)) if not kind.accepts(value, "SHOP_SECRET")] == []


@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=pytest.mark.full, id="a million")])
class TestFalseAlarms:
    """A key of an approved generator is not refused. Only the full run draws a million of each."""

    @pytest.mark.parametrize(
        ("material", "function", "size"),
        [
            (POLICIES[0].material, "token_urlsafe", 32),
            (POLICIES[1].material, "token_hex", 64),
            (POLICIES[1].material, "token_urlsafe", 64),
            (LEAST_MATERIAL, "token_urlsafe", 16),
            (LEAST_MATERIAL, "token_hex", 16),
            (LEAST_MATERIAL, "token_urlsafe", 24),
        ],
        ids=lambda each: str(each) if isinstance(each, (str, int)) else "",
    )
    def test_by_any_rule_of_material(self, material: Material, function: str, size: int, count: int) -> None:
        """A key has the right format, and is not a placeholder or weak. Of 16 bytes, one in five million is."""
        keys = (getattr(secrets, function)(size) for _ in range(count))
        refused = sum(bool(placeholder(key) or not is_well_formed(key, *material) or weakness(key)) for key in keys)
        # More than 3 in a million: once in 17,000 runs. More than 1 in a thousand: never.
        assert refused <= (min(3, count // 1_000) if size == 16 else 0)


@pytest.mark.parametrize("text", ["your", "aB", "a1", "a.", "A_", "{", "/run/", "\u00e9", "op:", "a" * 99 + "b"])
def test_cost_of_a_template_is_bounded(text: str) -> None:
    """No text of 64 KiB takes longer than 50 ms of processor time, also if nearly all of it is a template."""
    begin = time.process_time()
    template((text * 65536)[:65535] + "~", "STRIPE_API_KEY")
    assert time.process_time() - begin < 0.05
