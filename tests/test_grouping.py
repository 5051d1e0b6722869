"""Items by what they have in common."""

from __future__ import annotations

from robodj_secretguard.common.grouping import grouped


def test_items_of_a_key_stay_in_order() -> None:
    """Each key has its items in their order, and a key without one has an empty list."""
    found = grouped(["ab", "c", "de"], len)
    assert [*found.items()] == [(2, ["ab", "de"]), (1, ["c"])]
    assert found[3] == []
