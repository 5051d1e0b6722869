"""The list of the keys that only verify, which is read at each use."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from detector import leaks
from rich.pretty import pretty_repr
from rings import Rotation, traceback_of
from sentry_sdk.serializer import serialize

from robodj_secretguard.adapters.live import FallbackKeys, MaskedStr, masked

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge)
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
    extended[1:1] = keys
    return extended


@pytest.mark.parametrize("use", [*USES.values(), extended], ids=[*USES, "extended"])
def test_it_is_like_a_list(use: Callable[[list[str]], Any]) -> None:
    """Each use gives what it gives for a list of the next and the previous key; after the deadline, of the next one."""
    rotation = Rotation()
    live = FallbackKeys(rotation.ring)
    _, following, previous = rotation.values.values()
    assert isinstance(live, list)
    assert use(live) == use([following, previous])
    rotation.now = rotation.deadline
    assert use(live) == use([following])
    rotation.ring._keys = (*rotation.ring.accepted(), rotation.ring.accepted()[1])  # noqa: SLF001 - equal slots
    assert use(live) == use([following, following])


@pytest.mark.parametrize("begin", [iter, reversed, lambda keys: map(str.encode, keys)], ids=["iter", "reversed", "map"])
@pytest.mark.parametrize("already_read", [0, 1])
def test_an_iterator_follows_the_deadline(begin: Callable[[list[str]], Any], already_read: int) -> None:
    """An iterator that is read after the deadline has no previous key, also if it was made or begun before."""
    rotation = Rotation()
    iterator = begin(FallbackKeys(rotation.ring))
    read = [next(iterator) for _ in range(already_read)]
    rotation.now = rotation.deadline
    following = rotation.values["next"]
    if begin is reversed:  # the previous key comes first, and was read in time
        assert [*iterator] == [following]
    else:
        assert [*read, *iterator] in ([following], [following.encode()])


@pytest.mark.parametrize("reads", range(6))
def test_a_deadline_during_a_use(reads: int) -> None:
    """A deadline that passes between two reads of the clock causes no error."""
    rotation = Rotation()
    live, times = FallbackKeys(rotation.ring), iter([rotation.now] * reads)
    rotation.ring._deadline._clock = lambda: next(times, rotation.deadline)  # noqa: SLF001 - it counts the reads
    assert len([*live]) in {1, 2}


def test_a_ring_without_other_keys() -> None:
    """Where only the current key is accepted, the list is empty."""
    rotation = Rotation()
    rotation.ring._keys = rotation.ring.accepted()[:1]  # noqa: SLF001 - as after the rotation
    live = FallbackKeys(rotation.ring)
    assert (bool(live), len(live), [*live], live == []) == (False, 0, [], True)


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
        *(lambda keys, key, is_so=each: is_so(keys, [key]) for each in COMPARISONS),
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
    assert len(live) == 2


def test_no_way_around_its_methods() -> None:
    """What is put into the list without its methods is no key, and code that reads it without them finds none."""
    live: list[str] = FallbackKeys(Rotation().ring)
    assert [*list.__iter__(live)] == []
    list.append(live, "key")
    assert (len(live), "key" in live, "key" in [*live]) == (2, False, False)


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
    live, key = FallbackKeys(rotation.ring), masked(rotation.ring.current)
    assert str(key) == f"{key}" == rotation.values["current"]
    assert repr(live) == "FallbackKeys(Keyring('secret.key'))"
    assert repr(key) == "'**********'"
    noted = {"live": live, "items": [*live], "key": key}
    event = {"exception": {"values": [{"stacktrace": {"frames": [{"vars": noted}]}}]}}
    shown = [repr(noted), pretty_repr(noted, max_string=20), repr(serialize(event))]
    assert "live" in shown[-1]
    assert pretty_repr(key) == "MaskedStr('**********')"
    assert leaks("\n".join(shown), rotation.delivered) == []


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=lambda module: module.__name__)
def test_it_is_not_pickled(pickler: ModuleType) -> None:
    """Neither the list nor a key is pickled. A copy is the same object, which follows the deadline."""
    live = FallbackKeys(Rotation().ring)
    for each in (live, live[0]):
        with pytest.raises(TypeError, match="secrets are not pickled"):
            pickler.dumps(each)
        assert copy.copy(each) is copy.deepcopy(each) is each
    assert live.copy() is live
    assert isinstance(live[0], MaskedStr)
