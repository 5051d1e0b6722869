"""A key that signs and also encrypts stored data is split into two secrets, and no data is lost: docs/recipes.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest
from conftest import V1, good_keys, process_environment

from robodj_secretguard import Secret, SecretPolicy, SecretSettings, check
from robodj_secretguard.adapters.aesgcm import RingAESGCM

LABEL = b"rows v1"
OVERLAP = timedelta(days=14)
SIGNS = SecretPolicy(overlap=OVERLAP, stores_data=False)
DATA = SecretPolicy(overlap=OVERLAP, stores_data=True)
ROWS = [f"note {number}".encode() for number in range(3)]


class Before(SecretSettings):
    """One key for both."""

    api_key: Annotated[Secret, DATA]


class Meanwhile(Before):
    """A second secret, with a new key."""

    data_key: Annotated[Secret, DATA]


class After(SecretSettings):
    """Stored data needs the second secret alone."""

    api_key: Annotated[Secret, SIGNS]
    data_key: Annotated[Secret, DATA]


class Twice(SecretSettings):
    """Two secrets that were declared with one value."""

    api_key: Annotated[Secret, SIGNS._replace(shared_with="data_key")]
    data_key: Annotated[Secret, DATA._replace(shared_with="api_key")]


def key() -> str:
    """Return a new key."""
    return good_keys()[V1]


def box_of(secret: Secret) -> RingAESGCM:
    """Return what encrypts with a secret."""
    return RingAESGCM(secret.derive(LABEL))


def opened(box: RingAESGCM, rows: list[bytes]) -> list[bytes]:
    """Decrypt rows."""
    return [box.decrypt(row) for row in rows]


def test_split_with_a_new_key() -> None:
    """A second secret gets a new key. Data moves to it, and afterwards the first secret rotates as it likes."""
    shared, new = key(), key()
    with process_environment({"API_KEY": shared}):
        rows = [box_of(Before().api_key).encrypt(row) for row in ROWS]
    with process_environment({"API_KEY": shared, "DATA_KEY": new}):
        secrets = Meanwhile()
    old_box, new_box = box_of(secrets.api_key), box_of(secrets.data_key)
    rows[0] = new_box.encrypt(old_box.decrypt(rows[0]))  # a job was ended here
    boxes = [new_box if secrets.data_key.find(new_box.kid_of(row)) else old_box for row in rows]
    assert [box.decrypt(row) for box, row in zip(boxes, rows, strict=True)] == ROWS
    rows[1:] = [new_box.encrypt(old_box.decrypt(row)) for row in rows[1:]]
    with process_environment({"API_KEY": key(), "DATA_KEY": new}):
        assert opened(box_of(After().data_key), rows) == ROWS


@pytest.mark.parametrize("is_over", [False, True])
def test_split_of_equal_secrets(*, is_over: bool) -> None:
    """If both were declared with one value, they name each other as `shared_with` until the second one has rotated.

    With a deadline that is over, the old key is only for stored data, and may equal another secret without that.
    """
    shared, new = key(), key()
    equal = {"API_KEY": shared, "DATA_KEY": shared}
    assert [each.check for each in check(After, environ=equal).alerts] == ["shared"]
    with process_environment(equal):
        rows = [box_of(Twice().data_key).encrypt(row) for row in ROWS]
    until = datetime.now(UTC) + (-OVERLAP if is_over else OVERLAP)
    promoted = equal | {"DATA_KEY": new, "DATA_KEY_PREVIOUS": shared, "DATA_KEY_PREVIOUS_UNTIL": until.isoformat()}
    assert bool(check(After, environ=promoted).alerts) is not is_over
    with process_environment(promoted):
        box = box_of((After if is_over else Twice)().data_key)
    rows = [box.encrypt(row) for row in opened(box, rows)]
    retired = {"API_KEY": shared, "DATA_KEY": new}
    assert check(After, environ=retired).findings == ()
    with process_environment(retired):
        assert opened(box_of(After().data_key), rows) == ROWS
