"""Recognize a template: text in place of a secret.

Only the whole value is judged, never a word that happens to be in it: a passphrase may have any words. The words that
templates use, and how telling each of them is, are at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import dropwhile
from typing import Final
from unicodedata import normalize

from robodj_secretguard.secret.material import (
    DEFAULTS,
    LOOKALIKES,
    MAX_WORD,
    PHRASES,
    SEQUENCES,
    WHOLE_VALUES,
    bare,
    decoded,
    default_digest,
    is_hexadecimal,
    listed_words,
)

LONGEST: Final = 512
"""Longer text is judged by its beginning, and by whether it is repeated: the time for words grows with the length."""
LEAST: Final = 8
"""The fewest characters of a run, a sequence or a name without a listed word. Shorter ones occur in random text."""
STRONG: Final = 2
"""How telling a word is that only templates have."""
MOST_WORDS: Final = 24
"""How many words and numbers a template has at most. Random text has more of them, and each one takes time."""
MIN_GLUED: Final = 3
"""The fewest characters of a word that is glued to others. A shorter one is only listed as a separate word."""

PLACEHOLDER: Final = "is a placeholder"
NAME: Final = "is the name of a variable"

_SEPARATORS: Final = str.maketrans("", "", " _-.:/|,\\")
_PAIRS: Final = frozenset("<> [] {} () %% @@ ## || ** :: !! __ ~~".split())
_VARIABLE: Final = (
    r"\$\{[\w.]+([:?+=|-].*)?\}|\$\([\w.-]+( .*)?\)|#\{[\w.]+\}#?|%(\(\w+\))?s"
    r"|\$?\{\{.*\}\}|\(\(.*\)\)|\[\[.*\]\]|<%.*%>|\{%.*%\}|<.* .*>"
    r"|\w+://.*(<|\$\{|\{\{).*"  # a URL has no such characters
    r"|<[A-Za-z][A-Za-z _.:-]+>|([\w ;:/.=-]+;)?\w{3,}=<[A-Za-z][A-Za-z _.:-]+>(;.*)?"  # also in a connection string
    r"|\[object \w+\]|SecretStr\(.*\)|b'.*'"  # what a program wrote in place of the value
)
"""Variables of shells and template languages. A generated password has their characters too, but not in this order."""
_RELATIVE: Final = r"(~|\.{1,2})(/[a-z._-][a-z0-9._-]*)+|[A-Za-z]:[/\\][A-Za-z._ -]+([/\\][\w. -]+)+"
_MARKS: Final = ("...", "***", "\u2026", "\u2022")
_NO_MARKS: Final = str.maketrans("", "", "._-*\u2026\u2022")
_ORDERED: Final = tuple((each * 4)[::step] for each in (*SEQUENCES, "0123456789", "abcdef") for step in (1, -1))


def template(text: str, variable: str = "") -> str:
    """Return which template a text is as a whole, as the end of a sentence; empty for other text.

    Args:
        text: the text.
        variable: the name of its variable; empty where it is unknown.
    """
    core = text.strip(" \t\r\n\"'`")
    if message := _plain_template(core, variable):
        return message
    data = decoded(core) if len(core) <= LONGEST else b""
    shown = data.decode(errors="surrogateescape").strip()  # a byte that is not UTF-8 is not printable then
    is_encoded = len(shown) >= LEAST and shown.isprintable() and _plain_template(shown, variable)
    return f"{PLACEHOLDER} in {'hexadecimal' if is_hexadecimal(core) else 'base64'}" if is_encoded else ""


def _plain_template(text: str, variable: str) -> str:
    """Return which template a text is, apart from encoded text."""
    lower = text[:LONGEST].lower()
    begins = (each for each in REFERENCES if lower.startswith(each.lower()))
    if begin := next((each for each in begins if each != "projects/" or "/secrets/" in lower), ""):
        return f"is a reference that nobody resolved ({begin})"
    if _is_repeated(text):
        return PLACEHOLDER
    rules = _rules(text, variable) if text and len(text) <= LONGEST else ()
    return next((message for holds, message in rules if holds), "")


def _rules(text: str, variable: str) -> Iterator[tuple[bool, str]]:
    """Yield whether each rule finds a template, and its message. The words come last: they cost most."""
    digest = default_digest(text)
    yield _is_bracketed(text), "is a shell variable that nobody replaced" if text[0] in "$%" else PLACEHOLDER
    yield bool(variable) and bare(text) == bare(variable), NAME
    yield _is_path(text), "is a path, not the content of the file"
    yield digest in EXAMPLES or text.endswith(("EXAMPLE", "EXAMPLEKEY")), "is a well-known example of a vendor"
    yield digest in DEFAULTS, "is the default key of a well-known project"
    yield text.startswith("django-insecure-"), "is a key that django-admin startproject wrote"
    is_filled = _is_cut(text) or _is_ordered(text) or _is_of_words(text, variable)
    is_clear = is_filled and any(_telling(each) >= STRONG for each in _tokens(text))
    yield _is_name(text) and not is_clear, NAME
    yield is_filled, PLACEHOLDER


def _tokens(text: str) -> list[str]:
    """Return the words and the numbers of a text, in lower case and without accents. A capital begins a word."""
    plain = "".join(each for each in normalize("NFKD", text) if each.isascii() or each.isalnum())
    return [each.lower() for each in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+", plain)]


def _is_repeated(text: str) -> bool:
    """Check whether a text is one character or one block that is repeated."""
    folded = bare(text)
    judged = folded if len(folded) * 2 >= len(text) and len(folded) * 2 >= LEAST else text
    period = (judged + judged).find(judged, 1)
    return period == 1 or len(judged) >= max(3 * period, period + LEAST - 2)


def _is_path(text: str) -> bool:
    """Check whether a text is the path of a file: below a known root, relative, or with the ending of a key file."""
    is_known = text.startswith(ROOTS) or text.lower().endswith(ENDINGS)
    is_plain = text.translate(_SEPARATORS).lstrip("~").isalnum()
    return (is_known and is_plain) or re.fullmatch(_RELATIVE, text) is not None


def _is_bracketed(text: str) -> bool:
    """Check whether a text is a variable of a shell or of a template language, or words in brackets."""
    inner = text.strip("<>[]{}()%@#*|:!_~$ ")
    is_around = text[0] == "$" or text[0] + text[-1] in _PAIRS
    is_one_case = len(inner) >= LEAST and inner in {inner.lower(), inner.upper()}
    are_listed = all(_is_number(each) or _telling(each) >= 0 for each in _tokens(inner))
    plain = inner.translate(_SEPARATORS)
    are_words = (is_one_case and plain.isalpha()) or (are_listed and plain.isalnum() and not plain.isdigit())
    return (is_around and are_words) or re.fullmatch(_VARIABLE, text) is not None


def _is_name(text: str) -> bool:
    """Check whether a text is a name in capitals with an underscore, with two of: long, only letters, a listed word."""
    words = text.strip("_").split("_")
    are_words = len(words) > 1 and all(each.isalnum() and each.isascii() for each in words) and text == text.upper()
    is_listed = any(len(each) >= MIN_GLUED and _telling(each.lower()) >= 0 for each in words)
    return are_words and [len(text) >= 2 * LEAST, "".join(words).isalpha(), is_listed].count(True) > 1


def _is_cut(text: str) -> bool:
    """Check whether a mark, a run of x or another repeated character is in place of the rest, or in the middle."""
    rest, run = text.translate(_NO_MARKS), re.search(r"(.)\1{7,}", bare(text))
    has_place = text.startswith(_MARKS) or text.endswith(_MARKS) or len(text) >= 2 * LEAST - 2
    has_mark = has_place and any(map(text.__contains__, _MARKS)) and (not rest or rest.isalnum())
    is_masked = re.search(r"(?<![A-Za-z0-9])[xX]{5,}(?![A-Za-z0-9])|[xX]{6}", text) is not None
    return has_mark or is_masked or (run is not None and len(run[0]) * 2 >= len(text))


def _is_ordered(text: str) -> bool:
    """Check whether the parts of a text, or its letters and its digits, are in the order of an alphabet."""
    folded, tokens = bare(text), _tokens(text)
    rest = [*dropwhile(lambda token: len(token) < LEAST - 2, tokens)]  # after a prefix
    if len("".join(rest)) >= LEAST and all(len(each) >= LEAST - 2 and _is_sequence(each) for each in rest):
        return True
    kinds = ["".join(filter(check, folded)) for check in (str.isalpha, str.isdigit)]
    are_long = all(len(each) >= MIN_GLUED for each in tokens)
    return len(folded) >= LEAST and any(
        all(map(_is_sequence, each)) for each in (kinds, tokens if are_long else [text])
    )


def _is_sequence(text: str) -> bool:
    return any(text in line for line in _ORDERED)


def _is_of_words(text: str, variable: str) -> bool:
    """Check whether a text is of listed words with a telling one among them, also glued or with look-alikes."""
    plain, own = text.translate(_SEPARATORS).lower(), _tokens(variable)
    if not text.isascii() and any(map(text.lower().__contains__, STEMS)):
        return True
    letters = sum(map(str.isalpha, text)) * 2 >= len(plain)
    without_number = re.sub(r"(?<![0-9])[0-9]{0,3}[^a-zA-Z0-9]*\Z", "", text)
    alike = [_tokens(each.translate(LOOKALIKES)) for each in (text, without_number) if letters]
    # Random text with look-alikes has short words.
    long = [each for each in alike if any(len(word) > LEAST // 2 and word in WORTH for word in each)]
    tokens = [_tokens(text), *long, [plain] * plain.isalpha()]
    return plain in WHOLE_VALUES or any(_are_listed(each, own) for each in tokens if len(each) <= MOST_WORDS)


def _are_listed(tokens: list[str], own: list[str]) -> bool:
    """Check whether tokens are listed words, those of the variable, or numbers. A clear template may have others."""
    worths = [max(_telling(each), 0 if each in own or _is_number(each) else -1) for each in tokens]
    unlisted = worths.count(-1)
    told = sum(worths) + unlisted
    words = [*filter(_is_long_word, tokens)]
    word, length = "".join(words), sum(map(len, words))
    is_short = length < LEAST // 2 and told * 2 < len("".join(tokens))
    if is_short or length * 2 < len("".join(tokens)):  # random text has short words between digits
        return False
    if unlisted:
        return max(worths) >= STRONG and unlisted <= told - STRONG and "".join(tokens).isalpha()
    is_one_word = word in WORTH and len(words) == len(tokens) - sum(map(str.isdigit, tokens))
    return told > 0 or (is_one_word and length >= LEAST - 2)


def _is_long_word(token: str) -> bool:
    return len(token) >= MIN_GLUED and (token.isalpha() or _is_sequence(token))


def _is_number(token: str) -> bool:
    """Check whether a token is a number as templates have: a short one, a year, a sequence or one repeated digit."""
    return bool(re.fullmatch(r"[0-9]{1,3}|(19|20)[0-9]{2}|([0-9])\2*", token)) or (
        token.isdigit() and _is_sequence(token)
    )


def _telling(token: str) -> int:
    """Return how telling the listed words are that a token consists of; -1 if it has other characters."""
    if token in WORTH:
        return WORTH[token]
    if len(token) >= MIN_GLUED and not token.strip("x"):
        return STRONG + 1
    if len(token) >= LEAST - 2 and token.isalpha() and (_is_sequence(token) or not token.strip(token[0])):
        return 1
    best = {0: 0}
    for start in range(len(token)):
        for end in range(start + MIN_GLUED, min(start + MAX_WORD, len(token)) + 1) if start in best else ():
            if (worth := WORTH.get(token[start:end])) is not None:
                best[end] = max(best.get(end, 0), best[start] + worth)
    return best.get(len(token), -1)


REFERENCES: Final = (
    "op://", "vault:", "ref+", "arn:aws:secretsmanager:", "arn:aws:ssm:", "projects/", "@Microsoft.KeyVault(", "env:",
    "file:", "secretKeyRef", "valueFrom", "ENC[", "ENC(", "{cipher}", "!vault", "!secret", "$ANSIBLE_VAULT",
    "keyring:", "doppler:", "infisical:", "bws:", "sm://", "awssm://", "gcpsm://", "azkv:", "azurekeyvault:",
    "keyvault:", "ssm:", "conjur:", "akeyless:", "lpass:", "bitwarden:", "secret://", "vault kv ", "vault read ",
    "op read ", "aws secretsmanager ", "aws ssm ", "gcloud secrets ", "kubectl get secret", "process.env",
    "os.environ", "os.getenv", "getenv(", "System.getenv", "ENV[", "ENV.", "import.meta.env", "!Ref ",
    "!Sub ", "!ENV ", "gcp:secretmanager:", "awskms:", "aws-sm:", "gcp-sm:", "akv:", "bw://", "ref:",
    "awssm(", "berglas://", "chamber://", "hcp://", "keychain:", "ksm://", "sops:",
)  # fmt: skip
"""How a reference to a secret that is somewhere else begins."""
ROOTS: Final = tuple(
    f"/{each}/" for each in "run var etc home opt mnt usr tmp srv root app data secrets Users proc config".split()
)
ENDINGS: Final = tuple(f".{each}" for each in "pem key json txt crt cer p12 pfx env yaml yml".split())

STEMS: Final = tuple(
    """
    ваш замени змін встав сгенерир _ключ ключ_ _токен токен_ 密钥 密码 替换 你的 您的 请 여기
    비밀번호 ここ キー مفتاح ضع_ السر توکن คีย์ รหัส ของคุณ
    """.split()
)
"""Parts of words of other scripts, whose words are not always separate: templates have them, and no generator does."""
WORTH: Final = {
    **dict.fromkeys(
        [
            *listed_words(),
            *"""
    a ab abcd abcdef acak ad add agent ai akia aleatoria algolia all also am amazon an ant anthropic any api
    aplikace app apps are arn as asana asdfgh assistant at atlas atlassian auto aws az azerty azure b baidu ban bang
    bar baz be bedrock bigquery binance bit bitbucket boost bot botfather box braintree brevo broker browserbase bus
    but by byt ca can captcha cas cdn celery cert cette checked chuoi ci circleci claude clerk cli clickhouse cloud
    cloudflare cloudinary cms cname cohere coinbase com coming con connection connectionstring consumer contentful
    copy crm cs csrf cua customer dai dall datadog db de deepl deepseek del dengan der des detected devops did
    digitalocean din discord div dkim dns do docusign donot dop dropbox du dumneavoastra duo e e2e ecr eks ekte el
    elastic elasticsearch en endpoint entra es esto etc etsy eu eur face facebook far fastly fcm fernet figma
    firebase firefly flutterwave for foursquare fqdn ftp gcp gcs gelecek gemini gh gho ghp ghs git gitlab glpat
    gmail go goog google gpg gpt groq gsk har harbor hcaptcha heroku hf hooks hub hubspot hugging huggingface hunter
    i iam ibm id idp imap in ini instagram int internal into io ip is isa isan it its jenkins jira jks job kafka
    kakao keepit keystore klaviyo kms ky la lang langchain langfuse langsmith larga lastfm launchdarkly ldap le let
    line linear linkedin litellm ll llm lm log long longa los losowy lyft ma mac mail mailchimp mailgun mailjet
    mailtrap main mais map mapbox maps mat max me meilisearch mein meta mfa microsoft mig min mindestens minimum
    miniosecret mistral mit mixpanel ml mnie moi mon motherduck mqtt msg my myapi myapp mydb mykey mytoken nahodny
    nasa net netlify new newrelic nexmo ngau ngrok nhien no not nota notion now npm ntn nvidia of off og ok okta old
    ollama on one onesignal openai openassistant openrouter opensearch openweather openweathermap or ordinarily org
    otp our out outgoing pagerduty pandadoc panjang path pay paypal paystack perplexity pg pinecone plaid pls plugin
    por posthog postmark precious pro production proj provider pub publishable pulumi pusher pypi qa qdrant questo
    qwertz rabbit railway razorpay rds re read recaptcha reddit ref region registry replicate repo resend restricted
    rk role rollbar rpc rsa run runtime rzp sa salesforce say sdk se seeding seen segment sendgrid sendinblue sentry
    serpapi services sg shopify should sicura sid sig signup slack slug sms snowflake sns so some sonar soon
    specific spotify sql sqs square ssh ssl sso st stability sterk sterke stmp stringa stripe su sub supabase
    superuser sur swoje t ta tavily teams telegram tenant terraform thay the this thisisa tiktok tls to tobe
    together too turnstile twilio twitch twitter two txt typeform ui um un una unsplash up upstash ur urn use usr ut
    uuid v val valeur vapid vault vendor vercel vertex via voyage vpn wandb weak weather weaviate web who whsec will
    wp www x xai xapp xkeysib xml xoxa xoxb xoxp xyz ya ya29 yandex yang yes yet yml yo you youtube yyy zeichen
    zendesk znaki zoho zoom zzz
            """.split(),
        ],
        0,
    ),
    **dict.fromkeys(
        """
    abc above access account acme admin akey anahtar anon apikey arandom ask auth authtoken bearer bitwarden blank
    cadena camelcase certificate characters chars chave chiave cipher clave cle client code commit contact
    contrasena cookie cred credential credentials creds crypt dashboard dbpass dbuser defined demo demopass dev
    devel development disabled domain dsn email empty encryption env filled fizzbuzz foo foobar geheim geheimer
    generated get gizli guest hash haslo hello hemlig hemliga heslo hex hidden himitsu jwt kennwort key keyboardcat
    keyid keys khau kluc klucz kode kodeord kunci laravel lastpass leave letmein license lipsum local login lorem
    losenord managed master mima missing miyao mot motdepasse needed nonce none noop nothing null nyckel obtain
    onepassword openssl optional owner parola parole parool pasahitza pass passcode passe passord passphrase passwd
    password passwords passwort pat pem pepper phrase pin pk private pwd qwerty rahasia random refresh robodj root
    salasana salt schluessel schlussel secret secreta secretkey secrets see segredo segreta senha session shared
    sifre sifreniz sifresi sign signature signing sk sleutel smtp string studio super supersecret tajne tajny temp
    temporary test tester testing tests text tmp token tokens toor tua tuo uid unset unused uri url used user userid
    username valor value variable wachtwoord webhook welcome wert
    ключ пароль секрет токен キー パスワード 令牌 密码 密钥 秘密 비밀번호
        """.split(),
        1,
    ),
    **dict.fromkeys(
        [
            *PHRASES,
            *"""
    actual aqui asdf autogenerated beispiel bogus buraya cafebabe cambia cambiame cambiar censored change changed
    changeit changeme changethis changez comingsoon deadbeef dein deine deinen ditt dummy ejemplo enter esempio
    example exemple exemplo fake fill fixme generate generateme hackme hardtoguess here hier ici ihr ihre injected
    insecure insert invalid jouw keepitsafe masked mock modified mypassword mysecret nope obfuscated omitted own
    paste placeholder provide provided put real redacted removed remplacer remplacez replace replaced replaceme
    required sample sanitized secrethere set shhh snip specify stub sua supply tbd todo troque tu tuclave tupropia
    tvoj twoj twoje undefined unsafe update valtoztass vase vervang voastra voer votre vuestra vul whatever wijzig
    xyour your youraccount yours youwillneverguess zmen zmien
    ваш здесь ここ 你的 你的密码 你的密钥 您的 您的密码 您的密钥 请修改 请替换
            """.split(),
        ],
        STRONG,
    ),
}
"""Listed words, and how telling each is: 2 for one that only templates have."""

EXAMPLES: Final = frozenset(
    """
    01f64466a8b3e86f 0546dfdf7f054cd2 0d6580cc269cb8be 16a1ed59066e6ce1 188887d297766300 19fa26c82bdcc541
    1c84746fcb793603 22453c18537209fc 29046caa9f097042 398a836468919cb5 42a99a297bc46687 44abb3ae90f29254
    47b00e6f81783cda 47c25be74eea6819 491a2dada905c9ac 57ee4f4b9884f630 595eb577ef33023b 59c73184681a3e41
    6384ecbed5ff26b8 64b7a1c08ac16a8b 741ed10cc765017c 7630a5bba0491dca 797efb586569f544 8119c76033e52a79
    8125c516de25444c 821a23471ececfe1 8574cec0bc28fae1 85df6a0a458d69ce 86b8f56c924cf2e4 90bf6cb1058856db
    97ce4ce6b9406644 97f6e43b4314a5aa 98d7bb34a73acf9d 9d58f2386bc5e2d9 a1ef69fbdc059583 a2ed67e02b8ce045
    a3e7b0a287080b1e af6b5734ed866a85 b1dba8e85ee052b5 bc2b96d967bbb746 bcf573804dcbd43e bec7da02be091c9c
    bf8bfbf6c62533dc c2945bcd936cf1d3 c87e7d0454b975d9 cd5b49fcc80a6e3d d1881361e7a24f2b d51f3960d4d38442
    df912a6347ee21a0 ea8ebb3373f9b718 f1750096e6e1f0da f8c661bbd238e78b fc9f94683b968d58 fcbbe885eff0f466
    """.split()
)
"""Digests of examples in the documentation of vendors and projects. No key is here as text."""
