"""Read a JSON secret of AWS Secrets Manager."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config

from robodj_secretguard.managers.json_object import members
from robodj_secretguard.managers.manager import Failure
from robodj_secretguard.managers.network import failure_of, is_insecure
from robodj_secretguard.managers.store import CHANGED, NO_FIELDS, Store, Stored, time_of, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from robodj_secretguard.secret.sealed import SealedStr

    _Result = TypeVar("_Result")

STAGE: Final = "AWSCURRENT"
PRIVATE_STAGE: Final = "robodj-secretguard"
"""The stage of a version that is written and not current yet."""
_THROTTLED: Final = ("Throttl", "RequestThrottled", "RequestLimit", "RequestTimeout", "TooManyRequests", "SlowDown")
"""How the codes of answers with status 400 begin after which AWS says to try again."""
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500
_IN_JSON: Final = "store the keys as one JSON object, whose members are the names of the variables"
_REACH: Final = "make sure that AWS can be reached from here, then start again"
_LOGIN: Final = "give this service valid AWS credentials (aws sts get-caller-identity tests them)"
_CERTIFICATE: Final = "set AWS_CA_BUNDLE to the file of the right CA, or unset it"
_SETTINGS: Final = "correct AWS_ENDPOINT_URL, AWS_PROFILE and the file of AWS_CONFIG_FILE, where they are set"
_FIXES: Final = {
    "ResourceNotFoundException": "correct the secret's name, and AWS_REGION; if it has no version yet, store the keys",
    "InvalidParameterException": "correct the secret's name after aws:",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue for the secret, and kms:Decrypt for its key",
    "InvalidRequestException": "if the secret is marked for deletion: restore it (aws secretsmanager restore-secret)",
    "DecryptionFailure": "allow kms:Decrypt for the key of the secret, and enable that key",
}
_MAY_WRITE: Final = "allow secretsmanager:PutSecretValue and secretsmanager:UpdateSecretVersionStage for the secret"
_SHOWN: Final = (
    *("ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "InternalServiceError"),
    *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch"),
    *("ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "MissingAuthenticationToken"),
)
"""No other code of an answer is shown: it could be anything."""
_FAILURES: Final = (
    (
        (exceptions.NoRegionError, exceptions.InvalidRegionError),
        Failure("cannot be read: no valid AWS region is set", "set AWS_REGION to the region of the secret"),
    ),
    (
        (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError),
        Failure("did not answer in time", _REACH, is_temporary=True),
    ),
    (
        (
            *(exceptions.ConnectionError, exceptions.ConnectionClosedError),
            *(exceptions.CredentialRetrievalError, exceptions.MetadataRetrievalError),
        ),
        Failure("cannot be reached ({})", _REACH, is_temporary=True),
    ),
    (UnicodeDecodeError, Failure("sent no whole answer", _REACH, is_temporary=True)),  # cut within a character
    (
        (exceptions.ProfileNotFound, exceptions.ConfigNotFound, exceptions.ConfigParseError, ValueError),
        Failure("cannot be read: a setting of the AWS SDK is invalid ({})", _SETTINGS),
    ),
    (Exception, Failure("cannot be read ({})", _LOGIN)),  # no credentials, or malformed ones
)


class AwsSecret(Store):
    """One secret of AWS Secrets Manager, whose text is a JSON object. Its place is its name or its ARN."""

    reach = _REACH

    def read(self, seconds: float) -> tuple[dict[str, Any], Stored] | Failure:
        """Return the current version."""
        return self._with_client(seconds, lambda client: self._read(client, STAGE))

    def unfinished(self, seconds: float) -> Stored | Failure | None:
        """Return the version that has the private stage."""
        answer = whole(self._with_client(seconds, lambda client: self._read(client, PRIVATE_STAGE)))
        # A stage that does not exist is the same error as a secret that does not exist.
        return None if isinstance(answer, Failure) and not answer.is_temporary else answer

    def write(self, fields: SealedStr, current: Stored, seconds: float) -> Failure | None:
        """Make a version with the private stage, unless it exists, and then move the stage `AWSCURRENT` to it."""

        def move(client: Any) -> Failure | None:
            made = whole(self._read(client, PRIVATE_STAGE))
            if isinstance(made, Failure) and made.is_temporary:  # it may exist
                return made
            if isinstance(made, Stored) and made.fields == fields:
                version = made.version
            else:
                text = fields.get_secret_value()
                answer = client.put_secret_value(SecretId=self._place, SecretString=text, VersionStages=[PRIVATE_STAGE])
                version = answer["VersionId"]
            versions = {"MoveToVersionId": version, "RemoveFromVersionId": current.version}
            try:
                client.update_secret_version_stage(SecretId=self._place, VersionStage=STAGE, **versions)
            except exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "InvalidParameterException":
                    raise
                return CHANGED  # the stage is not at that version any more
            return None

        answer: Failure | None = self._with_client(seconds, move)
        return answer._replace(fix=_MAY_WRITE) if answer and "AccessDeniedException" in answer.what else answer

    def _with_client(self, seconds: float, action: Callable[[Any], _Result | Failure]) -> _Result | Failure:
        """Return what an action returns."""
        _without_log_records()
        try:
            client = _client(seconds)
            return client if isinstance(client, Failure) else action(client)
        except exceptions.ClientError as error:
            return _refused(error.response)
        except (exceptions.BotoCoreError, OSError, ValueError) as error:
            return failure_of(error, _FAILURES, _CERTIFICATE)

    def _read(self, client: Any, stage: str) -> tuple[dict[str, Any], Stored] | Failure:
        """Return the version that has a stage."""
        try:
            # Without a stage, some servers return the version that was current before.
            answer = client.get_secret_value(SecretId=self._place, VersionStage=stage)
        except exceptions.ClientError as error:
            return _refused(error.response)
        if "ARN" not in answer:  # from JSON that is cut off, the SDK returns an empty answer
            return Failure("sent no whole answer", _REACH, is_temporary=True)
        text = answer.get("SecretString")
        if not isinstance(text, str):
            return Failure("has no text", _IN_JSON)
        found = members(text, _IN_JSON)
        if isinstance(found, Failure):
            return found._replace(is_temporary=False)  # this answer is whole, so the stored text is at fault
        date = time_of(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
        return dict(found), Stored(NO_FIELDS, answer["VersionId"], answer.get("CreatedDate"), date)


def _client(seconds: float) -> Any:
    """Return a client whose requests are encrypted, or why there is none."""
    settings = botocore.session.get_session()  # boto3's own keeps the credentials of an earlier attempt
    if region := os.environ.get("AWS_REGION"):  # only other SDKs read it
        settings.set_config_variable("region", region)
    bundle = settings.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and not os.access(bundle, os.R_OK):
        return Failure("cannot be read: the file of AWS_CA_BUNDLE is not usable", _CERTIFICATE)
    # Older SDKs do not verify certificates where it is empty.
    settings.set_config_variable("ca_bundle", bundle or True)
    session = boto3.Session(botocore_session=settings)
    limits = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
    client = session.client("secretsmanager", config=limits)
    # The login of a service account sends its token to another address.
    addresses = [value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL") and value]
    if any(map(is_insecure, (client.meta.endpoint_url, *addresses))):
        return Failure("is not read without TLS", "begin the address in AWS_ENDPOINT_URL with https://")
    if client.meta.endpoint_url.lower().startswith("http:"):  # not through a proxy
        client = session.client("secretsmanager", config=limits.merge(Config(proxies={})))
    return client


def _without_log_records() -> None:
    """Turn the SDK's logging off: at the level DEBUG it has every answer. A model's module may have turned it on."""
    for name in ("boto3", "botocore", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"boto3", "botocore"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _refused(response: Mapping[str, Any]) -> Failure:
    code, status = str(response["Error"]["Code"]), response["ResponseMetadata"]["HTTPStatusCode"]
    shown = code if code in {*_FIXES, *_SHOWN} else f"HTTP {status}"
    if code.startswith(_THROTTLED) or status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS:
        return Failure(f"is not available ({shown})", _REACH, is_temporary=True)
    if code == str(status):  # the answer has no code
        return Failure(f"sent no whole answer ({shown})", _REACH, is_temporary=True)
    return Failure(f"was refused by AWS ({shown})", _FIXES.get(code, _LOGIN))
