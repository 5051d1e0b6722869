"""The keys that are looked for: those at hand, and those of which a fingerprint is recorded."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from robodj_secretguard.material import fingerprint, is_placeholder, is_sound
from robodj_secretguard.policy import LEAST_MATERIAL
from robodj_secretguard.scan.result import OPERATIONS_LOG, REVOCATION_LIST, KnownKey
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.shapes import Record
from robodj_secretguard.sources import Reading

KEYS_FROM: Final = "keys-from"


class Live(NamedTuple):
    """A value that is at hand.

    Attributes:
        key: the value.
        secret: its secret's name; `None` where that is not known.
        source: where it came from.
        is_sound: whether it would pass as a key: nothing else is looked for.
    """

    key: SealedStr
    secret: str | None
    source: str
    is_sound: bool


def live_values(readings: Iterable[Reading]) -> Iterator[Live]:
    """Yield the value of every declared secret, placeholders aside.

    A fallback file's is one of them where the variable is set, too, and where files are ruled out.

    Args:
        readings: what was read.
    """
    for reading in readings:
        policy = reading.policy
        sources = [(offer.source, line) for offer in reading.offers for line in offer.text.lines]
        for source, key in sources:
            if key and not is_placeholder(key.get_secret_value()):
                yield Live(key, policy.name, source, is_sound(key.get_secret_value(), policy.material))


def given_value(key: SealedStr) -> Live:
    """Return a value that an operator passes, whose secret is not known.

    Args:
        key: the value.
    """
    return Live(key, None, KEYS_FROM, is_sound(key.get_secret_value(), LEAST_MATERIAL))


def known_keys(live: Iterable[Live], records: Iterable[Record], revoked: Iterable[str]) -> dict[str, KnownKey]:
    """Return all that is known of each key, by its fingerprint.

    Args:
        live: the keys at hand.
        records: what is recorded.
        revoked: the fingerprints on the revocation list.
    """
    known: dict[str, KnownKey] = {}

    def add(key: str, source: str, secret: str | None = None, environment: str | None = None) -> None:
        before = known.get(key, KnownKey(key))
        known[key] = replace(
            before,
            secret=before.secret or secret,
            environment=before.environment or environment,
            known_by=tuple(dict.fromkeys((*before.known_by, source))),
        )

    for each in live:
        add(fingerprint(each.key), each.source, each.secret)
    for record in records:
        if record.fingerprint:
            add(record.fingerprint, OPERATIONS_LOG, record.secret, record.environment)
    for entry in sorted(revoked):
        add(entry, REVOCATION_LIST)
    return known
