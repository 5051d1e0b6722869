"""Secret text that nothing shows by accident, and the boundary that no frame with a key leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, NoReturn, Self, TypeVar

from pydantic import SecretStr, ValidationError

from robodj_secretguard.secret.frozen import CheckFailedError, SafeError

_Returned = TypeVar("_Returned")
_HASH_SALT: Final = os.urandom(16)


class Sealed:
    """Refuse pickling, and return the object itself as its copy."""

    __slots__ = ()

    def __deepcopy__(self, _memo: dict[int, Any] | None = None) -> Self:
        return self

    __copy__ = __deepcopy__

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("secrets are not pickled: call guard() in each process instead")


class _Reveal(Sealed):
    """Return a text that is in no attribute. Refuse pickling: cloudpickle and dill would pickle a function."""

    __slots__ = ("__dict__", "_function")  # for encoders that use `vars`: it is empty

    def __init__(self, text: str) -> None:
        self._function: Callable[[], str] = lambda: text

    def __call__(self) -> str:
        return self._function()


class SealedStr(Sealed, SecretStr):
    """A `SecretStr` whose text is in no attribute.

    `vars`, `inspect`, `rich.inspect` and JSON encoders that use `vars` find a callable where a `SecretStr` has
    its text. A copy is the object itself. `pickle` and `str()` raise `TypeError`. A framework that used the masked
    text as a key would sign with ten asterisks, which everybody knows.
    """

    def __init__(self, secret_value: str) -> None:  # not super().__init__: it makes an attribute
        self._reveal = _Reveal(secret_value)

    def get_secret_value(self) -> str:
        """Return the secret text. The caller must protect it."""
        return self._reveal()

    def __str__(self) -> NoReturn:
        raise TypeError("a secret has no str(): call get_secret_value() where the key is used")

    def _display(self) -> str:
        return "**********"

    def __len__(self) -> int:
        return len(self._reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._reveal() == other.get_secret_value()

    def __hash__(self) -> int:
        # Not hash(text) as in SecretStr: a guess could be verified by its hash.
        return hash((_HASH_SALT, self._reveal()))


def type_name(error: BaseException) -> str:
    """Return the name of an error's type; `an error` where the name could contain something else."""
    if isinstance(error, CheckFailedError):
        return error.error_type
    name = type(error).__name__
    return name if name.isascii() and name.isidentifier() else "an error"


def without_frames(error: Exception) -> Exception:
    """Return an error of another library without its frames and its chain, which may have a key."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def contain(action: Callable[[], _Returned]) -> _Returned:
    """Return what `action` returns, and keep its frames and its exception texts inside.

    Functions called inside may have keys in local variables: a traceback with locals never reaches them.

    Raises:
        ValidationError: that of `action`, without its traceback and its chain. Its inputs must be sealed.
        SafeError: the same.
        KeyboardInterrupt: a new one, where `action` was interrupted.
        CheckFailedError: `action` raised any other exception, also `SystemExit`.
    """
    try:
        return action()
    except (ValidationError, SafeError) as error:
        failure: BaseException = error.with_traceback(None)
    except KeyboardInterrupt:
        failure = KeyboardInterrupt()
    except BaseException as error:  # noqa: BLE001 - every error is a reason to refuse
        failure = CheckFailedError(type_name(error))
    failure.__cause__ = failure.__context__ = None
    del action  # the repr of a `partial` has its arguments, and a traceback with locals shows this frame
    raise failure
