"""The texts and lists of keys that read the ring at each use."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from pathlib import Path
from secrets import token_urlsafe
from types import ModuleType, SimpleNamespace
from typing import Any

import cloudpickle
import jwt
import pytest
from conftest import process_environment
from detector import leaks
from rich.pretty import pretty_repr
from rings import Published, Rotation, traceback_of
from sentry_sdk.serializer import serialize
from test_vendor import Radio

from robodj_secretguard import RuntimeSecrets, Secret
from robodj_secretguard.adapters.live import FallbackKeys, LiveStr, kept_text, masked
from robodj_secretguard.errors import RevokedKeyError
from robodj_secretguard.testing import set_clock

USES: dict[str, Callable[[Any], Any]] = {
    "iteration": lambda keys: [*iter(keys)],
    "[key, *keys]": lambda keys: ["key", *keys],
    "list": list,
    "tuple": tuple,
    "map": lambda keys: [*map(len, keys), *keys],
    "zip": lambda keys: [*zip(keys, range(9), strict=False)],
    "sorted": sorted,
    "join": ",".join,
    "in": lambda keys: [each in keys for each in ("key", *keys)],
    "len": len,
    "bool": bool,
    "keys[0]": lambda keys: keys[0],
    "keys[-1]": lambda keys: keys[-1],
    "keys[:]": lambda keys: keys[:],
    "reversed": lambda keys: [*reversed(keys)],
    "keys + list": lambda keys: keys + ["key"],  # noqa: RUF005 - this is what is tested
    "list + keys": lambda keys: ["key"] + keys,  # noqa: RUF005
    "keys + keys": lambda keys: keys + keys,
    "==": lambda keys: (keys == [*keys], [*keys] == keys, keys == keys, keys == [], keys == 5),  # noqa: PLR0124
    "!=": lambda keys: (keys != [*keys], [*keys] != keys, keys != keys, keys != [], keys != 5),  # noqa: PLR0124
}


def extended(keys: list[str]) -> list[str]:
    """Extend a list, as Flask does."""
    extended = ["key"]
    extended.extend(keys)
    extended += keys
    return extended


@pytest.mark.parametrize("use", [*USES.values(), extended], ids=[*USES, "extended"])
def test_it_is_like_a_list(use: Callable[[list[str]], Any], tmp_path: Path) -> None:
    """Each use gives what it gives for a list of the accepted keys, also after each switch and after the deadline."""
    service, rotation = Published(tmp_path), Rotation()
    first, second = service.current, rotation.values["next"]
    live = FallbackKeys(service.ring)
    assert use(live) == use([first])
    assert service.publish(second, next=second, previous=first)
    assert use(live) == use([second, second, first])
    live = FallbackKeys(rotation.ring)
    rotation.now = rotation.deadline
    assert use(live) == use([rotation.values["current"], second])


@pytest.mark.parametrize("begin", [iter, lambda keys: map(str.encode, keys)], ids=["iter", "map"])
def test_an_iterator_reads_the_ring_when_it_begins(begin: Callable[[list[str]], Any], tmp_path: Path) -> None:
    """An iterator reads the ring once: with its first key, and not when it is made. So a switch skips no key."""
    service, second = Published(tmp_path), Rotation().values["current"]
    first = service.current
    iterator = begin(FallbackKeys(service.ring))
    assert service.publish(first, next=second)
    read = [next(iterator)]
    assert service.publish(second, previous=first)
    assert [*read, *iterator] in ([first, second], [first.encode(), second.encode()])


@pytest.mark.parametrize("reads", range(6))
def test_a_deadline_during_a_use(reads: int) -> None:
    """A deadline that passes between two reads of the clock causes no error."""
    rotation = Rotation()
    times = iter([rotation.now] * reads)
    with process_environment(rotation.variables):
        made = RuntimeSecrets()
    set_clock(made, lambda: next(times, rotation.deadline))
    ring = made.secret_key
    assert len([*FallbackKeys(ring)]) in {2, 3}


def test_the_text_follows_a_switch(tmp_path: Path) -> None:
    """`str()`, `format()`, `encode()` and PyJWT use the current key. Once it is revoked, they raise an error, and the
    list is empty.
    """
    service = Published(tmp_path)
    text, live, first = LiveStr(service.ring), FallbackKeys(service.ring), service.current
    reads: list[Callable[[], object]] = [text.__str__, lambda: f"{text}", text.encode, lambda: jwt.encode({}, text)]
    assert service.publish(key := Rotation().values["current"], previous=first)
    assert str(text) == f"{text}" == text.encode("ascii").decode() == key
    assert jwt.decode(jwt.encode({}, text), key, ["HS256"]) == {}
    with service.refused():
        for read in reads:
            with pytest.raises(RevokedKeyError):
                read()
        assert (bool(live), len(live), [*live], live == []) == (False, 0, [], True)
    assert text == first


def test_an_attribute_gets_a_new_text(tmp_path: Path) -> None:
    """At a switch, an attribute that has the text of the ring gets a new one. One with another text, and an object that
    is gone, stay as they are.
    """
    service = Published(tmp_path)
    holder, other = SimpleNamespace(), SimpleNamespace()
    holder.key, other.key = kept_text(service.ring, lambda: holder, "key"), service.current
    kept_text(service.ring, lambda: other, "key")
    kept_text(service.ring, lambda: None, "key")
    first, second = service.current, Rotation().values["current"]
    assert service.publish(second, previous=first)
    assert (holder.key == second, other.key == first) == (True, True)


@pytest.mark.parametrize(
    "change",
    [
        lambda keys, key: keys.append(key),
        lambda keys, key: keys.extend([key]),
        lambda keys, key: keys.insert(0, key),
        lambda keys, key: keys.remove(key),
        lambda keys, _key: keys.pop(),
        lambda keys, _key: keys.clear(),
        lambda keys, key: keys.sort(key=key),
        lambda keys, _key: keys.reverse(),
        lambda keys, key: operator.setitem(keys, 0, key),
        lambda keys, _key: operator.delitem(keys, 0),
        lambda keys, key: type(keys).__iadd__(keys, [key]),
        lambda keys, _key: type(keys).__imul__(keys, 2),
        lambda keys, key: keys.index(key),
        lambda keys, key: keys.count(key),
        lambda keys, _key: keys * 2,
        lambda keys, _key: 2 * keys,
        *(
            lambda keys, key, is_so=each: is_so(keys, [key])
            for each in (operator.lt, operator.le, operator.gt, operator.ge)
        ),
    ],
    ids=range(20),
)
def test_it_is_only_read(change: Callable[[Any, str], Any]) -> None:
    """Every change is a `TypeError`, whose frames do not show the value. So is what only a plain list can do."""
    rotation = Rotation()
    live = FallbackKeys(rotation.ring)
    with pytest.raises(TypeError, match="the fallback keys are those of the ring: they can only be read") as raised:
        change(live, rotation.values["next"])
    assert leaks(traceback_of(raised.value), rotation.delivered) == []
    assert len(live) == 3


def test_no_way_around_its_methods() -> None:
    """What is put into the list without its methods is no key, and code that reads it without them finds none."""
    live: list[str] = FallbackKeys(Rotation().ring)
    assert [*list.__iter__(live)] == []
    list.append(live, "key")
    assert (len(live), "key" in live, "key" in [*live]) == (3, False, False)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda live, _key: live[9], IndexError),
        (lambda live, key: live + key, TypeError),
        (lambda live, key: live[key], TypeError),
    ],
    ids=range(3),
)
def test_an_error_shows_no_key(use: Callable[[Any, str], Any], error: type[Exception]) -> None:
    """An error of a use has no key in its text or in a frame."""
    rotation = Rotation()
    with pytest.raises(error) as raised:
        use(FallbackKeys(rotation.ring), rotation.values["current"])
    assert leaks(traceback_of(raised.value), rotation.delivered) == []


def test_what_is_shown() -> None:
    """The repr of the list and of each key is masked, also in rich and Sentry. The text itself is the key."""
    rotation = Rotation()
    live, key, text = FallbackKeys(rotation.ring), masked(rotation.ring.current), LiveStr(rotation.ring)
    assert str(key) == f"{key}" == rotation.values["current"]
    assert repr(live) == repr(key) == repr(text) == "'**********'"
    noted = {"live": live, "items": [*live], "key": key, "text": text}
    event = {"exception": {"values": [{"stacktrace": {"frames": [{"vars": noted}]}}]}}
    shown = [repr(noted), pretty_repr(noted, max_string=20), repr(serialize(event))]
    assert "live" in shown[-1]
    assert pretty_repr(key) == "MaskedStr('**********')"
    assert leaks("\n".join(shown), rotation.delivered) == []


@pytest.mark.parametrize(
    "make", [FallbackKeys, LiveStr, lambda ring: FallbackKeys(ring)[0]], ids=["list", "text", "item"]
)
@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=lambda module: module.__name__)
def test_it_is_not_pickled(pickler: ModuleType, make: Callable[[Secret], Any]) -> None:
    """Neither the list nor a key is pickled. A copy is the same object, which follows the deadline."""
    made = make(Rotation().ring)
    with pytest.raises(TypeError, match="secrets are not pickled"):
        pickler.dumps(made)
    assert copy.copy(made) is copy.deepcopy(made) is getattr(made, "copy", lambda: made)() is made


@pytest.mark.parametrize("make", [FallbackKeys, lambda ring: kept_text(ring, lambda: None, "key")])
def test_issued_secret_signs_nothing(make: Callable[[Any], object]) -> None:
    """A secret that others issue may be short: a signature would tell whether a guess is right."""
    with process_environment({"RADIO_KEY": token_urlsafe(16), "ICECAST_PASSWORD": token_urlsafe(9)}):
        ring = Radio().password
    with pytest.raises(ValueError, match="does not sign"):
        make(ring)
