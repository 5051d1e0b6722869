"""The keys that only verify, as a list that reads the ring at each use; and keys whose repr is masked."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, NoReturn

from robodj_secretguard.secret.sealed import Sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from robodj_secretguard.keyring import Key, Keyring


class _Masked(Sealed):
    """Mask the repr, and refuse pickling."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"

    def __rich_repr__(self) -> Iterator[str]:
        yield "**********"  # rich shortens a long text before it makes its repr


class MaskedStr(_Masked, str):
    """A key as text for a framework that keeps it."""

    __slots__ = ()


class MaskedBytes(_Masked, bytes):
    """A key as bytes for a framework that keeps it."""


def masked(key: Key) -> MaskedStr:
    """Return the text of a key."""
    return MaskedStr(key.value.get_secret_value())


def signing(ring: Keyring) -> Keyring:
    """Return a ring whose keys may sign what clients see, or raise `ValueError`."""
    if not ring.current.kid:
        raise ValueError("a secret that a vendor issues does not sign: it could be guessed from a signature")
    return ring


class FallbackKeys(Sealed, list[str]):
    """The accepted keys of a ring without the current one, as a list that is read at each use.

    So a framework that keeps the list follows the deadline of the previous key. The list cannot be changed, sorted or
    pickled, its copy is the list itself, and its repr has no key. The list itself stays empty: C code that reads it
    without its methods finds no key. A slice and a sum are ordinary lists, which do not follow the deadline: do not
    keep one.

    Args:
        ring: the keys. See `SecretSettings.keyring()`.
    """

    __slots__ = ("_ring",)

    def __init__(self, ring: Keyring) -> None:
        self._ring = signing(ring)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._ring!r})"

    def __iter__(self) -> Iterator[str]:
        # Django makes a `map` of the list, and reads it later. So each step reads the ring.
        position = 0
        while position < len(keys := _fallback_keys(self)):
            yield keys[position]
            position += 1

    def __reversed__(self) -> Iterator[str]:
        yield from reversed(_fallback_keys(self))  # the previous key comes first

    def copy(self) -> FallbackKeys:
        """Return the list itself: a copy would not follow the deadline."""
        return self


def _fallback_keys(fallbacks: FallbackKeys) -> list[str]:
    return [masked(key) for key in fallbacks._ring.accepted()[1:]]  # noqa: SLF001 - of this module


def _reading_method(action: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that reads the ring."""

    def method(self: FallbackKeys, *arguments: object) -> Any:
        try:
            return action(_fallback_keys(self), *arguments)
        finally:
            del arguments  # a traceback with locals would show them

    return method


def _refuse_call(_self: FallbackKeys, *values: object, **options: object) -> NoReturn:
    del values, options  # a traceback with locals would show them
    raise TypeError("the fallback keys are those of the ring: they can only be read, one by one or by position")


_READING_METHODS: Final = {
    **{f"__{name}__": getattr(operator, name) for name in ("add", "contains", "eq", "getitem", "ne")},
    "__len__": len,
    "__radd__": lambda keys, other: other + keys,
}
_REFUSED_METHODS: Final = (
    *(f"__{name}__" for name in ("delitem", "ge", "gt", "iadd", "imul", "le", "lt", "mul", "rmul", "setitem")),
    "append",
    "clear",
    "count",
    "extend",
    "index",
    "insert",
    "pop",
    "remove",
    "reverse",
    "sort",
)
for _name, _action in _READING_METHODS.items():
    setattr(FallbackKeys, _name, _reading_method(_action))
for _name in _REFUSED_METHODS:
    setattr(FallbackKeys, _name, _refuse_call)
