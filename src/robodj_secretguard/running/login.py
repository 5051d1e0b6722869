"""Log in with a secret that others issue: which of its values to use now, and what to do where one is refused.

An adapter of a driver uses this. A start does not import this module (policy section 3).
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from robodj_secretguard.running.keyset import Held, KeySet
from robodj_secretguard.running.parts import Subscription
from robodj_secretguard.running.store import KeyStore, Secret
from robodj_secretguard.secret.frozen import Frozen
from robodj_secretguard.secret.sealed import Sealed, SealedStr, contain, without_frames
from robodj_secretguard.secret.url import Url, read_address
from robodj_secretguard.startup.readings import Slot

LOGIN_WAIT: Final = 5.0
"""How many seconds a login waits for the one that shows which value works."""
READ_AGAIN: Final = 1.0
"""For how many seconds a refusal of all values stands, and after how many the sources are read again."""
DEFAULT_PERIOD: Final = 30.0
"""How many seconds a period has where nothing reads the sources."""
MOST_TRIES: Final = 4
"""How many values one login tries, where new ones are delivered meanwhile."""
_POLL: Final = 0.005  # seconds

_Connection = TypeVar("_Connection")
_Holder = TypeVar("_Holder")


class Credentials(Frozen):
    """What logs in: the values of one slot.

    Attributes:
        role: the slot that has the values.
        value: the password, the API key, or the URL.
        user: the user, where another secret or the URL has it; empty for none.
        password: the password, of the URL if the value is one.
        rest: the URL without user and password; empty for no URL.
    """

    role: Slot
    value: SealedStr
    user: SealedStr
    password: SealedStr
    rest: SealedStr

    @property
    def is_url(self) -> bool:
        """Whether the value is a URL."""
        return bool(self.rest)

    def is_same_login(self, other: Credentials) -> bool:
        """Check whether others have the same values, in whatever slot."""
        return self.value == other.value and self.user == other.user


class _SinceChange:
    """What the logins since the last change of the values have shown."""

    def __init__(self, changes: int, began_at: float) -> None:
        self.changes = changes
        self.began_at = began_at  # when the values were first asked for
        self.role: Slot = "current"  # the slot to begin with
        self.has_worked = False  # whether a value was accepted
        self.failed_at = -math.inf  # when none was: no other value is tried for one period


class Login(Sealed):
    """The logins with one secret, in all pools of the process. `login_of` returns the common one.

    Attributes:
        withdrawn: how often a value has ended that may have logged in. Connections from before are old.
    """

    __slots__ = (
        "_accepted_before",
        "_failure",
        "_is_subscribed",
        "_lock",
        "_process",
        "_read_at",
        "_renewals",
        "_secrets",
        "_since",
        "withdrawn",
    )

    def __init__(self, *secrets: Secret) -> None:
        self._secrets = secrets  # the value, and the user if it has a secret
        self._lock = threading.Lock()  # held during a login while nobody knows which value works
        self._process = os.getpid()  # a fork during a login inherits the lock, and not the thread that has it
        self._renewals: WeakKeyDictionary[Any, Callable[[Any], object]] = WeakKeyDictionary()
        self._is_subscribed = False
        self._since = _SinceChange(0, -math.inf)
        self._failure: Exception | None = None  # of the last login, where no value was accepted
        self._read_at = -math.inf
        self._accepted_before: set[tuple[SealedStr, SealedStr]] = set()
        self.withdrawn = 0
        self.count_withdrawn()

    @property
    def name(self) -> str:
        """The name of the secret."""
        return self._secrets[0].name

    @property
    def store(self) -> KeyStore:
        """What has the values."""
        return self._secrets[0].store

    @property
    def is_url(self) -> bool:
        """Whether the secret is a URL, which has the address of the server."""
        return isinstance(self.store.keys.by_name[self.name].policy.material, Url)

    @property
    def has_just_changed(self) -> bool:
        """Whether the first login after a change was at most one period ago. A value of the start has not changed."""
        return time.monotonic() - self._since_change().began_at <= self.period

    def accepted(self) -> tuple[Credentials, ...]:
        """Return the values that may log in now, the first one to try at the front.

        Raises:
            LookupError: the secret is optional, and it is not set.
            RevokedKeyError: it was revoked, and there is no other one.
        """
        since = self._since_change()
        found = self._all()
        if not found or found[0].role != "current":
            for each in self._secrets:
                each.get_secret_value()  # it raises why there is none
            raise LookupError(f"{self.name} has no value")
        same_address = [each for each in found if each.rest == found[0].rest]
        return tuple(sorted(same_address, key=lambda each: each.role != since.role))

    def _since_change(self) -> _SinceChange:
        changes = sum([self.store.keys.changes.get(each.name, 0) for each in self._secrets])
        if changes != self._since.changes:
            self._since = _SinceChange(changes, time.monotonic())
        return self._since

    def on_withdrawal(self, pool: _Holder, renew: Callable[[_Holder], object]) -> None:
        """Call a function, in another thread, after a value has ended that may have logged in.

        Args:
            pool: what has connections. It is held weakly.
            renew: closes connections of the pool, and does not hold it. It is called again if it fails.
        """
        self._renewals[pool] = renew
        if not self._is_subscribed:
            self._is_subscribed = True
            subscription = Subscription(self._renew, self.count_withdrawn)
            subscription.what = f"closing old connections of {self.name}"
            subscription.seen = self.withdrawn
            self.store.subscribe(subscription)

    def _renew(self) -> None:
        """Let each pool close its old connections. One that fails stops no other."""
        pools = [pool_of() for pool_of in self._renewals.keyrefs()]
        with ExitStack() as calls:
            for pool in [each for each in pools if each is not None]:
                calls.callback(self._renewals[pool], pool)

    def count_withdrawn(self) -> int:
        """Return `withdrawn`, after a look at the values that are accepted now."""
        accepted = {(each.value, each.user) for each in self._all()}
        if not self._accepted_before <= accepted:
            self.withdrawn += 1
        self._accepted_before = accepted
        return self.withdrawn

    def log_in(
        self, connect: Callable[[Credentials], _Connection], is_refused: Callable[[Exception], bool]
    ) -> _Connection:
        """Connect with the value in use, and once more where the server refuses it.

        After a change with two values, the first login shows which one works, and the others wait for it. Where all
        are refused, it waits one second for a delivery; after that, no login is sent for one second.

        Args:
            connect: connects with these credentials.
            is_refused: checks whether an error has the server's code for a wrong password.

        Returns:
            What `connect` returns.

        Raises:
            Exception: that of `connect`, without the frames that have the password.
        """
        steps = self.log_in_async(partial(_now, connect), is_refused, _now, partial(_now, time.sleep))
        try:
            steps.send(None)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]  # StopIteration has no type
        raise RuntimeError("a synchronous driver has waited for an event loop")

    async def log_in_async(
        self,
        connect: Callable[[Credentials], Awaitable[_Connection]],
        is_refused: Callable[[Exception], bool],
        run: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> _Connection:
        """Connect as `log_in` does, under asyncio. `run` calls a function that may block for some milliseconds."""
        is_alone = await self._waited(sleep)
        refused: list[Credentials] = []
        try:
            self._raise_if_just_refused()
            credentials = self.accepted()[0]
            while True:
                since = self._since_change()
                try:
                    connection = await connect(credentials)
                except Exception as error:  # noqa: BLE001 - of a driver
                    failure = without_frames(error)
                else:
                    self._accept(credentials, since, is_other=bool(refused))
                    return connection
                if not is_refused(failure):
                    raise failure
                self.count_refused(credentials)
                refused.append(credentials)
                since.has_worked = False
                is_alone = is_alone or await self._waited(sleep)
                other = await run(self.other_than, refused)
                if other is None and self.store.reader is not None:
                    await sleep(READ_AGAIN)  # what was just delivered is read once it is a second old
                    other = await run(self.other_than, refused)
                if other is None or len(refused) >= MOST_TRIES:
                    self._keep_failure(failure)
                    raise failure
                credentials = other
        finally:
            if is_alone:
                self._lock.release()

    async def _waited(self, sleep: Callable[[float], Awaitable[object]]) -> bool:
        """Wait until a login has shown which value works. Return whether this one has to show it.

        A login that hangs stops no other.
        """
        if self._process != os.getpid():
            self._lock = threading.Lock()
            self._process = os.getpid()
        ends = time.monotonic() + LOGIN_WAIT
        while not self._since_change().has_worked and (len(self.accepted()) > 1 or self._failure is not None):
            if self._lock.acquire(blocking=False):
                return True
            if time.monotonic() >= ends:
                break
            await sleep(_POLL)
        return False

    def _raise_if_just_refused(self) -> None:
        """Raise the last refusal again for a short time, unless there is a change. Many refused logins lock a user."""
        failure = self._failure
        if failure is not None and time.monotonic() - self._since_change().failed_at < READ_AGAIN:
            self.count_refused(self.accepted()[0])
            raise failure.with_traceback(None)

    def _keep_failure(self, failure: Exception) -> None:
        if len({each.rest for each in self._all()}) > 1:
            failure.add_note(f"{self.name}: another value was not tried, as it differs in more than the login")
        self._failure = failure
        self._since_change().failed_at = time.monotonic()

    def other_than(self, refused: Sequence[Credentials]) -> Credentials | None:
        """Return the credentials to try after those that the server has refused in this login; `None` for none.

        It may read the sources: the server may have another password, which was just delivered.
        """
        other = self._next_after(refused)
        if other is None:
            self.read_again()
            other = self._next_after(refused)
        return other

    def _next_after(self, refused: Sequence[Credentials]) -> Credentials | None:
        accepted = self.accepted()[:2]
        if time.monotonic() - self._since_change().failed_at < self.period:
            accepted = accepted[:1]
        for each in accepted:
            if not any(each.is_same_login(other) for other in refused):
                return each
        return None

    def _accept(self, credentials: Credentials, since: _SinceChange, *, is_other: bool) -> None:
        """Keep the choice until the next change. Count a value that has ended during the login."""
        self._failure = None
        since.has_worked = True
        if is_other:
            since.role = credentials.role
        if not self.is_accepted(credentials):
            self.withdrawn += 1

    def prefer(self, credentials: Credentials) -> None:
        """Log in with the values of this slot from now on, until the next change."""
        self._since_change().role = credentials.role

    def is_accepted(self, credentials: Credentials) -> bool:
        """Check whether the values of a connection may still log in."""
        return any(each.is_same_login(credentials) for each in self._all())

    def read_again(self) -> None:
        """Read the sources now, at most once a second."""
        reader = self.store.reader
        if reader is not None and time.monotonic() - self._read_at >= READ_AGAIN:
            self._read_at = time.monotonic()
            with suppress(Exception):  # the next period reads again
                reader.read()

    def count_refused(self, refused: Credentials) -> None:
        """Count a login that the server has refused, for the metrics."""
        self.store.refused_logins[self.name, refused.role] += 1

    @property
    def period(self) -> float:
        """How many seconds are between two reads."""
        reader = self.store.reader
        return DEFAULT_PERIOD if reader is None else reader.seconds or DEFAULT_PERIOD

    def _all(self) -> list[Credentials]:
        """Return the values of each slot that may log in, equal ones once."""
        keys = self.store.keys
        found: list[Credentials] = []
        for role in _LOGIN_SLOTS:
            each = self._credentials(keys, role)
            if each is not None and not any(each.is_same_login(other) for other in found):
                found.append(each)
        return found

    def _credentials(self, keys: KeySet, role: Slot) -> Credentials | None:
        """Return the values of a slot; `None` where a secret of the group does not have it, or where it has ended."""
        if role != "current" and not _is_whole_group(keys, self.name, role):
            return None
        values = []
        for each in self._secrets:
            held = _in_slot(keys, each.name, role)
            if held is None or held.is_revoked:
                return None
            if held.ends is not None and self.store.clock.has_passed(held.ends):
                return None
            values.append(held.key.value)
        is_url = self.is_url
        return contain(lambda: _parsed(role, values, is_url=is_url))


_LOGIN_SLOTS: Final[tuple[Slot, ...]] = ("current", "previous", "next")
"""Where the current value is refused, the first one of the others that is delivered is tried."""


async def _now(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function. A login without an event loop waits for nothing else."""
    return function(*arguments)


def _in_slot(keys: KeySet, name: str, role: Slot) -> Held | None:
    """Return the key of a slot. A secret without an overlap has the same one in each slot."""
    wanted = role if keys.by_name[name].policy.overlap else "current"
    for held in keys.held(name):
        if held.key.role == wanted:
            return held
    return None


def _is_whole_group(keys: KeySet, name: str, role: Slot) -> bool:
    """Check whether each secret of a group has a value in a slot."""
    group = keys.by_name[name].policy.group
    others = [reading.policy.name for reading in keys.readings if group and reading.policy.group == group]
    return all(_in_slot(keys, other, role) is not None for other in others)


_LOGIN_PARAMETER: Final = re.compile("(?<=[?&;])(?:user|username|password|pwd)=[^&;]*[&;]?", re.IGNORECASE)


def _parsed(role: Slot, values: Sequence[SealedStr], *, is_url: bool) -> Credentials:
    nothing = SealedStr("")
    value, user, *_ = [*values, nothing]
    if not is_url:
        return Credentials(role, value, user, value, nothing)
    text = value.get_secret_value()
    scheme, _, _ = text.partition("://")
    address = read_address(text)
    rest = SealedStr(f"{scheme}://{_LOGIN_PARAMETER.sub('', address.rest)}")
    return Credentials(role, value, SealedStr(address.user), SealedStr(unquote(address.password or "")), rest)


class PoolLoop:
    """The event loop in which a pool has opened its last connection."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def note(self) -> None:
        """Take the loop that runs now."""
        self._loop = asyncio.get_running_loop()

    def run(self, function: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Let the loop call a function, from any thread. Do nothing before the first connection."""
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(function(), self._loop)


def login_of(secret: Secret, user: Secret | None = None) -> Login:
    """Return the logins with a secret, which all pools of the process share.

    Args:
        secret: the URL, password or key. A field of what `guard()` returned.
        user: the secret that has the user, if there is one.

    Raises:
        TypeError: one of them is not a `Secret`.
        ValueError: they may change one after the other.
    """
    together = [secret] if user is None else [secret, user]
    del secret, user  # one may be a key
    require_group(together)
    logins: dict[tuple[str, ...], Login] = together[0].store.logins
    names = tuple([each.name for each in together])
    if names not in logins:
        logins.setdefault(names, Login(*together))
    return logins[names]


def require_group(secrets: list[Secret]) -> None:
    """Check that secrets change together.

    Raises:
        TypeError: one of them is not a `Secret`.
        ValueError: they are not of one `group` of one model.
    """
    if not all(isinstance(each, Secret) for each in secrets):
        secrets.clear()  # one may be a key
        raise TypeError(
            "pass fields of what guard() returned, not their values. An optional one that is not set is None"
        )
    stores = {each.store for each in secrets}
    groups = {each.store.keys.by_name[each.name].policy.group for each in secrets}
    if len(secrets) > 1 and (len(stores) > 1 or len(groups) > 1 or not all(groups)):
        raise ValueError(f"declare {' and '.join([each.name for each in secrets])} in one model, with the same group")
