"""Recognize a template: text in place of a secret.

Only the whole value is judged, never a word that happens to be in it: a passphrase may have any words. The words that
templates use, and how telling each of them is, are in `words.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote

from robodj_secretguard.secret.material import (
    DEFAULTS,
    LOOKALIKES,
    MAX_WORD,
    SEQUENCES,
    WHOLE_VALUES,
    bare,
    decoded,
    default_digest,
    is_hexadecimal,
)
from robodj_secretguard.secret.words import (
    COMMON,
    ENDINGS,
    ERRORS,
    EXAMPLES,
    NOUNS,
    ORDINARY,
    PAIRS,
    REFERENCES,
    ROOTS,
    STEMS,
    STRONG,
    VENDORS,
    WORTH,
)

LONGEST: Final = 512
"""Longer text is judged by its beginning, and by whether it is repeated: the time for words grows with the length."""
LEAST: Final = 8
"""The fewest characters of a run, a sequence or a name without a listed word. Shorter ones occur in random text."""
MOST_WORDS: Final = 24
"""How many words and numbers a template has at most. Random text has more of them, and each one takes time."""
MOST_UNLISTED: Final = 4
"""How many unlisted words a template with a strong word has at most. A passphrase has more words."""
USUAL: Final = 0.6
"""The share of usual neighbours from which letters may be a word. In random letters it is 0.27, in words 0.89."""
MOST_WITH_NOUN: Final = 3
"""How many words a template with the noun of its variable has at most, where one is not listed."""
LONGEST_WORD: Final = 14
"""The most letters of an unlisted word, or of two that are glued."""
MIN_GLUED: Final = 3
"""The fewest letters of a telling word that is glued to others; another one has more. A shorter word tells nothing."""

PLACEHOLDER: Final = "is a placeholder"
NAME: Final = "is the name of a variable"

_EDGE: Final = " \t\r\n\"'`"
_NOT_JUDGED: Final = str.maketrans("", "", " _-.:/|,\\")
_BRACKETS: Final = frozenset(("<>", "[]", "{}", "()", "%%", "@@", "##", "||", "**", "::", "!!", "__", "~~"))
_VARIABLE: Final = (
    r"\$\{[\w.]+([:?+=|-].*)?\}|\$\([\w.-]+( .*)?\)|#\{[\w.]+\}#?|%(\(\w+\))?s"
    r"|\$?\{\{.*\}\}|\(\(.*\)\)|\[\[.*\]\]|<%.*%>|\{%.*%\}|<[^<>]* [^<>]*>"
    r"|\w+://.*(<|\$\{|\{\{).*"  # a URL has no such characters
    r"|<[A-Za-z]{3,}([ _.:-]?[A-Za-z]{2,})*[ _.:-]?[0-9]{0,4}>"
    r"|<[A-Za-z][A-Za-z _.:-]+>|([\w ;:/.=-]+;)?\w{3,}=<[A-Za-z][A-Za-z _.:-]+>(;.*)?"  # also in a connection string
    r"|\[object \w+\]|SecretStr\(.*\)|b'.*'"  # what a program wrote in place of the value
)
"""Variables of shells and template languages. A generated password has their characters too, but not in this order."""
_RELATIVE: Final = r"(~|\.{1,2})(/[a-z._-][a-z0-9._-]*)+|[A-Za-z]:[/\\][A-Za-z._ -]+([/\\][\w. -]+)+"
_MARKS: Final = ("...", "***", "\u2026", "\u2022")
_NO_MARKS: Final = str.maketrans("", "", "._-*\u2026\u2022")
_MASKED: Final = r"(?<![A-Za-z0-9])[xX]{5,}(?![A-Za-z0-9])|[xX]{6}"
_ORDERED: Final = tuple((each * 4)[::step] for each in (*SEQUENCES, "0123456789", "abcdef") for step in (1, -1))
_LETTERS: Final = str.maketrans("\u0142\u0111\u00f8\u0131\u00e6\u0141\u0110\u00d8\u0130\u00c6", "ldoiaLDOIA", "") | {
    0xDF: "ss"
}
"""Letters without a decomposition: those of Polish, Vietnamese, Danish, Turkish and German."""
_FORM_OF_WORD: Final = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+"
_SHORT_WORD: Final = r"(?<![^\W_])[^\W\d_]{1,2}(?![^\W_])"
_RUNS_OF_ONE: Final = r"(?:(.)\1{2,}(?!\1))+"
_NUMBER: Final = r"[0-9]{1,3}|(19|20)[0-9]{2}|([0-9])\2*"
_MAY_BE_FILLED: Final = r"(?i)[<>\[\]{}$%]|^your|^x+$|change.?me|replace|placeholder|dummy"
_LOGIN_OF_URL: Final = r"[a-z][a-z0-9+.:-]*://(?P<user>[^:/@\s]*):(?P<password>[^@/\s]*)@"
_BEFORE_PARAMETERS: Final = r"^[a-z][a-z0-9+.:-]*://[^?;]*[?;]?"
_PASSWORD: Final = r"(password|passwd|pwd|sharedaccesskey|accountkey|secret)\Z"  # noqa: S105 - names
_OF_LOGIN: Final = (
    r"(?i)(server|host|hostname|data source|endpoint|accountname|user( ?id|name)?|uid|driver|database|dbname)\Z"
)


def template(text: str, variable: str = "") -> str:
    """Return which template a text is as a whole, as the end of a sentence; empty for other text.

    Args:
        text: the text.
        variable: the name of its variable; empty where it is unknown.
    """
    core = text.strip(_EDGE)
    if message := _plain_template(core, variable):
        return message
    data = decoded(core) if len(core) <= LONGEST else b""
    shown = data.decode(errors="surrogateescape").strip()  # a byte that is not UTF-8 is not printable then
    if len(shown) >= LEAST and shown.isprintable() and _plain_template(shown, variable):
        return f"{PLACEHOLDER} in {'hexadecimal' if is_hexadecimal(core) else 'base64'}"
    return ""


def _plain_template(text: str, variable: str) -> str:
    """Return which template a text is, apart from encoded text."""
    return next(filter(None, _templates(text, variable)), "") if text else ""


def _templates(text: str, variable: str) -> Iterator[str]:
    """Yield the message of each template that a text is. The words come last: they cost most."""
    if begin := _reference(text[:LONGEST]):
        yield f"is a reference that nobody resolved ({begin})"
    if _is_repeated(text):
        yield PLACEHOLDER
    if len(text) > LONGEST:
        return
    if _is_bracketed(text):
        yield "is a shell variable that nobody replaced" if text[0] in "$%" else PLACEHOLDER
    if variable and bare(text) == bare(variable):
        yield NAME
    if _is_path(text):
        yield "is a path, not the content of the file"
    yield from _published(text)
    if " " in text and re.search(ERRORS, text.lower()):
        yield "is the text of an error"
    yield from _templates_of_login(text, variable)
    if message := _template_of_words(text, variable):
        yield message


def _reference(text: str) -> str:
    """Return how a reference to a secret in a manager begins; empty for other text."""
    lower = text.lower()
    for begin in REFERENCES:
        if lower.startswith(begin.lower()) and (begin != "projects/" or "/secrets/" in lower):
            return begin
    return ""


def _published(text: str) -> Iterator[str]:
    """Yield where a value is published that looks like a real one."""
    digest = default_digest(text)
    if digest in EXAMPLES or text.endswith(("EXAMPLE", "EXAMPLEKEY")):
        yield "is a well-known example of a vendor"
    if digest in DEFAULTS:
        yield "is the default key of a well-known project"
    if text.startswith("django-insecure-"):
        yield "is a key that django-admin startproject wrote"


def _template_of_words(text: str, variable: str) -> str:
    is_filled = _is_cut(text) or _is_ordered(text) or _is_of_words(text, variable)
    if _is_name(text):
        is_clear = is_filled and any(_telling(each) >= STRONG for each in split_words(text))
        return PLACEHOLDER if is_clear else NAME
    return PLACEHOLDER if is_filled else ""


def split_words(text: str) -> list[str]:
    """Return the words and the numbers of a text, in lower case and without accents. A capital begins a word."""
    plain = "".join(each for each in normalize("NFKD", text).translate(_LETTERS) if each.isascii() or each.isalnum())
    return [each.lower() for each in re.findall(_FORM_OF_WORD, plain)]


def _is_repeated(text: str) -> bool:
    """Check whether a text is one character or one block that is repeated."""
    folded = bare(text)
    judged = folded if len(folded) * 2 >= len(text) and len(folded) * 2 >= LEAST else text
    period = (judged + judged).find(judged, 1)
    is_block = period == 1 or len(judged) >= max(3 * period, period + LEAST - 2)
    return is_block or (len(judged) >= LEAST and re.fullmatch(_RUNS_OF_ONE, judged) is not None)


def _is_path(text: str) -> bool:
    """Check whether a text is the path of a file: below a known root, relative, or with the ending of a key file."""
    if text.startswith(ROOTS) or text.lower().endswith(ENDINGS):
        plain = text.translate(_NOT_JUDGED).lstrip("~")
        if plain.isalnum():
            return True
    return re.fullmatch(_RELATIVE, text) is not None


def _is_bracketed(text: str) -> bool:
    """Check whether a text is a variable of a shell or of a template language, or words in brackets."""
    if re.fullmatch(_VARIABLE, text):
        return True
    if text[0] != "$" and text[0] + text[-1] not in _BRACKETS:
        return False
    inner = text.strip("<>[]{}()%@#*|:!_~$ ")
    plain = inner.translate(_NOT_JUDGED)
    if len(inner) >= LEAST and inner in {inner.lower(), inner.upper()} and plain.isalpha():
        return True
    are_listed = all(_is_number(each) or _telling(each) >= 0 for each in split_words(inner))
    return are_listed and plain.isalnum() and not plain.isdigit()


def _is_name(text: str) -> bool:
    """Check whether a text is a name in capitals with an underscore, with two of: long, only letters, a listed word."""
    words = text.strip("_").split("_")
    if text != text.upper() or words == [text] or not all(each.isalnum() and each.isascii() for each in words):
        return False
    is_listed = any(len(each) >= MIN_GLUED and _telling(each.lower()) >= 0 for each in words)
    return [len(text) >= 2 * LEAST, "".join(words).isalpha(), is_listed].count(True) > 1


def _is_cut(text: str) -> bool:
    """Check whether a mark, a run of x or another repeated character is in place of the rest, or in the middle."""
    if text.startswith(_MARKS) or text.endswith(_MARKS):
        return True
    if len(text) >= 2 * LEAST - 2 and any(map(text.__contains__, _MARKS)):
        rest = text.translate(_NO_MARKS)
        if not rest or rest.isalnum():
            return True
    if re.search(_MASKED, text):
        return True
    run = re.search(r"(.)\1{7,}", bare(text))
    return run is not None and len(run[0]) * 2 >= len(text)


def _is_ordered(text: str) -> bool:
    """Check whether the parts of a text, or its letters and its digits, are in the order of an alphabet."""
    tokens = split_words(text)
    folded = bare(text)
    rest = tokens
    while rest and len(rest[0]) < LEAST - 2:  # a prefix
        rest = rest[1:]
    if len("".join(rest)) >= LEAST and all(len(each) >= LEAST - 2 and _is_sequence(each) for each in rest):
        return True
    if len(folded) < LEAST:
        return False
    letters = "".join(filter(str.isalpha, folded))
    digits = "".join(filter(str.isdigit, folded))
    if _is_sequence(letters) and _is_sequence(digits):
        return True
    if all(len(each) >= MIN_GLUED for each in tokens):
        return all(map(_is_sequence, tokens))
    return _is_sequence(text)


def _is_sequence(text: str) -> bool:
    return any(text in line for line in _ORDERED)


def _is_of_words(text: str, variable: str) -> bool:
    """Check whether a text is of listed words with a telling one among them, also glued or with look-alikes."""
    plain = text.translate(_NOT_JUDGED).lower()
    if plain in WHOLE_VALUES or plain in COMMON:
        return True
    if not text.isascii() and any(map(text.lower().__contains__, STEMS)):
        return True
    own = [*split_words(variable), *re.findall(_SHORT_WORD, text.lower())]
    if plain.isalpha() and _are_template([plain], own):
        return True
    return _are_template(split_words(text), own) or any(_are_template(each, own) for each in _alike(text, plain))


def _alike(text: str, plain: str) -> Iterator[list[str]]:
    """Yield the words of a text with look-alikes in place of letters, also without its number at the end."""
    if sum(map(str.isalpha, text)) * 2 < len(plain):
        return
    for each in (text, re.sub(r"(?<![0-9])[0-9]{0,4}[^a-zA-Z0-9]*\Z", "", text)):
        words = split_words(each.translate(LOOKALIKES))
        # Random text with look-alikes has short words.
        if any(len(word) > LEAST // 2 and word in WORTH for word in words):
            yield words


def _are_template(tokens: list[str], own: list[str]) -> bool:
    """Check whether the words of a text make a template. Those of its variable, and short ones, are `own`."""
    if not tokens or len(tokens) > MOST_WORDS:
        return False
    worths = [_weight(token, own) for token in tokens]
    unlisted = [token for token, worth in zip(tokens, worths, strict=True) if worth < 0]
    if _are_short(tokens, told=sum(worths) + len(unlisted)):  # random text has short words between digits
        return False
    if not unlisted:
        return sum(worths) > 0 or _is_one_word(tokens)
    return _are_clear(tokens, worths, unlisted) or _have_noun(tokens, unlisted)


def _weight(token: str, own: list[str]) -> int:
    """Return how telling a word is; -1 for one that is neither listed nor of `own`, and no number."""
    worth = _telling(token)
    return 0 if worth < 0 and (token in own or _is_number(token)) else worth


def _are_short(tokens: list[str], *, told: int) -> bool:
    """Check whether the long words are too short, or less than half of a text."""
    whole = len("".join(tokens))
    length = sum(len(token) for token in tokens if _is_long_word(token))
    return length * 2 < whole or (length < LEAST // 2 and told * 2 < whole)


def _is_one_word(tokens: list[str]) -> bool:
    """Check whether a text is one listed word of six letters or more, with numbers."""
    letters = [token for token in tokens if not token.isdigit()]
    return len(letters) == 1 and len(letters[0]) >= LEAST - 2 and letters[0] in WORTH


def _are_clear(tokens: list[str], worths: list[int], unlisted: list[str]) -> bool:
    """Check whether words with unlisted ones among them are a template, because of a word that only templates have."""
    if max(worths) < STRONG or not all(map(_is_plain, tokens)):
        return False
    told = sum(worth for worth in worths if worth > 0)
    if len(unlisted) <= told - STRONG:
        return True
    strong = {token for token in tokens if len(token) > MIN_GLUED and WORTH.get(token) == STRONG}
    is_sure = bool(strong - ORDINARY) or not strong.isdisjoint((tokens[0], tokens[-1]))
    return is_sure and len(unlisted) <= MOST_UNLISTED and all(map(reads_like_word, unlisted))


def _have_noun(tokens: list[str], unlisted: list[str]) -> bool:
    """Check whether words begin or end with the noun of a variable, as `archivebox-password` does."""
    words = [token for token in tokens if not token.isdigit()]
    if len(words) == 1:
        return any(_is_glued(words[0], noun) for noun in NOUNS if len(noun) > MIN_GLUED)
    has_noun = len(words) <= MOST_WITH_NOUN and not NOUNS.isdisjoint((words[0], words[-1]))
    return has_noun and all(map(reads_like_word, unlisted))


def _is_glued(token: str, noun: str) -> bool:
    rest = token.removesuffix(noun) if token.endswith(noun) else token.removeprefix(noun)
    rest = rest if rest == token else rest.removeprefix("my")
    return rest != token and reads_like_word(rest)


def reads_like_word(token: str) -> bool:
    """Check whether letters are neighbours as in a word."""
    return MIN_GLUED <= len(token) <= LONGEST_WORD and share_of_pairs([token]) >= USUAL


def share_of_pairs(tokens: Iterable[str]) -> float:
    """Return how many of the neighbours in some words are usual ones, from 0 to 1."""
    pairs = [token[at : at + 2] for token in tokens for at in range(len(token) - 1)]
    return sum(pair in PAIRS for pair in pairs) / max(1, len(pairs))


def is_of_words(token: str) -> bool:
    """Check whether letters in lower case are one or more words."""
    return _telling(token) >= 0 or (len(token) > LEAST // 2 and share_of_pairs([token]) >= USUAL)


def _is_plain(token: str) -> bool:
    return token.isalpha() or _is_number(token)


def _is_long_word(token: str) -> bool:
    return len(token) >= MIN_GLUED and (token.isalpha() or _is_sequence(token))


def _is_number(token: str) -> bool:
    """Check whether a token is a number as templates have: a short one, a year, a sequence or one repeated digit."""
    return re.fullmatch(_NUMBER, token) is not None or (token.isdigit() and _is_sequence(token))


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
        if start not in best:
            continue
        for end in range(start + MIN_GLUED, min(start + MAX_WORD, len(token)) + 1):
            worth = WORTH.get(token[start:end], -1)
            if worth > 0 or (worth == 0 and end - start > MIN_GLUED):
                best[end] = max(best.get(end, 0), best[start] + worth)
    return best.get(len(token), -1)


def may_be_filled(text: str) -> bool:
    """Check whether a user, a host or a member may be a template. Others may be any words, such as admin."""
    return re.search(_MAY_BE_FILLED, text) is not None


def login_template(user: str, password: str, variable: str) -> str:
    """Return which template the password of a login is; empty for none."""
    lower = password.lower()
    if not password.strip():
        return "has an empty password"
    if lower.rstrip("0123456789") == user.lower():
        return "has the user's name as its password"
    if lower in VENDORS:
        return "has a vendor's default password"
    message = template(password, variable)
    return message and f"has a password that {message}"


def parameters(text: str) -> dict[str, str]:
    """Return the values of `name=value` pairs by their names in lower case, also those after the address of a URL.

    `;`, `&` or a blank is between them.
    """
    text = re.sub(_BEFORE_PARAMETERS, "", text)
    separator = next((each for each in ";&" if each in text), " ")
    pairs = [part.partition("=") for part in text.split(separator)]
    return {name.strip().lower(): value.strip(" '\"") for name, sign, value in pairs if sign}


def _templates_of_login(text: str, variable: str) -> Iterator[str]:
    """Yield which template the password in a URL or in a connection string is."""
    if login := re.match(_LOGIN_OF_URL, text):
        yield login_template(login["user"], unquote(login["password"]), variable)
    named = parameters(text) if "=" in text else {}
    logins = [name for name in named if re.match(_OF_LOGIN, name)]
    user = next((named[name] for name in logins if name.startswith("u")), "")
    for name, value in named.items():
        if logins and re.search(_PASSWORD, name) and (message := login_template(user, value, variable)):
            yield message
