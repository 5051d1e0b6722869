"""The keys of a ring as text and as a list, for a framework that keeps them: each use reads the ring."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self

from robodj_secretguard.running.keyset import Key
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import Sealed


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


def signing(ring: Secret) -> Secret:
    """Return a ring whose keys may sign and encrypt what others see, or raise `ValueError`."""
    if not ring.current.kid:
        raise ValueError("a secret that others issue does not sign or encrypt: it could be guessed from the result")
    return ring


def stores_data(ring: Secret) -> bool | None:
    """Return what the policy of a ring, or of the secret that it is derived from, declares about stored data."""
    return ring.store.keys.by_name[ring.name].policy.stores_data


class LiveStr(MaskedStr):
    """The current key of a ring as text, whose `str()` and `encode()` read the ring.

    What reads the text in another way has the key of the time when the object was made: `+`, `==`, `hash()`, a slice,
    `bytes(key, "ascii")`.

    Args:
        ring: the keys. A field of what `guard()` returned, or one that is derived from it.
    """

    __slots__ = ("_ring",)

    def __new__(cls, ring: Secret) -> Self:
        """Return the text of the key that is current now."""
        return super().__new__(cls, ring.current.value.get_secret_value())

    def __init__(self, ring: Secret) -> None:
        self._ring = ring

    def __str__(self) -> str:
        return masked(self._ring.current)

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Encode the key that is current now."""
        return str(self).encode(encoding, errors)


def kept_text(ring: Secret, holder: Callable[[], object], name: str, kind: type[LiveStr] = LiveStr) -> LiveStr:
    """Return the current key for an attribute, which gets a new `LiveStr` at each switch as long as it has one.

    Args:
        ring: the keys.
        holder: return the object with the attribute, or `None`.
        name: the name of the attribute.
        kind: the class of the text.
    """

    def renew(_secret: Secret) -> None:
        found = holder()
        if getattr(getattr(found, name, None), "_ring", None) is ring:
            setattr(found, name, kind(ring))

    signing(ring).on_change(renew)
    return kind(ring)


class FallbackKeys(_Masked, list[str]):
    """The accepted keys of a ring, as a list that is read at each use.

    So a framework that keeps the list follows a switch, and the deadline of the previous key. It has the current key,
    too, as the framework may have read its signing key before a switch. The list cannot be changed, sorted or pickled,
    its copy is the list itself, and its repr has no key. The list itself stays empty: C code that reads it without its
    methods finds no key. A slice and a sum are ordinary lists, which do not follow the ring: do not keep one.

    Args:
        ring: the keys. A field of what `guard()` returned, or one that is derived from it.
    """

    __slots__ = ("_ring",)

    def __init__(self, ring: Secret) -> None:
        self._ring = signing(ring)

    def __iter__(self) -> Iterator[str]:
        yield from _accepted(self)  # a generator: Django makes a `map` of the list, and reads it later


def _accepted(fallbacks: FallbackKeys) -> list[str]:
    return [masked(key) for key in fallbacks._ring.accepted()]  # noqa: SLF001 - of this module


def _reading_method(action: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that reads the ring."""

    def method(self: FallbackKeys, *arguments: object) -> Any:
        try:
            return action(_accepted(self), *arguments)
        finally:
            del arguments  # a traceback with locals would show them

    return method


def _refuse_call(_self: FallbackKeys, *values: object, **options: object) -> NoReturn:
    del values, options  # a traceback with locals would show them
    raise TypeError("the fallback keys are those of the ring: they can only be read, one by one or by position")


_REFUSED_METHODS = """
    append clear count extend index insert pop remove reverse sort
    __delitem__ __ge__ __gt__ __iadd__ __imul__ __le__ __lt__ __mul__ __rmul__ __setitem__
    """
for _name, _method in {
    **{f"__{name}__": _reading_method(getattr(operator, name)) for name in ("add", "contains", "eq", "getitem", "ne")},
    "__len__": _reading_method(len),
    "__reversed__": _reading_method(reversed),
    "__radd__": _reading_method(lambda keys, other: other + keys if isinstance(other, list) else NotImplemented),
    "copy": Sealed.__deepcopy__,
    **dict.fromkeys(_REFUSED_METHODS.split(), _refuse_call),
}.items():
    setattr(FallbackKeys, _name, _method)
