"""The bases of the secret managers: one that is read within a time limit, and one that `rotate` writes as well."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, TypeVar

from robodj_secretguard.errors import ManagerError, UnreadError
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr, contain, type_name
from robodj_secretguard.startup.directory import MAX_BYTES, Delivery, delivery_of, read_directory, whole_names
from robodj_secretguard.startup.file_reader import read_most

Failure: TypeAlias = tuple[type[Exception] | tuple[type[Exception], ...], str, str, bool]
"""Errors of a client, what is wrong (`{}` is the type's name), what to do, and whether it is temporary."""

Answer = TypeVar("Answer")

ATTEMPT_SECONDS: Final = 5.0
"""The time limit of an attempt where there is no time to wait, and of each connection."""
GRACE_SECONDS: Final = 0.5
"""A client's own time limit comes first, as its error says more."""
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 4.0
CONFLICT: Final = (
    "was changed by somebody else in the meantime, so nothing was written",
    "run this command again: it reads the new version",
)
"""What is wrong, and what to do, where the version of a write is not the current one any more."""
_JSON_CLIENT: Final = "run the command before the pipe alone, and correct what it reports"


class Manager(ABC):
    """One source of `--from`. A subclass has `fetch`.

    Args:
        name: the source in messages, such as `vault:secret/robodj`.
        place: where the manager has the variables, such as `secret/robodj`.
        policies: the declared secrets.
    """

    is_repeatable = True
    logins: frozenset[str] = frozenset()
    """The variables that are, or name, the login of its client. A command does not get them."""
    has_files = False  # whose last newline is taken away as they are read
    reach = "make sure that it is running and can be reached from here, then start again"
    """What to do if it does not answer in time."""

    def __init__(self, name: str, place: str = "", policies: Iterable[SecretPolicy] = ()) -> None:
        self.name = name
        self._place = place
        self._policies = policies

    @abstractmethod
    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:
        """Return everything that the manager has.

        Args:
            names: the variables that are wanted.
            seconds: the time limit.

        Raises:
            ManagerError: there is nothing, and why.
            Exception: any other error is one of this program.
        """

    def load(
        self, names: Collection[str], deadline: float, say: Callable[[str], object], *, least: float = ATTEMPT_SECONDS
    ) -> Delivery:
        """Fetch the variables, again after each temporary error, until a deadline of the monotonic clock.

        Args:
            names: the variables that are wanted.
            deadline: when to give up.
            say: writes a line about the first temporary error.
            least: the time limit of an attempt at the deadline.

        Raises:
            ManagerError: the last error.
        """
        pause = FIRST_PAUSE
        while True:
            left = deadline - time.monotonic()
            try:
                return self._load_once(names, left if left > FIRST_PAUSE else least)
            except ManagerError as error:
                if not (error.is_temporary and self.is_repeatable) or time.monotonic() + pause >= deadline:
                    raise
                if pause == FIRST_PAUSE:
                    say(f"{self.name} {error.message}; trying again")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _load_once(self, names: Collection[str], seconds: float) -> Delivery:
        whole = () if self.has_files else whole_names(self._policies)
        return self.within(seconds, lambda: delivery_of(self.name, self.fetch(names, seconds), names, whole))

    def within(self, seconds: float, action: Callable[[], Answer]) -> Answer:
        """Return what an action returns. See `answer_within`."""
        return answer_within(seconds, action, self.reach, "report a bug with this line")


def answer_within(seconds: float, action: Callable[[], Answer], reach: str, remedy: str) -> Answer:
    """Return what an action returns. It runs inside `contain()`.

    The time limits of clients are for each read of a connection, so an answer in single bytes could take forever.

    Args:
        seconds: the time limit.
        action: asks a server.
        reach: what to do where the time limit has passed.
        remedy: what to do where the action has raised another error.

    Raises:
        ManagerError: that of the action; or one for the time limit, or for any other error.
    """
    answers: list[Answer | BaseException] = []

    def append_answer() -> None:
        try:
            answers.append(contain(action))
        except BaseException as error:  # noqa: BLE001 - this thread raises it below
            answers.append(error)

    thread = threading.Thread(target=append_answer, daemon=True)
    thread.start()
    thread.join(seconds + GRACE_SECONDS)
    if not answers:
        raise ManagerError("did not answer in time", reach, is_temporary=True)
    if isinstance(answers[0], ManagerError):
        raise answers[0]
    if isinstance(answers[0], BaseException):
        raise ManagerError(f"cannot be read ({type_name(answers[0])})", remedy)
    return answers[0]


class Directory(Manager):
    """The files of one directory that are named after the variables, or after the secrets."""

    has_files = True

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:
        """Return the content of each file, all of them of one version of the directory."""
        return read_directory(self._place, self._policies, names, seconds)


class JsonObject(Manager):
    """The members of one JSON object on stdin, which cannot be read again."""

    is_repeatable = False
    reach = _JSON_CLIENT

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:  # noqa: ARG002
        """Return the members."""
        if sys.stdin is None or sys.stdin.isatty():  # a terminal would show a typed key
            raise ManagerError("cannot be read: stdin is not a pipe", "pipe one JSON object into this command")
        return members(read_most(sys.stdin.fileno(), MAX_BYTES + 1), _JSON_CLIENT)


class Stored(Frozen):
    """A version of a secret in a manager.

    Attributes:
        fields: all fields, as one JSON object.
        version: the version. A write names the one that it was made from.
        written_at: when the manager made it, if that is known.
        read_at: the manager's time, if that is known.
    """

    fields: SealedStr
    version: str
    written_at: datetime | None = None
    read_at: datetime | None = None

    def opened(self) -> dict[str, Any]:
        """Return the fields. Call it inside `contain()`."""
        found: dict[str, Any] = json.loads(self.fields.get_secret_value(), parse_float=number_of)
        return found


class Store(Manager):
    """A manager that can be written. Its methods raise `ManagerError` or any other error: call them with `within`."""

    @abstractmethod
    def current(self, seconds: float) -> Stored:
        """Return the current version. `seconds` is the time limit."""

    @abstractmethod
    def write(self, fields: SealedStr, current: Stored, seconds: float) -> None:
        """Replace the current version by a new one with these fields.

        Raises:
            ManagerError: nothing was written. Its text is `CONFLICT` where another version is current by now.
        """

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object]:  # noqa: ARG002
        """Return the fields of the current version."""
        return self.current(seconds).opened()


def time_of(text: object) -> datetime | None:
    """Return the time of an HTTP header `Date`; `None` where it is missing or invalid."""
    try:
        found = parsedate_to_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def number_of(text: str) -> float:
    """Return a number of JSON; NaN for one that a float would change, so that it is never written back."""
    number = float(text)
    try:
        return number if Decimal(text) == Decimal(repr(number)) else float("nan")
    except InvalidOperation:  # its exponent is too large
        return float("nan")


def sealed(fields: Mapping[str, Any], *, is_new: bool = False) -> SealedStr:
    """Return fields as one JSON object. `is_new`: a manager gets them, so each number must be as it was."""
    try:
        return SealedStr(json.dumps(fields, allow_nan=not is_new))
    except ValueError:
        raise ManagerError(
            "has a number that would be rounded, so nothing was written", "store that number as a string, in quotes"
        ) from None
    except RecursionError:
        raise ManagerError(
            "has a field that is nested too deeply", "store that field elsewhere, or as one text"
        ) from None


def limited(parts: Iterable[bytes], too_long: Exception) -> bytes:
    """Return the parts of an answer, or raise `too_long`: a client would read an answer without a limit."""
    content = b""
    for part in parts:
        content += part
        if len(content) > MAX_BYTES:
            raise too_long
    return content


def is_insecure(address: str) -> bool:
    """Check whether a request to an address would not be encrypted. On the loopback interface it need not be."""
    return not re.fullmatch(
        r"https://.+|http://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?(?:/.*)?", address, re.IGNORECASE
    )


def manager_error(error: Exception, failures: Iterable[Failure], certificate: str) -> ManagerError:
    """Return the error of a manager for an error of its client: the first one of `failures` with its type.

    Args:
        error: the error of a client.
        failures: the failures that its errors can mean.
        certificate: how to fix a certificate that cannot be verified.
    """
    reasons = _reasons_of_tls(error)
    if any("CERTIFICATE" in each.upper() for each in reasons):
        return ManagerError("has a certificate that cannot be verified", certificate)
    if "WRONG_VERSION_NUMBER" in reasons:
        return ManagerError("has no TLS at its address", "correct the address, or turn on TLS in the server")
    _, message, remedy, is_temporary = next(failure for failure in failures if isinstance(error, failure[0]))
    return ManagerError(message.format(type_name(error)), remedy, is_temporary=is_temporary)


def _reasons_of_tls(error: BaseException) -> set[str]:
    """Return the reasons of the TLS errors behind an error, and all types: urllib3 has one for a wrong host name."""
    import ssl  # noqa: PLC0415 - only after an error

    found: list[BaseException] = [error]
    for each in found:
        further = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        found += [one for one in further if isinstance(one, BaseException) and one not in found]
    return {
        *(str(getattr(each, "reason", "")) for each in found if isinstance(each, ssl.SSLError)),
        *(type(each).__name__ for each in found),
    }


def members(text: bytes | str, remedy: str, *, is_whole: bool = False) -> Mapping[str, object]:
    """Return the members of a JSON object. `is_whole`: no part of the text was lost on its way.

    Raises:
        ManagerError: it cannot be used. Where its end may have been lost, that is temporary.
    """
    if len(text) > MAX_BYTES:
        raise ManagerError(f"is larger than {MAX_BYTES} bytes", remedy)
    if not text.strip():
        raise ManagerError("is empty", remedy, is_temporary=not is_whole)
    try:
        found = json.loads(text, object_pairs_hook=_unique_members)
    except UnreadError:
        raise ManagerError("has a member twice", remedy) from None
    except json.JSONDecodeError as error:
        document = error.doc.strip()
        is_at_end = not document.endswith("}") or error.pos >= len(error.doc.rstrip())
        if document.startswith("{") and error.msg != "Extra data" and is_at_end:
            raise ManagerError("is cut off", remedy, is_temporary=not is_whole) from None
        found = None
    except (ValueError, RecursionError):  # not UTF-8, or nested too deeply
        found = None
    if not isinstance(found, dict):
        raise ManagerError("is not a JSON object", remedy)
    return found


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadError
    return found
