"""The keys that are planted in files: their form, encoding, surroundings and exact position.

The position of a key is computed from the text before it, and not with the code of the scan.
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

V1, V2 = "ROBODJ_SECRET_KEY", "ROBODJ_SECRET_V2_KEY"
SECRETS = {V1: "secret.key", V2: "secret_v2.key"}
MAKE: dict[str, Callable[[], str]] = {V1: lambda: secrets.token_urlsafe(32), V2: lambda: secrets.token_hex(64)}
"""The generators of the keys. Keys are made at run time, so none is in the repository."""
REDACTED = "[redacted]"
MIB = 1 << 20
_FILLER = "A line of text without a key, which moves the following lines further back.\n"


def key_fingerprint(key: str) -> str:
    """Return a key's fingerprint."""
    return fingerprint(SealedStr(key))


@dataclass(frozen=True)
class Place:
    """Where a key was planted, and how it must be reported. It has no part of the key.

    Attributes:
        name: the name of the plant.
        group: the kind of plant, which is a row of the tables.
        path: the file below the corpus's directory, as it may be shown.
        rule: the rule that must find it.
        where: the kind of place.
        fingerprint: the key's fingerprint.
        secret: the name of the secret.
        form: `raw`, or the encoding.
        line: the line, from 1; `None` in a name.
        column: the character in the line, from 1; `None` in binary data and names.
        offset: the offset in bytes; `None` in a name.
        last_line: the last line of the key.
        by_fingerprint: whether a search by fingerprint can find it.
    """

    name: str
    group: str
    path: str
    rule: str
    where: str
    fingerprint: str
    secret: str
    form: str
    line: int | None = None
    column: int | None = None
    offset: int | None = None
    last_line: int | None = None
    by_fingerprint: bool = True


class Carried(NamedTuple):
    """Text that contains a key.

    Attributes:
        text: the text.
        at: the offset of the first character that holds a part of the key.
        form: the encoding of the key.
    """

    text: str
    at: int
    form: str


@dataclass(frozen=True)
class Plant:
    """A key to plant in a separate file.

    Attributes:
        name: the name of the plant.
        group: the kind of plant.
        variable: the variable of the key.
        carry: makes the text that contains the key.
        before: the text before it.
        after: the text after it.
        encode: encodes the text.
        form: the encoding of the whole text, as the scan reports it.
        lead: the number of bytes of other text at the beginning.
        suffix: the suffix of the file's name.
        is_known: whether the key is delivered; otherwise it is found because it is assigned to the variable.
        is_text: whether columns have a meaning.
        by_fingerprint: whether a search by fingerprint can find it.
    """

    name: str
    group: str
    variable: str
    carry: Callable[[str], Carried]
    before: str = ""
    after: str = "\n"
    encode: Callable[[str], bytes] = field(default=str.encode)
    form: str = ""
    lead: int = 0
    suffix: str = ".txt"
    is_known: bool = True
    is_text: bool = True
    by_fingerprint: bool = True

    def plant(self, root: Path, keys: dict[str, str]) -> Place:
        """Write the file, and return the place of the key."""
        key = keys[self.variable] if self.is_known else MAKE[self.variable]()
        carried = self.carry(key)
        before = (_FILLER * (self.lead // len(_FILLER) + 1))[: self.lead] + self.before
        until = before + carried.text[: carried.at]
        path = f"{self.group}/{self.name}{self.suffix}".replace(" ", "-")
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.encode(before + carried.text + self.after))
        forms = [each for each in (carried.form, self.form) if each]
        return Place(
            name=self.name,
            group=self.group,
            path=path,
            rule="known-key" if self.is_known else "assigned-key",
            where="file",
            fingerprint=key_fingerprint(key),
            secret=SECRETS[self.variable],
            form=" in ".join(forms) or "raw",
            line=self.encode(until).count(b"\n") + 1,
            column=len(until) - until.rfind("\n") if self.is_text else None,
            # In big-endian UTF-16, of the first byte that is not zero.
            offset=len(self.encode(until)) + self.encode("ab").endswith(b"\0a\0b"),
            last_line=self.encode(before + carried.text).count(b"\n") + 1,
            by_fingerprint=self.by_fingerprint,
        )


# ---- texts that contain a key -------------------------------------------------------------------------------------


def raw(key: str) -> Carried:
    """Return a key unchanged."""
    return Carried(key, 0, "")


def upper(key: str) -> Carried:
    """Return a hexadecimal key in capitals."""
    return Carried(key.upper(), 0, "")


def in_hexadecimal(key: str) -> Carried:
    """Encode a key in hexadecimal."""
    return Carried(key.encode().hex(), 0, "hex")


def in_capital_hexadecimal(key: str) -> Carried:
    """Encode a key in hexadecimal, in capitals."""
    return Carried(key.encode().hex().upper(), 0, "hex")


def in_base64(
    lead: str = "", tail: str = "", *, urlsafe: bool = False, padded: bool = True, encoding: str = "ascii"
) -> Callable[[str], Carried]:
    """Return a function that encodes a key in base64, together with text before and after it."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode

    def carry(key: str) -> Carried:
        text = encode((lead + key + tail).encode(encoding)).decode()
        form = "base64" if encoding == "ascii" else "utf-16 in base64"
        return Carried(text if padded else text.rstrip("="), len(lead.encode(encoding)) * 4 // 3, form)

    return carry


def within(inner: Callable[[str], Carried], lead: str = "", tail: str = "") -> Callable[[str], Carried]:
    """Return a function that encodes the text of another one in base64."""

    def carry(key: str) -> Carried:
        carried = inner(key)
        text = base64.b64encode((lead + carried.text + tail).encode()).decode()
        return Carried(text, (len(lead) + carried.at) * 4 // 3, f"{carried.form} in base64")

    return carry


def hexed(inner: Callable[[str], Carried]) -> Callable[[str], Carried]:
    """Return a function that encodes the text of another one in hexadecimal."""

    def carry(key: str) -> Carried:
        carried = inner(key)
        return Carried(carried.text.encode().hex(), carried.at * 2, f"{carried.form} in hex")

    return carry


def wrapped(
    inner: Callable[[str], Carried], width: int, *, indent: str = "", end: str = "\n"
) -> Callable[[str], Carried]:
    """Return a function that wraps the text of another one."""

    def carry(key: str) -> Carried:
        text, at, form = inner(key)
        lines = [text[start : start + width] for start in range(0, len(text), width)]
        return Carried((end + indent).join(lines), at + at // width * len(end + indent), form)

    return carry


# ---- encodings of whole files -------------------------------------------------------------------------------------


def _in(encoding: str, mark: str = "") -> Callable[[str], bytes]:
    return lambda text: (mark + text).encode(encoding)


def _binary(text: str) -> bytes:
    return b"\x7fELF\x00\xff" + bytes(range(256)) * 3 + b"\x00" + text.encode("latin-1")


def _binary_utf_16(text: str) -> bytes:
    return b"MZ\x90\x00\x03" + bytes(range(255, -1, -1)) * 3 + text.encode("utf-16-le")


_ENCODINGS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "UTF-8 with a mark": (_in("utf-8", "\ufeff"), ""),
    "Latin-1": (_in("latin-1"), ""),
    "UTF-16 LE": (_in("utf-16-le"), "utf-16"),
    "UTF-16 LE with a mark": (_in("utf-16-le", "\ufeff"), "utf-16"),
    "UTF-16 BE": (_in("utf-16-be"), "utf-16"),
    "UTF-16 BE with a mark": (_in("utf-16-be", "\ufeff"), "utf-16"),
    "binary": (_binary, ""),
    "binary with UTF-16 at an odd place": (_binary_utf_16, "utf-16"),
}

# ---- the surroundings ---------------------------------------------------------------------------------------------

_SURROUNDINGS: dict[str, tuple[str, str]] = {
    "alone": ("", "\n"),
    "the whole file": ("", ""),
    "the end of a file": ("one line\nanother: ", ""),
    "an assignment in a shell": ("#!/bin/sh\nset -e\nexport TOKEN=", "\n./serve\n"),
    "a quoted assignment in a shell": ("TOKEN='", "'; export TOKEN\n"),
    "env file": ("PORT=8000\nTOKEN=", "\nDEBUG=0\n"),
    "a quoted line of an env file": ('PORT=8000\r\nTOKEN="', '"\r\nDEBUG=0\r\n'),
    "YAML": ("service:\n  signing:\n    key: ", "\n    days: 90\n"),
    "YAML as a block": ("key: |\n    ", "\nother: 1\n"),
    "YAML in a list": ("keys:\n  - ", "\n  - none\n"),
    "JSON": ('{\n  "key": "', '",\n  "days": 90\n}\n'),
    "JSON in one line": ('{"a":[1,2],"key":"', '","days":90}'),
    "TOML": ('[keys]\nsigning = "', '"\n'),
    "an INI file": ("[keys]\nsigning: ", " ; since May\n"),
    "XML": ("<keys>\n\t<key>", "</key>\n</keys>\n"),
    "an attribute of XML": ('<key value="', '"/>\n'),
    "a Dockerfile": ("FROM scratch\nENV TOKEN=", '\nCMD ["serve"]\n'),
    "an older line of a Dockerfile": ("FROM scratch\nENV TOKEN ", "\n"),
    "compose": ("services:\n  app:\n    environment:\n      - TOKEN=", "\n"),
    "a variable of Kubernetes": ("env:\n- name: TOKEN\n  value: ", "\n"),
    "a URL": ("GET https://example.org/a?key=", "&page=2 HTTP/1.1\n"),
    "a path of a URL": ("see https://example.org/keys/", "/show\n"),
    "a header": ("Authorization: Bearer ", "\r\nAccept: */*\r\n\r\n"),
    "a log line": ("2026-05-01T10:00:00Z INFO key=", " loaded\n"),
    "a traceback": ("    raise ValueError('bad key ", "')\nValueError\n"),
    "Python": ("KEYS = (\n    b'", "',\n)\n"),
    "a comment": ("x = 1  # was ", ", before May\n"),
    "Markdown": ("Use `", "` for now.\n"),
    "CSV": ("name,key,days\nsigning,", ",90\n"),
    "tabs": ("signing\t", "\t90\n"),
    "PowerShell": ('$env:TOKEN = "', '"\r\n'),
    "a batch file": ("@echo off\r\nset TOKEN=", "\r\n"),
    "a diff": ("@@ -1 +1 @@\n-key:\n+", "\n"),
    "an entry of an environment block": ("A=1\0TOKEN=", "\0B=2\0"),
    "more than one letter beyond ASCII": ("ключ 🔑 naïve: ", " — ok\n"),
    "an escaped end of a line before": ('"text\\n', '"\n'),
    "an escaped end of a line after": ('"', '\\nmore"\n'),
    "an escaped end of a line on both sides": ('"text\\n', '\\nmore"\n'),
    "an escaped tab before": ('"text\\t', '"\n'),
    "an escaped letter before": ('"\\u0022', '\\u0022"\n'),
    "a letter in percent before": ("?q=%22", "%22\n"),
    "glued with a hyphen before": ("backup-", "\n"),
    "glued with a hyphen after": ("", "-old\n"),
    "glued with hyphens": ("the-backup-", "-of-may\n"),
    "glued with an underscore before": ("backup_", "\n"),
    "glued with an underscore after": ("", "_old\n"),
    "glued with underscores": ("the_backup_", "_of_may\n"),
    "glued with a plus and a slash": ("a+b/", "/c+d\n"),
    "glued with capitals": ("Key_", "_Key\n"),
    "glued with letters before": ("Key", "\n"),
    "glued with letters after": ("", "Key\n"),
}
_NAMED = {"YAML": ".yaml", "JSON": ".json", "env file": ".env", "Python": ".py", "a Dockerfile": ".dockerfile"}
_ONLY_LIVE: dict[str, tuple[str, str]] = {
    "glued with letters on both sides": ("ab", "ab\n"),
    "glued with letters and a hyphen": ("ab", "ab-ab\n"),
}
"""Only a search for the key itself finds these: a fingerprint needs the beginning and the end of a key."""
_ASSIGNMENTS: dict[str, tuple[str, str, str]] = {
    "a shell": ("export {}=", "\n", ".sh"),
    "a shell with quotes": ("{}='", "'\nexport X\n", ".sh"),
    "a default of a shell": (': "${{{}:=', '}}"\n', ".sh"),
    "another shell": ("setenv {} ", "\n", ".csh"),
    "an env file": ("A=1\n{}=", "\nB=2\n", ".env"),
    "a quoted line of an env file": ('{}="', '"\n', ".env"),
    "YAML": ("env:\n  {}: ", "\n  B: 2\n", ".yaml"),
    "YAML with quotes": ('env:\n  {}: "', '"\n', ".yaml"),
    "YAML as a block": ("env:\n  {}: >-\n    ", "\n  B: 2\n", ".yaml"),
    "JSON": ('{{"a": 1, "{}": "', '"}}\n', ".json"),
    "TOML": ('{} = "', '"\n', ".toml"),
    "a Dockerfile": ("FROM scratch\nENV {}=", "\n", ".dockerfile"),
    "an older line of a Dockerfile": ("FROM scratch\nENV {} ", "\n", ".dockerfile"),
    "compose": ("environment:\n  - {}=", "\n", ".yml"),
    "compose as a map": ("environment:\n  {}: ", "\n", ".yml"),
    "Kubernetes": ("env:\n  - name: {}\n    value: ", "\n", ".yml"),
    "Kubernetes with quotes": ('env:\n  - name: "{}"\n    value: "', '"\n', ".yml"),
    "Kubernetes in JSON": ('{{"env": [{{"name": "{}", "value": "', '"}}]}}\n', ".json"),
    "Python": ('os.environ["{}"] = "', '"\n', ".py"),
    "a call": ('monkeypatch.setenv("{}", "', '")\n', ".py"),
    "PowerShell": ('$env:{} = "', '"\r\n', ".ps1"),
    "a batch file": ("set {}=", "\r\n", ".bat"),
    "systemd": ('[Service]\nEnvironment="{}=', '"\n', ".service"),
    "supervisord": ('environment={}="', '",B="2"\n', ".conf"),
}


def _of_both() -> Iterator[tuple[str, str]]:
    """Yield both variables, with a word for the names of their plants."""
    yield from ((V1, "v1"), (V2, "v2"))


def _in_surroundings() -> Iterator[Plant]:
    for variable, word in _of_both():
        for name, (before, after) in _SURROUNDINGS.items():
            yield Plant(
                f"{name} {word}",
                "surroundings",
                variable,
                raw,
                before,
                after,
                suffix=_NAMED.get(name, ".txt"),
                is_text="\0" not in before,
            )
        for name, (before, after) in _ONLY_LIVE.items():
            yield Plant(f"{name} {word}", "glued with letters", variable, raw, before, after, by_fingerprint=False)


_CARRIERS: dict[str, Callable[[str], Carried]] = {
    "hexadecimal": in_hexadecimal,
    "hexadecimal in capitals": in_capital_hexadecimal,
    "base64": in_base64(),
    "base64 with the end of a line": in_base64(tail="\n"),
    "base64 aligned by 1": in_base64("="),
    "base64 aligned by 2": in_base64("::"),
    "base64 of a file": in_base64("A=1\nTOKEN=", "\nB=2\n"),
    "base64 of more": in_base64("~~ four", "?? >>> ~~~"),
    "base64 without its end": in_base64("user:", padded=False),
    "urlsafe base64": in_base64(urlsafe=True),
    "urlsafe base64 aligned by 1": in_base64("~", "~~~", urlsafe=True),
    "urlsafe base64 aligned by 2": in_base64("~?", "~?>", urlsafe=True, padded=False),
    "base64 in lines of 64": wrapped(in_base64("text before it: " * 9, " and after it" * 7), 64),
    "base64 in lines of 76": wrapped(in_base64("text before it: " * 11, " and after it" * 7), 76),
    "base64 in lines of 76 with CRLF": wrapped(in_base64("some text. " * 13, " and after it" * 7), 76, end="\r\n"),
    "urlsafe base64 in lines of 76": wrapped(in_base64("some text. " * 8, " ~?~?>" * 7, urlsafe=True), 76),
    "base64 in base64": within(in_base64()),
    "base64 in base64 aligned by 1 and 2": within(in_base64("=", ";"), "::", "."),
    "base64 in base64 aligned by 2 and 1": within(in_base64("=:", ";"), ":", ";;"),
    "base64 in base64 in lines of 64": wrapped(within(in_base64("A=1\nB=", "\n"), "data:\n  key: ", "\n"), 64),
    "hexadecimal in base64": within(in_hexadecimal, "x: ", "\n"),
    "base64 in hexadecimal": hexed(in_base64("k=")),
    "UTF-16 in base64": in_base64("$env:A='", "'", encoding="utf-16-le"),
}
_AROUND = {
    "line": ("", "\n", ".txt"),
    "YAML": ("apiVersion: v1\nkind: Secret\ndata:\n  key: ", "\ntype: Opaque\n", ".yaml"),
    "JSON": ('{"data": {"key": "', '"}}\n', ".json"),
}


def _in_forms() -> Iterator[Plant]:
    for variable, word in _of_both():
        for name, carry in _CARRIERS.items():
            for around, (before, after, suffix) in _AROUND.items():
                yield Plant(f"{name} in {around} {word}", _group(name), variable, carry, before, after, suffix=suffix)
        indented = wrapped(in_base64("some text. " * 20, " and more" * 9), 64, indent="    ")
        yield Plant(
            f"indented in YAML {word}", "base64 in lines", variable, indented, "data:\n  key: |\n    ", "\nb: 1\n"
        )
    for around, (before, after, suffix) in _AROUND.items():
        yield Plant(f"capitals in {around}", "hexadecimal", V2, upper, before, after, suffix=suffix)
    for name, end in {"a backslash": "\\\n", "an equals sign": "=\n", "the end of a line": "\n"}.items():
        yield Plant(f"a key in two lines with {name}", "a key in lines", V2, wrapped(raw, 64, end=end), "key ", "\n")


def _group(name: str) -> str:
    groups = ("in base64", "base64 in hexadecimal", "in lines", "urlsafe base64", "base64", "hexadecimal")
    titles = ("one encoding in another", "one encoding in another", "base64 in lines", *groups[3:])
    return next(title for part, title in zip(groups, titles, strict=True) if part in name)


def _in_encodings() -> Iterator[Plant]:
    before, after = "Größe: 12\nkey für ä: '", "' über\n"
    for variable, word in _of_both():
        for encoding, (encode, form) in _ENCODINGS.items():
            for name, carry in {
                "as it is": raw,
                "hexadecimal": in_hexadecimal,
                "base64": in_base64("=", "\n"),
                "base64 in lines": wrapped(in_base64("some text. " * 9, " and more" * 9), 76),
            }.items():
                yield Plant(
                    f"{name} in {encoding} {word}",
                    encoding.removesuffix(" with a mark").replace("binary with UTF-16 at an odd place", "binary"),
                    variable,
                    carry,
                    before,
                    after,
                    encode,
                    form,
                    suffix=".bin" if "binary" in encoding else ".txt",
                    is_text="binary" not in encoding,
                )
    for encoding in ("UTF-16 LE", "UTF-16 BE with a mark"):
        encode, form = _ENCODINGS[encoding]
        yield Plant(
            f"alone in {encoding}", "UTF-16 LE" if "LE" in encoding else "UTF-16 BE", V1, raw, "", "", encode, form
        )


_OFFSETS_AT_A_BORDER = (-200, -129, -128, -127, -64, -44, -43, -42, -21, -1, 0, 1, 43)
_OVERLAP = 1 << 15
"""How many bytes of a block are searched again with the next one."""
_BORDERS = {"the first": MIB, "the second": 2 * MIB, "the overlap": MIB - _OVERLAP}


def _at_borders() -> Iterator[Plant]:
    for variable, word in _of_both():
        for offset in _OFFSETS_AT_A_BORDER:
            for border, at in _BORDERS.items():
                if border == "the first" or offset in {-43, -21, 0}:
                    name = f"{offset:+} from {border} border {word}"
                    yield Plant(name, "at a border", variable, raw, " ", " and more\n" * 30, lead=at + offset - 1)
        crossing = {
            "base64": (in_base64("::", "\n"), 40),
            "hexadecimal": (in_hexadecimal, 43),
            "base64 in lines": (wrapped(in_base64("some text. " * 500, " and more" * 900), 76), 7000),
            "base64 in one line": (in_base64("some text. " * 9000, " and more" * 9000), 131_990),
        }
        for name, (carry, back) in crossing.items():
            for shift in range(3 if name == "base64" else 1):
                title = f"{name} across a border {shift} {word}"
                yield Plant(title, "at a border", variable, carry, " ", "\n.", lead=MIB - back - shift)
        for odd, encode in {"LE": _in("utf-16-le"), "BE": _in("utf-16-be", "\ufeff")}.items():
            title = f"UTF-16 {odd} across a border {word}"
            yield Plant(title, "at a border", variable, raw, " ", "\n" * 9, encode, "utf-16", MIB // 2 - 20)
        yield Plant(f"the end of a large file {word}", "at a border", variable, raw, "\n", "", lead=MIB + MIB // 2)
        yield Plant(f"the start of a large file {word}", "at a border", variable, raw, "", "\n" + _FILLER * 20_000)


def _in_long_lines() -> Iterator[Plant]:
    script = "function(a,b){return a.b?c(a):d[b]};" * 3000  # about 100 KiB
    digits = base64.b64encode(bytes(range(200)) * 400).decode()
    for variable, word in _of_both():
        for name, carry in {"as it is": raw, "base64": in_base64("=", "\n"), "hexadecimal": in_hexadecimal}.items():
            yield Plant(
                f"{name} in a script in one line {word}", "long lines", variable, carry, f"{script}'", f"';{script}"
            )
        yield Plant(f"the end of a long line {word}", "long lines", variable, raw, f'{script}"', '"')
        inside = in_base64("\x01\x02 some text. " * 3000, " and more" * 9000)
        yield Plant(
            f"a blob of base64 that holds it {word}", "long lines", variable, inside, 'url("data:x;base64,', '")'
        )
        yield Plant(f"a blob of base64 before it {word}", "long lines", variable, raw, f'{{"a":"{digits}","b":"', '"}')


def _assigned() -> Iterator[Plant]:
    for variable, word in _of_both():
        for name, (before, after, suffix) in _ASSIGNMENTS.items():
            for is_known in (True, False):
                title = f"{name} {word} {'delivered' if is_known else 'another'}"
                group = "assignments" if is_known else "assignments of an unknown key"
                before_it, after_it = before.format(variable), after.format()
                yield Plant(title, group, variable, raw, before_it, after_it, suffix=suffix, is_known=is_known)
        before, after = f"apiVersion: v1\nkind: Secret\ndata:\n  {variable}: ", "\n"
        for title, is_known in {"delivered": True, "another": False}.items():
            group = "assignments" if is_known else "assignments of an unknown key"
            for name, carry in {"whole": in_base64(), "with the end of a line": in_base64(tail="\n")}.items():
                whole = f"data of Kubernetes {name} {word} {title}"
                yield Plant(whole, group, variable, carry, before, after, suffix=".yaml", is_known=is_known)


PLANTS: tuple[Plant, ...] = (
    *_in_surroundings(),
    *_in_forms(),
    *_in_encodings(),
    *_at_borders(),
    *_in_long_lines(),
    *_assigned(),
)
"""The keys that are planted in the content of files."""

_NAMES: dict[str, Callable[[str], str]] = {
    "a file's name": lambda key: key,
    "a part of a file's name": lambda key: f"dump-{key}.txt",
    "a directory's name": lambda key: f"{key}/readme.txt",
    "a name in base64": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
}
_LINKS: dict[str, tuple[str, str]] = {
    "a link to it": ("", ""),
    "a link through it": ("../keys/", "/current"),
    "a link that names it": ("/run/backup-", ".txt"),
}
NAMED: tuple[str, ...] = tuple(f"{name} {word}" for _, word in _of_both() for name in (*_NAMES, *_LINKS))
"""The names of the keys that are planted in names and links."""


def _named(root: Path, keys: dict[str, str]) -> Iterator[Place]:
    for variable, word in _of_both():
        key = keys[variable]
        place = partial(Place, rule="known-key", fingerprint=key_fingerprint(key), secret=SECRETS[variable])
        for number, (name, make) in enumerate(_NAMES.items()):
            directory = f"names/{number}-{word}"
            file = root / directory / make(key)
            file.parent.mkdir(parents=True)
            file.write_bytes(b"nothing\n")
            form = "base64" if "base64" in name else "raw"
            path = f"{directory}/{REDACTED}"
            yield place(f"{name} {word}", "names", path, where="name", form=form)
        for number, (name, (before, after)) in enumerate(_LINKS.items()):
            path = f"links/{number}-{word}"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(f"{before}{key}{after}")
            at = len(before)
            yield place(
                f"{name} {word}", "links", path, where="link", form="raw", line=1, column=at + 1, offset=at, last_line=1
            )


def plant_files(root: Path, keys: dict[str, str]) -> dict[str, Place]:
    """Plant all keys in files, and return the place of each one, by its name.

    Args:
        root: an empty directory.
        keys: the delivered keys, by variable.
    """
    places = [each.plant(root, keys) for each in PLANTS]
    if os.name != "nt":
        places += _named(root, keys)
    return {f"{each.group}: {each.name}": each for each in places}


def new_keys() -> dict[str, str]:
    """Make a key for each variable."""
    return {variable: make() for variable, make in MAKE.items()}
