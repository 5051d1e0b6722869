"""The recipes of `examples/recipes`, each with its framework and temporary keys, in separate processes.

The fast run lets each recipe make a token and read it in a second process, and tests common rules with one recipe.
Only the full run tests these with every recipe, and Django, sessions after a rotation, and secrets as keys.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2, clean_environment, good_keys, run

from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conftest import Ran

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes"
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
NEXT, PLAYOUT = f"{V1}_NEXT", "playout.encrypted"

FLASK = """
import flask_sessions as recipe

client = recipe.app.test_client()

def ask(method, cookie=None):
    if cookie:
        client.set_cookie("session", cookie)
    return client.open("/station?name=jazz", method=method, base_url="https://localhost")

def make():
    return ask("PUT").headers["Set-Cookie"]

def read(cookie):
    return ask("GET", cookie).text
"""

DJANGO = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "django_secret_key"
import django
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import path

import django_secret_key as recipe

django.setup()
settings.ROOT_URLCONF = "__main__"

def station(request):
    if request.method == "PUT":
        request.session["station"] = request.GET["name"]
    return HttpResponse(request.session.get("station", "none"))

urlpatterns = [path("station", station)]

def ask(method, cookie=None):
    client = Client()
    if cookie:
        client.cookies["sessionid"] = cookie
    return client.generic(method, "/station?name=jazz", headers={"host": "localhost"}, secure=True)

def make():
    return ask("PUT").cookies["sessionid"].OutputString()

def read(cookie):
    return ask("GET", cookie).content.decode()
"""

# Starlette's test client warns about httpx, which other tests need.
STARLETTE = """
import asyncio
import httpx
import starlette_sessions as recipe

async def request(method, cookies):
    transport = httpx.ASGITransport(app=recipe.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://localhost", cookies=cookies) as client:
        return await client.request(method, "/station?name=jazz")

def make():
    return asyncio.run(request("PUT", {})).headers["Set-Cookie"]

def read(cookie):
    return asyncio.run(request("GET", {"session": cookie})).text
"""

ITSDANGEROUS = """
import itsdangerous_tokens as recipe

def make():
    return recipe.invitation("jazz")

def read(token):
    return recipe.invited(token) or "none"
"""

PYJWT = """
import pyjwt_tokens as recipe

def make():
    return recipe.issue("jazz")

def read(token):
    return recipe.subject_of(token) or "none"
"""

FERNET = """
import fernet_encryption as recipe

def make():
    return recipe.sealed("jazz")

def read(token):
    return recipe.opened(token) or "none"
"""

CONFIG = """
import base64, pathlib, tempfile
import encrypted_config as recipe
from cryptography.exceptions import InvalidTag

PATH = pathlib.Path(tempfile.mkdtemp(), "playout" + recipe.SUFFIX)

def make():
    recipe.write(PATH, "jazz")
    return base64.b64encode(PATH.read_bytes()).decode()

def read(token):
    PATH.write_bytes(base64.b64decode(token))
    try:
        return recipe.read(PATH)
    except InvalidTag:
        return "none"
"""

ROWS = """
import base64
import reencrypt_rows as recipe
from cryptography.exceptions import InvalidTag

def make():
    return base64.b64encode(recipe.BOX.encrypt(b"jazz", b"7")).decode()

def read(token):
    try:
        return recipe.BOX.decrypt(base64.b64decode(token), b"7").decode()
    except InvalidTag:
        return "none"
"""

FASTAPI = """
import asyncio
import httpx
import fastapi_api_key as recipe

async def request(headers):
    transport = httpx.ASGITransport(app=recipe.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as client:
        return await client.get("/station", headers=headers)

def make():
    return recipe.headers()["X-API-Key"]

def read(token):
    return asyncio.run(request({"X-API-Key": token})).json().get("station", "none")
"""

SESSIONS = {"flask_sessions": FLASK, "django_secret_key": DJANGO, "starlette_sessions": STARLETTE}
DRIVERS = SESSIONS | {
    "itsdangerous_tokens": ITSDANGEROUS,
    "pyjwt_tokens": PYJWT,
    "fernet_encryption": FERNET,
    "encrypted_config": CONFIG,
    "reencrypt_rows": ROWS,
    "fastapi_api_key": FASTAPI,
}
SERVED = ("flask_sessions", "starlette_sessions", "fastapi_api_key")
"""For each recipe, the start of a program: `make()` signs or encrypts "jazz", and `read()` returns it, or "none"."""

USE = """
import json, os, sys, types

def shown(value):
    try:
        return f"{value!r} {vars(value)!r}"
    except (TypeError, RuntimeError):  # it has no attributes, or is Flask's proxy of a request that there is not
        return repr(value)

keys = [os.environ[name] for name in os.environ if name.startswith("ROBODJ_SECRET") and not name.endswith("_UNTIL")]
print(json.dumps({
    "made": make().swapcase(),  # a key id could have six digits of a hexadecimal key by chance
    "read": [read(token) for token in sys.argv[1:]],
    "holders": [
        name for name, value in vars(recipe).items()
        if not isinstance(value, types.ModuleType) and any(key in shown(value) for key in keys)
    ],
}))
"""


def new_keys(**more: str) -> dict[str, str]:
    """Make good keys for every recipe."""
    return good_keys() | more


KEYS = new_keys()


@dataclass(frozen=True)
class Used:
    """The result of a recipe.

    Attributes:
        made: the cookie as it was set, the token or the encrypted text.
        read: what it made of the tokens that it was given.
        holders: the names in its module whose value, or an attribute of it, holds a key as it was delivered.
    """

    made: str
    read: list[str]
    holders: list[str]

    @property
    def token(self) -> str:
        """Return the token, without the name and attributes of a cookie."""
        cookie = re.match(r'session(?:id)?="?([^;"]+)', self.made)
        return cookie[1] if cookie else self.made


def python(program: str, *arguments: str, keys: Mapping[str, str], cwd: Path = RECIPES) -> Ran:
    """Run a program that can import the recipes, first those in the working directory. Every warning is an error."""
    return command("-W", "error", "-c", program, *arguments, keys=keys, cwd=cwd)


def command(*arguments: str, keys: Mapping[str, str], cwd: Path = RECIPES) -> Ran:
    """Run Python in the directory of the recipes, or with it on the path, and make sure that no key is shown."""
    env = clean_environment() | {"PYTHONPATH": str(RECIPES), "PYTHONDONTWRITEBYTECODE": "1"} | dict(keys)
    return run(
        arguments,
        env=env,
        cwd=cwd,
        keys=[key for name, key in keys.items() if not name.endswith(("_UNTIL", "FINGERPRINTS"))],
    )


def use(name: str, *tokens: str, keys: Mapping[str, str], cwd: Path = RECIPES) -> Used:
    """Run a recipe to make a token and to read others."""
    ran = python(DRIVERS[name] + USE, *tokens, keys=keys, cwd=cwd)
    assert (ran.status, ran.err) == (0, "")
    result = json.loads(ran.out)
    return Used(**result | {"made": result["made"].swapcase()})


@functools.cache
def used(name: str) -> Used:
    """Return the results of a recipe with `KEYS`."""
    return use(name, keys=KEYS)


def edited(name: str, edit: Callable[[str], str], directory: Path) -> Path:
    """Write a changed recipe, and return the directory that makes Python import it first."""
    text = (RECIPES / f"{name}.py").read_text(encoding="utf-8")
    assert edit(text) != text
    (directory / f"{name}.py").write_text(edit(text), encoding="utf-8")
    return directory


def tampered(token: str) -> list[str]:
    """Return texts with one changed character, near the beginning, in the middle, and near the end."""
    places = (len(token) // 4, len(token) // 2, len(token) - 10)
    return [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in places]


def documented(name: str) -> list[str]:
    """Return the command in the first line of a recipe, as arguments of Python."""
    first = (RECIPES / f"{name}.py").read_text(encoding="utf-8").splitlines()[0]
    program, *arguments = shlex.split(first.rsplit("`")[1])
    return arguments if program == "python" else ["-m", program, *arguments]


def every_recipe(fast: str, *, but: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Run a test for each recipe except some. The fast run tests one recipe."""
    marks = {name: () if name == fast else (pytest.mark.full,) for name in DRIVERS if name not in but}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=each) for name, each in marks.items()])


class TestEveryRecipe:
    """Rules for every recipe."""

    def test_every_recipe_is_tested_and_listed(self) -> None:
        """Every recipe is tested here, and has a row on the page."""
        files = sorted(path.stem for path in RECIPES.glob("*.py"))
        assert files == sorted(DRIVERS)
        assert sorted(re.findall(r"^\| .*\(https://\S+/examples/recipes/(\w+)\.py\)", PAGE, re.MULTILINE)) == files

    @pytest.mark.parametrize("name", DRIVERS)
    def test_recipe_reads_its_own_tokens_and_keeps_no_key(self, name: str) -> None:
        """A recipe reads a token of another process and refuses a changed one. Its module keeps no delivered key:
        neither under a name nor in an attribute, such as a framework's configuration.
        """
        token = used(name).token
        again = use(name, token, *tampered(token), "", "none", keys=KEYS)
        assert (again.read, again.holders) == (["jazz", *["none"] * 5], [])

    @every_recipe("itsdangerous_tokens")
    def test_token_of_another_key_is_refused(self, name: str) -> None:
        """With other keys, a recipe refuses its earlier tokens."""
        assert use(name, used(name).token, keys=new_keys()).read == ["none"]

    @every_recipe("fernet_encryption")
    def test_documented_command_is_refused_with_bad_keys(self, name: str) -> None:
        """The documented command ends with status 3 and an alert for each bad key."""
        bad = KEYS | {V1: KEYS[V1][:20], V2: KEYS[V2][:100]}
        ran = command(*documented(name), keys=bad)
        assert ran.status == 3
        assert [line.split()[1:3] for line in ran.alerts] == [["secret.key:", "format:"], ["secret_v2.key:", "format:"]]

    @every_recipe("fernet_encryption", but=(*SERVED, "encrypted_config", "reencrypt_rows"))
    def test_documented_command_runs(self, name: str) -> None:
        """The documented command succeeds. Other tests cover the recipes that serve, and those for stored data."""
        assert command(*documented(name), keys=KEYS).status == 0

    def test_labels_are_distinct(self) -> None:
        """No two purposes share a label."""
        texts = [(RECIPES / f"{name}.py").read_text(encoding="utf-8") for name in DRIVERS]
        labels = [re.findall(r'^(?:LABEL|SALT) = b"(robodj example .+ v1)"', text, re.MULTILINE) for text in texts]
        assert [len(each) for each in labels] == [1] * len(DRIVERS)
        assert len({each[0] for each in labels}) == len(DRIVERS)


class TestSessions:
    """The recipes with a session cookie."""

    @pytest.mark.parametrize("name", SESSIONS)
    def test_session_cookie_is_secure_hidden_and_same_site(self, name: str) -> None:
        """The cookie is sent over HTTPS only, is hidden from scripts, and is not sent to this site by another."""
        attributes = {each.strip().lower() for each in used(name).made.split(";")[1:]}
        assert attributes >= {"secure", "httponly", "samesite=lax"}


class TestDjango:
    """`django_secret_key.py`."""

    @pytest.mark.full
    def test_check_deploy_accepts_the_key(self) -> None:
        """`check --deploy` does not complain about `SECRET_KEY`, but does about a short one."""
        ran = command(*documented("django_secret_key"), keys=KEYS)
        assert "security.W009" not in ran.err
        assert "(security.W004)" in ran.err  # other warnings show that the checks ran

    @pytest.mark.full
    def test_debug_page_hides_the_key(self) -> None:
        """The error page hides `SECRET_KEY` and shows no key. It shows other settings, and locals."""
        program = (
            DJANGO
            + """
def station(request):
    noted = "shown-local"
    raise LookupError

urlpatterns = [path("station", station)]
settings.DEBUG, settings.NOTED = True, "shown-setting"
settings.LIST, settings.TEXT = settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY  # under names that are not hidden
client = Client(raise_request_exception=False)
page = client.get("/station", headers={"host": "localhost"}, secure=True).content.decode()
print(*(text in page for text in ("SECRET_KEY", "shown-setting", "shown-local", "<td>LIST</td>")))
keys = [settings.SECRET_KEY, *(os.environ[name] for name in os.environ if name.startswith("ROBODJ_SECRET"))]
print(*(key[:12] in page for key in [*keys, *settings.SECRET_KEY_FALLBACKS]))
"""
        )
        assert python(program, keys=new_keys(**{NEXT: good_keys()[V1]})).out.splitlines() == [
            *("True True True True", "False False False False False False")
        ]


class TestItsdangerous:
    """`itsdangerous_tokens.py`."""

    def test_refuses(self) -> None:
        """A token that is too old, or was made for another purpose, is refused."""
        program = (
            ITSDANGEROUS
            + """
token = make()
print(read(token))
recipe.LIFETIME = -1
print(read(token))
recipe.LIFETIME, recipe.INVITATIONS.salt = 3600, b"robodj example another purpose v1"
print(read(token), read(make()))
"""
        )
        assert python(program, keys=KEYS).out.split() == ["jazz", "none", "none", "jazz"]


class TestPyjwt:
    """`pyjwt_tokens.py`."""

    def test_refuses(self) -> None:
        """An expired token, another audience or issuer, a missing claim, and another algorithm or none are refused."""
        program = (
            PYJWT
            + """
import jwt

key = recipe.secrets.secret_v2_key.derive(recipe.LABEL).current.value.get_secret_value()
claims = jwt.decode(make(), options={"verify_signature": False})
print(claims["exp"] > 0, read(jwt.encode(claims, key, algorithm="HS256")))
print(
    *(read(jwt.encode(claims | {name: value}, key, algorithm="HS256"))
      for name, value in (("exp", 1), ("aud", "another"), ("iss", "another"))),
    *(read(jwt.encode({each: claims[each] for each in claims if each != name}, key, algorithm="HS256"))
      for name in ("exp", "aud", "iss", "sub")),
    read(jwt.encode(claims, key * 2, algorithm="HS512")),
    read(jwt.encode(claims, None, algorithm="none")),
)
"""
        )
        ran = python(program, keys=KEYS)
        assert ran.out.splitlines() == ["True jazz", " ".join(["none"] * 9)]


class TestEncryptedConfig:
    """`encrypted_config.py`."""

    def test_renew_encrypts_every_file_again(self, tmp_path: Path) -> None:
        """With the commands of the page: `renew` encrypts each file that is under another key again, one that is under
        a revoked key with `--revoked KID` alone. `list` shows what is left: its status is 1 before and 0 after. Then it
        names what to pass to the rotation, if the old key is still delivered.
        """
        commands = re.findall(r"^python (encrypted_config.py \w+ \w+)", PAGE, re.MULTILINE)
        renew, show = ((str(RECIPES / name), *arguments) for name, *arguments in map(str.split, commands))
        config = tmp_path / "config"
        config.mkdir(mode=0o700)
        old, path = config / PLAYOUT, Path("config", PLAYOUT)
        old.write_bytes(encrypted())
        (config / "other.json").write_text("{}", encoding="utf-8")
        all_new, rotated = "1 of 1 files are under the current key\n", promoted()
        none_new = all_new.replace("1", "0", 1)
        assert command(*show, keys=KEYS, cwd=tmp_path).out == all_new
        listed = command(*show, keys=rotated, cwd=tmp_path)
        assert (listed.status, listed.out) == (1, f"{path}: under an old key\n{none_new}")
        revoked = rotated | {"ROBODJ_REVOKED_FINGERPRINTS": fingerprint(SealedStr(KEYS[V1]))}
        refused = command(*renew, keys=revoked, cwd=tmp_path)
        assert (refused.status, refused.out.splitlines()[-1]) == (1, none_new.strip())
        kid = fingerprint(SealedStr(KEYS[V1])).removeprefix("sgfp1:")
        done = f"{all_new}To remove the old key, pass: --data-done {kid}\n"
        for arguments, keys, shown in (
            ((*renew, "--revoked", kid), revoked, done),
            (show, revoked, all_new),
            (show, rotated, done),
        ):
            ran = command(*arguments, keys=keys, cwd=tmp_path)
            assert (ran.status, ran.out.endswith(shown)) == (0, True)
        only_new = {name: rotated[name] for name in (V1, V2)}
        assert use("encrypted_config", base64.b64encode(old.read_bytes()).decode(), keys=only_new).read == ["jazz"]
        assert sorted(each.name for each in config.iterdir()) == ["other.json", PLAYOUT]

    def test_file_that_cannot_be_decrypted_stays(self, tmp_path: Path) -> None:
        """A file whose key is not delivered, or that was changed or renamed, stays as it is. The status is 1, as for no
        files.
        """
        lost, broken, renamed = (tmp_path / name for name in (PLAYOUT, "2.encrypted", "3.encrypted"))
        contents = {lost: encrypted(), broken: b"", renamed: encrypted()}
        assert command("encrypted_config.py", "renew", str(tmp_path), keys=KEYS).status == 1
        for path, content in contents.items():
            path.write_bytes(content)
        for keys, count in ((new_keys(), 3), (KEYS, 2)):
            ran = command("encrypted_config.py", "renew", str(tmp_path), keys=keys)
            assert ran.status == 1
            assert (
                ran.out.count("cannot be decrypted: its key is not delivered or is revoked, or it was changed") == count
            )
            assert {path: path.read_bytes() for path in contents} == contents


def encrypted() -> bytes:
    """Return the content of `PLAYOUT`, encrypted with `KEYS`."""
    return base64.b64decode(used("encrypted_config").token)


def promoted() -> dict[str, str]:
    """Make the keys after a promotion: new ones, and those of `KEYS` as the previous ones."""
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    slots = {f"{name}_PREVIOUS": KEYS[name] for name in (V1, V2)}
    return new_keys(**slots, **{f"{name}_UNTIL": deadline for name in slots})


@every_recipe("flask_sessions")
def test_tokens_follow_a_rotation(name: str) -> None:
    """What the next key made is accepted before a promotion, and what the previous key made until its deadline. What is
    made after the promotion needs the current key alone. Data at rest is read after the deadline too.
    """
    old, after = used(name).token, promoted()
    slots = {f"{variable}_NEXT": after[variable] for variable in (V1, V2)}
    new = use(name, old, keys=after)
    assert new.read == ["jazz"]
    assert use(name, new.token, old, keys=KEYS | slots).read == ["jazz", "jazz"]
    assert use(name, new.token, old, keys={variable: after[variable] for variable in (V1, V2)}).read == ["jazz", "none"]
    past = after | {f"{variable}_PREVIOUS_UNTIL": "2026-01-01T00:00:00Z" for variable in (V1, V2)}
    ran = python(DRIVERS[name] + USE, new.token, old, keys=past)
    expected = ["jazz", "jazz" if name in {"encrypted_config", "reencrypt_rows"} else "none"]
    assert (ran.status, json.loads(ran.out.splitlines()[-1])["read"]) == (0, expected)


@pytest.mark.full
def test_secret_instead_of_its_value_is_a_type_error() -> None:
    """Each framework of the page raises a `TypeError` when a secret is passed instead of its value."""
    program = """
import django.conf, flask, itsdangerous, jwt
from cryptography.fernet import Fernet
from django.core import signing
from flask.sessions import SecureCookieSessionInterface
from starlette.middleware.sessions import SessionMiddleware
from robodj_secretguard import guard

django.conf.settings.configure()

def in_django(key):
    django.conf.settings.SECRET_KEY = key
    signing.dumps("x")

def in_flask(key):
    app = flask.Flask("app")
    app.secret_key = key
    SecureCookieSessionInterface().get_signing_serializer(app).dumps("x")

for name, sign in {
    "Starlette": lambda key: SessionMiddleware(None, key).signer.sign("x"),
    "Django": in_django,
    "Flask": in_flask,
    "itsdangerous": lambda key: itsdangerous.URLSafeSerializer(key).dumps("x"),
    "PyJWT": lambda key: jwt.encode({}, key, algorithm="HS256"),
    "Fernet": Fernet,
}.items():
    try:
        sign(guard().secret_key)
    except TypeError:
        print(name)
"""
    ran = python(program, keys=KEYS)
    assert (ran.status, ran.err) == (0, "")
    names = ran.out.split()
    assert f"{', '.join(names[:-1])} and {names[-1]} raise a `TypeError`" in PAGE.replace("\n  ", " ")
