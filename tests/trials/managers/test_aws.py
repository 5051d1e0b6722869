"""`--from aws:`, with the real SDK and moto's server: what secrets, refusals and a bad network do to a start."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import managed
import pytest
from command_line import fingerprint_of
from conftest import (
    NO_FAILURE,
    V1,
    V2,
    Failure,
    Ran,
    failure_of,
    free_port,
    good_keys,
    process_environment,
    put,
)
from detector import leaks
from managed import PREVIOUS, REFUSED, UNAVAILABLE
from openbao import require
from processes import GOOD, SECRET, host_env

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from pathlib import Path


require("boto3", "moto")

from moto_server import LOGIN, REGION, Moto, running  # noqa: E402 - skipped above where boto3 is missing

from robodj_secretguard.managers.aws import PRIVATE_STAGE, AwsSecret  # noqa: E402
from robodj_secretguard.managers.manager import ABSENT, CONFLICT, AbsentError, Stored, sealed  # noqa: E402
from robodj_secretguard.startup.directory import MAX_BYTES  # noqa: E402

NAME = "robodj"
SOURCE = f"aws:{NAME}"
VERSION = str(uuid.uuid4())
UNTRUSTED = "has a certificate that cannot be verified"
NOT_USABLE: dict[str, tuple[str | bytes, str]] = {
    "deleted": (json.dumps(GOOD), "was refused by AWS (InvalidRequestException)"),
    "bytes": (json.dumps(GOOD).encode(), "has no text"),
    "text": (GOOD[V1], "is not a JSON object"),
    "part": (json.dumps(GOOD)[:-1], "is cut off"),
    "object": (json.dumps(GOOD | {V1: {"key": GOOD[V1]}}), f"has {V1}, but it is not a string"),
}
"""By the name of a secret: what is stored that cannot be used, and the failure. The first one is deleted."""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server that has the keys of a service."""
    with running(tmp_path_factory.mktemp("moto")) as made:
        made.write(NAME, json.dumps(GOOD))
        for name, (text, _) in NOT_USABLE.items():
            made.write(name, text)
        made.client.delete_secret(SecretId="deleted", RecoveryWindowInDays=7)
        yield made


@dataclass
class Canned:
    """A server that answers as AWS documents it.

    Attributes:
        answers: a status and a body for each request; the last one holds for all further requests.
        requests: the headers of each request.
        port: its port on 127.0.0.1.
    """

    answers: list[tuple[int, object]] = field(default_factory=list)
    requests: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a service that reads it."""
        return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_DEFAULT_REGION": REGION, **LOGIN}

    def answer(self) -> tuple[int, bytes]:
        """Return the next answer."""
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def canned() -> Iterator[Canned]:
    """A server without TLS, whose answers a test sets."""
    with canned_server() as made:
        yield made


@contextlib.contextmanager
def canned_server(context: ssl.SSLContext | None = None) -> Iterator[Canned]:
    """Run a server whose answers a test sets."""
    made = Canned()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.requests.append(dict(self.headers))
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = made.answer()
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def refusal(code: str) -> dict[str, str]:
    """Return the body of a refusal, with a message that has a key."""
    return {"__type": code, "message": f"no {GOOD[V1]}"}


def whole(text: object) -> dict[str, object]:
    """Return the body of an answer."""
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:robodj-AbCdEf"
    return {"ARN": arn, "Name": NAME, "SecretString": text, "VersionId": VERSION, "VersionStages": ["AWSCURRENT"]}


def environ_of(cwd: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with variables of AWS, and nothing else of it."""
    clean = {name: value for name, value in host_env({}).items() if not name.startswith("AWS_")}
    return clean | {"HOME": str(cwd), "AWS_EC2_METADATA_DISABLED": "true"} | dict(variables)


@dataclass(frozen=True)
class Service(managed.Service):
    """A service."""

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        return environ_of(self.cwd, variables)

    @property
    def logins(self) -> list[str]:
        return [*LOGIN.values()]

    def assert_not_started(self, ran: Ran, status: int, what: str, *, source: str = SOURCE) -> None:
        super().assert_not_started(ran, status, f": {source} {re.escape(what)}$", source=source)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service."""
    return Service(tmp_path, SOURCE)


def load(variables: Mapping[str, str], cwd: Path, secret: str = NAME) -> Failure:
    """Read a secret once in this process."""
    with process_environment(environ_of(cwd, variables)):
        manager = AwsSecret(f"aws:{secret}", secret)
        return failure_of(lambda: manager.load([V1, V2], time.monotonic(), pytest.fail))


class TestRead:
    """The members of the secret become the variables of the command."""

    def test_every_variable_reaches_the_command(self, moto: Moto, service: Service) -> None:
        """Keys, slots, markers and the revocation list are delivered; other members are not. A name or an ARN works."""
        members = managed.rotating()
        arn = moto.write("team/rotation", json.dumps(members | {"OTHER": GOOD[V1], "NUMBER": 1}))
        ran = service.start(moto.environ, source=f"aws:{arn}")
        environment = service.started
        assert (ran.status, ran.alerts) == (0, [])
        assert {name: environment.get(name) for name in members} == members
        assert environment.keys().isdisjoint(("OTHER", "NUMBER"))

    def test_a_removed_key(self, moto: Moto, service: Service) -> None:
        """`--previous` delivers the key from an earlier version, with a deadline that is over."""
        removed = good_keys()[V1]
        moto.write("removed", json.dumps(GOOD | {V1: removed}))
        for fields in ({PREVIOUS: removed}, {}):
            moto.client.put_secret_value(SecretId="removed", SecretString=json.dumps(GOOD | fields))
        options = ("--previous", fingerprint_of(removed))
        ran = service.start(moto.environ, source="aws:removed", options=options)
        assert (ran.status, ran.err) == (0, ""), ran.out
        assert (service.started[V1], service.started[PREVIOUS]) == (GOOD[V1], removed)

    def test_the_version_that_became_current_is_read(self, moto: Moto, service: Service) -> None:
        """After a stage was moved, the version that has it is read, and not the one that was current before."""
        moto.write("staged", json.dumps(good_keys()))
        client = moto.client
        (old,) = client.describe_secret(SecretId="staged")["VersionIdsToStages"]
        text = json.dumps(GOOD)
        new = client.put_secret_value(SecretId="staged", SecretString=text, VersionStages=["AWSPENDING"])["VersionId"]
        assert service.start(moto.environ, source="aws:staged").status == 0
        assert service.started[V1] != GOOD[V1]
        client.update_secret_version_stage(
            SecretId="staged", VersionStage="AWSCURRENT", MoveToVersionId=new, RemoveFromVersionId=old
        )
        assert service.start(moto.environ, source="aws:staged").status == 0
        assert {name: service.started[name] for name in GOOD} == GOOD

    def test_the_command_does_not_get_the_login(self, moto: Moto, service: Service) -> None:
        """The login is not in the environment of the command, unless --keep-login is given. The region stays."""
        assert service.start(moto.environ).status == 0
        assert LOGIN.keys().isdisjoint(service.started)
        assert service.started["AWS_DEFAULT_REGION"] == REGION
        assert service.start(moto.environ, options=("--keep-login",)).status == 0
        assert service.started.items() >= LOGIN.items()

    def test_nothing_is_logged(self, canned: Canned, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The SDK does not log the answer, whatever the levels of its loggers are."""
        canned.answers = [(200, whole(json.dumps(GOOD)))]
        with caplog.at_level("DEBUG"), caplog.at_level("DEBUG", "botocore.parsers"):
            assert load(canned.environ, tmp_path) == NO_FAILURE
        assert not re.search("boto", caplog.text)
        assert leaks(caplog.text, (*SECRET, *LOGIN.values())) == []

    def test_the_variable_of_other_sdks(self, moto: Moto, tmp_path: Path) -> None:
        """AWS_REGION holds, also where boto3's own variable names another region."""
        assert load({**moto.environ, "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": REGION}, tmp_path) == NO_FAILURE


class TestWrite:
    """A write: a version with a private stage, to which the stage `AWSCURRENT` is then moved."""

    @pytest.fixture
    def store(self, moto: Moto, tmp_path: Path) -> Iterator[AwsSecret]:
        """A secret that this process may write."""
        moto.write(tmp_path.name, json.dumps(GOOD))
        with process_environment(environ_of(tmp_path, moto.environ)):
            yield AwsSecret(f"aws:{tmp_path.name}", tmp_path.name)

    def current(self, store: AwsSecret) -> Stored:
        return store.current()

    def versions(self, moto: Moto, store: AwsSecret) -> list[list[str]]:
        """Return the stages of each version, the newest one first."""
        listed = moto.client.list_secret_version_ids(SecretId=store.name[4:], IncludeDeprecated=True)["Versions"]
        return [sorted(each["VersionStages"]) for each in listed]

    def test_the_next_version(self, moto: Moto, store: AwsSecret) -> None:
        """A write replaces all members, and makes one version."""
        before = self.current(store)
        assert (before.opened(), before.written_at is not None) == (GOOD, True)
        store.write(sealed({"A": [1]}), before)
        assert self.current(store).opened() == {"A": [1]}
        assert sorted(self.versions(moto, store)) == [["AWSCURRENT", PRIVATE_STAGE], ["AWSPREVIOUS"]]

    def test_earlier_versions(self, store: AwsSecret) -> None:
        """The versions are in the order of their stages, and each one can be read."""
        for number in (1, 2):
            store.write(sealed({"A": number}), self.current(store))
        found = [store.version(name).opened() for name in store.versions()]
        assert found == [{"A": 2}, {"A": 1}, GOOD]

    def test_a_first_write(self, moto: Moto, store: AwsSecret) -> None:
        """Where nothing is there, the first write makes the secret or its first version; another one is a conflict."""
        name = f"{store.name[4:]}-new"
        new = AwsSecret(f"aws:{name}", name)
        with pytest.raises(AbsentError, match="ResourceNotFoundException"):
            new.current()
        new.write(sealed({"A": 1}), ABSENT)
        assert failure_of(lambda: new.write(sealed({"A": 2}), ABSENT)) == Failure(*CONFLICT)
        moto.client.create_secret(Name=f"{name}-empty")
        empty = AwsSecret(f"aws:{name}-empty", f"{name}-empty")
        empty.write(sealed({"A": 3}), ABSENT)
        assert [each.current().opened() for each in (new, empty)] == [{"A": 1}, {"A": 3}]

    def test_another_write_came_first(self, store: AwsSecret) -> None:
        """A write from an old version changes nothing."""
        before = self.current(store)
        store.write(sealed({"A": 1}), before)
        assert failure_of(lambda: store.write(sealed({"A": 2}), before)) == Failure(*CONFLICT)
        assert self.current(store).opened() == {"A": 1}

    def test_an_interrupted_write(self, moto: Moto, store: AwsSecret) -> None:
        """A version that a crash has left with the private stage is given up by the next write."""
        text = sealed({"A": 1}).get_secret_value()
        moto.client.put_secret_value(SecretId=store.name[4:], SecretString=text, VersionStages=[PRIVATE_STAGE])
        store.write(sealed({"A": 2}), self.current(store))
        assert self.current(store).opened() == {"A": 2}
        assert sorted(self.versions(moto, store)) == [[], ["AWSCURRENT", PRIVATE_STAGE], ["AWSPREVIOUS"]]

    @pytest.mark.parametrize("before", [[], [(200, {"VersionId": VERSION})]], ids=["of the version", "of the stage"])
    def test_access_denied(self, canned: Canned, tmp_path: Path, before: list[tuple[int, object]]) -> None:
        """The fix names the permissions to write."""
        canned.answers = [*before, (400, refusal("AccessDeniedException"))]
        with process_environment(environ_of(tmp_path, canned.environ)):
            store = AwsSecret(SOURCE, NAME)
            failure = failure_of(lambda: store.write(sealed({}), Stored(sealed({}), VERSION)))
        assert failure.fix.startswith("allow secretsmanager:PutSecretValue and secretsmanager:UpdateSecretVersionStage")


class TestRefused:
    """What AWS denies, or does not have in this form, refuses the start at once."""

    @pytest.mark.parametrize("name", NOT_USABLE)
    def test_each_secret(self, moto: Moto, tmp_path: Path, name: str) -> None:
        """A secret that is deleted, or is not a JSON object of strings, cannot be used later either."""
        failure = load(moto.environ, tmp_path, name)
        assert (failure.what, failure.is_temporary) == (NOT_USABLE[name][1], False)

    def test_access_denied(self, canned: Canned, service: Service) -> None:
        """A refusal shows its code, and nothing else of the answer. The fix is that of the code."""
        canned.answers = [(400, refusal("AccessDeniedException"))]
        ran = service.start(canned.environ, wait=30)
        service.assert_not_started(ran, REFUSED, "was refused by AWS (AccessDeniedException)")
        assert "  fix: allow secretsmanager:GetSecretValue for the secret, and kms:Decrypt" in ran.out

    @pytest.mark.parametrize(
        ("code", "fix"),
        [
            ("ExpiredTokenException", "valid AWS credentials"),
            ("com.amazonaws.secretsmanager#ResourceNotFoundException", "the secret's name, and AWS_REGION"),
            ("InvalidParameterException", "the secret's name"),
            ("InvalidRequestException", "restore-secret"),
            ("DecryptionFailure", "kms:Decrypt"),
        ],
    )
    def test_each_code(self, canned: Canned, tmp_path: Path, code: str, fix: str) -> None:
        """A code has its fix; a code without one is about the credentials."""
        canned.answers = [(400, refusal(code))]
        failure = load(canned.environ, tmp_path)
        assert (failure.what, failure.is_temporary) == (f"was refused by AWS ({code.rpartition('#')[2]})", False)
        assert fix in failure.fix

    @pytest.mark.parametrize("code", [GOOD[V2], f"x {GOOD[V1]}", ""], ids=["a key", "a blank", "empty"])
    def test_a_code_that_may_be_a_key(self, canned: Canned, tmp_path: Path, code: str) -> None:
        """A code that is not a word, or may be a key, is not shown."""
        canned.answers = [(400, refusal(code))]
        failure = load(canned.environ, tmp_path)
        assert failure.what == "was refused by AWS (HTTP 400)"


_ROLE = f"""[profile role]
role_arn = arn:aws:iam::123456789012:role/service
source_profile = login
services = plain
[profile login]
aws_access_key_id = {LOGIN["AWS_ACCESS_KEY_ID"]}
aws_secret_access_key = {LOGIN["AWS_SECRET_ACCESS_KEY"]}
[services plain]
sts =
  endpoint_url = http://aws.invalid
"""
SETTINGS: dict[str, tuple[dict[str, str], str, str]] = {
    "no region": ({"AWS_DEFAULT_REGION": ""}, "cannot be read: no valid AWS region is set", "set AWS_REGION"),
    "no region's name": ({"AWS_REGION": "a b"}, "cannot be read: no valid AWS region is set", "set AWS_REGION"),
    "no credentials": ({"AWS_ACCESS_KEY_ID": ""}, "cannot be read (NoCredentialsError)", "valid AWS credentials"),
    "half of the credentials": (
        {"AWS_SECRET_ACCESS_KEY": ""},
        "cannot be read (PartialCredentialsError)",
        "valid AWS credentials",
    ),
    "a newline in the credentials": (
        {"AWS_SESSION_TOKEN": f"{LOGIN['AWS_SESSION_TOKEN']}\n{LOGIN['AWS_SESSION_TOKEN']}"},
        "cannot be read (HTTPClientError)",
        "valid AWS credentials",
    ),
    "no file of a token": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "nothing", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"},
        "cannot be read (FileNotFoundError)",
        "valid AWS credentials",
    ),
    "no such profile": (
        {"AWS_PROFILE": "nothing"},
        "cannot be read: a setting of the AWS SDK is invalid (ProfileNotFound)",
        "AWS_PROFILE",
    ),
    "a malformed address": (
        {"AWS_ENDPOINT_URL": "nonsense"},
        "cannot be read: a setting of the AWS SDK is invalid (ValueError)",
        "AWS_ENDPOINT_URL",
    ),
    "no TLS": ({"AWS_ENDPOINT_URL": "http://aws.invalid"}, "is not read without TLS", "https://"),
    "no TLS in the configuration": (
        {"AWS_ENDPOINT_URL": "", "AWS_CONFIG_FILE": "[default]\nendpoint_url = http://aws.invalid\n"},
        "is not read without TLS",
        "endpoint_url",
    ),
    "no TLS where a role logs in": (
        {"AWS_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "role", "AWS_CONFIG_FILE": _ROLE},
        "is not read without TLS",
        "endpoint_url",
    ),
    "no file of a CA": (
        {"AWS_CA_BUNDLE": "nothing"},
        "cannot be read: the file of AWS_CA_BUNDLE is not usable",
        "AWS_CA_BUNDLE",
    ),
}
"""Settings that nobody can read a secret with."""


def given(canned: Canned, variables: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """Return the variables of a case, with its AWS configuration in a file."""
    variables = {**canned.environ, **variables}
    if "AWS_CONFIG_FILE" in variables:
        variables |= {"AWS_CONFIG_FILE": str(put(cwd / "aws-config", variables["AWS_CONFIG_FILE"]))}
    return {name: value for name, value in variables.items() if value}


class TestSettings:
    """What is wrong with the settings is refused, without a request."""

    @pytest.mark.parametrize("case", SETTINGS)
    def test_each_setting(self, canned: Canned, tmp_path: Path, case: str) -> None:
        """The failure names the setting, and its fix too."""
        variables, what, fix = SETTINGS[case]
        failure = load(given(canned, variables, tmp_path), tmp_path)
        assert (failure.what, failure.is_temporary, canned.requests) == (what, False, [])
        assert fix in failure.fix

    def test_credentials_that_come_later(self, canned: Canned, tmp_path: Path) -> None:
        """Each attempt reads the credentials again, such as a file that was replaced."""
        canned.answers = [(400, refusal("ThrottlingException")), (200, whole(json.dumps(GOOD)))]
        path = put(tmp_path / "credentials", _profile("first"))
        variables = {name: value for name, value in canned.environ.items() if name not in LOGIN}
        with process_environment(environ_of(tmp_path, variables | {"AWS_SHARED_CREDENTIALS_FILE": str(path)})):
            manager = AwsSecret(SOURCE, NAME)
            manager.load([V1], time.monotonic() + 9, lambda _: put(path, _profile("second")))
        assert [re.findall("Credential=([a-z]+)", each["Authorization"]) for each in canned.requests] == [
            ["first"],
            ["second"],
        ]

    def test_no_proxy_without_tls(self, canned: Canned, tmp_path: Path) -> None:
        """A request without TLS does not leave the machine through a proxy."""
        canned.answers = [(200, whole(json.dumps(GOOD)))]
        assert load({**canned.environ, "HTTP_PROXY": "http://127.0.0.1:1"}, tmp_path) == NO_FAILURE

    @pytest.mark.parametrize("end", ["A1b2C3", "Zy9Xw8"])
    def test_an_arn_is_not_mistaken_for_a_key(self, service: Service, end: str) -> None:
        """The random end of an ARN does not make it an invalid source."""
        source = f"aws:arn:aws:secretsmanager:{REGION}:123456789012:secret:robodj-service-secrets-{end}"
        assert service.start(LOGIN, source=source).status == REFUSED


class TestUnavailable:
    """What may pass is tried again until the time is over, and is never a start."""

    @pytest.mark.parametrize(
        ("status", "code", "shown"),
        [
            (400, "ThrottlingException", "ThrottlingException"),
            (429, "", "HTTP 429"),
            (500, "InternalServiceError", "InternalServiceError"),
            (502, GOOD[V1], "HTTP 502"),
        ],
        ids=["throttled", "429", "500", "a key"],
    )
    def test_each_answer(self, canned: Canned, tmp_path: Path, status: int, code: str, shown: str) -> None:
        """Throttling and the errors of a server are temporary."""
        canned.answers = [(status, refusal(code))]
        failure = load(canned.environ, tmp_path)
        assert (failure.what, failure.is_temporary) == (f"is not available ({shown})", True)

    @pytest.mark.parametrize(
        ("status", "body", "shown"),
        [
            (200, b"", ""),
            (200, json.dumps(whole(GOOD[V1])).encode()[:-1], ""),
            (200, b'{"ARN": "\xc3', ""),
            (302, b"", " (HTTP 302)"),
            (400, json.dumps(refusal("AccessDeniedException")).encode()[:-1], " (HTTP 400)"),
            (403, b"<html>", " (HTTP 403)"),
        ],
        ids=[
            "empty",
            "cut off",
            "cut in a character",
            "redirect",
            "cut code",
            "denied by a proxy",
        ],
    )
    def test_no_whole_answer(self, canned: Canned, tmp_path: Path, status: int, body: bytes, shown: str) -> None:
        """An answer that is cut off, or that comes from a proxy, is not an answer of AWS. No redirect is followed."""
        canned.answers = [(status, body)]
        failure = load(canned.environ, tmp_path)
        assert (failure.what, failure.is_temporary) == (f"sent no whole answer{shown}", True)

    @pytest.mark.parametrize("login", [{}, {"AWS_ACCESS_KEY_ID": "", "AWS_ROLE_ARN": "arn:aws:iam::1:role/service"}])
    def test_an_answer_without_an_end(self, canned: Canned, tmp_path: Path, login: dict[str, str]) -> None:
        """The size of an answer has a limit, also that of an answer to a login."""
        canned.answers = [(200, b"x" * (MAX_BYTES + 1))]
        login |= {"AWS_WEB_IDENTITY_TOKEN_FILE": str(put(tmp_path / "token", "token"))}
        failure = load(given(canned, login, tmp_path), tmp_path)
        assert (failure.what, failure.is_temporary) == ("sent too long an answer", False)

    def test_it_starts_when_the_answer_comes(self, canned: Canned, service: Service) -> None:
        """A start that was throttled is tried again within the time."""
        canned.answers = [(400, refusal("ThrottlingException")), (503, b""), (200, whole(json.dumps(GOOD)))]
        ran = service.start(canned.environ, wait=30)
        assert (ran.status, len(canned.requests)) == (0, 3)
        assert ran.err == "robodj-secretguard: aws:robodj is not available (ThrottlingException); trying again\n"
        assert {name: service.started[name] for name in GOOD} == GOOD

    def test_nothing_listens(self, service: Service) -> None:
        """A wrong address is one alert."""
        address = {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{free_port()}", "AWS_REGION": REGION}
        ran = service.start(LOGIN | address)
        service.assert_not_started(ran, UNAVAILABLE, "cannot be reached (EndpointConnectionError)")


class TestCertificate:
    """TLS is always verified."""

    @pytest.mark.parametrize(
        "bundle", [{}, {"AWS_CA_BUNDLE": ""}, {"REQUESTS_CA_BUNDLE": ""}], ids=["not set", "empty", "another one empty"]
    )
    def test_an_unknown_authority(self, moto: Moto, tmp_path: Path, bundle: dict[str, str]) -> None:
        """A certificate of an unknown authority is refused, also where the setting of authorities is empty."""
        variables = {name: value for name, value in moto.environ.items() if name != "AWS_CA_BUNDLE"}
        failure = load(variables | bundle, tmp_path)
        assert (failure.what, failure.is_temporary) == (UNTRUSTED, False)

    def test_another_host(self, moto: Moto, service: Service) -> None:
        """A certificate for another name refuses the start."""
        ran = service.start({**moto.environ, "AWS_ENDPOINT_URL": f"https://localhost:{moto.port}"}, wait=30)
        service.assert_not_started(ran, REFUSED, UNTRUSTED)

    def test_a_file_without_a_certificate(self, moto: Moto, tmp_path: Path) -> None:
        """A file that has no certificate refuses the start."""
        path = put(tmp_path / "ca.pem", "nothing")
        failure = load({**moto.environ, "AWS_CA_BUNDLE": str(path)}, tmp_path)
        assert (failure.what, failure.is_temporary) == (UNTRUSTED, False)

    def test_the_variable_of_requests(self, moto: Moto, tmp_path: Path) -> None:
        """The SDK's second variable of authorities holds too."""
        variables = moto.environ
        assert load({**variables, "REQUESTS_CA_BUNDLE": variables.pop("AWS_CA_BUNDLE")}, tmp_path) == NO_FAILURE


def _profile(key: str) -> str:
    return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {LOGIN['AWS_SECRET_ACCESS_KEY']}\n"
