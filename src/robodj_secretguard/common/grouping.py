"""Items by what they have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

_T = TypeVar("_T")
_K = TypeVar("_K")


def grouped(items: Iterable[_T], key_of: Callable[[_T], _K]) -> Mapping[_K, list[_T]]:
    """Return the items of each key, in order. A key that no item has, has an empty list."""
    found = defaultdict[_K, list[_T]](list)
    for item in items:
        found[key_of(item)].append(item)
    return found
