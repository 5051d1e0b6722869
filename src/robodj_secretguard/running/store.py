"""The one store of keys for each model and source in a process, and `Secret`, the view of it that a service holds."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from pydantic import SecretStr

from robodj_secretguard.running.keyset import Clock, Held, Key, KeySet
from robodj_secretguard.secret.frozen import RevokedKeyError
from robodj_secretguard.secret.sealed import Sealed, contain

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from robodj_secretguard.running.parts import Reader, Replaced, Subscription
    from robodj_secretguard.startup.readings import Slot


class Secret(Sealed, SecretStr):
    """A secret of the service, live: each call uses the keys that are in use at that moment (policy section 3).

    `guard()` returns a model whose fields are such objects. Keep one, or a derived one, wherever the key is needed:
    it follows every rotation and revocation. Only the current key signs. The current, the next and the previous key
    verify: the previous key until its deadline, and no key from its revocation on.

    It is the same object in every instance of the model, and as its own copy. It is compared by identity: a comparison
    with text raises `TypeError`. `str()` and pickling raise it too, and the repr is masked.

    Attributes:
        name: the name of the secret.
        purpose: what its keys are derived for; empty where they are not derived.
    """

    __slots__ = ("__weakref__", "_parent", "_store", "name", "purpose")

    def __init__(self, store: KeyStore, name: str, parent: Secret | None = None, purpose: bytes = b"") -> None:
        self._store = store
        self.name = name
        self._parent = parent
        self.purpose = purpose

    @property
    def current(self) -> Key:
        """The key that signs.

        Raises:
            robodj_secretguard.errors.RevokedKeyError: it was revoked while the service runs, and there is no other one.
            LookupError: the secret is optional, and it is not set.
        """
        held = self._held()
        if not held:
            raise LookupError(f"{self.name} is optional, and it is not set")
        if held[0].is_revoked:
            raise RevokedKeyError("the current key is revoked, and the secret manager has delivered no other one")
        return held[0].key

    def get_secret_value(self) -> str:
        """Return the value in use now. The caller must protect it.

        Raises:
            robodj_secretguard.errors.RevokedKeyError: it was revoked while the service runs, and there is no other one.
            LookupError: the secret is optional, and it is not set any more.
        """
        return self.current.value.get_secret_value()

    def accepted(self) -> tuple[Key, ...]:
        """Return the keys that verify at this moment: the current, the next and the previous one.

        Return none once the current key was revoked while the service runs, and there is no other one, and none of an
        optional secret that is not set.
        """
        held = self._held()
        if held and held[0].is_revoked:
            return ()
        return tuple([each.key for each in held if each.ends is None or not self.store.clock.has_passed(each.ends)])

    def verify(self, presented: str | bytes | None) -> Key | None:
        """Return the accepted key that equals a presented one, or `None`.

        The comparison takes the same time for every wrong key of the same length, and it never raises.

        Args:
            presented: the key in a request: `None`, text or bytes of any content and length.
        """
        if isinstance(presented, str):
            presented = presented.encode("utf-8", "surrogatepass")
        elif not isinstance(presented, (bytes, bytearray)):
            return None
        import hmac  # noqa: PLC0415 - few starts verify a key

        match = None
        for key in self.accepted():
            is_equal = hmac.compare_digest(key.value.get_secret_value().encode(), presented)
            match = key if is_equal and match is None else match
        return match

    def stored(self) -> tuple[Key, ...]:
        """Return every key that may decrypt stored data, the newest first: next, current, previous.

        It also has a previous key after its deadline, as long as it is delivered and not revoked. Use it for data at
        rest only, never for what comes from outside, such as tokens.
        """
        keys = [held.key for held in self._held() if not held.is_revoked]
        return tuple(sorted(keys, key=lambda key: key.role != "next"))

    def find(self, kid: str | None, *, revoked: bool = False) -> Key | None:
        """Return the key with an id, or `None`, to decrypt stored data. See `stored` for the keys.

        Args:
            kid: the id of the key; `None` for no key.
            revoked: whether a revoked key is found too: only to encrypt again what it encrypted.
        """
        found = (held for held in self._held() if kid and held.key.kid == kid)
        return next((held.key for held in found if revoked or not held.is_revoked), None)

    def derive(self, purpose: bytes) -> Secret:
        """Return a secret of keys derived for one purpose with HKDF-SHA256. It needs the extra `crypto`.

        The input is the key's decoded bytes. The salt is "robodj-secretguard keyring v1". The info is the secret's name
        and the purpose, each after its length as 4 bytes, the most significant first. The result has 32 bytes.

        Args:
            purpose: the name of the purpose, such as `b"session cookies v1"`. Another purpose has other keys.

        Returns:
            A live secret, which follows this one.

        Raises:
            TypeError: `purpose` is not bytes.
            ValueError: `purpose` is empty. Or others issue the secret, which may be short enough to guess.
            LookupError: the secret is optional, and it is not set.
            ImportError: `cryptography` is not installed.
        """
        if not isinstance(purpose, bytes):
            del purpose
            raise TypeError("the purpose must be bytes, such as b'session cookies v1'")
        if not purpose:
            raise ValueError("the purpose must not be empty")
        held = self._held()
        if not held:
            raise LookupError(f"{self.name} is optional, and it is not set")
        if not held[0].key.kid:
            raise ValueError("no key is derived from a secret that others issue")
        import cryptography.hazmat.primitives.hashes  # noqa: F401, PLC0415 - of an extra: here it is an ImportError

        secret = Secret(self._store, self.name, self, purpose)
        secret.stored()  # derive the keys now, so that an error is raised here
        return secret

    def on_change(self, function: Callable[[Secret], object]) -> None:
        """Call a function after each change of the secret, in another thread (policy section 3).

        A change that a call has missed is not lost. The function is called once more if it failed, if the process was
        forked in the meantime, and at once if the secret has changed since the start. So it must be idempotent.

        Args:
            function: gets this object. An error that it raises is an alert, and its text is not shown.
        """
        from robodj_secretguard.running.parts import Subscription  # noqa: PLC0415 - few starts need it

        self.store.subscribe(Subscription(partial(function, self), lambda: self.store.keys.changes.get(self.name, 0)))

    @property
    def store(self) -> KeyStore:
        """What has the keys. A derived secret has that of its parent."""
        return self._store if self._parent is None else self._parent.store

    def move(self, store: KeyStore) -> None:
        """Read another store from now on."""
        self._store = store

    def _held(self) -> tuple[Held, ...]:
        store = self._store if self._parent is None else self._parent.store
        if store.reader is not None and time.monotonic() >= store.late_at:
            store.reader.report_late()
        return store.keys.held(self.name) if self._parent is None else self._held_in(store.keys)

    def _held_in(self, keys: KeySet) -> tuple[Held, ...]:
        if self._parent is None:
            return keys.held(self.name)
        found = keys.derived.get(self)
        if found is None:
            from robodj_secretguard.running.derivation import derived  # noqa: PLC0415 - it needs an extra

            parents = self._parent._held_in(keys)  # noqa: SLF001 - of this class
            found = contain(lambda: tuple([derived(held, self.name, self.purpose) for held in parents]))
            found = keys.derived.setdefault(self, found)
        return found

    def __len__(self) -> int:
        return len(self.get_secret_value())

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (str, bytes, bytearray)):
            del other  # a traceback with locals would show it
            raise TypeError("a secret is not compared with text: call verify()")
        return self is other

    __hash__ = object.__hash__

    def __str__(self) -> NoReturn:
        raise TypeError("a secret has no str(): call get_secret_value() where the key is used")

    def __repr__(self) -> str:
        return f"Secret({self._display()!r})"

    def _display(self) -> str:
        return "**********"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
        """Let models of pydantic have a field of this type, which takes only such an object."""
        from pydantic_core import core_schema  # noqa: PLC0415 - pydantic has imported it

        return core_schema.no_info_plain_validator_function(
            _require_secret,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._display, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: object, _handler: object) -> dict[str, Any]:
        """Describe the field as pydantic describes a `SecretStr`."""
        return {"type": "string", "format": "password", "writeOnly": True}


def _require_secret(value: object) -> Secret:
    if not isinstance(value, Secret):
        del value  # it may be a key
        raise TypeError("a field of the type Secret takes a secret that guard() returned, and no text")
    return value


class KeyStore(Sealed):
    """The keys that a process uses, of one model and one source. Secrets, instances and adapters are views of it.

    Args:
        keys: the first keys.

    Attributes:
        keys: the keys in use. One assignment changes every view.
        clock: judges deadlines and revocations.
        secrets: the live secrets, by name.
        last_read: the number of the read that came last.
        strikes: how many reads in a row found the current key of a secret revoked, and no good one.
        previous_until: the deadline of each key that was a previous key, by its fingerprint.
        subscriptions: the functions to call after a change.
        replaced: the values that were in use before, of the last 24 hours.
        late_at: when the monotonic clock says that the sources were not read in time.
        reader: what reads the sources again; `None` where they cannot change.
        refused_logins: how often a login was refused, by the name of the secret and the slot of its value.
        logins: the logins with each secret that others issue, by its name and that of its user.
    """

    __slots__ = (
        "__weakref__",
        "clock",
        "keys",
        "last_read",
        "late_at",
        "logins",
        "previous_until",
        "reader",
        "refused_logins",
        "replaced",
        "secrets",
        "strikes",
        "subscriptions",
    )

    def __init__(self, keys: KeySet) -> None:
        self.keys = keys
        self.clock = Clock()
        self.secrets = {reading.policy.name: Secret(self, reading.policy.name) for reading in keys.readings}
        self.last_read = 0
        self.strikes: dict[str, int] = {}
        self.previous_until: dict[str, datetime] = {}
        self.subscriptions: list[Subscription] = []
        self.replaced: deque[Replaced] = deque()
        self.late_at = math.inf
        self.reader: Reader | None = None
        self.refused_logins: Counter[tuple[str, Slot]] = Counter()
        self.logins: dict[tuple[str, ...], Any] = {}

    def field(self, name: str) -> Secret | None:
        """Return the live secret with a name; `None` for an optional one that is not set."""
        return None if self.keys.by_name[name].key is None else self.secrets[name]

    def subscribe(self, subscription: Subscription) -> None:
        """Call a function after each change from now on, and at once for one that it has missed."""
        self.subscriptions.append(subscription)
        if self.reader is not None:
            self.reader.notify()  # it also keeps this store: a function is a view of it


_stores: WeakValueDictionary[tuple[type, object], KeyStore] = WeakValueDictionary()
"""The stores of this process, by model and source. A store lives as long as a view of it."""


def registered(model: type, source: object, store: KeyStore | None = None) -> KeyStore | None:
    """Return the store of a model and a source. If there is none, `store` becomes it."""
    if store is None:
        return _stores.get((model, source))
    return _stores.setdefault((model, source), store)


def forget_stores() -> None:
    """Let the next instance of each model have a store of its own: for tests."""
    _stores.clear()
