"""Check whether text may be a key: placeholder, format and strength. Make its fingerprint, which may be shown.

The words, phrases and digests of placeholders are at the end.

Expected false alarms in a million keys, by rule of `placeholder` and `weak` (test_false_alarms.py computes them):

| rule | `token_urlsafe(16)` | `token_hex(16)` | `token_urlsafe(32)` | `token_urlsafe(64)` | `token_hex(64)` |
|---|---|---|---|---|---|
| phrases | 0.009 | 0 | 0.02 | 0.044 | 0 |
| words | 0.0003 | 0 | 0.006 | 0.0000002 | 0 |
| encoded text | 0.14 | 0.14 | 0.00006 | 0.000000001 | 0.000000001 |
| defaults | 0.00000000001 | 0.00000000001 | 0.00000000001 | 0.00000000001 | 0.00000000001 |
| distinct characters | 0.0024 | 0.0002 | 0.00000006 | 0.000000001 | 0.000000001 |
| one case | 0.056 | 0 | 0.0004 | 0.000000001 | 0 |
| runs | 0.00025 | 0.00015 | 0.00000000001 | 0.00000000001 | 0.00000000001 |
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from itertools import compress, count, pairwise
from typing import TYPE_CHECKING, Final, Literal

from robodj_secretguard.secret.frozen import Frozen

if TYPE_CHECKING:
    from robodj_secretguard.secret.sealed import SealedStr

MIN_KEY_BYTES: Final = 16
"""The fewest random bytes of a key: with fewer, it could be guessed from its fingerprint."""
PART: Final = 6
"""No part of a value with this many characters is shown."""
ONE_CASE_FROM: Final = 34
"""A key of this many characters has letters of both cases. A shorter one may have one case with digits between."""
RUN_LENGTH: Final = 4
"""How many neighbours in an alphabet or on a keyboard row make a run."""

MIN_COVERED: Final = 12
"""How many characters the listed words must cover. A word of four counts as three: random text has those most often."""
MIN_SHARE: Final = 4
"""In a long text they must also cover one character in four."""
MIN_TEXT_BYTES: Final = 24
"""Readable encoded text of this many bytes or more is a placeholder, unless it is a key."""
MIN_ASCII_BYTES: Final = MIN_KEY_BYTES
"""Shorter text of this many bytes or more is one if it is printable ASCII. It is too short for an encoded key."""

# Only values with one of these characters are searched: a generated key has none.
_TEMPLATE: Final = r"<[^<>]+>|\$\{[^{}]+\}|\{\{[^{}]+\}\}|%[A-Z_][A-Z0-9_]*%"
_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
LOOKALIKES: Final = str.maketrans("013457@$", "oieastas")
_TO_STANDARD: Final = str.maketrans("-_", "+/")
TO_URL_SAFE: Final = str.maketrans("+/", "-_")
# In the order of their values.
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
BASE64URL_DIGITS: Final = frozenset(_DIGITS)
_SAME_LAST: Final = {2: 16, 3: 4}
"""How many last digits encode the same bytes, by the length of the text modulo 4: 4 or 2 of the bits are unused."""
SEQUENCES: Final = (
    "0123456789abcdef",
    "1234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
)
_RUNS: Final = frozenset(
    line[start : start + RUN_LENGTH]
    for sequence in SEQUENCES
    for line in (sequence, sequence[::-1])
    for start in range(len(line) - RUN_LENGTH + 1)
)


class Fault(Frozen):
    """Why a value is refused.

    Attributes:
        check: `placeholder`, `format` or `weak`: the check that reports it.
        message: the end of a sentence that begins with the name of the variable, such as `is the name of a variable`.
            Constants, declared names and lengths only. If it has six characters of the value, it is not shown.
        fix: one instruction, in which `{}` is the variable or the file. Empty for that of the check.
    """

    check: Literal["placeholder", "format", "weak"]
    message: str
    fix: str = ""


class Kind(Frozen):
    """What may be the value of a secret (policy section 6, "Invalid key format"): one subclass for each kind.

    The kinds of this library are `Material` for keys that its generators make, `Material.key()` for keys of any
    generator, and `Material.opaque()`, `Material.url()`, `Material.pem()` and `Material.json()` for secrets that
    somebody else issues. A service may write its own: a subclass with `fault` and `temporary`, and with its parameters
    as annotated fields. docs/kinds.md has an example.

    Attributes:
        has_fingerprint: whether a fingerprint of the value may be shown. It is the digest of the value, so only for
            values that nobody can guess: 16 random bytes or more. Without one, a value cannot be revoked.
        is_taken_whole: whether a file has the value alone, so that a `#` in it begins no comment.
    """

    has_fingerprint = False
    is_taken_whole = True

    @property
    def generator(self) -> Generator | None:
        """The generator of new values, where the service's owner makes them; `None` where somebody issues them."""
        return None

    # Two kinds with the same parameters have other rules.
    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and super().__eq__(other)

    __ne__ = object.__ne__  # that of a tuple does not ask __eq__

    def __hash__(self) -> int:
        return hash((type(self), *self))

    def fault(self, text: str, variable: str = "") -> Fault | None:
        """Return what is wrong with a value; `None` for a value that may be used.

        Args:
            text: the value.
            variable: the name of its variable, which is a template as a value; empty where it is unknown.

        Raises:
            NotImplementedError: the subclass does not define it.
        """
        raise NotImplementedError

    def temporary(self) -> str:
        """Return a random value that has no fault, for tests and image builds. A generator makes that of `Material`.

        Raises:
            NotImplementedError: the subclass does not define it. Then tests and image builds need a real value.
        """
        raise NotImplementedError

    def usable(self, text: str) -> str:
        """Return what `get_secret_value()` gives: a value as programs need it.

        Args:
            text: a value without a fault.
        """
        return text

    def searched(self, text: str) -> tuple[str, ...]:
        """Return the parts of a valid value that are secret. `scan` searches those of 20 characters or more.

        Args:
            text: a value without a fault.
        """
        return (text,)

    def accepts(self, text: str, variable: str = "") -> bool:
        """Check whether a value may be used. `fault` describes the arguments."""
        return self.fault(text, variable) is None

    def is_template(self, text: str, variable: str = "") -> bool:
        """Check whether a value is a placeholder, and so no secret at all. `fault` describes the arguments."""
        fault = self.fault(text, variable)
        return fault is not None and fault.check == "placeholder"


class Length(Frozen):
    """How many characters a key may have.

    Args:
        minimum: the fewest characters.
        maximum: the most characters; `None` for no upper limit.
    """

    minimum: int
    maximum: int | None = None

    def accepts(self, length: int) -> bool:
        """Check whether a key may have `length` characters."""
        return self.minimum <= length and (self.maximum is None or length <= self.maximum)

    def __str__(self) -> str:
        if self.maximum is None:
            return f"{self.minimum} or more"
        return f"exactly {self.minimum}" if self.maximum == self.minimum else f"{self.minimum} to {self.maximum}"


class Generator(Frozen):
    """An approved generator of the standard library's `secrets` module (policy section 1).

    Args:
        function: the function's name.
        size: how many random bytes it draws.
        prefix: how each of its keys begins; empty for nothing in particular.
    """

    function: Literal["token_urlsafe", "token_hex"]
    size: int
    prefix: str = ""

    @property
    def command(self) -> str:
        """The approved command, which an operator can paste."""
        before = f"'{self.prefix}' + " * bool(self.prefix)
        return f'python -c "import secrets; print({before}secrets.{self.function}({self.size}))"'

    @property
    def characters(self) -> int:
        """The number of characters of its keys."""
        return len(self.prefix) + (self.size * 2 if self.function == "token_hex" else -(-self.size * 4 // 3))


def join_faults(faults: Sequence[str], *, most: int = 1) -> str:
    """Return the first faults, and the number of the others."""
    first, more = faults[:most], len(faults) - most
    return " and ".join(first) if more <= 0 else f"{', '.join(first)}, and {more} more"


def is_hexadecimal(text: str) -> bool:
    """Check whether text has hexadecimal digits only, in any case."""
    return bool(text) and not text.strip("0123456789abcdefABCDEF")


def is_plain_text(text: str) -> bool:
    """Check whether text is printable ASCII, which cannot break or forge a line."""
    return bool(text.strip()) and text.isascii() and text.isprintable()


def canonical(text: str) -> str:
    """Return the canonical form of a key, by which keys are compared.

    Standard base64 becomes base64url without padding, where the unused bits of the last character are zero: decoders
    ignore them. Hexadecimal text is in lower case.
    """
    plain = text.rstrip("=").translate(TO_URL_SAFE) or text
    return plain.lower() if is_hexadecimal(plain) else plain[:-1] + last_characters(plain)[:1]


def last_characters(text: str) -> str:
    """Return every last character with which base64url text is the same key. The canonical one comes first.

    Text without unused bits, such as hexadecimal text, has only its present last character.
    """
    same = _SAME_LAST.get(len(text) % 4, 1)
    value = _DIGITS.find(text[-1:])
    if same == 1 or value < 0 or is_hexadecimal(text):
        return text[-1:]
    first = value - value % same
    return _DIGITS[first : first + same]


def placeholder(text: str) -> str:
    """Return the kind of placeholder that text is (policy section 6); empty for other text.

    Ignore case and separators. Generated keys pass: the docstring of this module has the expected false alarms.
    """
    folded = bare(text)
    if (
        folded in WHOLE_VALUES
        or (bool(folded) and folded == folded[0] * len(folded))
        or (not {"<", "{", "%"}.isdisjoint(text) and re.search(_TEMPLATE, text))
        or has_template_words(text)
    ):
        return "a placeholder, not a key"
    if default_digest(text) in DEFAULTS:
        return "the default key of a well-known project"
    return "readable text in base64 or hexadecimal, not a random key" if is_encoded_text(text) else ""


def bare(text: str) -> str:
    """Return the letters and digits of text, in lower case."""
    return "".join(filter(str.isalnum, text.lower()))


def has_template_words(text: str) -> bool:
    """Check whether text has a listed phrase or enough listed words, also with look-alikes in place of letters."""
    for each in spelled(text):
        starts = _starts(each, _BEGINNINGS)
        if starts and (
            _covered(each, starts) >= max(MIN_COVERED, len(each) // MIN_SHARE)
            or any(phrase in each for phrase in PHRASES)
        ):
            return True
    return False


def spelled(text: str) -> list[str]:
    """Return the letters and digits of text in lower case, also with letters in place of their look-alikes."""
    return [bare(text)] if is_hexadecimal(text) else [bare(text), bare(text.translate(LOOKALIKES))]


def _starts(text: str, fours: frozenset[str]) -> list[int]:
    """Return where one of some texts of four characters begins. Most keys have none, so this runs in C."""
    found = map(fours.__contains__, map("".join, zip(text, text[1:], text[2:], text[3:], strict=False)))
    return [*compress(count(), found)]


def covered_length(folded: str) -> int:
    """Return how many characters of text in lower case, without separators, are of listed words."""
    return _covered(folded, _starts(folded, _BEGINNINGS))


def _covered(folded: str, starts: Iterable[int]) -> int:
    """Return how many characters listed words that do not overlap cover at most."""
    most, ahead = 0, {0: 0}  # covered up to here, and up to the end of each longer word
    for start in starts:
        most = max([most, *(covered for end, covered in ahead.items() if end <= start)])
        ahead = {end: covered for end, covered in ahead.items() if end > start}
        for length in range(MIN_WORD, MAX_WORD + 1):
            if folded[start : start + length] in listed_words():
                end = min(start + length, len(folded))
                ahead[end] = max(ahead.get(end, 0), most + worth(end - start))
    return max([most, *ahead.values()])


@cache
def listed_words() -> frozenset[str]:
    """Return the words of templates, which few starts need."""
    return frozenset(_WORDS.split())


def worth(length: int) -> int:
    """Return how many covered characters a listed word of this length counts for."""
    return length - (length == MIN_WORD)


def default_digest(text: str) -> str:
    """Return the digest that identifies a well-known default."""
    return blake2b(canonical(text.strip()).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def is_encoded_text(text: str) -> bool:
    """Check whether base64 or hexadecimal text decodes to a placeholder or to other readable text."""
    data = decoded(text.strip())
    size = len(data)
    for mark in _BYTE_ORDER_MARKS:
        data = data.removeprefix(mark)
    # UTF-16 and UTF-32 have zeros between. A byte that is not UTF-8 becomes a surrogate, which is not printable.
    shown = data.replace(b"\0", b"").decode(errors="surrogateescape").strip()
    if not shown or not all(each.isprintable() or each.isspace() for each in shown):
        return False
    if placeholder(shown):
        return True
    is_no_key = bool(shown.strip(f"{_DIGITS}+/=")) or _is_of_runs(shown.lower())
    if size < MIN_TEXT_BYTES:
        is_ascii = size >= MIN_ASCII_BYTES and data.isascii()
        is_no_key = is_ascii and data.removesuffix(b"\n").decode().isprintable()
    return is_no_key and weakness(text) is None


def _counts(data: bytes) -> bool:
    """Check whether each byte differs from the one before by the same number."""
    if len(data) < MIN_ASCII_BYTES:
        return False
    step = (data[1] - data[0]) % 256
    return all((later - earlier) % 256 == step for earlier, later in pairwise(data))


def decoded(text: str) -> bytes:
    """Return the bytes of hexadecimal or base64 text; nothing for other text."""
    try:
        if is_hexadecimal(text):
            return bytes.fromhex(text)
        core = text.rstrip("=").translate(_TO_STANDARD)
        return a2b_base64(core + "=" * (-len(core) % 4), strict_mode=True)
    except ValueError:
        return b""


def is_well_formed(text: str, base64url: Length, hexadecimal: Length) -> bool:
    """Check whether a key has the alphabet and the length that its format needs (policy section 6)."""
    needed = hexadecimal if is_hexadecimal(text) else base64url
    return BASE64URL_DIGITS.issuperset(text) and needed.accepts(len(text))


def fewest_distinct(length: int, *, hexadecimal: bool) -> int:
    """Return how many distinct characters a key of this length must have: 16, of hexadecimal digits 10.

    A key of 16 bytes has fewer than 10, or of hexadecimal digits 7, in one of a hundred million cases.
    """
    return min(10, length // 8 + 3) if hexadecimal else min(16, length // 2 - 1)


def weakness(text: str) -> str | None:
    """Return why a well-formed key is clearly not random; `None` for other keys.

    Generated keys pass: the docstring of this module has the expected false alarms.
    """
    hexadecimal = is_hexadecimal(text)
    folded = text.lower()
    pattern = pattern_in(folded if hexadecimal else text, fewest_distinct(len(text), hexadecimal=hexadecimal))
    if pattern is None and not hexadecimal and text in {folded, text.upper()}:
        # A short key has letters of one case by chance.
        others = len(text) - sum(map(str.isalpha, text))
        if len(text) >= ONE_CASE_FROM or others <= (len(text) - 20) // 2:
            return "letters of one case only"
    return pattern


def pattern_in(text: str, fewest: int) -> str | None:
    """Return which pattern a key has that random text of any alphabet has not; `None` for none.

    `fewest` is how many distinct characters the key must have.
    """
    if len(set(text)) < fewest:
        return f"fewer than {fewest} distinct characters"
    if _repeats_one_block(text):
        return "one block that is repeated"
    if _counts(decoded(text)):
        return "bytes that count up or down"
    return "alphabet or keyboard runs in half of it" if _is_of_runs(text.lower()) else None


def _is_of_runs(folded: str) -> bool:
    """Check whether runs of neighbours cover half of a text or more."""
    return len({start + step for start in _starts(folded, _RUNS) for step in range(RUN_LENGTH)}) * 2 >= len(folded)


def _repeats_one_block(text: str) -> bool:
    """Check whether text has a period of at most half its length, in linear time: a variable may have 128 KiB."""
    # The shortest such period is where the first half occurs again for the first time. If it occurred earlier, the
    # block itself would be a repetition.
    period = text.find(text[: len(text) - len(text) // 2], 1)
    return period > 0 and text.startswith(text[period:])


PREFIX: Final = "sgfp1:"
FORM: Final = f"{PREFIX} and 32 hexadecimal digits in lower case"
FINGERPRINT: Final = f"^{PREFIX}[0-9a-f]{{32}}$"
"""The regular expression of a fingerprint, for JSON Schema."""


def is_fingerprint(text: str) -> bool:
    """Check whether text is a fingerprint in the format of this library."""
    digits = text[len(PREFIX) :]
    return text.startswith(PREFIX) and len(digits) == 2 * 16 and not digits.strip("0123456789abcdef")


def fingerprint(key: SealedStr) -> str:
    """Return the fingerprint of a key that passed the format and strength rules.

    Equal keys have equal fingerprints, also as different secrets. The case of a hexadecimal key, and the alphabet, the
    padding and the unused bits of a base64 key make no difference. Publish the fingerprints of generated keys only: a
    passphrase could be guessed from its fingerprint.
    """
    return PREFIX + digest(canonical(key.get_secret_value()).encode("utf-8", "surrogatepass")).hex()


def digest(text: bytes) -> bytes:
    """Return the digest in a fingerprint: BLAKE2b-128, personalised for this library."""
    return blake2b(text, digest_size=16, person=b"robodj-sgfp1").digest()


MIN_WORD: Final = 4
MAX_WORD: Final = 17
"""How many characters a listed word has."""

PHRASES: Final = tuple(
    """
    changebefore changeit changeme changethis donotshare donotuse dontuse enteryour example forlocal fortesting
    generateme generatewith insecure inserthere insertyour keygoeshere localdev mysecret notasecret notsecure
    pastehere pastekey pasteyour placeholder pleasechange pleasereplace replaceme replacethis replacewith secretgoes
    secretkey supersecret testonly tokenhex tokenurlsafe undefined xxxxxxxx yourjwt yourkey yourpass yoursecret
    yourtoken
    """.split()
)
"""A value that contains one of them is a placeholder. Case and separators are ignored."""

WHOLE_VALUES: Final = frozenset(
    """
    12345678 123456789 1234567890 admin adminadmin changeit default dummy guest hackme letmein minioadmin nil none null
    password password1 password123 postgres qwerty root secret tbd test todo
    """.split()
)
"""A value that is exactly one of them is a placeholder. No other rule finds the usual passwords of a vendor."""

_WORDS: Final = """
    able about acak access account actual adipiscing admin aendern after again aici aleatoire aleatoria aleatorio
    algorithm almeno alphanumeric already alter alterar altere always amend amet anahtar anahtari anata anda andern
    another antes antesde anything apache apikey aplicatiei aplikacji application aqui asdf assignment auth
    authentication authorization avain avant avantdemettre avec backend banking baomat bara bardzo base baseball basic
    bearer before being beispiel belong below benim best between bezpieczny bimat bimil bimilbeonho bimilkeyreul bits
    bitte blog booking boot bootcamp brown build buraya buyao byte bytes bytut cambia cambiala cambiame cambiami cambiar
    cambiare cambiarla cambie canli caracteres caratteri cargar casuale cette chaine chance change changed changer
    changez changing char character characters charles chars chat chave cheie chiave chuoi ciag cipher clave claves clef
    clesecrete client clinic cluster code college colocar coloque como company complex complexe compliance compose
    confidential confidentiel config configuration consectetur container contrasena contrasenia cookie corporate correct
    count course create created cryptographic cryptographically csereld cuaban cuatoi custom cypher daemon dashboard
    data database dayla decrypt default define degeri degistir degistirin dein deine demo dengan deploy deployed
    deploying deployment desarrollo desenvolvimento detta develop developer development developpement devices dian
    dichoduan dickens diese dieser different difficile difficult digest digital django dlinny dlugi docker docs dolor
    done dont dopo dragon driftsattning dugacak dummy durch ecommerce edit edoto egen eigen eigenen eigener eigenes eine
    einer einfuegen eintragen ejemplo elit empty encode encoded encoding encrypt encrypted encryption ending ennen
    enough enter enterprise entorno entropy entwicklung environment ersetze ersetzen esempio esta este every everything
    exemple expected expires express extra extremely fake fallback file fill final finally finance first flask follow
    football fore forgot fort forta forte from frontend fuerte fully gaat ganti gantilah gateway geaendert geheim
    geheime geheimer geheimes geheimnis geheimnisvoll generar generate generated generating generation generator gengai
    geslo github given gizli goes golang good grafana guards guclu guess guvenli guvenlik hack hackathon hardcoded harus
    hash haslo have health healthcare hello hemlig hemlighet hemligt hemmelig henkou here heslo hexadecimal hidden hier
    high himitsu himitsunokagi hmac homework horse hospital hosszu host hotel http https ideally iets ihre ihren
    immediately important inainte initial insecure inserire inserisci insert insira instance instead integration
    interview into inventory invullen ipryeok ipsum isikan issuer izmeni izmenite java javascript jelszo jeton jibun
    joshua json julkaisua jumps just kagi kankyou karakter keep kesinlikle keycloak keys khoa khoabimat khongduoc kleidi
    klic kljuc kluch klucz klyuch koko kubernetes kulcs kullanmayin kullanmayiniz kunci laita lange langes lansarea
    laravel larga large largo lazy least length lengthy lesson letters level library ligne like live livegang llave
    local localhost login lokal long longer longue lorem losenord losowa losowe losowy lozinka lunga lutfen make
    management manager manh market marketplace masked master masukkan matkhau maubimat maximum meantime medical mein
    meine menos message mets metti mettre microservice middleware mima mimi mindestens minha minimal minimo minimum
    minio minuscule mise missing mistiko miyao mock modify module moeilijk molto mongo mongodb monkey more most
    motdepasse movie movies much mude muito music must mustang mysql naar nagyon nahrad name nasazenim need needs nest
    nestjs never next nextauth ngau ngaunhien nhap nicht nide node noegle nokkel nonprod note nothing nube nuestra
    number numbers nyckel oauth obtain ochen official olmali only open openssl options order orders organisation
    organization ortamda other otherwise ovdje over override panjang para parol parola parool pass passphrase passport
    password passwort paste payload payment payments pered personal phoenix phrase placeholder placer platform
    playground please policy pomenyai pomenyat ponaqui poner portal postgres pour pred preencha preencher prefer
    prilozheniya prima prisma private probably prod producao produccion product productie production produkcja produkcji
    produktion produzione program project projeto promeni promijeni promijeniti properly propia propre proprio protected
    provide provided proxy proyecto prueba przed public pune purpose purposes puternica python qing qingxiugai quick
    quite rabbitmq rahasia rahasiakan rails raktas rand random randomly rastgele ratmanh react real really recipe
    recipes recommended redacted redis reemplaza reemplazar refresh release rellenar remember remove remplacer remplacez
    remplir renseigner repeat replace replaced request required requires reset right rotate running rust safe safely
    sajat salainen salaisuus salasana salt same sample sanctum sandbox sandi sangat satt satunnainen schema schimba
    schluessel schlussel school secret secreta secretas secrete secretissime secretkey secreto secrets secure secured
    securely security seed segredo segreta segreto segura seguridad seguro sehr sehrgeheim sekret sekretnaya sekretniy
    sekretny sekretnyi sekretnyj sekretnyklyuch senha separate server serveur service sesion session setting settings
    setup seusua shadow shared shengchan shop should showcase shuru sicher sicherer sicheres sicura sicuro siempre sifre
    sifreleme sign signature signed signing silna silny simple sistema site size skrivnost slapukas sleutel slumpmassig
    smenite smoke social some something sostituire sostituisci special spring sqlite stage staging staple stark starke
    startup state sterk sterke storage store strict string stroka strong stronger student students subir suficientemente
    suiji super supersecret superset supply sure survive svoy svuj swoj symfony symmetric system tajemnica tajna tajne
    tajny tajnyklic task tasks team temp template temporary tener test teste tester testing tests text than that thay
    thaydoi their them then there these thesis thing this tianxie tiene tihuan tijiao time times titkos titkoskulcs todo
    token tokens topsecret tracker travel tree tres troque tuachiave tuclave tuotantoon tupropia tutaj tutorial
    typescript ubah under unique unit university unknown unsafe until untuk update uretim uruchomieniem usar used user
    username using utilizar utveckling uzun vahva vaihda vale valid validation value values variable variables verander
    veranderen verification verify vervang very vlozte voorbeeld voordat vostra votre vstavte vulhier wachtwoord want
    webhook website werden wert what when where which wijzig wiki will willekeurig willekeurige willekeurigs with
    without wlasna wlasne wlasnego wlasny word wordpress words workshop world worst wort would write wstaw xiugai year
    yeogie your yours yourself zameni zamenite zapuskom zeichen zheli zifu zmente zmien znaka znaki znakow znaku
    zufaellig zufall zufallig
    """
"""Words of four letters or more that templates use, in several languages. None is hexadecimal throughout."""

DEFAULTS: Final = """
    015113affdc4d601 03484277781ce857 0393c022b5bc493c 045455d22d70734b 0ddd68ed20f8a394 0e8cef8f7e3f79f1
    0f8c2c946a21370c 10deac3c8fcb37dc 1107c83d1e0e1c9c 16ba242b5281d5d7 17a198a90ab4d103 1912782189fdb428
    1c4ab89351733116 2087208daa213a55 27029c10a6fd2548 2988ff4cffbfe663 29dee5ebb48ea80e 29e331e1e6c2643e
    2b89d5dd4ec0d5fa 2e12236193731ba6 2f517a190db5ab9c 324c1eb557655bbb 32de185fdf4b9fd0 3defe99e79cda03d
    3e573b7ebddeb43b 401952d83030adc9 43b2b4bdd8486ffc 44518888bb3e7805 45497980cbc8aff1 457e5086b0e198ab
    45d1297cd77558ef 46053b5c4bb2c765 4928738dcc21bd03 49fdc8f0d8f2b38c 4c27b49427574075 554af14f6574486e
    5a5aec841fdf57b1 5b7d2d4b3705f22b 5c31388e3fec4a8e 5ca086412e152ec2 5dc4631e1ace0cd4 5e0a041e30d17498
    612a75b0ae9780a1 62dbd4bcc9027eec 6480a4d7231358ae 6673c5d144c143cb 67e3df880ba9dae2 686458b8c5eb435d
    697aac5ac6006b4d 6ee28bf9ab78705a 783ea7c0455d3215 7afe8d1ef7285d5a 7b4ac6e6de741b5f 7e0dde389b13e0ed
    7e82944ccfbbeaaa 7e9c02aa657e52c6 7ec0032f5285044a 7ee0a11ef2115f59 826e0fd9a88ef5e1 86335bbf499ae97d
    86b12bc64c4c3450 86c8c06340f99d3d 87eed626377e06cc 87f044e250308268 88810f735429c493 8a4befa611e2ccb0
    8bdc9dfff70587e3 8e0c646fc40e66d6 922163feb2b52010 943423239c9f6503 954fde1f35484da8 99b2c69dc247a971
    9b2215c6b7c47171 9b461e038c11bd61 9dd08fbad5fd61df a26a66f849852722 a286e774fcd11862 a6ef8039618ace69
    a7d2b421bc1577eb a94ff8cf43c91c5e ab20e919541fb0ce ab40bc02879aff12 ab87e86a5c271f96 acfd89e09a49c88e
    ae6189ef599d4f60 af3bd1b15f38191c b0050912ad04e634 b0706775ce310c13 b2300e77881c1cc1 b60aa01f1cde740b
    b9a8ee558db7cc4c ba5dd5ece8af34e7 bb4c3413f8d3f2e3 bc1a391a3d1e4af6 bc80ed55f3789add bcfcacb764167eee
    c006eb4284f1825b c107f8fbfdab7096 c42e494b35980d7e c50b7e0a3ef2ba45 cb57c4cb055d1fb1 cbe80691ee42aea9
    cc2c85d1c6435529 cdbb6ddb86a36511 cf84d97cb208844d d40a8e18a93fb787 d492a5299042f444 db73c83cbe63d9a9
    db7f521f90ce333d dc66e7a6ad676217 de254a63a49e2904 dea9e5b2c527aaea ded049a971427def dfaf944c1677f79a
    e058364a6ed69968 e220784b2b640781 e3167e4a89667ae1 e6035ff6f44894f5 ea202226d1aa2149 ea3c172976ee8bc2
    eae39a74f35d4a1c ebacd0ca6cfecb0c ebd5774729875d91 ec0c1f5269f52b6c ec2099d37755607f ed35482ccc0106a1
    ef154e17ae5193b5 f21cf78f64acbf2c f30ce38dba2c0245 f31ea26d96a22bf0 f4ae1bd54e511725 f6c44bc15ea20d37
    fc123220c58d5e25 fd79b7c9cc5ccbfe fe921dd866498831 fefc068505916602
    """
"""Digests of the default keys of well-known projects, and of the hashes of some words. No key is here as text."""

# Written out, since each start needs it, and to derive it would take longer than a call of `guard()`.
_BEGINNINGS: Final = frozenset(
    """
    able abou acak acce acco actu adip admi aend afte agai aici alea algo alme alph alre alte alwa amen amet anah anat
    anda ande anot ante anyt apac apik apli appl aqui asdf assi auth avai avan avec back bank baom bara bard base basi
    bear befo bein beis belo beni best betw bezp bima bimi bits bitt blog book boot brow buil bura buya byte bytu camb
    canl cara carg casu cett chai chan char chat chav chei chia chuo ciag ciph clav clef cles clie clin clus code coll
    colo como comp conf cons cont cook corp corr coun cour crea cryp cser cuab cuat cust cyph daem dash data dayl decr
    defa defi dege degi dein demo deng depl desa dese dett deve devi dian dich dick dies diff dige digi djan dlin dlug
    dock docs dolo done dono dont dopo drag drif duga dumm durc ecom edit edot egen eige eine einf eint ejem elit empt
    enco encr endi enne enou ente ento entr entw envi erse esem esta este ever exam exem expe expi expr extr fake fall
    file fill fina firs flas foll foot fore forg forl fort from fron fuer full gaat gant gate geae gehe gene geng gesl
    gith give gizl goes gola good graf guar gucl gues guve hack hard haru hash hasl have heal hell heml hemm henk here
    hesl hexa hidd hier high himi hmac home hors hosp hoss host hote http idea iets ihre imme impo inai init inse insi
    inst inte into inve invu ipry ipsu isik issu izme java jels jeto jibu josh json julk jump just kagi kank kara keep
    kesi keyc keyg keys khoa khon klei klic klju kluc klyu koko kube kulc kull kunc lait lang lans lara larg lazy leas
    leng less lett leve libr lign like live llav loca logi loka long lore lose loso lozi lung lutf make mana manh mark
    mask mast masu matk maub maxi mean medi mein meno mess mets mett micr midd mima mimi mind minh mini minu mise miss
    mist miya mock modi modu moei molt mong monk more most motd movi much mude muit musi must myse mysq naar nagy nahr
    name nasa need nest neve next ngau nhap nich nide node noeg nokk nonp nota note noth nots nube nues numb nyck oaut
    obta oche offi olma only open opti orde orga orta othe ovdj over panj para paro pass past payl paym pere pers phoe
    phra plac plat play plea poli pome pona pone port post pour pred pree pref pril prim pris priv prob prod prog proj
    prom prop prot prov prox proy prue prze publ pune purp pute pyth qing quic quit rabb raha rail rakt rand rast ratm
    reac real reci reco reda redi reem refr rele rell reme remo remp rens repe repl requ rese righ rota runn rust safe
    saja sala salt same samp sanc sand sang satt satu sche schi schl scho secr secu seed segr segu sehr sekr senh sepa
    serv sesi sess sett setu seus shad shar shen shop shou show shur sich sicu siem sifr sign siln simp sist site size
    skri slap sleu slum smen smok soci some sost spec spri sqli stag stap star stat ster stor stri stro stud subi sufi
    suij supe supp sure surv svoy svuj swoj symf symm syst taje tajn task team temp tene test text than that thay thei
    them then ther thes thin this tian tien tihu tiji time titk todo toke tops trac trav tree tres troq tuac tucl tuot
    tupr tuta tuto type ubah unde uniq unit univ unkn unsa unti untu upda uret uruc usar used user usin util utve uzun
    vahv vaih vale vali valu vari vera veri verv very vloz voor vost votr vsta vulh wach want webh webs werd wert what
    when wher whic wijz wiki will with wlas word work worl wors wort woul writ wsta xiug xxxx year yeog your zame zapu
    zeic zhel zifu zmen zmie znak zufa
    """.split()
)
"""The first four letters of each word and phrase."""
