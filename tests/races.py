"""A change by another program during a call, always at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def just_before(monkeypatch: pytest.MonkeyPatch, module: object, name: str, change: Callable[[], object]) -> None:
    """Make a change once, just before the next call of a module's function."""
    real = getattr(module, name)

    def changed(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        change()
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, changed)
