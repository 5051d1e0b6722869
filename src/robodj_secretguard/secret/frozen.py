"""The bases of small records and of named texts, which cost a start little, and those of the exceptions.

A class takes a fifth of the time of a `NamedTuple`, or a tenth of that of a `StrEnum`.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, dataclass_transform

_PROPERTIES: Final = [property(itemgetter(index)) for index in range(20)]
"""Shared by all records, by the position of the field."""


class _FrozenType(type):
    """Turn each annotation of a class into a property, and its assigned value into a default.

    `kw_only=True` is for type checkers.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_kw_only: bool) -> type:
        made: Any = super().__new__(cls, name, bases, {"__slots__": (), **namespace})
        if fields := tuple(each for each in made.__annotations__ if not each.startswith("_")):
            made._fields = fields
            made._defaults = {each: namespace[each] for each in fields if each in namespace}  # noqa: SLF001
            for index, each in enumerate(fields):
                setattr(made, each, _PROPERTIES[index])
        return made  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True)
class Frozen(tuple[Any, ...], metaclass=_FrozenType):  # noqa: SLOT001 - the metaclass gives every class empty slots
    """A record. The annotations of a subclass are its fields, in the same order."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Return a record of positional and named values."""
        if named or len(values) != len(cls._fields):
            values = cls._completed(values, named)
        return super().__new__(cls, values)

    @classmethod
    def _completed(cls, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        by_name, given = cls._fields[len(values) :], cls._defaults | named
        if not named.keys() <= {*by_name} <= given.keys() or len(values) > len(cls._fields):
            missing = ", ".join(name for name in by_name if name not in given)
            why = f"missing {missing}" if missing else f"its fields are {', '.join(cls._fields)}"
            raise TypeError(f"{cls.__name__}: {why}")  # without the values: one may be a key
        return values + tuple(map(given.__getitem__, by_name))

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes: Any) -> Self:
        return type(self)(**{**self._asdict(), **changes})

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        return (), self._asdict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"


if TYPE_CHECKING:
    from enum import StrEnum

    class NamedText(StrEnum):  # noqa: D101 - below
        _value_: str

        def __new__(cls, text: str, *arguments: Any) -> Self: ...  # noqa: D102

        def _fill(self, *arguments: Any) -> None: ...

else:

    class _NamedTextType(type):
        """Let a class be iterated, in declared order."""

        def __iter__(cls) -> Iterator[Any]:
            return iter(cls._members.values())

        def __len__(cls) -> int:
            return len(cls._members)

        def __getitem__(cls, name: str) -> Any:
            return {member.name: member for member in cls}[name]

    class NamedText(str, metaclass=_NamedTextType):  # noqa: SLOT000 - a member has attributes
        """The base of classes with a fixed number of named texts, which type checkers see as a `StrEnum`.

        In the body of a class, each name in capitals has a text, or a tuple of a text and arguments for `_fill`.
        """

        def __init_subclass__(cls) -> None:
            cls._members = {}
            for name, declared in [*vars(cls).items()]:
                if name.isupper():
                    text, *rest = declared if isinstance(declared, tuple) else (declared,)
                    member = cls._members[text] = str.__new__(cls, text)
                    member.name, member.value = name, text
                    member._fill(*rest)  # noqa: SLF001 - this makes the member
                    setattr(cls, name, member)

        def __new__(cls, text: str) -> Self:
            """Return the member with this text."""
            if text not in cls._members:
                del text  # it may be a key
                raise ValueError(f"not a {cls.__name__}; choose from {', '.join(cls._members)}")
            return cls._members[text]

        def _fill(self) -> None:
            """Set further attributes."""

        @classmethod
        def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
            """Let models of pydantic have a field of this type, as they may of an enumeration."""
            from pydantic_core.core_schema import enum_schema  # noqa: PLC0415 - no start needs it

            return enum_schema(cls, [*cls], sub_type="str", ref=cls.__qualname__)

        def __repr__(self) -> str:
            return f"<{type(self).__name__}.{self.name}: {self.value!r}>"


class SecretGuardError(Exception):
    """The base of all exceptions of this library."""

    __module__ = "robodj_secretguard.errors"  # it has the others, which a start does not need


class SafeError(SecretGuardError):
    """The base of the errors that `contain()` lets out: their texts have only constants and names."""

    __module__ = "robodj_secretguard.errors"


class CheckFailedError(SafeError):
    """A check ended with an error. Only the type of the error is kept: its text may contain a key."""

    __module__ = "robodj_secretguard.errors"

    def __init__(self, error_type: str) -> None:
        super().__init__(f"the check itself failed: {error_type}")
        self.error_type = error_type

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.error_type,)


class RevokedKeyError(SafeError):
    """The current key of a secret was revoked while the service runs, and no other key passed the checks."""

    __module__ = "robodj_secretguard.errors"
