"""Redact keys in log records: live keys are replaced by their names. Best effort: docs/logs.md."""

from __future__ import annotations

import base64
import logging
import sys
import traceback
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Number
from operator import is_
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from robodj_secretguard.errors import RedactedError
from robodj_secretguard.material import is_hexadecimal, last_characters
from robodj_secretguard.models import SecretSettings
from robodj_secretguard.sealed import SealedStr, contain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    _Form: TypeAlias = tuple[SealedStr, tuple[SealedStr, ...], str]
    """What all spellings of a key begin with in a form; the spellings, of one length; what takes the place of each."""

MAX_CHARACTERS: Final = 2**20
"""How much text of one event is searched; texts too short to hold a key are not counted."""
MAX_VALUES: Final = 10_000
"""How many fields and items of one event are searched."""
MAX_DEPTH: Final = 32
"""How deep nested fields and items are searched."""
TOO_LARGE: Final = "[cut: too large to search for secrets]"
NOT_SEARCHED: Final = "[cut: could not be searched for secrets]"

_PLAIN: Final = frozenset({int, float, bool, type(None)})
_PATHS: Final = frozenset({PosixPath, PurePosixPath, PureWindowsPath, WindowsPath})
_FIXED: Final = _PLAIN | _PATHS | {str, bytes, complex, date, datetime, time, timedelta, Decimal, UUID}
"""Types whose values always show the text that was searched."""
_KEPT: Final = (str, bytes, bytearray, Number, Enum)
"""Renderers treat values of these types and their subtypes in a way of their own."""
_SERIES: Final = (list, tuple, set, frozenset)


class SecretRedactor(logging.Filter):
    """Replaces live keys in log records and structlog's events by `[redacted secret.key]`, as best it can.

    One object is both: `handler.addFilter(redact)`, and a structlog processor, best the last one, after the renderer.
    A key is found as it is, and its text in hexadecimal and base64. Plain values that hold no key are passed on as they
    are. Other objects keep the text that was searched. Records are changed in place. No record is dropped, and nothing
    that goes wrong here is raised.

    Args:
        secrets: what `guard()` returned.

    Raises:
        TypeError: `secrets` is something else.
    """

    def __init__(self, secrets: SecretSettings) -> None:
        if not isinstance(secrets, SecretSettings):
            del secrets
            msg = "SecretRedactor takes the settings that guard() returned"
            raise TypeError(msg)
        super().__init__()
        forms = contain(lambda: sorted(_forms(secrets), key=lambda form: len(form[1][0]), reverse=True))
        if isinstance(forms, BaseException):
            raise forms
        self._forms = forms  # the longest first

    def __call__(self, _logger: object, _method: str, event: Any) -> Any:
        """Return a structlog event, or what a renderer made of it, redacted."""
        return _attempt(lambda: _Search(self._forms).value(event), lambda: _instead_of(event))

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record in place, and let it pass."""
        _attempt(lambda: _Search(self._forms).record(record), lambda: _blank(record))
        return True


def _forms(secrets: SecretSettings) -> Iterator[_Form]:
    """Yield every form in which a key is found, sealed."""
    for field, policy in secrets.secret_policies.items():
        key = getattr(secrets, field).get_secret_value()
        spellings = (_texts(key[:-1] + last) for last in last_characters(key))
        for texts in dict.fromkeys(zip(*spellings, strict=True)):
            # A key's last character makes no more than two of any form.
            yield SealedStr(texts[0][:-2]), tuple(map(SealedStr, texts)), f"[redacted {policy.name}]"


def _texts(key: str) -> Iterator[str]:
    """Yield a key as it is, in hexadecimal and in base64."""
    data = key.encode()
    yield from (key, data.hex(), data.hex().upper(), *((key.lower(), key.upper()) if is_hexadecimal(key) else ()))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before, start in enumerate((0, 2, 3)):  # bytes of something else, as in a Basic header
            # Less the characters that depend on what is before and after.
            yield encode(bytes(before) + data)[start : (before + len(data)) * 8 // 6].decode()


def _attempt(action: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception:  # noqa: BLE001 - an object may raise anything when it is read, and the event goes on
        return otherwise()
    except BaseException as ending:  # noqa: BLE001 - a signal's, for one: it gets out, without the search's frames
        raise ending.with_traceback(None) from None


class _Search:
    """One event that is searched, and how much of it still will be."""

    def __init__(self, forms: Sequence[_Form]) -> None:
        self._forms = forms
        self._shortest, self._longest = len(forms[-1][1][0]), len(forms[0][1][0])
        self._characters, self._values = MAX_CHARACTERS, MAX_VALUES

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a value redacted: the same object where it is plain and holds no key."""
        if type(value) in _PLAIN or (type(value) is str and len(value) < self._shortest):
            return value
        if isinstance(value, logging.LogRecord):
            return self.record(value)
        if not isinstance(value, (dict, *_SERIES)):
            return self._shown(value)
        if depth > MAX_DEPTH or len(value) > self._values:
            return TOO_LARGE if depth else _instead_of(value, TOO_LARGE)
        self._values -= len(value)
        return (self._mapping if isinstance(value, dict) else self._series)(value, depth + 1)

    def record(self, record: logging.LogRecord) -> logging.LogRecord:
        """Redact a record in place, and return it."""
        fields = vars(record)
        msg, args = record.msg, record.args
        redacted = self._mapping(fields, depth=1)
        if redacted["exc_info"] is not fields["exc_info"]:
            redacted["exc_text"] = str(redacted["exc_info"][1])
        if redacted is not fields:
            fields.clear()
            fields |= redacted
        if not isinstance(msg, dict):  # structlog's formatter renders a dict
            try:
                message = record.getMessage()
            except Exception:  # noqa: BLE001 - a stand-in may not fit the format
                record.msg, record.args = msg, args
                message = record.getMessage()
            searched = self._text(message)
            shown = (record.msg, *record.args) if type(record.args) is tuple else (record.msg, record.args or None)
            if searched != message or not all(type(each) in _FIXED for each in shown):
                record.msg, record.args = searched, ()
        return record

    def _shown(self, value: Any) -> Any:
        texts = _attempt(lambda: _texts_of(value), tuple)
        if not texts:
            return NOT_SEARCHED
        for text in texts:
            redacted = self._text(text)
            if redacted != text:
                return redacted.encode("latin-1") if isinstance(value, (bytes, bytearray)) else redacted
        return value if type(value) in _FIXED or isinstance(value, _KEPT) else _StandIn(value, texts)

    def _mapping(self, value: Any, depth: int) -> dict[Any, Any]:
        redacted = {
            self.value(name, depth): self._exception(each, depth) if name == "exc_info" else self.value(each, depth)
            for name, each in value.items()
        }
        same = len(redacted) == len(value) and all(map(is_, redacted, value))
        return value if same and all(map(is_, redacted.values(), value.values())) else redacted

    def _exception(self, exc_info: Any, depth: int) -> Any:
        shown = _formatted(exc_info)
        redacted = self._text(shown)
        if redacted != shown:
            # A stand-in that every renderer can format: without any, some would look for the exception by themselves.
            return RedactedError, RedactedError(redacted.rstrip("\n")), None
        # Otherwise a field of that name may hold something else.
        return exc_info if isinstance(exc_info, (BaseException, tuple)) else self.value(exc_info, depth)

    def _series(self, value: Any, depth: int) -> Any:
        redacted = [self.value(each, depth) for each in value]
        kind = next(kind for kind in _SERIES if isinstance(value, kind))
        return value if all(map(is_, redacted, value)) else kind(redacted)

    def _text(self, text: str) -> str:
        if len(text) < self._shortest:
            return text
        most = self._characters
        self._characters = max(0, most - len(text))
        redacted = text[:most]
        for stem, spellings, name in self._forms:
            if stem.get_secret_value() in redacted:
                for spelling in spellings:
                    redacted = redacted.replace(spelling.get_secret_value(), name)
        if len(text) <= most:
            return redacted
        # What the bound has left of a key that it cut in two is shorter than the longest form.
        return redacted[: max(0, len(redacted) - self._longest)] + TOO_LARGE


class _StandIn:
    """Shows the `str` and the `repr` of an object that were searched, and has the object's attributes."""

    __slots__ = ("_texts", "_value")

    def __init__(self, value: Any, texts: Sequence[str]) -> None:
        self._value, self._texts = value, texts

    def __str__(self) -> str:
        return self._texts[0]

    def __repr__(self) -> str:
        return self._texts[1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)

    @property  # type: ignore[misc]  # nobody sets it
    def __class__(self) -> type[Any]:  # isinstance() reads it, in the encoders of JSON for one
        return type(self._value)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:  # a copy of it is the text, and so is what is pickled
        return str, (str(self),)


def _texts_of(value: Any) -> tuple[str, ...]:
    """Return the texts that a renderer could make of a value that is no container."""
    if isinstance(value, str):
        return (str.__str__(value),)
    if isinstance(value, (bytes, bytearray)):
        return (value[: MAX_CHARACTERS + 1].decode("latin-1"),)
    return "**********" if isinstance(value, SealedStr) else str(value), repr(value)  # a SealedStr has no str()


def _formatted(exc_info: Any) -> str:
    """Format what stands for an exception in structlog and logging: itself, its tuple, or true for the current one."""
    if isinstance(exc_info, BaseException):
        exc_info = (exc_info,)
    elif exc_info and not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    return "".join(traceback.format_exception(*exc_info)) if exc_info else ""


def _instead_of(value: Any, constant: str = NOT_SEARCHED) -> Any:
    """Return a constant in the shape of what it stands for, which others still have to handle."""
    if isinstance(value, dict):  # structlog's own, or what it makes for logging
        return {"msg" if "msg" in value else "event": constant}
    if isinstance(value, tuple):  # the arguments that some renderers give
        return (constant,), {}
    return constant.encode() if isinstance(value, bytes) else constant


def _blank(record: logging.LogRecord) -> None:
    """Take out of a record all that could hold a key."""
    fields = vars(record)
    fields |= {
        **{name: NOT_SEARCHED for name, value in fields.items() if type(value) not in _PLAIN},
        **dict.fromkeys(("exc_info", "exc_text", "stack_info")),
        "msg": _instead_of(fields.get("msg")),
        "args": (),
    }
