"""Views of a store that few starts need: one moment, a second instance, and the report on the keys in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from robodj_secretguard.running.keyset import KeySet
from robodj_secretguard.running.stages import Build, learn, take
from robodj_secretguard.running.store import KeyStore
from robodj_secretguard.startup.report import Judgement, Report

_SLOT_FINGERPRINTS = ("next_fingerprint", "previous_fingerprint")
_PYDANTIC_SLOTS = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


@contextmanager
def at_once(secrets: Any, store: KeyStore) -> Iterator[Any]:
    """Yield a copy of settings whose keys do not change inside of the block. Afterwards, they are those of the store.

    Args:
        secrets: an instance of a settings model.
        store: its store.
    """
    snapshot = KeyStore(store.keys)
    snapshot.clock = store.clock
    snapshot.subscriptions = store.subscriptions
    snapshot.reader = store.reader
    moment = object.__new__(type(secrets))
    object.__setattr__(moment, "__dict__", dict(vars(secrets)))
    for slot in _PYDANTIC_SLOTS:
        object.__setattr__(moment, slot, getattr(secrets, slot))
    object.__setattr__(moment, "_store", snapshot)
    try:
        yield moment
    finally:
        move(snapshot, store)
        object.__setattr__(moment, "_store", store)


def follow_another_read(store: KeyStore, judgement: Judgement, build: Build, secrets: Any = None) -> None:
    """Let a store follow what a further instance of its model has read, and the instance use this store.

    Args:
        store: the common store.
        judgement: what was read.
        build: lets the validators of the host judge the set that would result.
        secrets: the further instance; `None` where its start is refused.
    """
    learn(store, judgement.readings[0].setup.revocation)
    if judgement.again is not None or store.reader is None:  # otherwise, the directory is away or cannot be read
        take(store, judgement, build)
    if secrets is not None:
        move(secrets._store, store)  # noqa: SLF001 - of a settings model, of which this is a part
        object.__setattr__(secrets, "_store", store)
        shared = {field: store.field(policy.name) for field, policy in secrets.secret_policies.items()}
        object.__setattr__(secrets, "__dict__", shared)
    if store.reader is not None:
        store.reader.notify()


def move(one: KeyStore, other: KeyStore) -> None:
    """Let each view of one store read another one from now on."""
    for secret in one.secrets.values():
        secret.move(other)
    if one.subscriptions is not other.subscriptions:  # of a validator of the host
        for subscription in one.subscriptions:
            other.subscribe(subscription)


def report_on(keys: KeySet) -> Report:
    """Return the report on the keys in use, without the fingerprints of next and previous keys that are revoked."""
    now = datetime.now(UTC)
    revoked = {listed for listed, begin in keys.revocation.begins if begin <= now}
    secrets = [
        status._replace(**dict.fromkeys([slot for slot in _SLOT_FINGERPRINTS if getattr(status, slot) in revoked]))
        for status in keys.report.secrets
    ]
    return keys.report._replace(secrets=tuple(secrets))
