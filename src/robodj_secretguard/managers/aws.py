"""Read a JSON secret of AWS Secrets Manager."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

import boto3
import botocore.session
import urllib3
from botocore import exceptions
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from robodj_secretguard.errors import ManagerError
from robodj_secretguard.managers.manager import (
    ATTEMPT_SECONDS,
    CONFLICT,
    AbsentError,
    Answer,
    ClientStore,
    Stored,
    is_insecure,
    limited,
    manager_error,
    members,
    time_of,
)
from robodj_secretguard.secret.sealed import SealedStr

STAGE: Final = "AWSCURRENT"
PRIVATE_STAGE: Final = "robodj-secretguard"
"""The stage of a version that is written and not current yet."""
_THROTTLED: Final = ("Throttl", "RequestThrottled", "RequestLimit", "RequestTimeout", "TooManyRequests", "SlowDown")
"""How the codes of answers with status 400 begin after which AWS says to try again."""
_IN_JSON: Final = "store the keys as one JSON object, whose members are the names of the variables"
_REACH_AWS: Final = "make sure that AWS can be reached from here, then start again"
_LOGIN: Final = "give this service valid AWS credentials (aws sts get-caller-identity tests them)"
_CA_BUNDLE: Final = "set AWS_CA_BUNDLE to the file of the right CA, or unset it"
_FIXES_BY_CODE: Final = {
    "ResourceNotFoundException": "correct the secret's name, and AWS_REGION; if it has no version yet, store the keys",
    "InvalidParameterException": "correct the secret's name after aws:",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue for the secret, and kms:Decrypt for its key",
    "InvalidRequestException": "if the secret is marked for deletion: restore it (aws secretsmanager restore-secret)",
    "DecryptionFailure": "allow kms:Decrypt for the key of the secret, and enable that key",
}
_MAY_WRITE: Final = "allow secretsmanager:PutSecretValue and secretsmanager:UpdateSecretVersionStage for the secret"
_MAY: Final = {
    "ListSecretVersionIds": "allow secretsmanager:ListSecretVersionIds for the secret",
    "CreateSecret": "allow secretsmanager:CreateSecret for the secret, or make it without a value",
}
"""What a login needs beside that."""
_STAGES: Final = (STAGE, "AWSPREVIOUS")
_SHOWN: Final = """
    ThrottlingException TooManyRequestsException RequestLimitExceeded InternalServiceError UnrecognizedClientException
    InvalidClientTokenId InvalidSignatureException SignatureDoesNotMatch ExpiredToken ExpiredTokenException
    IncompleteSignature MissingAuthenticationToken
    """.split()
"""No other code of an answer is shown: it could be anything."""
_SDK_ERRORS: Final = (
    (
        (exceptions.NoRegionError, exceptions.InvalidRegionError),
        "cannot be read: no valid AWS region is set",
        "set AWS_REGION to the region of the secret",
        False,
    ),
    ((exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError), "did not answer in time", _REACH_AWS, True),
    (
        (
            exceptions.ConnectionError,
            exceptions.ConnectionClosedError,
            exceptions.CredentialRetrievalError,
            exceptions.MetadataRetrievalError,
        ),
        "cannot be reached ({})",
        _REACH_AWS,
        True,
    ),
    # It was cut, perhaps within a character.
    ((UnicodeDecodeError, urllib3.exceptions.HTTPError), "sent no whole answer", _REACH_AWS, True),
    (
        (exceptions.ProfileNotFound, exceptions.ConfigNotFound, exceptions.ConfigParseError, ValueError),
        "cannot be read: a setting of the AWS SDK is invalid ({})",
        "correct AWS_ENDPOINT_URL, AWS_PROFILE and the file of AWS_CONFIG_FILE, where they are set",
        False,
    ),
    (Exception, "cannot be read ({})", _LOGIN, False),  # no credentials, or malformed ones
)


class AwsSecret(ClientStore):
    """One secret of AWS Secrets Manager, whose text is a JSON object. Its place is its name or its ARN."""

    reach = _REACH_AWS
    logins = frozenset(
        f"AWS_{name}"
        for name in (
            "ACCESS_KEY_ID",
            "ACCESS_KEY",
            "SECRET_ACCESS_KEY",
            "SECRET_KEY",
            "SESSION_TOKEN",
            "SECURITY_TOKEN",
            "CREDENTIAL_EXPIRATION",
            "ROLE_ARN",
            "ROLE_SESSION_NAME",
            "WEB_IDENTITY_TOKEN_FILE",
            "CONTAINER_CREDENTIALS_RELATIVE_URI",
            "CONTAINER_CREDENTIALS_FULL_URI",
            "CONTAINER_AUTHORIZATION_TOKEN",
            "CONTAINER_AUTHORIZATION_TOKEN_FILE",
        )
    )
    """What is or names a login. Profiles and their files stay: the service can read the files anyway."""

    def with_client(self, action: Callable[[Any], Answer]) -> Answer:
        """Return what an action returns."""
        _turn_off_logging()
        try:
            return action(_client(self.seconds))
        except exceptions.ClientError as error:
            raise _error_of_answer(error.response, error.operation_name) from None
        except (exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise manager_error(error, _SDK_ERRORS, _CA_BUNDLE) from None

    def names(self, client: Any) -> Sequence[str]:
        """Return the ids of the versions that AWS still has."""
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"SecretId": self._place, "IncludeDeprecated": True}
        while asked:  # the SDK has no paginator for this operation
            page = client.list_secret_version_ids(**asked)
            found += page["Versions"]
            token = page.get("NextToken")
            asked = {**asked, "NextToken": token} if token else {}
        # The private stage alone: a write was interrupted, and nobody has had the keys.
        kept = [each for each in found if each.get("VersionStages", []) != [PRIVATE_STAGE]]
        return [each["VersionId"] for each in sorted(kept, key=_newness, reverse=True)]

    def read(self, client: Any, name: str = "") -> Stored:
        """Return a version."""
        # Without a stage, some servers return the version that was current before.
        which = {"VersionId": name} if name else {"VersionStage": STAGE}
        answer = client.get_secret_value(SecretId=self._place, **which)
        if "ARN" not in answer:  # from JSON that is cut off, the SDK returns an empty answer
            raise ManagerError("sent no whole answer", _REACH_AWS, is_temporary=True)
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise ManagerError("has no text", _IN_JSON)
        members(text, _IN_JSON, is_whole=True)
        date = time_of(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
        return Stored(SealedStr(text), answer["VersionId"], answer.get("CreatedDate"), date)

    def write_after(self, client: Any, fields: SealedStr, version: str) -> None:
        """Make a version with the private stage, and then move the stage `AWSCURRENT` to it."""
        if not version and self._create(client, fields):
            return
        # After an interruption, nobody has the keys of this version, and the next one gets its stage.
        made = client.put_secret_value(
            SecretId=self._place, SecretString=fields.get_secret_value(), VersionStages=[PRIVATE_STAGE]
        )
        try:
            client.update_secret_version_stage(
                SecretId=self._place,
                VersionStage=STAGE,
                MoveToVersionId=made["VersionId"],
                **({"RemoveFromVersionId": version} if version else {}),
            )
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "InvalidParameterException":
                raise
            # The stage is at another version; or at this one, which is the first and got it at once.
            if self.read(client).version != made["VersionId"]:
                raise ManagerError(*CONFLICT) from None

    def _create(self, client: Any, fields: SealedStr) -> bool:
        """Make the secret with its first version. Return whether that was done: it may exist without a value."""
        try:
            client.create_secret(Name=self._place, SecretString=fields.get_secret_value())
        except exceptions.ClientError:  # it is there, or it may not be made: the write that follows says why
            return False
        return True


def _newness(version: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what orders versions: two of them have a stage, and their dates may be equal."""
    return (*(stage in version.get("VersionStages", []) for stage in _STAGES), version["CreatedDate"])


def _client(seconds: float) -> Any:
    """Return a client whose requests are encrypted, and whose answers have a limit."""
    settings = botocore.session.get_session()  # boto3's own keeps the credentials of an earlier attempt
    if region := os.environ.get("AWS_REGION"):  # only other SDKs read it
        settings.set_config_variable("region", region)
    bundle = settings.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and not os.access(bundle, os.R_OK):
        raise ManagerError("cannot be read: the file of AWS_CA_BUNDLE is not usable", _CA_BUNDLE)
    settings.set_config_variable("ca_bundle", bundle or True)  # where it is empty, no client can be made
    # Also the clients that log in, such as that of a role, send their requests so.
    settings.register("before-send", partial(_send_encrypted, verify=bundle or True, seconds=seconds))
    return boto3.Session(botocore_session=settings).client(
        "secretsmanager", config=Config(retries={"total_max_attempts": 1})
    )


def _send_encrypted(*, verify: str | bool, seconds: float, request: Any, **_: object) -> Any:
    """Send a request, and return its answer."""
    if is_insecure(request.url):
        raise ManagerError(
            "is not read without TLS",
            "begin each address in AWS_ENDPOINT_URL, and in endpoint_url of the AWS configuration, with https://",
        )
    # Without TLS, no request goes through a proxy.
    proxies = get_environ_proxies(request.url) if request.url.lower().startswith("https:") else {}
    sender = URLLib3Session(verify, proxies, (min(seconds, ATTEMPT_SECONDS), seconds))
    request.stream_output = True  # otherwise it would be read without a limit
    answer = sender.send(request)
    too_long = ManagerError("sent too long an answer", "correct AWS_ENDPOINT_URL, where it is set: AWS sends less")
    with closing(answer.raw):
        answer._content = limited(answer.raw.stream(), too_long)  # noqa: SLF001 - as the class itself sets it
    return answer


def _turn_off_logging() -> None:
    """Turn the SDK's logging off: at the level DEBUG it has every answer. A model's module may have turned it on."""
    for name in ("boto3", "botocore", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"boto3", "botocore"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _error_of_answer(response: Mapping[str, Any], operation: str) -> ManagerError:
    """Return the error for an answer that is not a success."""
    code = str(response["Error"]["Code"])
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    shown = code if code in {*_FIXES_BY_CODE, *_SHOWN} else f"HTTP {status}"
    if code.startswith(_THROTTLED) or status in {429, *range(500, 600)}:
        return ManagerError(f"is not available ({shown})", _REACH_AWS, is_temporary=True)
    if code == str(status):  # the answer has no code
        return ManagerError(f"sent no whole answer ({shown})", _REACH_AWS, is_temporary=True)
    is_denied = code == "AccessDeniedException" and operation != "GetSecretValue"
    remedy = _MAY.get(operation, _MAY_WRITE) if is_denied else _FIXES_BY_CODE.get(code, _LOGIN)
    kind = AbsentError if code == "ResourceNotFoundException" else ManagerError
    return kind(f"was refused by AWS ({shown})", remedy)
