"""A step that an operator takes, as a box to check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Item:
    """A step.

    Attributes:
        text: what is to be done, or what shows that it was.
        done: whether the program has seen that it was done.
    """

    text: str
    done: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return {"text": self.text, "done": self.done}


def boxes(items: Iterable[Item], *, numbered: bool = False) -> list[str]:
    """Return steps as lines of Markdown, a checked or an open box each.

    Args:
        items: the steps.
        numbered: whether each has its number.
    """
    return [
        f"{f'{number}.' if numbered else '-'} [{'x' if item.done else ' '}] {item.text}"
        for number, item in enumerate(items, start=1)
    ]
