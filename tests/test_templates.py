"""Templates: text that stands where a secret should be."""

from __future__ import annotations

import base64
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.secret.material import default_digest
from robodj_secretguard.secret.templates import LONGEST, template
from robodj_secretguard.secret.words import REFERENCES

PLACEHOLDER = "is a placeholder"
NAME = "is the name of a variable"
SHELL = "is a shell variable that nobody replaced"
PATH = "is a path, not the content of the file"
EXAMPLE = "is a well-known example of a vendor"


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        (PLACEHOLDER, "your-api-key|yourApiKey|YOUR_API_KEY|Your Api Key Here|changeme|Ch4ng3M3!|P@ssw0rd123|test"),
        (PLACEHOLDER, "sk_test_xxxxxxxxxxxx|XXXX-XXXX|********|........|aaaaaaaa|0000|ababababab|abc-abc-abc"),
        (PLACEHOLDER, "sk_live_...|sk_live_51H...abc|****abcd|abcd****|sk-\u2026|AKIAXXXXXXXXXXXXXXXX"),
        (PLACEHOLDER, "<token>|[your key]|{api_key}|{{ stripe }}|((stripe-key))|__SET_IN_ENV__|#{Api.Key}|<%= a.b %>"),
        (PLACEHOLDER, "<brannigan>|[[stripe]]|@@API_KEY@@|{% key %}|<api key 2>"),
        (PLACEHOLDER, "1234567890|abcdef123456|a1b2c3d4e5|qwertyuiop|12345678-1234-1234-1234-123456789012|87654321"),
        (PLACEHOLDER, "tu_clave_aqui|dein-schl\u00fcssel-hier|\u0432\u0430\u0448_\u043a\u043b\u044e\u0447|robodj123"),
        (PLACEHOLDER, "your_brannigan_api_key|password2024|football77|hackmehackme|arandomstring|not-a-real-key"),
        (NAME, "STRIPE_API_KEY|BRANNIGAN_ZAPP_FRY|A1_BRANNIGAN_TOKEN|_DB_PASSWORD"),
        (SHELL, "$STRIPE_API_KEY|$api_key|${X:?is not set}|$(cat x y)|%API_KEY%|%(stripe)s|%s|${{ secrets.X }}"),
        (
            PATH,
            "/run/secrets/stripe|~/keys/stripe|./stripe-sk|./stripe.key|../a/b2|C:\\keys\\stripe.txt|config/stripe.pem|D:/a/b",
        ),
        (EXAMPLE, "kq7zw9mpEXAMPLE|AKIAIOSFODNN7EXAMPLE|wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("is a key that django-admin startproject wrote", "django-insecure-7f$k2"),
        ("is the text of an error", "Permission denied|ERROR: secret not found|could not read /zapp|not found: kif"),
        (
            PLACEHOLDER,
            "brannigan-password|gitlab_secret|brannigansecret|mybrannigansecret|admin-brannigan2|brannigan test",
        ),
        (PLACEHOLDER, "change-orange-table-winter-stone|replace_winter_2|orange winter stone example 12"),
        (PLACEHOLDER, "<brannigan-2>|[token-1]|(kqzvjxwh)|12-dragon|aaaa1111|111222333|P@ssw0rd2024|kq7+z...|...x/9"),
        (
            PLACEHOLDER,
            "\u5bc6\u7801123|\u30d1\u30b9\u30ef\u30fc\u30c9kif|\ube44\ubc00\ubc88\ud638|has\u0142o|\u0111\u1ed5i_m\u1eadt_kh\u1ea9u",
        ),
    ],
)
def test_template_is_named_for_what_it_is(message: str, texts: str) -> None:
    """A template is refused as what it is, also with blanks, quotes and a newline around it."""
    for text in texts.split("|"):
        assert (text, template(text)) == (text, message)
        assert template(f' "{text}"\n') == message


@pytest.mark.parametrize("begin", REFERENCES)
def test_reference_is_named(begin: str) -> None:
    """A reference to a secret that is somewhere else is named by its beginning, in any case and length."""
    text = f"{begin}x/secrets/{secrets.token_bytes(9).hex()}"
    for each in (text, text.upper(), text + "/item" * LONGEST):
        assert template(each) == f"is a reference that nobody resolved ({begin})"


@pytest.mark.parametrize(
    "text",
    [
        "projects/7f3a/k92",
        "$2b$12$K8hN1pGqX0e7",
        "/9j4AAQSk/ZJRg/run/x",
        "/run/kq7+z$9mp",
        "./a8Fz_kQ2",
        "C:ax/9",
        "wait...wh7t",
        "a..b**c-k92h",
        "#fp05Wkpve!]",
        "<aB3dEf>",
        "{{x8}$2}",
        "((x8)$2)k",
        "[[x8]$2]",
        "#{x$8k}",
        "${x$8k}",
        "$(x$8k)",
        "%(x8k)$",
        "~/x8K.2z",
        "C:/x8K.2z",
        "bw:x8K2z",
        "A_8XK2Q9",
        "A_XKLQRT",
        "zapp-kif-leela-fry",
        "correct horse staple",
        "your mother drinks brandy with old friends",
        "your-kqzv-kif-zapp-xqj",
        "brannigan-key-zapp-fry",
        "kqzvjx-key",
        "key-83746",
        "kif8374",
        "KIF_FRY",
        "Kif_Fry_Zapp_Leela",
        "KIF_FRY-",
        "12341234",
        "1a2b9c8d",
        "abcd12",
        "EXAMPLE-kif",
        "\u043f\u0440\u0438\u0432\u0435\u0442",
        "#!?;&^~+",
        "a%bc%d<e>",
        "69b736a2abc3e18b",
        "9v2a4tuV",
        "DeA64PIN",
        "53351736",
        "key-be9eee929a0ef33dfd44244a945384ef",
        "",
    ],
)
def test_other_text_is_no_template(text: str) -> None:
    """Text is no template because of a word, a mark or a beginning alone."""
    assert template(text) == ""


@pytest.mark.parametrize(
    ("templates", "others"),
    [
        ("a+&a*a?a|a+aa?a", "a+&a*a?a!|a+a?a&"),
        ("kq7kq7kq7|k7k7k7k7|kq7zkq7zkq7z", "kq7kq7|k7k7k7|kq7zkq7z|kq7zw9kq7zw9"),
        ("23456789|klmnopqr|qwe-345-tyu|12345678901234567890123456789012345", "2345678|qw-34-tyu|lmkpqros"),
        ("<kifzappf>|<api1>|<KifZapp>|Key=<kif>;", "<kif8zappfry>|kifzappf|kif<zapp>+|{kifzap}|{KifZappFry}"),
        ("\u0437\u0430\u043f_\u043a\u043b\u044e\u0447|kif\u5bc6\u94a5zapp", "\u0437\u0430\u043f\u043a\u0438\u0444"),
        ("sk-kif-12345678|kif12345678|sk-kifza-12345678", "sk-kif-1234567|sk-kifzap-12345678"),
        ("kifxxxxxx|kq7zw9mp2vxxxxxxkq7", "kifxxx|kq7zw9mp2vxxxxkq7"),
        ("kq7zw9...8xm2p|...***..|kq7z...", "kq7zw9...8xm2|kq7+z..x"),
        ("kq7zw9mpyyyyyyyy", "kq7zw9mp2yyyyyyyy|kq7yyyyyyy"),
        ("t0k3n|s3cr3t", "53cr37|s3t1c1"),
        ("test-1|set-1|test-837-1|kif_xxx", "url-83|test-837-19|kif_zapp_xxx|kif_xx"),
        ("dragon12|dragon", "horse12|dragon-movie|db-dragon"),
        (
            "orange-winter-password|password-orange-winter|orange-2-winter-password|databaseserverbackendpassword",
            "orange-winter-stone-password|orange-password-winter",
        ),
        ("fake-orange-winter", "put-orange-winter|orange-tu-winter|fake-orange-kqzvjx|fake-orange-2-83746"),
        ("orange-replaceme-winter|winter-example", "orange-example-winter"),
        ("app_kjhgfd|app_yyyyyy", "app_kjhgf|app_yyyyy|kif_key_kjhgfd|appmusic"),
    ],
)
def test_both_sides_of_each_limit(templates: str, others: str) -> None:
    """Text at a limit is a template. Text next to it is none, as it could be random."""
    assert [each for each in templates.split("|") if template(each) != PLACEHOLDER] == []
    assert [each for each in others.split("|") if template(each)] == []


@pytest.mark.parametrize(
    ("text", "variable", "message"),
    [
        *((each, "", NAME) for each in ("KIFZAPPX_FRYLEEL", "KIF_APP", "KIF_KEY")),
        *((each, "", "") for each in ("KIFZAPPX_FRYLEE", "BRANNIGANZAPPKIF", "KIF_\u00c9_ZAPP_BRANNIGAN", "KIF_AB")),
        *((each, "ZAPP_KIF", NAME) for each in ("ZAPP_KIF", "zapp-kif", "zappKif", "zapp kif")),
        *((each, "", "") for each in ("ZAPP_KIF", "zapp-kif", "zappKif", "zapp kif")),
        ("${ZAPP_KIF}", "ZAPP_KIF", SHELL),
        ("kqzv-qjx-key", "QJX_KQZV_PASSWORD", PLACEHOLDER),
        ("kqzv-qjx-key", "ZAPP_BRANNIGAN_PASSWORD", ""),
        ("brannigan-zapp", "ZAPP_BRANNIGAN_PASSWORD", ""),
    ],
)
def test_name_of_a_variable(text: str, variable: str, message: str) -> None:
    """A name has an underscore and only ASCII, and is long or has a listed word of three letters.

    That of the variable itself is a template in any spelling. Its words are listed words, none of them telling.
    """
    assert template(text, variable) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Server=db;User Id=kif;Password=changeme;", "has a password that is a placeholder"),
        ("Server=db;Uid=kif;Pwd={your password};Encrypt=yes", "has a password that is a placeholder"),
        ("host=db user=kif password=kif1 dbname=zapp", "has the user's name as its password"),
        ("AccountName=kif;AccountKey=;EndpointSuffix=core.windows.net", "has an empty password"),
        ("jdbc:postgresql://db/zapp?user=kif&password=postgres", "has a vendor's default password"),
        ("jdbc:mysql://kif:kif@db/zapp", "has the user's name as its password"),
        ("mysql://kif:%3Ctoken%3E@db/zapp", "has a password that is a placeholder"),
        ("Server=db;User Id=kif;Password=z8QkfX2v;", ""),
        ("host=db user=kif password=z8QkfX2v", ""),
        ("mysql://kif:z8QkfX2v@db/zapp", ""),
        ("z8Qk=fX2v;password=kif", ""),
    ],
)
def test_password_of_a_connection_is_judged(text: str, message: str) -> None:
    """In a URL, and in `name=value` pairs that have a server or a user, the password is judged as such."""
    assert template(text) == message


@pytest.mark.parametrize(
    ("data", "is_template"),
    [
        *((each, True) for each in (b"your-api-key", b"op://vault/item/field", b"STRIPE_KEY", b"fill-me!")),
        *((each, False) for each in (b"zapp:kif-leela-9", b"fill-me", b"\xff\xfechangeme")),
        (b"your" + b" " * 377 + b"key", True),
    ],
    ids=range(8),
)
def test_encoded_template_is_a_placeholder(data: bytes, *, is_template: bool) -> None:
    """A template of 8 characters or more in base64 or hexadecimal is a placeholder, up to the longest text."""
    encoded = [base64.b64encode(data + b"\n").decode(), base64.urlsafe_b64encode(data).decode().rstrip("=")]
    forms = [each for each in (*encoded, data.hex()) if len(each) <= LONGEST]
    assert len(forms) in {1, 3}
    found = {template(each) for each in forms}
    assert found <= ({f"{PLACEHOLDER} in base64", f"{PLACEHOLDER} in hexadecimal"} if is_template else {""})


class TestLong:
    """Long text."""

    @pytest.mark.parametrize("text", ["x", "ab", "your-key-", "xxxx-", ".", "["])
    def test_repeated_text_of_any_length_is_a_placeholder(self, text: str) -> None:
        """A character or a block that is repeated is a placeholder at any length."""
        assert template(text * 5000) == PLACEHOLDER

    def test_words_are_judged_in_text_of_a_limited_length(self) -> None:
        """Words are judged in a text of 512 characters and of 24 words."""
        assert [template(f"your-brannigan{'-key' * times}") for times in (22, 23)] == [PLACEHOLDER, ""]
        assert [template(f"your{' ' * blanks}keys") for blanks in (504, 505)] == [PLACEHOLDER, ""]


def test_default_of_a_project_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default key of a well-known project is known by its digest."""
    text = secrets.token_bytes(24).hex()
    assert template(text) == ""
    monkeypatch.setattr("robodj_secretguard.secret.templates.DEFAULTS", {default_digest(text)})
    assert template(text.upper()) == "is the default key of a well-known project"
    monkeypatch.setattr("robodj_secretguard.secret.templates.EXAMPLES", {default_digest(text)})
    assert template(text) == EXAMPLE


@given(st.text(max_size=200), st.text(alphabet=string.ascii_uppercase + "_", max_size=20))
def test_any_text_has_a_message_without_it(text: str, variable: str) -> None:
    """Any text gets a message of constants alone."""
    message = template(text, variable)
    begin = message.removeprefix("is a reference that nobody resolved (").removesuffix(")")
    assert begin in {*REFERENCES, message}
    assert not message or message.startswith(("is ", "has "))
