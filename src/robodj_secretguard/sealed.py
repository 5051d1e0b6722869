"""Secret text that nothing shows by accident, and the boundary that no frame holding one is seen through."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

from pydantic import SecretStr, ValidationError

from robodj_secretguard.errors import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")
_HASH_SALT: Final = os.urandom(16)


class _Sealed:
    """Copies are the object itself, and pickling is refused."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        refuse_pickle()


class _Reveal(_Sealed):
    """Returns a text that is in no attribute, and is not pickled: cloudpickle and dill would take a function's."""

    __slots__ = ("__dict__", "_function")  # the first for encoders that fall back to `vars`: it is empty

    def __init__(self, text: str) -> None:
        self._function: Callable[[], str] = lambda: text

    def __call__(self) -> str:
        return self._function()


class SealedStr(_Sealed, SecretStr):
    """A `SecretStr` whose text is in no attribute.

    `vars`, `inspect`, `rich.inspect` and JSON encoders that fall back to `vars` find a callable where a
    `SecretStr` has its text. Copies are the object itself, and pickling is refused. So is `str()`: a framework that
    takes the masked text for a key signs with ten asterisks, which everybody knows.
    """

    def __init__(self, secret_value: str) -> None:  # not super().__init__, which would make an attribute of it
        self._reveal = _Reveal(secret_value)

    def get_secret_value(self) -> str:
        """Return the secret text; from here on it is the caller's to protect."""
        return self._reveal()

    def __str__(self) -> NoReturn:
        msg = "a secret has no str(): call get_secret_value() where the key is used"
        raise TypeError(msg)

    def _display(self) -> str:
        return "**********"

    def __len__(self) -> int:
        return len(self._reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._reveal() == other.get_secret_value()

    def __hash__(self) -> int:
        # Not hash(text), as an equal SecretStr has: a guess's hash could be compared with it.
        return hash((_HASH_SALT, self._reveal()))


def refuse_pickle() -> NoReturn:
    """Raise the one `TypeError` that answers every attempt to pickle a secret."""
    msg = "secrets are not pickled: call guard() in each process instead"
    raise TypeError(msg)


def type_name(error: BaseException) -> str:
    """Return the name of the type of what went wrong, or `an error` where the name is more than a name."""
    if isinstance(error, CheckFailedError):
        return error.error_type
    name = type(error).__name__
    return name if name.isascii() and name.isidentifier() else "an error"


def contain(action: Callable[[], _Result]) -> _Result | BaseException:
    """Run `action`, and let no frame and no exception text of it out.

    Functions called inside may bind key material to locals: a traceback with locals never reaches them.

    Returns:
        What `action` returned; else the exception to raise or to report in its stead, without a traceback and
        a chain: pydantic's `ValidationError` (its inputs are sealed), a new `KeyboardInterrupt`, or a
        `CheckFailedError` for all others, `SystemExit` included.
    """
    try:
        return action()
    except (ValidationError, CheckFailedError) as error:
        failure: BaseException = error.with_traceback(None)
    except KeyboardInterrupt:
        failure = KeyboardInterrupt()
    except BaseException as error:  # noqa: BLE001 - whatever goes wrong is a reason to refuse
        failure = CheckFailedError(type_name(error))
    failure.__cause__ = failure.__context__ = None
    return failure
