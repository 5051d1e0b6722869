"""The net under a service's logs, in the real structlog and logging."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import json
import logging
import logging.handlers
import pickle
import queue
import re
import sys
import timeit
import traceback
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from uuid import UUID

import pytest
import structlog
from conftest import NOW, V1, V2, good_keys, run
from detector import leaks
from hypothesis import given
from hypothesis import strategies as st
from spellings import respelled

from robodj_secretguard import RuntimeSecrets, guard
from robodj_secretguard.errors import CheckFailedError, RedactedError
from robodj_secretguard.redact import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES, NOT_SEARCHED, TOO_LARGE, SecretRedactor
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = (Path(__file__).parent.parent / "docs" / "logs.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAME1, NAME2 = "[redacted secret.key]", "[redacted secret_v2.key]"
KEYS = good_keys()
KEY1, KEY2 = KEYS[V1], KEYS[V2]


@pytest.fixture(scope="module")
def redact() -> Iterator[SecretRedactor]:
    """A redactor of good keys."""
    with pytest.MonkeyPatch.context() as patch:
        for name, key in KEYS.items():
            patch.setenv(name, key)
        yield SecretRedactor(guard())


def in_basic_header(user: str) -> str:
    """Write a key as a Basic header does."""
    return base64.b64encode(f"{user}:{KEY1}:".encode()).decode()


FORMS = {
    "text": KEY1,
    "within": f"postgres://radio:{KEY1}@db/x",
    "hexadecimal": KEY1.encode().hex(),
    "hexadecimal-upper": KEY1.encode().hex().upper(),
    "base64": base64.b64encode(KEY1.encode()).decode(),
    "base64url": base64.urlsafe_b64encode(KEY1.encode()).decode(),
    **{f"base64-after-{len(user) + 1}": in_basic_header(user) for user in ("", "a", "ab", "abc")},
    "other-case": KEY2.upper(),
    "twice": KEY1 + KEY1,
}


class Shown:
    """An object that shows a key."""

    def __str__(self) -> str:
        return f"<{KEY1}>"


class Broken:
    """An object that cannot be looked at."""

    def __repr__(self) -> str:
        msg = "broken"
        raise ValueError(msg)


class Pair(NamedTuple):
    """A tuple with names."""

    left: Any
    right: Any


def fail(error: Exception) -> NoReturn:
    """Raise an error."""
    raise error


class TestAnEvent:
    """What the processor makes of an event."""

    @pytest.mark.parametrize("form", FORMS)
    def test_forms(self, redact: SecretRedactor, form: str) -> None:
        """A key is found as it is, in hexadecimal, and in base64 wherever it begins."""
        event = redact(None, "info", {"event": f"before {FORMS[form]} after"})["event"]
        assert (NAME2 if form == "other-case" else NAME1) in event
        assert event.startswith("before ")
        assert event.endswith(" after")
        assert leaks(event, list(KEYS.values())) == []

    @pytest.mark.parametrize("encode", [str.encode, base64.b64encode, base64.urlsafe_b64encode, bytes.hex])
    def test_a_respelled_key(self, redact: SecretRedactor, encode: Callable[[Any], bytes | str]) -> None:
        """A key is found whatever the unused bits of its last character are, and nothing of it is left."""
        for spelling in (KEY1, *respelled(KEY1)):
            encoded = encode(spelling if encode is str.encode else spelling.encode())
            text = encoded if isinstance(encoded, str) else encoded.decode()
            written = redact(None, "info", f"<{text}>")
            assert re.fullmatch(rf"<{re.escape(NAME1)}[A-Za-z0-9]?={{0,2}}>", written)

    @pytest.mark.parametrize(("user", "left"), [("", 4), ("a", 7), ("ab", 7), ("abc", 8)])
    def test_base64_within_something_longer(self, redact: SecretRedactor, user: str, left: int) -> None:
        """No character is left that the key alone makes."""
        assert len(redact(None, "info", in_basic_header(user)).replace(NAME1, "")) == left

    @pytest.mark.parametrize(
        ("value", "becomes"),
        [
            (KEY1, NAME1),
            (KEY1.encode(), NAME1.encode()),
            ([1, KEY2], [1, NAME2]),
            ((None, (KEY1,)), (None, (NAME1,))),
            (Pair(KEY1, 1.5), (NAME1, 1.5)),
            ({KEY1}, {NAME1}),
            (frozenset({KEY1}), frozenset({NAME1})),
            (
                {"a": {"b": [KEY1]}, KEY2: True, "exc_info": KEY1},
                {"a": {"b": [NAME1]}, NAME2: True, "exc_info": NAME1},
            ),
            (Shown(), f"<{NAME1}>"),
            (ValueError(KEY1), NAME1),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_nested(self, redact: SecretRedactor, value: Any, becomes: Any) -> None:
        """It is found in whatever is nested, and in what an object shows."""
        before = repr(value)
        assert redact(None, "info", {"event": "x", "value": value, "other": 1}) == {
            "event": "x",
            "value": becomes,
            "other": 1,
        }
        assert repr(value) == before  # nothing of the host's was changed

    @pytest.mark.parametrize(
        "event",
        [{"event": "x", "n": 1, "at": Path("a" * 60), "in": [("a" * 60, b"b" * 60, {"c"})]}, "a" * 60, b"a" * 60],
        ids=["dict", "text", "bytes"],
    )
    def test_without_a_key(self, redact: SecretRedactor, event: Any) -> None:
        """What holds no key is passed on as the very same object."""
        assert redact(None, "info", event) is event

    def test_an_exception(self, redact: SecretRedactor) -> None:
        """An exception that is not formatted yet is, where it shows a key, its cause's too; any other is left alone."""
        harmless = {"event": "x", "exc_info": ValueError("nothing")}
        assert redact(None, "info", harmless) is harmless
        try:
            try:
                fail(KeyError(KEY1))
            except KeyError as error:
                raise ValueError from error
        except ValueError as error:
            for exc_info in (True, error, (type(error), error, error.__traceback__)):
                event = redact(None, "error", {"event": "x", "exc_info": exc_info})
                kind, stands_for_it, frames = event["exc_info"]
                assert (kind, frames) == (RedactedError, None)
                assert f"KeyError: '{NAME1}'" in str(stands_for_it)

    def test_no_exception(self, redact: SecretRedactor) -> None:
        """Nor is there one to be found where none is handled."""
        for exc_info in (True, None, ()):
            event = {"event": "x", "exc_info": exc_info}
            assert redact(None, "info", event) is event

    def test_once_is_enough(self, redact: SecretRedactor) -> None:
        """What is redacted stays as it is."""
        event = redact(None, "info", {"event": KEY1})
        assert redact(None, "info", event) is event


PIPELINES: dict[str, list[Any]] = {
    "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
    "json-bytes": [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(lambda event, **_: json.dumps(event, default=str).encode()),
    ],
    "dict-tracebacks": [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()],
    "console": [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)],
    "key-value": [structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
    "logging": [structlog.processors.format_exc_info, structlog.stdlib.render_to_log_kwargs],
}


@pytest.mark.parametrize("place", ["last", "first"])
@pytest.mark.parametrize("name", PIPELINES)
def test_in_structlogs_pipelines(redact: SecretRedactor, name: str, place: str) -> None:
    """Last, after the renderer, it finds what the renderer wrote; earlier, what renderers will be given."""
    processors = [*PIPELINES[name], redact] if place == "last" else [redact, *PIPELINES[name]]
    written: list[Any] = []

    log = structlog.wrap_logger(Events(written), processors=processors, wrapper_class=structlog.BoundLogger)
    try:
        fail(ValueError(KEY1))
    except ValueError:
        log.error("said", exc_info=True, token=KEY2, nested={"key": [KEY1]})  # noqa: G201 - the sink has no other
    shown = repr(written)
    assert leaks(shown, list(KEYS.values())) == []
    assert NAME1 in shown
    assert NAME2 in shown
    assert "said" in shown


def logged(redact: logging.Filter, log: Callable[[logging.Logger], None], formatter: logging.Formatter) -> str:
    """Return what a handler with the redactor writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(redact)
    logger = logging.Logger("host")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()


def log_an_exception(logger: logging.Logger) -> None:
    """Log an exception that shows a key."""
    try:
        fail(ValueError(KEY1))
    except ValueError:
        logger.exception("failed")


RECORDS: dict[str, Callable[[logging.Logger], None]] = {
    "message": lambda logger: logger.info(KEY1),
    "argument": lambda logger: logger.info("%s of %d", KEY1, 3),
    "arguments-by-name": lambda logger: logger.info("%(key)s", {"key": KEY1}),
    "object": lambda logger: logger.info("%s", Shown()),
    "object-as-message": lambda logger: logger.info(Shown()),
    "extra": lambda logger: logger.info("said", extra={"more": {"key": [KEY1]}}),
    "extra-name": lambda logger: logger.info("said", extra={KEY1: 1}),
    "exception": log_an_exception,
    "cut-argument": lambda logger: logger.info("%.20s", KEY1),
}


class Changes:
    """An object that shows a key when it is shown again."""

    kind = "changes"

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __str__(self) -> str:
        return self._show("str")

    def __repr__(self) -> str:
        return self._show("repr")

    def __int__(self) -> int:
        return 3

    def _show(self, way: str) -> str:
        self.shown.append(way)
        return f"<{KEY1 if self.shown.count(way) > 1 else way}>"


class ChangingText(str):
    """Text that shows itself as a key when it is shown again."""

    __slots__ = ("shown",)

    def __str__(self) -> str:
        self.shown = hasattr(self, "shown")
        return KEY1 if self.shown else "<str>"


class ChangingNumber(int):
    """A number that shows itself as a key when it is shown again."""

    def __str__(self) -> str:
        self.shown = hasattr(self, "shown")
        return KEY1 if self.shown else "<str>"


CHANGING: dict[str, tuple[Callable[[Any], tuple[Any, ...]], str]] = {
    "str": (lambda value: ("%s", value), "<str>"),
    "repr": (lambda value: ("%r", value), "<repr>"),
    "ascii": (lambda value: ("%a", value), "<repr>"),
    "cut": (lambda value: ("%.3s", value), "<st"),
    "number": (lambda value: ("%d", value), "3"),
    "by-name": (lambda value: ("%(x)s", {"x": value}), "<str>"),
    "by-name-in-a-mapping": (lambda value: ("%(x)s", MappingProxyType({"x": value})), "<str>"),
    "in-a-list": (lambda value: ("%s", [value]), "[<repr>]"),
    "in-a-nested-tuple": (lambda value: ("%s %s", (1, {"x": value}), 1.5), "(1, {'x': <repr>}) 1.5"),
    "message": (lambda value: (value,), "<str>"),
    "message-and-argument": (lambda value: (value, 1), "<str>"),
}


class TestWhatChanges:
    """A handler writes the text that was searched, whatever the objects of a record show when it is formatted."""

    @pytest.mark.parametrize("name", CHANGING)
    def test_an_object(self, redact: SecretRedactor, name: str) -> None:
        """An object as the message, or as an argument in any format, is shown once."""
        arguments, expected = CHANGING[name]
        value = Changes()
        if name == "message-and-argument":
            value = type("Template", (Changes,), {"__str__": lambda self: f"{Changes.__str__(self)}%.0s"})()
        written = logged(redact, lambda logger: logger.info(*arguments(value)), logging.Formatter())
        assert written == f"{expected}\n"
        assert value.shown.count("str") <= 1

    @pytest.mark.parametrize("value", [ChangingText("x" * 50), ChangingText("x"), ChangingNumber(1)], ids=repr)
    def test_a_type_made_from_a_plain_one(self, redact: SecretRedactor, value: Any) -> None:
        """A subclass of `str` or `int` can show anything."""
        value = copy.copy(value)
        written = logged(redact, lambda logger: logger.info("%s", value), logging.Formatter())
        assert leaks(written, [KEY1]) == []

    def test_it_differs_each_time(self, redact: SecretRedactor) -> None:
        """What is written is the very text that was searched."""
        numbers = itertools.count()
        value = type("Counts", (), {"__str__": lambda _: f"number {next(numbers)}"})()
        assert logged(redact, lambda logger: logger.info("%s", value), logging.Formatter()) == "number 0\n"

    def test_a_list_that_is_changed_later(self, redact: SecretRedactor) -> None:
        """A record that waits in a queue shows what its arguments held when it was searched."""
        waiting: queue.Queue[logging.LogRecord] = queue.Queue()
        handler = logging.handlers.QueueHandler(waiting)
        handler.prepare = lambda record: record  # type: ignore[method-assign]  # the record itself waits
        handler.addFilter(redact)
        logger = logging.Logger("host")  # noqa: LOG001 - of this test alone
        logger.addHandler(handler)
        values, by_name = ["x"], {"key": "x"}
        logger.info("%s", values)
        logger.info("%(key)s", by_name)
        values[0] = by_name["key"] = KEY1
        assert [waiting.get().getMessage() for _ in range(2)] == ["['x']", "x"]

    def test_an_extra_field(self, redact: SecretRedactor) -> None:
        """A field of a formatter shows the text that was searched, and keeps what else the object has."""
        value = Changes()
        record = logging.makeLogRecord({"msg": "x", "user": value})
        assert redact.filter(record)
        assert logging.Formatter("%(user)s %(user)r").format(record) == "<str> <repr>"
        stands_for_it = vars(record)["user"]
        assert (isinstance(stands_for_it, Changes), stands_for_it.kind) == (True, "changes")
        assert [copy.copy(stands_for_it), pickle.loads(pickle.dumps(stands_for_it))] == ["<str>"] * 2  # noqa: S301
        assert redact.filter(record)
        assert leaks(f"{vars(record)}", [KEY1]) == []

    @pytest.mark.parametrize("name", PIPELINES)
    def test_an_event(self, redact: SecretRedactor, name: str) -> None:
        """A renderer writes it too, also of what is nested."""
        written: list[Any] = []
        processors = [redact, *PIPELINES[name]]
        log = structlog.wrap_logger(Events(written), processors=processors, wrapper_class=structlog.BoundLogger)
        log.error("said", value=Changes(), nested={"more": [Changes()]})
        shown = repr(written)
        assert leaks(shown, [KEY1]) == []
        assert len(re.findall("<repr>|<str>", shown)) == 2

    def test_values_that_cannot_change(self, redact: SecretRedactor) -> None:
        """Plain values stay arguments: a formatter may want them by themselves, as a server's access log does."""
        values = (
            *("text", b"bytes", 1, 1.5, True, None, 1j, Decimal(1), Path("x")),
            *(NOW, NOW.date(), NOW.time(), NOW - NOW, UUID(int=1)),
        )
        event = {"event": "x", "values": values}
        record = logging.makeLogRecord({"msg": "%s" * len(values), "args": values, "value": values})
        before = dict(vars(record))
        assert redact.filter(record)
        assert all(vars(record)[name] is value for name, value in before.items())
        assert redact(None, "info", event) is event

    def test_an_enumeration_with_a_text_of_its_own(self, redact: SecretRedactor) -> None:
        """What its `str` returns next is nobody's to know: the message keeps the text that was searched."""
        texts = iter(["harmless", KEY1])

        class Shows(Enum):
            ONE = 1

            def __str__(self) -> str:
                return next(texts, KEY1)

        record = logging.makeLogRecord({"msg": "%s", "args": (Shows.ONE,)})
        assert redact.filter(record)
        assert leaks(record.getMessage(), list(KEYS.values())) == []

    def test_an_argument_that_was_redacted(self, redact: SecretRedactor) -> None:
        """It stays an argument as well."""
        record = logging.makeLogRecord({"msg": '"%s %s" %d', "args": ("GET", f"/?key={KEY1}", 200)})
        assert redact.filter(record)
        assert (record.msg, record.args) == ('"%s %s" %d', ("GET", f"/?key={NAME1}", 200))

    def test_numbers_of_other_libraries(self, redact: SecretRedactor) -> None:
        """A number in a field can still be formatted as one."""
        record = logging.makeLogRecord({"msg": "x", "ratio": Fraction(1, 2)})
        assert redact.filter(record)
        assert logging.Formatter("%(ratio).2f").format(record) == "0.50"


class Events:
    """A logger that keeps what it is given."""

    def __init__(self, written: list[Any]) -> None:
        self._written = written

    def error(self, *args: Any, **kwargs: Any) -> None:
        self._written.append((args, kwargs))


class TestASealedSecret:
    """A sealed secret is shown masked."""

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (lambda secret: ("before %s after", secret), "before ********** after"),
            (lambda secret: ("%r", secret), "SealedStr('**********')"),
            (lambda secret: ("%(x)s", {"x": secret}), "**********"),
            (lambda secret: ("%s", [secret]), "[SealedStr('**********')]"),
            (lambda secret: (secret,), "**********"),
        ],
        ids=["argument", "repr", "by-name", "nested", "message"],
    )
    def test_a_record(
        self,
        redact: SecretRedactor,
        arguments: Callable[[SealedStr], tuple[Any, ...]],
        expected: str,
    ) -> None:
        """As the message or as an argument it is no reason to blank a record."""
        written = logged(redact, lambda logger: logger.info(*arguments(SealedStr(KEY1))), logging.Formatter())
        assert written == f"{expected}\n"

    @pytest.mark.parametrize("name", PIPELINES)
    def test_an_event(self, redact: SecretRedactor, name: str) -> None:
        """In an event and in an extra field it is masked, and what is beside it stays."""
        written: list[Any] = []
        processors = [redact, *PIPELINES[name]]
        log = structlog.wrap_logger(Events(written), processors=processors, wrapper_class=structlog.BoundLogger)
        log.error("said", sealed=SealedStr(KEY1), nested=[SealedStr(KEY2)], more="stays")
        record = logging.makeLogRecord(
            {"msg": "said", "sealed": SealedStr(KEY1), "nested": [SealedStr(KEY2)], "more": "stays"}
        )
        assert redact.filter(record)
        for shown in (repr(written), Everything().format(record)):
            assert leaks(shown, list(KEYS.values())) == []
            assert ("said" in shown, "stays" in shown, shown.count("**********")) == (True, True, 2)


class TestInLogging:
    """What the filter makes of a record."""

    @pytest.mark.parametrize("name", RECORDS)
    def test_it_is_replaced(self, redact: SecretRedactor, name: str) -> None:
        """In the message, its arguments, what is extra, and the exception."""
        written = logged(redact, RECORDS[name], Everything())
        assert leaks(written, list(KEYS.values())) == []
        assert "[redacted" in written

    def test_what_comes_later_is_given_it_redacted(self, redact: SecretRedactor) -> None:
        """A record is changed in place: a queue, and whoever takes it off there, gets no key."""
        waiting: queue.Queue[logging.LogRecord] = queue.Queue()
        handler = logging.handlers.QueueHandler(waiting)
        handler.addFilter(redact)
        logger = logging.Logger("host")  # noqa: LOG001 - of this test alone
        logger.addHandler(handler)
        log_an_exception(logger)
        assert leaks(repr(vars(waiting.get())), list(KEYS.values())) == []

    @pytest.mark.parametrize("error", [ValueError(), ValueError(KEY1)], ids=["without", "with"])
    def test_a_text_that_another_handler_has_cached(self, redact: SecretRedactor, error: ValueError) -> None:
        """The text of an exception that was formatted before is searched as well as the exception."""
        exc_info = (ValueError, error, None)
        record = logging.makeLogRecord({"msg": "x", "exc_info": exc_info, "exc_text": f"in short: {KEY1}"})
        assert redact.filter(record)
        assert leaks(f"{record.exc_text} {record.exc_info!r}", [KEY1]) == []
        assert (record.exc_info is exc_info) is (not error.args)
        assert record.exc_text == (str(record.exc_info[1]) if error.args else f"in short: {NAME1}")  # type: ignore[index]

    def test_structlogs_bound_logger(self, redact: SecretRedactor) -> None:
        """An exception that structlog sends to logging stays one, wherever in the pipeline it is redacted."""
        to_logging = structlog.stdlib.render_to_log_kwargs
        for processors in ([redact, to_logging], [to_logging, redact]):

            def log(logger: logging.Logger, processors: list[Any] = processors) -> None:
                bound = structlog.wrap_logger(logger, processors, wrapper_class=structlog.stdlib.BoundLogger)
                try:
                    fail(ValueError(KEY1))
                except ValueError:
                    bound.exception("said", key=KEY2, broken=Broken())

            written = logged(logging.Filter(), log, Everything())
            assert leaks(written, list(KEYS.values())) == []
            assert written.startswith("said\nrobodj_secretguard.errors.RedactedError: Traceback")
            assert f"ValueError: {NAME1}" in written

    def test_without_a_key_a_record_is_as_it_was(self, redact: SecretRedactor) -> None:
        """Message, arguments and exception are the very same objects."""
        record = logging.makeLogRecord(
            {"msg": "%s", "args": (Path("a" * 60),), "exc_info": (ValueError, ValueError(), None)}
        )
        before = dict(vars(record))
        assert redact.filter(record)
        assert all(vars(record)[name] is value for name, value in before.items())

    @pytest.mark.parametrize("place", ["first", "last", "filter"])
    def test_structlogs_formatter(self, redact: SecretRedactor, place: str) -> None:
        """With `ProcessorFormatter` it is one of its processors, or a filter of the handler."""
        form = structlog.stdlib.ProcessorFormatter
        processors: list[Any] = [form.remove_processors_meta, structlog.processors.JSONRenderer()]
        if place != "filter":
            processors.insert(0 if place == "first" else len(processors), redact)
        formatter = form(processors=processors)

        def log(logger: logging.Logger) -> None:
            chain = [form.wrap_for_formatter]
            structlog.wrap_logger(logger, processors=chain, wrapper_class=structlog.stdlib.BoundLogger).info(KEY1)
            logger.info("also said %s", KEY2)

        written = logged(redact if place == "filter" else logging.Filter(), log, formatter)
        assert leaks(written, list(KEYS.values())) == []
        assert written.count("[redacted") == 2


class Everything(logging.Formatter):
    """Writes the line, and every attribute."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {vars(record)}"


class TestBounds:
    """However much there is, a bounded part of it is searched, and no other is passed on."""

    @pytest.mark.parametrize("in_bytes", [False, True])
    @pytest.mark.parametrize("form", [KEY1, KEY2.encode().hex()], ids=["text", "longest"])
    @pytest.mark.parametrize("within", [MAX_CHARACTERS, -1, 20, 1, 0, -9])
    def test_a_long_text(self, redact: SecretRedactor, within: int, form: str, *, in_bytes: bool) -> None:
        """A long text is cut, and a key that the cut goes through is not left half."""
        before = MAX_CHARACTERS - (within if within >= 0 else len(form) + within)
        text = "-" * before + form + "-" * MAX_CHARACTERS
        event = redact(None, "info", {"event": text.encode() if in_bytes else text})["event"]
        written = event.decode() if in_bytes else event
        assert written.endswith(TOO_LARGE)
        assert leaks(re.sub("-{99,}", "", written), list(KEYS.values())) == []

    def test_a_text_as_long_as_the_bound(self, redact: SecretRedactor) -> None:
        """What is as long as the bound is passed on; the next text is not, unless it is too short to hold a key."""
        event = {"event": "-" * MAX_CHARACTERS, "short": "-"}
        assert redact(None, "info", event) is event
        more = redact(None, "info", event | {"next": "-" * 50, "last": "-" * 999})
        assert (more["next"], more["last"]) == (TOO_LARGE, TOO_LARGE)

    def test_a_key_for_which_the_bound_leaves_too_little(self, redact: SecretRedactor) -> None:
        """Nothing is left of it."""
        assert redact(None, "info", {"event": "-" * (MAX_CHARACTERS - 30), "next": KEY1})["next"] == TOO_LARGE

    def test_many_values(self, redact: SecretRedactor) -> None:
        """So do many values; what is nested beyond them is cut."""
        event: dict[str, Any] = {"event": "x", "many": [1] * (MAX_VALUES - 2)}
        assert redact(None, "info", event) is event
        assert redact(None, "info", event | {"more": 1})["many"] == TOO_LARGE
        assert redact(None, "info", dict.fromkeys(map(str, range(MAX_VALUES + 1)))) == {"event": TOO_LARGE}

    @pytest.mark.parametrize("around", [lambda inner: {"a": inner}, lambda inner: [inner]], ids=["dict", "list"])
    def test_depth(self, redact: SecretRedactor, around: Callable[[Any], Any]) -> None:
        """What is nested too deep is cut, in a record as in an event."""
        nested: Any = KEY1
        for _ in range(MAX_DEPTH):
            nested = around(nested)
        for value, becomes in ((nested, NAME1), (around(nested), TOO_LARGE)):
            event = redact(None, "info", {"event": "x", "value": value})
            record = logging.makeLogRecord({"msg": "x", "value": value})
            redact.filter(record)
            assert vars(record)["value"] == event["value"]
            assert becomes in repr(event)
            assert leaks(repr(event), [KEY1]) == []

    def test_a_cycle(self, redact: SecretRedactor) -> None:
        """So is what holds itself."""
        event: dict[str, Any] = {"event": "x"}
        event["cycle"] = event
        shown = repr(redact(None, "info", event))
        assert shown.count("cycle") == MAX_DEPTH + 1
        assert TOO_LARGE in shown


class Strange(dict[str, Any]):
    """A mapping that does not give its items."""

    def items(self) -> Any:
        """Fail."""
        raise KeyError


class TestWhateverFails:
    """Nothing that goes wrong is raised into the host, and nothing that was not searched is passed on."""

    def test_a_value(self, redact: SecretRedactor) -> None:
        """An object that fails is a constant, and what is beside it is redacted as ever."""
        event = {"event": "x", "key": KEY1, "broken": Broken()}
        assert redact(None, "info", event) == {"event": "x", "key": NAME1, "broken": NOT_SEARCHED}

    @pytest.mark.parametrize(
        ("event", "becomes"),
        [
            (Strange(event=KEY1), {"event": NOT_SEARCHED}),
            (Strange(msg=KEY1), {"msg": NOT_SEARCHED}),
            (((Strange(),), {}), ((NOT_SEARCHED,), {})),
            ([Strange()], NOT_SEARCHED),
        ],
        ids=["event", "logging", "arguments", "list"],
    )
    def test_an_event(self, redact: SecretRedactor, event: Any, becomes: Any) -> None:
        """A container that fails is an event of one constant, in its shape."""
        assert redact(None, "info", event) == becomes

    @pytest.mark.parametrize(
        "record", [{"msg": "%d", "args": (KEY1,)}, {"msg": Broken()}, {"msg": Strange(event=KEY1)}]
    )
    def test_a_record(self, redact: SecretRedactor, record: dict[str, Any]) -> None:
        """A record that fails is not dropped, and has nothing left that could be a key."""
        made = logging.makeLogRecord(record)
        assert redact.filter(made)
        assert NOT_SEARCHED in made.getMessage()
        assert leaks(repr(vars(made)), list(KEYS.values())) == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_what_ends_a_process_gets_out(self, redact: SecretRedactor, error: type[BaseException]) -> None:
        """A signal's exception ends the process, and brings no frame of the search along."""

        class Ends:
            def __repr__(self) -> str:
                raise error

        with pytest.raises(error) as raised:
            redact(None, "info", {"event": Ends()})
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[1:] == ["__call__", "_attempt"]


class TestItShowsNothing:
    """The redactor holds every key in every form, and shows none."""

    def test_attributes_and_copies(self, redact: SecretRedactor) -> None:
        """Not by its attributes, nor by those of a copy."""
        for each in (redact, copy.copy(redact), copy.deepcopy(redact)):
            assert leaks(f"{each!r} {vars(each)}", list(KEYS.values())) == []

    def test_pickles(self, redact: SecretRedactor) -> None:
        """It is not pickled."""
        with pytest.raises(TypeError, match="secrets are not pickled"):
            pickle.dumps(redact)

    def test_frames(self, redact: SecretRedactor) -> None:
        """Nor by its frames, while an object is looked at."""
        seen: list[Any] = []

        class Looks:
            def __repr__(self) -> str:
                if not seen:  # else it is shown among the locals
                    seen.append("")
                    here = sys._getframe()  # noqa: SLF001 - that is how a frame is found
                    stack = traceback.StackSummary.extract(traceback.walk_stack(here), capture_locals=True)
                    seen.extend(frame.locals for frame in stack if frame.filename.endswith("redact.py"))
                return ""

        redact(None, "info", {"event": "x", "looks": Looks()})
        assert len(seen) > 3
        assert leaks(repr(seen), list(KEYS.values())) == []

    def test_settings_that_are_broken(self) -> None:
        """Nor where the settings are broken, and give no value."""
        with pytest.raises(CheckFailedError, match="AttributeError"):
            SecretRedactor(RuntimeSecrets.__new__(RuntimeSecrets))

    def test_a_wrong_argument(self) -> None:
        """What is not the settings is refused, and not shown."""
        with pytest.raises(TypeError, match=r"^SecretRedactor takes the settings that guard\(\) returned$") as raised:
            SecretRedactor(KEY1)  # type: ignore[arg-type]
        last = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack[-1]
        assert leaks(repr(last.locals), [KEY1]) == []


TEXTS = st.sampled_from(list(FORMS.values())) | st.text(max_size=60)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none() | st.builds(str.encode, TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.just("exc_info"), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(VALUES, st.sampled_from(list(FORMS.values())))
def test_whatever_an_event_holds(redact: SecretRedactor, value: Any, form: str) -> None:
    """No form of a key is in what is written of any event."""
    written = repr(redact(None, "info", {"event": form, "value": value}))
    assert [each for each in (*FORMS.values(), *KEYS.values()) if each in written] == []


@pytest.mark.parametrize("code", EXAMPLES, ids=["structlog", "logging"])
def test_the_page(code: str, clean_env: dict[str, str], tmp_path: Path) -> None:
    """The page's examples do what it says."""
    say = "structlog.get_logger().info('said', token=KEY)" if "structlog" in code else "logging.info('said %s', KEY)"
    script = f"{code}\nimport os\nKEY = os.environ['{V1}']\n{say}\n"
    ran = run(["-c", script], env=clean_env | KEYS, cwd=tmp_path, keys=list(KEYS.values()))
    assert (ran.status, NAME1 in ran.out + ran.err) == (0, True)


def test_the_pages_numbers() -> None:
    """The bounds that the page names are those that hold."""
    assert f"{MAX_CHARACTERS:,} characters, {MAX_VALUES:,} values and {MAX_DEPTH} levels" in PAGE


@pytest.mark.full
def test_what_it_costs(redact: SecretRedactor) -> None:
    """An ordinary event of ten fields takes less than ten microseconds."""
    event: dict[str, Any] = {f"field{number}": "an ordinary text" for number in range(7)}
    event |= {"event": "a request was answered, which takes a somewhat longer text", "status": 200, "duration": 0.25}
    times = timeit.repeat(lambda: redact(None, "info", event), number=10_000, repeat=5)
    print(f"{min(times) / 10_000 * 1e6:.1f} microseconds for an event of {len(event)} fields")  # noqa: T201
    assert min(times) / 10_000 < 10e-6
