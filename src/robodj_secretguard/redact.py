"""Redact keys in log records: replace each live key by its name. Best effort: see docs/logs.md."""

from __future__ import annotations

import base64
import json
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
from urllib.parse import quote
from uuid import UUID

from robodj_secretguard.errors import RedactedError
from robodj_secretguard.secret.material import is_hexadecimal, last_characters
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.startup.settings import SecretSettings, live_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    _Form: TypeAlias = tuple[SealedStr, tuple[SealedStr, ...], str]
    """The common beginning of all spellings of a key in one encoding, the spellings, and their replacement."""

MAX_CHARACTERS: Final = 2**20
"""How many characters of one event are searched. Texts that are too short for a key are not counted."""
MAX_VALUES: Final = 10_000
"""How many fields and items of one event are searched."""
MAX_DEPTH: Final = 32
"""How many levels of nested fields and items are searched."""
TOO_LARGE: Final = "[cut: too large to search for secrets]"
NOT_SEARCHED: Final = "[cut: could not be searched for secrets]"

_PLAIN: Final = frozenset({int, float, bool, type(None)})
_PATHS: Final = frozenset({PosixPath, PurePosixPath, PureWindowsPath, WindowsPath})
_FIXED: Final = _PLAIN | _PATHS | {str, bytes, complex, date, datetime, time, timedelta, Decimal, UUID}
"""Types whose text cannot change after the search."""
_KEPT: Final = (str, bytes, bytearray, Number, Enum)
"""Renderers have special rules for these types and their subtypes, so their values are not replaced."""
_SERIES: Final = (list, tuple, set, frozenset)


class SecretRedactor(logging.Filter):
    """Replace live keys in log records and structlog events by `[redacted secret.key]`. This is best effort.

    One object is a logging filter, `handler.addFilter(redact)`, and a structlog processor. As a processor, it is best
    the last one, after the renderer. It finds each key as text, in hexadecimal and in base64. Plain values without a
    key do not change. Other objects keep the text that was searched. Records are changed in place. No record is
    dropped, and no error is raised.

    Args:
        secrets: the settings that `guard()` returned.

    Raises:
        TypeError: `secrets` is another object.
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
        """Return a structlog event, or the output of a renderer, redacted."""
        return _attempt(lambda: _Search(self._forms).value(event), lambda: _instead_of(event))

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record in place, and let it pass."""
        _attempt(lambda: _Search(self._forms).record(record), lambda: _blank(record))
        return True


def _forms(secrets: SecretSettings) -> Iterator[_Form]:
    """Yield every encoding of a key that is searched for, sealed."""
    for name, sealed in live_keys(secrets):
        key = sealed.get_secret_value()
        spellings = (_texts(key[:-1] + last) for last in last_characters(key))
        for texts in dict.fromkeys(zip(*spellings, strict=True)):
            # A key's last character changes at most the last two characters of any encoding.
            yield SealedStr(texts[0][:-2]), tuple(map(SealedStr, texts)), f"[redacted {name}]"


def _texts(key: str) -> Iterator[str]:
    """Yield a key as text, escaped as in JSON, in a repr and in a URL, in hexadecimal and in base64."""
    data = key.encode()
    # They change only a vendor's secret.
    yield from (json.dumps(key)[1:-1], repr(key)[1:-1], quote(key), quote(key, safe=""))
    yield from (key, data.hex(), data.hex().upper(), *((key.lower(), key.upper()) if is_hexadecimal(key) else ()))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before, start in enumerate((0, 2, 3)):  # bytes before the key, such as in a Basic header
            # Without the characters that depend on the bytes before and after.
            yield encode(bytes(before) + data)[start : (before + len(data)) * 8 // 6].decode()


def _attempt(action: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception:  # noqa: BLE001 - reading an object may raise anything
        return otherwise()
    except BaseException as ending:  # noqa: BLE001 - from a signal, for example: without the search's frames
        raise ending.with_traceback(None) from None


class _Search:
    """The search of one event, and how much more of it may be searched."""

    def __init__(self, forms: Sequence[_Form]) -> None:
        self._forms = forms
        self._shortest, self._longest = len(forms[-1][1][0]), len(forms[0][1][0])
        self._characters, self._values = MAX_CHARACTERS, MAX_VALUES

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a value redacted. Return the same object for a plain value without a key."""
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
            # Every renderer can format this exception. Without one, some renderers would get the current exception.
            return RedactedError, RedactedError(redacted.rstrip("\n")), None
        # A field of that name may have another value.
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
        # The text may end with a part of a key, which is shorter than the longest encoding.
        return redacted[: max(0, len(redacted) - self._longest)] + TOO_LARGE


class _StandIn:
    """Replace an object. Have the `str` and the `repr` that were searched, and the object's attributes."""

    __slots__ = ("_texts", "_value")

    def __init__(self, value: Any, texts: Sequence[str]) -> None:
        self._value, self._texts = value, texts

    def __str__(self) -> str:
        return self._texts[0]

    def __repr__(self) -> str:
        return self._texts[1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)

    @property  # type: ignore[misc]  # it has no setter
    def __class__(self) -> type[Any]:  # for isinstance(), for example in JSON encoders
        return type(self._value)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:  # copy and pickle get the text
        return str, (str(self),)


def _texts_of(value: Any) -> tuple[str, ...]:
    """Return the texts that a renderer could show for a value that is not a container."""
    if isinstance(value, str):
        return (str.__str__(value),)
    if isinstance(value, (bytes, bytearray)):
        return (value[: MAX_CHARACTERS + 1].decode("latin-1"),)
    return "**********" if isinstance(value, SealedStr) else str(value), repr(value)  # a SealedStr has no str()


def _formatted(exc_info: Any) -> str:
    """Format the `exc_info` of structlog and logging: an exception, its tuple, or true for the current one."""
    if isinstance(exc_info, BaseException):
        exc_info = (exc_info,)
    elif exc_info and not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    return "".join(traceback.format_exception(*exc_info)) if exc_info else ""


def _instead_of(value: Any, constant: str = NOT_SEARCHED) -> Any:
    """Return a constant in the shape of the value that it replaces: the next processor needs that shape."""
    if isinstance(value, dict):  # structlog's event, or the keyword arguments for logging
        return {"msg" if "msg" in value else "event": constant}
    if isinstance(value, tuple):  # the result of some renderers: arguments
        return (constant,), {}
    return constant.encode() if isinstance(value, bytes) else constant


def _blank(record: logging.LogRecord) -> None:
    """Remove everything from a record that could contain a key."""
    fields = vars(record)
    fields |= {
        **{name: NOT_SEARCHED for name, value in fields.items() if type(value) not in _PLAIN},
        **dict.fromkeys(("exc_info", "exc_text", "stack_info")),
        "msg": _instead_of(fields.get("msg")),
        "args": (),
    }
