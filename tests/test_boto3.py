"""boto3: each request is signed with the credentials of one change."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest

boto3 = pytest.importorskip("boto3")
from botocore.awsrequest import AWSResponse  # noqa: E402
from detector import leaks  # noqa: E402
from publications import volume  # noqa: E402
from rings import traceback_of  # noqa: E402

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings, guard  # noqa: E402
from robodj_secretguard.adapters.boto3 import botocore_session  # noqa: E402

KEY = Material.opaque()


class Service(SecretSettings, refresh=timedelta(seconds=900)):
    """A service with credentials of a group, and another key."""

    aws_key_id: Annotated[Secret | None, SecretPolicy(material=KEY, group="aws", required=False)]
    aws_secret_key: Annotated[Secret | None, SecretPolicy(material=KEY, group="aws", required=False)]
    aws_token: Annotated[Secret | None, SecretPolicy(material=KEY, group="aws", required=False)]
    aws_unset: Annotated[Secret | None, SecretPolicy(material=KEY, group="aws", required=False)]
    other_key: Annotated[Secret, SecretPolicy(material=KEY)]


class Credentials:
    """Delivers credentials, and lets a client sign a request with them."""

    def __init__(self, path: Path, monkeypatch: Any) -> None:
        self._path = path
        self._other = secrets.token_hex(16)
        self.keys: list[str] = []
        monkeypatch.setenv("ROBODJ_SECRETS_DIR", str(path))
        self.deliver()
        self.service: Any = guard(Service)

    def deliver(self) -> str:
        """Deliver new credentials, and return the key id."""
        values = [secrets.token_hex(16) for _ in range(3)]
        self.keys += values
        names = ("AWS_KEY_ID", "AWS_SECRET_KEY", "AWS_TOKEN")
        volume(self._path, {"OTHER_KEY": self._other, **dict(zip(names, values, strict=True))})
        return values[0]


@pytest.fixture
def delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Credentials:
    """A service that has credentials."""
    return Credentials(tmp_path / "keys", monkeypatch)


def test_each_request_is_signed_with_the_credentials_in_use(delivered: Credentials) -> None:
    """A client signs with the key id and the token of one change, and after a change with those of the next."""
    service = delivered.service
    core = botocore_session(service.aws_key_id, service.aws_secret_key, service.aws_token)
    client = boto3.Session(botocore_session=core, region_name="eu-central-1").client("sts")
    signed: list[Any] = []

    def answer(request: Any, **_: object) -> Any:
        signed.append(request.headers)
        return AWSResponse(request.url, 200, {}, None)

    client.meta.events.register("before-send", answer)
    for _ in range(2):
        with pytest.raises(AttributeError):  # the answer has no body
            client.get_caller_identity()
        delivered.deliver()
        assert service.refresh().ok
    authorizations = [each["Authorization"].decode() for each in signed]
    assert [each.partition("Credential=")[2].partition("/")[0] for each in authorizations] == delivered.keys[0:6:3]
    assert [each["X-Amz-Security-Token"] for each in signed] == [b.encode() for b in delivered.keys[2:6:3]]


def test_the_attributes_are_those_in_use_and_masked(delivered: Credentials) -> None:
    """`access_key`, `secret_key` and `token` follow, and no repr has a key. Without a token, there is none."""
    service = delivered.service
    found = boto3.Session(botocore_session=botocore_session(service.aws_key_id, service.aws_secret_key))
    credentials = found.get_credentials()
    delivered.deliver()
    assert service.refresh().ok
    assert [credentials.access_key, credentials.secret_key] == delivered.keys[3:5]
    assert credentials.token is None
    assert leaks(repr([credentials, vars(credentials), credentials.get_frozen_credentials()]), delivered.keys) == []


def test_secrets_that_change_apart_are_refused(delivered: Credentials) -> None:
    """Secrets of no common group could be of two changes."""
    service = delivered.service
    with pytest.raises(ValueError, match="same group"):
        botocore_session(service.aws_key_id, service.other_key)
    with pytest.raises(ValueError, match="same group"):
        botocore_session(service.other_key, service.other_key)


def test_text_is_no_secret(delivered: Credentials) -> None:
    """The value of a secret would never change: it is refused, and it is not shown."""
    key_id, key = delivered.service.aws_key_id, delivered.keys[1]
    text: Any = key
    with pytest.raises(TypeError, match="not their values") as raised:
        botocore_session(key_id, text)
    assert leaks(traceback_of(raised.value, own=True), [key]) == []


def test_a_secret_that_is_not_set(delivered: Credentials) -> None:
    """Without one of the secrets, no request is signed."""
    key_id = delivered.service.aws_key_id
    found = botocore_session(key_id, delivered.service.aws_secret_key, key_id.store.secrets["aws_unset"])
    with pytest.raises(LookupError, match="aws_unset has no value now"):
        found.get_credentials().get_frozen_credentials()
