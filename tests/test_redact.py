"""Redaction of keys in logs, with the real structlog and logging."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn
from urllib.parse import quote

import pytest
import structlog
from conftest import NOW, V1, V2, good_keys, process_environment
from detector import leaks
from django.core.management.utils import get_random_secret_key
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import GOOD, run_forked
from pydantic import SecretStr
from rings import Published
from spellings import respelled

from robodj_secretguard import Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings, guard
from robodj_secretguard.errors import CheckFailedError, RedactedError
from robodj_secretguard.running.redact import MAX_TEXT, MIN_PART, NOT_SEARCHED, TOO_LONG, SecretRedactor
from robodj_secretguard.secret.issued import Opaque
from robodj_secretguard.secret.sealed import SealedStr

DAY = timedelta(days=1)
declared = partial(SecretPolicy, owner="Tests", cadence=90 * DAY, warn_before=14 * DAY, issuer="https://x.example")
PAGE = (Path(__file__).parent.parent / "docs" / "logs.md").read_text(encoding="utf-8")
PAGE = PAGE.replace("from app.service_secrets import", "from robodj_secretguard import RuntimeSecrets as")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAME1, NAME2 = "[redacted secret.key]", "[redacted secret_v2.key]"
KEYS = next(keys for keys in iter(good_keys, None) if keys[V1][-1] in "MYo8")
"""Some spellings of the last character differ in both hexadecimal digits."""
KEY1, KEY2 = KEYS[V1], KEYS[V2]


@pytest.fixture(scope="module")
def redact() -> Iterator[SecretRedactor]:
    """A redactor of good keys."""
    with pytest.MonkeyPatch.context() as patch:
        for name, key in KEYS.items():
            patch.setenv(name, key)
        yield SecretRedactor(guard())


def in_basic_header(user: str) -> str:
    """Encode a key as a Basic header."""
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
    """An object whose text is a key."""

    def __str__(self) -> str:
        return f"<{KEY1}>"


class Broken:
    """An object whose text raises an error."""

    def __repr__(self) -> str:
        msg = "broken"
        raise ValueError(msg)


class Strange(dict[str, Any]):
    """A mapping whose items raise an error."""

    def items(self) -> Any:
        """Raise an error."""
        raise KeyError


CYCLE: dict[str, Any] = {"key": KEY1}
CYCLE["within"] = CYCLE
"""A mapping that contains itself."""


class Pair(NamedTuple):
    """A named tuple."""

    left: Any
    right: Any


def fail(error: Exception) -> NoReturn:
    """Raise an error."""
    raise error


class HiddenError(ValueError):
    """An exception whose traceback does not have its arguments."""

    def __str__(self) -> str:
        return "hidden"


class HiddenBrokenError(HiddenError):
    """The same, without a `repr`."""

    def __repr__(self) -> str:
        raise RuntimeError


class TestAnEvent:
    """The processor, on one event."""

    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_of_a_key_is_found(self, redact: SecretRedactor, form: str) -> None:
        """A key is found as it is, in hexadecimal, and in base64 wherever it begins."""
        event = redact(None, "info", f"before {FORMS[form]} after")
        assert re.fullmatch(f"before .*{re.escape(NAME2 if form == 'other-case' else NAME1)}.* after", event)
        assert leaks(event, list(KEYS.values())) == []
        assert redact(None, "info", event) is event

    def test_keys_of_every_slot_are_redacted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next and the previous key are redacted too, also a previous key after its deadline."""
        slots = {f"{V1}_NEXT": good_keys()[V1], f"{V1}_PREVIOUS": good_keys()[V1]}
        for name, value in (KEYS | slots | {f"{V1}_PREVIOUS_UNTIL": "2026-11-01T00:00:00Z"}).items():
            monkeypatch.setenv(name, value)
        redact = SecretRedactor(RuntimeSecrets())
        assert redact(None, "", " ".join(slots.values())) == f"{NAME1} {NAME1}"
        monkeypatch.setenv(f"{V1}_PREVIOUS", "x")  # past and no key: only a warning
        assert SecretRedactor(RuntimeSecrets())(None, "", "xyz") == "xyz"
        monkeypatch.setenv(f"{V1}_PREVIOUS", old := get_random_secret_key())  # of before the adoption
        monkeypatch.setenv(f"{V1}_PREVIOUS_UNTIL", (datetime.now(UTC) + DAY).isoformat())
        assert SecretRedactor(RuntimeSecrets())(None, "", f"old={old}") == f"old={NAME1}"

    @pytest.mark.parametrize("encode", [str.encode, base64.b64encode, base64.urlsafe_b64encode, bytes.hex])
    def test_respelled_key_is_found_whole(self, redact: SecretRedactor, encode: Callable[[Any], bytes | str]) -> None:
        """A key is found whatever the unused bits of its last character are, and no part of it remains."""
        for spelling in (KEY1, *respelled(KEY1)):
            encoded = encode(spelling if encode is str.encode else spelling.encode())
            text = encoded if isinstance(encoded, str) else encoded.decode()
            written = redact(None, "info", f"<{text}>")
            assert re.fullmatch(rf"<{re.escape(NAME1)}[A-Za-z0-9]?={{0,2}}>", written)

    def test_base64_leaves_no_character_of_the_key(self, redact: SecretRedactor) -> None:
        """No character remains that depends on the key alone."""
        written = [redact(None, "info", in_basic_header(user)).replace(NAME1, "") for user in ("", "a", "ab", "abc")]
        assert list(map(len, written)) == [4, 7, 7, 8]

    @pytest.mark.parametrize(
        ("value", "becomes"),
        [
            (KEY1, NAME1),
            (KEY1.encode(), NAME1.encode()),
            ([1, KEY2], [1, NAME2]),
            ((None, (KEY1,)), (None, (NAME1,))),
            (Pair(KEY1, 1.5), (NAME1, 1.5)),
            ({KEY1}, [NAME1]),
            (frozenset({KEY1}), [NAME1]),
            (
                {"a": {"b": [KEY1]}, KEY2: True, "exc_info": KEY1},
                {"a": {"b": [NAME1]}, NAME2: True, "exc_info": NAME1},
            ),
            (Shown(), f"<{NAME1}>"),
            (ValueError(KEY1), NAME1),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_key_in_nested_values_is_replaced(self, redact: SecretRedactor, value: Any, becomes: Any) -> None:
        """A key is found in nested objects, and in the text of an object."""
        before = repr(value)
        event = {"event": "x", "value": value, "other": 1}
        assert redact(None, "info", event) == event | {"value": becomes}
        assert repr(value) == before  # the host's objects are unchanged

    @pytest.mark.parametrize(
        "event",
        [
            {"event": "x", "n": 10**5000, "in": [("a" * 60, b"b" * 60, {"c"}, Path("a" * 60))]},
            "a" * 60,
            b"a" * 60,
            *({"event": "x", "exc_info": each} for each in (True, None, (), ValueError("nothing"))),
            {"exc_info": (HiddenError, HiddenError("x", KEY1), None)},
            {"exc_info": (HiddenBrokenError, HiddenBrokenError("x"), None)},
        ],
        ids=range(9),
    )
    def test_event_without_a_key_is_the_same_object(self, redact: SecretRedactor, event: Any) -> None:
        """An object without a key is passed on as the same object: so is an exception whose traceback has none."""
        assert redact(None, "info", event) is event

    def test_exception_that_shows_a_key_is_replaced(self, redact: SecretRedactor) -> None:
        """An exception that shows a key, also in its cause, is replaced by its redacted text."""
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


PIPELINES: dict[str, list[Any]] = {
    "json-bytes": [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(lambda event, **_: json.dumps(event, default=repr).encode()),
    ],
    "dict-tracebacks": [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()],
    "console": [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)],
}


class Events:
    """A logger that keeps its events."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def error(self, *args: Any, **kwargs: Any) -> None:
        self.written.append((args, kwargs))


@pytest.mark.parametrize("name", PIPELINES)
def test_last_processor_redacts_what_a_renderer_wrote(redact: SecretRedactor, name: str) -> None:
    """No key remains after a renderer, and a sealed secret is masked."""
    events = Events()
    log = structlog.wrap_logger(events, processors=[*PIPELINES[name], redact], wrapper_class=structlog.BoundLogger)
    try:
        fail(ValueError(KEY1))
    except ValueError:
        log.error("said", exc_info=True, token=KEY2, nested={"key": [KEY1]})  # noqa: G201 - the sink has no other
    log.error("said", value=Shown(), sealed=SealedStr(KEY1), nested=[Shown(), SealedStr(KEY2)])
    shown = repr(events.written)
    assert leaks(shown, list(KEYS.values())) == []
    assert (NAME1 in shown, NAME2 in shown, shown.count("said")) == (True, True, 2)
    assert shown.count("**********") == 2


class Everything(logging.Formatter):
    """A handler that writes the line and every attribute of the record."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {vars(record)}"


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


ARGUMENTS: dict[str, tuple[Callable[[Any], tuple[Any, ...]], str]] = {
    "message": (lambda value: (value,), "{0}"),
    "argument": (lambda value: ("%s of %d", value, 3), "{0} of 3"),
    "repr": (lambda value: ("%r", value), "{1}"),
    "ascii": (lambda value: ("%a", value), "{1}"),
    "cut": (lambda value: ("%.3s", value), "{0:.3}"),
    "by-name": (lambda value: ("%(x)s", {"x": value}), "{0}"),
    "in-a-list": (lambda value: ("%s", [value]), "[{1}]"),
    "in-a-nested-tuple": (lambda value: ("%s %s", (1, {"x": value}), 1.5), "(1, {{'x': {1}}}) 1.5"),
}
"""The arguments of a logging call, and the written line: 0 stands for the value's `str`, 1 for its `repr`."""


class TestARecord:
    """The filter of a handler, on one record."""

    @pytest.mark.parametrize(
        ("value", "shows"),
        [(KEY1, (NAME1, repr(NAME1))), (SealedStr(KEY1), ("**********", repr("**********")))],
        ids=["key", "sealed"],
    )
    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_key_and_sealed_secret_are_replaced_in_arguments(
        self, redact: SecretRedactor, name: str, value: Any, shows: tuple[str, str]
    ) -> None:
        """A key and a sealed secret are replaced in any argument, and no attribute has a key."""
        arguments, expected = ARGUMENTS[name]
        written = logged(redact, lambda logger: logger.info(*arguments(value)), Everything())
        assert written.startswith(f"{expected.format(*shows)} {{")
        assert leaks(written, [KEY1]) == []

    @pytest.mark.parametrize(
        ("log", "expected"),
        [
            (lambda logger: logger.info("%s", Shown()), f"<{NAME1}> "),
            (lambda logger: logger.info("said", extra={"more": {"key": [KEY1]}}), "said "),
            (lambda logger: logger.info("said", extra={KEY1: 1}), "said "),
            (log_an_exception, "failed\nTraceback"),
        ],
        ids=["object", "extra", "extra-name", "exception"],
    )
    def test_key_is_replaced_in_every_place_of_a_record(
        self, redact: SecretRedactor, log: Callable[[logging.Logger], None], expected: str
    ) -> None:
        """A key is replaced in an object's text, in extra fields and their names, and in an exception."""
        written = logged(redact, log, Everything())
        assert written.startswith(expected)
        assert leaks(written, [KEY1]) == []
        assert NAME1 in written

    def test_arguments_stay_arguments(self, redact: SecretRedactor) -> None:
        """Each argument is redacted by itself: a formatter may need them, as for a server's access log."""
        record = logging.makeLogRecord(
            {"msg": "%s %s %d", "args": (Shown(), f"/?key={KEY1}", 200), "sealed": SealedStr(KEY1)}
        )
        assert redact.filter(record)
        assert (record.msg, record.args) == ("%s %s %d", (f"<{NAME1}>", f"/?key={NAME1}", 200))
        assert vars(record)["sealed"] == "**********"

    def test_record_without_a_key_stays(self, redact: SecretRedactor) -> None:
        """A record without a key keeps the same objects."""
        record = logging.makeLogRecord(
            {
                "msg": "%s",
                "args": (("text", b"bytes", 1, 1.5, True, None),),
                "value": [{"more": {Pair(Path("a" * 60), NOW)}}],
                "exc_info": (ValueError, ValueError(), None),
            }
        )
        before = dict(vars(record))
        assert redact.filter(record)
        assert all(vars(record)[name] is value for name, value in before.items())

    @pytest.mark.parametrize("error", [ValueError(), ValueError(KEY1)], ids=["without", "with"])
    def test_cached_text_of_an_exception_is_searched(self, redact: SecretRedactor, error: ValueError) -> None:
        """The cached text of an exception is searched as well as the exception."""
        exc_info = (ValueError, error, None)
        record = logging.makeLogRecord({"msg": "x", "exc_info": exc_info, "exc_text": f"in short: {KEY1}"})
        assert redact.filter(record)
        assert leaks(f"{record.exc_text} {record.exc_info!r}", [KEY1]) == []
        assert (record.exc_info is exc_info) is (not error.args)
        assert record.exc_text == (str(record.exc_info[1]) if error.args else f"in short: {NAME1}")  # type: ignore[index]

    @pytest.mark.parametrize("position", ["last", "filter"])
    def test_processor_formatter_writes_no_key(self, redact: SecretRedactor, position: str) -> None:
        """With `ProcessorFormatter`, the redactor is one of its processors, or a filter of the handler."""
        form = structlog.stdlib.ProcessorFormatter
        processors: list[Any] = [form.remove_processors_meta, structlog.processors.JSONRenderer()]
        if position != "filter":
            processors.append(redact)
        formatter = form(processors=processors)

        def log(logger: logging.Logger) -> None:
            chain = [form.wrap_for_formatter]
            structlog.wrap_logger(logger, processors=chain, wrapper_class=structlog.stdlib.BoundLogger).info(KEY1)
            logger.info("also said %s", KEY2)

        written = logged(redact if position == "filter" else logging.Filter(), log, formatter)
        assert leaks(written, list(KEYS.values())) == []
        assert written.count("[redacted") == 2


class TestBounds:
    """A limited part of an event is searched, and nothing else is passed on."""

    @pytest.mark.parametrize("in_bytes", [False, True], ids=["text", "bytes"])
    @pytest.mark.parametrize("form", [KEY1, KEY2.encode().hex()], ids=["key", "longest"])
    @pytest.mark.parametrize("within", [MAX_TEXT, -1, 20, 1, 0, -9])
    def test_long_text_is_cut_without_half_a_key(
        self, redact: SecretRedactor, within: int, form: str, *, in_bytes: bool
    ) -> None:
        """A long text is cut, and no half of a key remains."""
        before = MAX_TEXT - (within if within >= 0 else len(form) + within)
        text = "-" * before + form + "-" * MAX_TEXT
        event = redact(None, "info", text.encode() if in_bytes else text)
        written = event.decode() if in_bytes else event
        assert (written.endswith(TOO_LONG), leaks(written.replace("-" * 99, ""), [KEY1, KEY2])) == (True, [])

    def test_text_as_long_as_the_limit_is_kept(self, redact: SecretRedactor) -> None:
        """A text as long as the limit is passed on, and a longer one is cut."""
        text = "-" * MAX_TEXT
        assert redact(None, "info", text) is text
        assert re.fullmatch(f"-{{{MAX_TEXT - 999},}}{re.escape(TOO_LONG)}", redact(None, "info", f"{text}-"))


class TestWhateverFails:
    """No error reaches the host, and nothing is passed on without a search."""

    @pytest.mark.parametrize(
        ("event", "becomes"),
        [
            ({"event": "x", "key": KEY1, "broken": Broken()}, {"event": "x", "key": NAME1, "broken": NOT_SEARCHED}),
            (Strange(event=KEY1), NOT_SEARCHED),
            (((Strange(),), {}), NOT_SEARCHED),
        ],
        ids=["object", "event", "arguments"],
    )
    def test_what_fails_becomes_a_constant(self, redact: SecretRedactor, event: Any, becomes: Any) -> None:
        """An object that fails becomes a constant, and its neighbours are redacted. A container becomes one as well."""
        assert redact(None, "info", event) == becomes

    @pytest.mark.parametrize(
        "record",
        [{"msg": Broken()}, {"msg": Strange(event=KEY1)}, {"msg": "x", "more": CYCLE}],
        ids=["message", "event", "cycle"],
    )
    def test_broken_record_is_blanked_and_not_dropped(self, redact: SecretRedactor, record: dict[str, Any]) -> None:
        """A record that fails is not dropped, and has nothing left that could be a key."""
        made = logging.makeLogRecord(record | {"thread": 1})  # a random key can end like the thread's number
        assert redact.filter(made)
        assert NOT_SEARCHED in made.getMessage()
        assert leaks(repr(vars(made)), list(KEYS.values())) == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_signal_ends_the_process_without_frames_of_the_search(
        self, redact: SecretRedactor, error: type[BaseException]
    ) -> None:
        """A signal's exception ends the process, without the frames of the search."""

        class Ends:
            def __repr__(self) -> str:
                raise error

        with pytest.raises(error) as raised:
            redact(None, "info", {"event": Ends()})
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[1:] == ["__call__", "_attempt"]


class TestItShowsNothing:
    """The redactor holds every key in every form, and shows none."""

    def test_redactor_shows_no_key_in_attributes_and_copies(self, redact: SecretRedactor) -> None:
        """No attribute of the redactor or of a copy shows a key, and it is not pickled."""
        for each in (redact, copy.copy(redact), copy.deepcopy(redact)):
            assert leaks(f"{each!r} {vars(each)}", list(KEYS.values())) == []
            with pytest.raises(TypeError, match="secrets are not pickled"):
                pickle.dumps(each)

    def test_frames_show_no_key_while_an_object_is_called(self, redact: SecretRedactor) -> None:
        """The frames of the redactor show no key while it calls an object."""
        seen: list[Any] = []

        class Looks:
            def __repr__(self) -> str:
                if not seen:  # otherwise the locals would show it
                    seen.append("")
                    frame = sys._getframe()  # noqa: SLF001 - that is how a frame is found
                    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), capture_locals=True)
                    seen.extend(frame.locals for frame in stack if frame.filename.endswith("redact.py"))
                return ""

        redact(None, "info", {"event": "x", "looks": Looks()})
        assert len(seen) > 3
        assert leaks(repr(seen), list(KEYS.values())) == []

    def test_a_secret_itself(self) -> None:
        """A live secret in an event, which has no text, is masked."""
        with process_environment(good_keys()):
            made = RuntimeSecrets()
        event = {"event": "x", "key": made.secret_key}
        assert SecretRedactor(made)(None, "info", event) == {"event": "x", "key": "**********"}

    def test_a_kind_that_raises(self) -> None:
        """A value whose kind raises an error is redacted as a whole."""

        class Raising(Opaque):
            def searched(self, text: str) -> tuple[str, ...]:
                raise LookupError(text)

        class Own(SecretSettings):
            token: Annotated[Secret, SecretPolicy(material=Raising(8, "", None))]

        with process_environment({"TOKEN": (text := secrets.token_hex(9))}):
            redact = SecretRedactor(Own())
        assert redact(None, "info", f"the token is {text}") == "the token is [redacted token]"

    def test_broken_settings_are_an_error(self) -> None:
        """Settings that return no value are a `CheckFailedError`."""
        with pytest.raises(CheckFailedError, match="AttributeError"):
            SecretRedactor(RuntimeSecrets.__new__(RuntimeSecrets))

    def test_keys_after_a_switch_are_redacted(self, tmp_path: Path) -> None:
        """A key that was published while the service runs is redacted, and so is the key of the start."""
        service = Published(tmp_path)
        redact, first, new = SecretRedactor(service.secrets), service.ring.current.value, good_keys()[V1]
        assert service.publish(new, previous=first.get_secret_value())
        assert redact(None, "info", f"{new} {first.get_secret_value()}") == f"{NAME1} {NAME1}"

    def test_wrong_argument_is_refused_and_not_shown(self) -> None:
        """An argument other than the settings is refused, and is not shown."""
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


@settings(max_examples=50)
@given(VALUES, st.sampled_from(list(FORMS.values())))
def test_no_form_of_a_key_remains_in_any_event(redact: SecretRedactor, value: Any, form: str) -> None:
    """No form of a key remains in any event."""
    written = repr(redact(None, "info", {"event": form, "value": value}))
    assert [each for each in (*FORMS.values(), *KEYS.values()) if each in written] == []


def test_examples_of_the_page_work(tmp_path: Path) -> None:
    """The examples of the page, for structlog and logging, work as described, and its numbers are the limits."""
    structlogs, loggings = EXAMPLES[:2]
    script = f"{structlogs}\nimport os\nKEY = os.environ['{V1}']\nstructlog.get_logger().info('said', token=KEY)\n"
    ran = run_forked(f"{script}\n{loggings}\nlogging.info('said %s', KEY)", GOOD, tmp_path)
    assert (ran.status, NAME1 in ran.out, ran.err) == (0, True, f"INFO:root:said {NAME1}\n")
    assert f"{MAX_TEXT:,} characters" in PAGE


DATABASE = declared(name="db.url", variable="DB_URL", material=Material.url("postgresql"))
CERTIFICATE = declared(name="tls.key", variable="TLS_KEY", material=Material.pem())
BETA = declared(name="beta.key", variable="BETA_KEY", material=Material.opaque(), required=False)


class Issued(SecretSettings):
    """A service with a database, a private key, and a secret that is not set."""

    database: Annotated[SecretStr, DATABASE]
    certificate: Annotated[SecretStr, CERTIFICATE]
    beta: Annotated[SecretStr | None, BETA]


class Beta(SecretSettings):
    """A service with one issued secret."""

    beta: Annotated[SecretStr | None, BETA]


@pytest.mark.parametrize("length", [MIN_PART - 1, MIN_PART])
def test_parts_of_issued_values_are_redacted(length: int) -> None:
    """The password of a URL, as it is written and decoded, and each line of a PEM are redacted, unless too short."""
    password, pem = f"/{secrets.token_hex(8)}"[:length], Material.pem().temporary()
    url = f"postgresql://rw:{quote(password, safe='')}@db.internal/orders"
    with process_environment({"DB_URL": url, "TLS_KEY": pem}):
        redact = SecretRedactor(Issued())
    assert redact(None, "info", f"cannot connect to {url}") == "cannot connect to [redacted db.url]"
    assert redact(None, "info", password) == ("[redacted db.url]" if length == MIN_PART else password)
    assert redact(None, "info", pem.partition("\n")[2]).startswith("[redacted tls.key]\n")


@pytest.mark.parametrize(
    "form",
    [
        str,
        json.dumps,
        repr,
        quote,
        lambda text: text.encode().hex(),
        lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    ],
    ids=["text", "json", "repr", "url", "hexadecimal", "base64"],
)
def test_issued_value_is_redacted_in_every_form(form: Callable[[str], str]) -> None:
    """A short secret with any character is redacted as text, escaped, in hexadecimal and in base64."""
    with process_environment({"BETA_KEY": (secret := "zq9'\"\\/<&%=")}):
        redact = SecretRedactor(Beta())
    written = redact(None, "info", form(secret))
    assert ("[redacted beta.key]" in written, secret in written) == (True, False)


def said_by_drivers(url: str) -> Iterator[str]:
    """Yield what drivers write of a URL: in errors, and where they are asked for it."""
    psycopg, sqlalchemy = pytest.importorskip("psycopg"), pytest.importorskip("sqlalchemy")
    with pytest.raises(psycopg.Error) as raised:
        psycopg.connect(url.replace("://", ":/"))
    yield str(raised.value)
    yield psycopg.conninfo.make_conninfo(url)
    yield repr(psycopg.conninfo.conninfo_to_dict(url))
    yield sqlalchemy.make_url(url).render_as_string(hide_password=False)
    yield repr(sqlalchemy.make_url(url).translate_connect_args())


def test_what_drivers_write_of_a_password_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of a URL, however a driver encodes it, is redacted. It still is after it was replaced."""
    monkeypatch.setenv("ROBODJ_SECRETS_DIR", str(tmp_path))
    urls = [f"postgresql://rw:{quote(f'p@ s+/:%{secrets.token_hex(8)}', safe='')}@127.0.0.1:1/x" for _ in range(2)]

    class Service(SecretSettings, refresh=timedelta(seconds=900)):
        database: Annotated[Secret, DATABASE]

    (tmp_path / "DB_URL").write_text(urls[0], encoding="ascii")
    held = guard(Service)
    redact = SecretRedactor(held)
    (tmp_path / "DB_URL").write_text(urls[1], encoding="ascii")
    held.refresh()
    assert held.database.get_secret_value() == urls[1]
    for url in urls:
        for said in said_by_drivers(url):
            assert leaks(said, [url])
            assert not leaks(redact(None, "info", said), [url.partition("%3A")[2].partition("@")[0]])
