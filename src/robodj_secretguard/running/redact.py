"""Redact keys in log lines: replace each live key by its name. Best effort: see docs/logs.md."""

from __future__ import annotations

import base64
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from operator import is_
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from robodj_secretguard.errors import RedactedError
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.material import is_hexadecimal, last_characters
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain
from robodj_secretguard.settings import SecretSettings, store_of

_Form: TypeAlias = tuple[SealedStr, tuple[SealedStr, ...], str]
"""The common beginning of all spellings of a key in one encoding, the spellings, and their replacement."""

MAX_TEXT: Final = 2**20
"""How many characters of one text are searched."""
MIN_PART: Final = 8
"""The fewest characters of a part of a value, such as the password of a URL, that is redacted by itself."""
TOO_LONG: Final = "[cut: too large to search for secrets]"
NOT_SEARCHED: Final = "[cut: could not be searched for secrets]"

_PLAIN: Final = frozenset({int, float, bool, type(None)})


class SecretRedactor(logging.Filter):
    """Replace live keys in log lines by `[redacted secret.key]`. This is best effort.

    One object is a structlog processor and a logging filter. It must be the last processor, after the renderer. As a
    filter it belongs to a handler: `handler.addFilter(redact)`. It finds each key as text, in hexadecimal and in
    base64: those in use, and those that this process has used in the last 24 hours (at most 1,000). Text without a key
    does not change. Records are changed in place. No record is dropped, and no error is raised.

    Args:
        secrets: the settings that `guard()` returned.

    Raises:
        TypeError: `secrets` is another object.
    """

    def __init__(self, secrets: SecretSettings) -> None:
        if not isinstance(secrets, SecretSettings):
            del secrets
            raise TypeError("SecretRedactor takes the settings that guard() returned")
        super().__init__()
        self._store = contain(lambda: store_of(secrets))
        self._known: dict[SealedStr, list[_Form]] = {}
        self._searched: object = None
        self._renew()

    def _renew(self) -> None:
        """Take the keys in use, and those that were in use before, where a set has taken the place of another one."""
        keys = self._store.keys
        if self._searched is keys.readings:
            return
        known = self._known
        self._known = contain(lambda: {value: known.get(value) or [*_forms(*each)] for value, each in self._held()})
        forms = [form for each in self._known.values() for form in each]
        forms.sort(key=lambda form: len(form[1][0]), reverse=True)
        lengths = [len(spellings[0]) for _, spellings, _ in forms]
        self._shortest = min(lengths, default=sys.maxsize)
        self._longest = max(lengths, default=0)
        self._forms = forms
        self._searched = keys.readings

    def _held(self) -> Iterator[tuple[SealedStr, tuple[SecretPolicy, SealedStr]]]:
        """Yield each value that the process has or had, in a sealed form of this object. It runs inside `contain()`."""
        held = [(each.policy, each.value) for each in tuple(self._store.replaced)]
        for reading in self._store.keys.readings:
            held += [(reading.policy, each.key) for each in (reading, *reading.slots) if each.key is not None]
        for policy, value in held:
            own = SealedStr(value.get_secret_value())
            yield own, (policy, own)

    def __call__(self, _logger: object, _method: str, event: Any) -> Any:
        """Return the output of a renderer redacted."""
        return _attempt(lambda: self._redacted(event), lambda: NOT_SEARCHED)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record in place, and let it pass."""
        _attempt(lambda: self._record(record), lambda: _blank(record))
        return True

    def _redacted(self, event: Any) -> Any:
        self._renew()
        return self._value(event)

    def _record(self, record: logging.LogRecord) -> None:
        self._renew()
        fields = vars(record)
        redacted = self._mapping(fields)
        if redacted["exc_info"] is not fields["exc_info"]:
            redacted["exc_text"] = str(redacted["exc_info"][1])
        if redacted is not fields:
            fields.clear()
            fields |= redacted

    def _value(self, value: Any) -> Any:
        """Return a value redacted. Return the same object if it shows no key."""
        if type(value) in _PLAIN:
            return value
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, (list, tuple, set, frozenset)):
            items = [self._value(item) for item in value]
            if all(map(is_, items, value)):
                return value
            return tuple(items) if isinstance(value, tuple) else items
        return _attempt(lambda: self._object(value), lambda: NOT_SEARCHED)

    def _mapping(self, mapping: dict[Any, Any]) -> dict[Any, Any]:
        redacted = {
            self._value(name): self._exception(value) if name == "exc_info" else self._value(value)
            for name, value in mapping.items()
        }
        has_same_names = len(redacted) == len(mapping) and all(map(is_, redacted, mapping))
        return mapping if has_same_names and all(map(is_, redacted.values(), mapping.values())) else redacted

    def _object(self, value: Any) -> Any:
        """Return an object, or its redacted text if a text that a renderer could show for it has a key."""
        if isinstance(value, (SealedStr, Secret)):  # it has no str()
            return "**********"
        if isinstance(value, (bytes, bytearray)):
            text = value.decode("latin-1")
            redacted = self._text(text)
            return value if redacted == text else redacted.encode("latin-1")
        texts = (str.__str__(value),) if isinstance(value, str) else (str(value), repr(value))
        for text in texts:
            redacted = self._text(text)
            if redacted != text:
                return redacted
        return value

    def _exception(self, exc_info: Any) -> Any:
        """Return the `exc_info` of structlog and logging: an exception, its tuple, or true for the current one."""
        shown = (exc_info,) if isinstance(exc_info, BaseException) else exc_info
        if shown and not isinstance(shown, tuple):
            shown = sys.exc_info()
        formatted = "".join(traceback.format_exception(*shown)) if shown else ""
        redacted = self._text(formatted)
        if redacted == formatted:
            # A field of that name may have another value.
            return exc_info if isinstance(exc_info, (BaseException, tuple)) else self._value(exc_info)
        # Every renderer can format this exception. Without one, some renderers would get the current exception.
        return RedactedError, RedactedError(redacted.rstrip("\n")), None

    def _text(self, text: str) -> str:
        if len(text) < self._shortest:
            return text
        redacted = text[:MAX_TEXT]
        for stem, spellings, name in self._forms:
            if stem.get_secret_value() in redacted:
                for spelling in spellings:
                    redacted = redacted.replace(spelling.get_secret_value(), name)
        if len(text) > MAX_TEXT:
            # The text may end with a part of a key, which is shorter than the longest encoding.
            redacted = redacted[: -self._longest] + TOO_LONG
        return redacted


def _forms(policy: SecretPolicy, sealed: SealedStr) -> Iterator[_Form]:
    """Yield every encoding of a key that is searched for, sealed."""
    value = sealed.get_secret_value()
    # A previous key of before the adoption is of no kind. A short part occurs in other texts.
    try:
        parts = policy.material.searched(value) if policy.material.accepts(value) else ()
    except Exception:  # noqa: BLE001 - of a service's own kind: the value itself is searched all the same
        parts = ()
    for key in (value, *[part for part in parts if MIN_PART <= len(part) < len(value)]):
        # Only a key has unused bits.
        lasts = last_characters(key) if policy.material.has_fingerprint else key[-1:]
        for texts in dict.fromkeys(zip(*(_encodings(key[:-1] + last) for last in lasts), strict=True)):
            # A key's last character changes at most the last two characters of any encoding.
            yield SealedStr(texts[0][:-2]), tuple(map(SealedStr, texts)), f"[redacted {policy.name}]"


def _encodings(key: str) -> Iterator[str]:
    """Yield a key as text, escaped as in JSON, in a repr and in a URL, in hexadecimal and in base64."""
    data = key.encode()
    # They change only a secret that others issue.
    yield from (json.dumps(key)[1:-1], repr(key)[1:-1], quote(key), quote(key, safe=""), quote(key, safe=" +"))
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


def _blank(record: logging.LogRecord) -> None:
    """Remove everything from a record that could contain a key."""
    fields = vars(record)
    is_event = isinstance(fields.get("msg"), dict)  # structlog's formatter needs a dict
    fields |= {
        **{name: NOT_SEARCHED for name, value in fields.items() if type(value) not in _PLAIN},
        **dict.fromkeys(("exc_info", "exc_text", "stack_info")),
        "msg": {"event": NOT_SEARCHED} if is_event else NOT_SEARCHED,
        "args": (),
    }
