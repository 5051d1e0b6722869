"""Walk through files, read each one, and find the keys in its content, of any size, with their lines and columns.

What cannot be read is reported, and never blocks.
"""

from __future__ import annotations

import binascii
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice, pairwise
from typing import Final, TypeAlias

from robodj_secretguard.common.files import closing, open_unlinked, reason, regular_status
from robodj_secretguard.errors import UnreadError
from robodj_secretguard.scan.result import KnownKey, Rule, Where
from robodj_secretguard.scan.search import Forms, KeySearch, valid_key, views
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.file_reader import version
from robodj_secretguard.startup.inputs import CHANGED, NOT_REGULAR

Entry: TypeAlias = tuple[str, Where, str, bool]
"""A path, and the part of it that may hold a key: of a directory, the name alone. Then why that part cannot be
read, if it cannot, and whether a key may be missed. A pipe keeps nothing."""
Hit: TypeAlias = tuple[int, int, int, Rule, KnownKey, Forms]  # the offset in bytes, the line, the column, the key
Block: TypeAlias = "bytes | int"  # some bytes, or the length of a hole: zero bytes that a file does not store
_Position: TypeAlias = tuple[int, int, int]  # the bytes, whole lines and characters of the line before it

BLOCK_BYTES: Final = 1 << 20  # searched at once, so memory does not grow with the size of a content
OVERLAP_BYTES: Final = 1 << 15  # searched again with the next block: enough for a fallback file in any encoding

_NO_CHARACTERS: Final = bytes([0, *range(0x80, 0xC0)])  # the zero bytes of UTF-16, and UTF-8's continuation bytes
_BYTE_ORDER_MARK: Final = re.compile(rb"\A(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)")
_NAME_GOES_ON: Final = re.compile(rb"[A-Za-z0-9_]")
_BLANKS: Final = rb"\s*+ (?: \# [^\n]{0,500}+ \s*+ ){0,3}+"  # and comments
_MEMBER: Final = rb"""
    (?! \\?+ ["']? [Vv]alue \\?+ ["']? \s*+ [:=] )
    \\?+ ["']? \w [\w.-]{0,63}+ \\?+ ["']? \s*+ [:=] [ \t]*+
    (?> " (?: [^"\\\n] | \\. ){0,500}+ " | ' [^'\n]{0,500}+ ' | \\" [^"\n]{0,500}+ "
      | \[ [^\[\]]{0,500}+ \] | \{ [^{}]{0,500}+ \}
      | [^\s"'\[{,}\\] [^\n,}]{0,500}+ (?: ,(?! \s*+ ["']? \w [\w.-]*+ ["']? \s*+ [:=] ) [^\n,}]{0,500}+ ){0,8}+ )
    """
"""Another member of an object, such as `"type": "SecureString"`."""
_TYPE: Final = rb"""
    (?: [\w.|?*&'" \t] | <[^<>\n]{0,200}+>
      | \[ (?: [^\[\]] | \[ (?: [^\[\]] | \[[^\[\]]{0,200}+\] ){0,200}+ \] ){0,500}+ \] ){1,100}+
    """
"""The type of a variable in Python or TypeScript, such as `Final[str]`."""
_VALUE_BEGINS: Final = rb"""
    [ \t]*+
    (?: [!&]{1,2} \w*+ [ \t]++ )?                           # a tag or an anchor of YAML
    (?: [|>][+-]?[1-9]?[+-]? [ \t]*+ (?: \#[^\n]{0,500}+ )?+ \r?\n \s*+ | \\ \r?\n [ \t]*+ )?
                                                            # a YAML block, a continued line
    (?: \( \s*+ )?+ (?: [bBfFrRuU]{1,2}+ (?=["']) )?+       # ("...", b"..."
    \\?+ \$?
    """
_VALUE_KEY: Final = rb"""[Vv]alue \\?+ ["']? \s*+ [:=] %b""" % _BLANKS
_ASSIGNMENT: Final = rb"""
    \\?+ ["'`)\]}]*+                                        # the end of the name: "NAME":, env["NAME"] =
    (?: [?!]?+ [ \t]*+ : %(type)b = (?![=>])                # NAME: str =
      | (?: \s*+ (?P<colon>:) )?+ %(blanks)b [,{]?+ %(blanks)b (?: %(member)b %(blanks)b (?: , %(blanks)b )?+ ){0,6}+
        (?(colon)-?+) [ \t]*+ \\?+ ["']? %(value_key)b      # name: NAME, and value:
      | -                                                   # ${NAME-value}
      | \s*+ (?: => | :- | [:?+]?= | : %(blanks)b | [,>] )  # NAME=, NAME:, ${NAME:-value} and other assignments
      | [ \t] )                                             # ENV NAME value, setenv NAME value
    %(value_begins)b
    """ % {
    b"blanks": _BLANKS,
    b"member": _MEMBER,
    b"type": _TYPE,
    b"value_begins": _VALUE_BEGINS,
    b"value_key": _VALUE_KEY,
}
_VALUE_FIRST: Final = rb"(?<!\w)" + _VALUE_KEY + _VALUE_BEGINS
_THEN_NAME: Final = rb"""
    \\?+ ["'`]?+ %(blanks)b ,?+ %(blanks)b (?: %(member)b %(blanks)b ,?+ %(blanks)b ){0,6}+
    \\?+ ["']?+ \w[\w.-]{0,63}+ \\?+ ["']?+ \s*+ [:=] \s*+ \\?+ ["'`]?+ \Z
    """ % {b"blanks": _BLANKS, b"member": _MEMBER}
_MOST_BEFORE: Final = 1 << 12  # the bytes from a value to its name
_MOST_VALUES: Final = 4  # how many of the words before a name could be the key of its value
_KEY_VALUE: Final = rb"""["'`]? (?P<value> [A-Za-z0-9+/_-]++ ={0,2}+ )"""
# Of an issued secret: in quotes, or plain and unlike an expression of a program.
_QUOTED_VALUE: Final = rb"""(?P<quote>["'`]) (?P<value> [^\x00]{1,%d}? ) (?=\\?(?P=quote))""" % OVERLAP_BYTES
_PLAIN_VALUE: Final = rb"""(?!=) (?P<value> [!#%&*+./0-9:=?@A-Z^_a-z~-]++ )"""
_OF_KEY, _IN_QUOTES, _UNQUOTED = (
    re.compile(_ASSIGNMENT + value, re.VERBOSE) for value in (_KEY_VALUE, _QUOTED_VALUE, _PLAIN_VALUE)
)
_KEY_FIRST, _QUOTED_FIRST, _UNQUOTED_FIRST = (
    re.compile(_VALUE_FIRST + value + _THEN_NAME, re.VERBOSE) for value in (_KEY_VALUE, _QUOTED_VALUE, _PLAIN_VALUE)
)
# A key, also in standard base64: unlike a path, that has padding or a usual length.
_NOT_A_PATH: Final = re.compile(
    rb"[\w-]+=*|(?!/)(?:[A-Za-z0-9+/]{4})+|[A-Za-z0-9+/]+(?:=|==|(?<=\A.{43})|(?<=\A.{86}))"
)
_ENDED: Final = re.compile(rb"""["'`]?(?:[\s,;)\]}\#&<>|\\\x00]|/>|\Z)""")


class ContentSearch:
    """Finds known keys, and keys that are assigned to declared variables."""

    def __init__(self, search: KeySearch, policies: Sequence[SecretPolicy]) -> None:
        self._search = search
        self._policies = policies

    def find(self, blocks: Iterable[Block]) -> Iterator[Hit]:
        """Yield every key in a content, in order."""
        window = b""
        searched = 0
        position: _Position = (0, 0, 0)
        ended: Iterator[Block] = chain(filter(None, blocks), [0])
        for block, following in pairwise(ended):
            if isinstance(block, int):
                position = (position[0] + block, *position[1:])
                continue
            window += block
            end = kept_from = len(window)
            if not isinstance(following, int):
                end = max(searched, end - OVERLAP_BYTES)
                kept_from = max(0, end - OVERLAP_BYTES) // 2 * 2  # between two characters of UTF-16
            found = self._in(window)
            for start in sorted(start for start in found if searched <= start < end):
                offset, lines, column = _after(position, window[:start])
                yield offset, lines + 1, column + 1, *found[start]
            position = _after(position, window[:kept_from])
            window = window[kept_from:]
            searched = end - kept_from

    def _in(self, window: bytes) -> dict[int, tuple[Rule, KnownKey, Forms]]:
        """Return what is found, by offset."""
        found: dict[int, tuple[Rule, KnownKey, Forms]] = {}  # a known key before its assignment, plain before escaped
        for view in views(window):
            for offset, known, forms in self._search.find(view.text, view.forms):
                found.setdefault(view.place(offset), ("known-key", known, forms))
            for offset, policy, key, forms in assignments(view.text, self._policies):
                assigned = self._search.see(key, policy.material, policy.name)
                found.setdefault(view.place(offset), ("assigned-key", assigned, (*view.forms, *forms)))
        return found


def _after(position: _Position, text: bytes) -> _Position:
    """Return the position after some text that begins at a position."""
    offset, lines, column = position
    ended = text.count(b"\n")
    rest = text[text.rfind(b"\n") + 1 :] if ended or offset else _BYTE_ORDER_MARK.sub(b"", text)
    return offset + len(text), lines + ended, len(rest.translate(None, _NO_CHARACTERS)) + (0 if ended else column)


def assignments(text: bytes, policies: Iterable[SecretPolicy]) -> Iterator[tuple[int, SecretPolicy, SealedStr, Forms]]:
    """Yield every valid key that is assigned to a declared variable: its offset, secret, value and encoding.

    Placeholders and templates are ignored.
    """
    variables = [
        (policy, variable.encode())
        for policy in policies
        if policy.variable.encode() in text  # those of its other slots begin with this name
        for variable in policy.key_variables
    ]
    for policy, name in variables:
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            ahead = end
            for match in _assigned_values(text, start, end, is_taken_whole=policy.material.is_taken_whole):
                stop = max(end, match.end())
                # Another assignment may begin in what only seems to be a text in quotes.
                ahead = end if match.re is _IN_QUOTES else stop
                if _ENDED.match(text, stop) and _could_be_value(match):
                    sound = (
                        (match.start("value"), policy, key, forms)
                        for value, forms in _readings(match["value"])
                        if (key := valid_key(value, policy.material, policy.variable))
                    )
                    yield from islice(sound, 1)
            start = text.find(name, ahead)


def _assigned_values(text: bytes, start: int, end: int, *, is_taken_whole: bool) -> Iterator[re.Match[bytes]]:
    """Yield the value before a name, and the one after it."""
    if start > 0 and _NAME_GOES_ON.match(text, start - 1):
        return
    at = start
    for _ in range(_MOST_VALUES):
        at = text.rfind(b"alue", max(1, start - _MOST_BEFORE), at)
        if at < 0:
            break
        before = (_QUOTED_FIRST, _UNQUOTED_FIRST) if is_taken_whole else (_KEY_FIRST,)
        yield from islice(filter(None, (each.match(text, at - 1, start) for each in before)), 1)
    after = (_IN_QUOTES, _UNQUOTED) if is_taken_whole else (_OF_KEY,)
    yield from islice(filter(None, (each.match(text, end) for each in after)), 1)


def _could_be_value(match: re.Match[bytes]) -> bool:
    """Check that a value is neither a path nor a word of a program.

    Most words have no digit, and in quotes only one case or blanks.
    """
    value = match["value"]
    if match.re in {_OF_KEY, _KEY_FIRST}:
        return _NOT_A_PATH.fullmatch(value) is not None
    has_cases = "quote" in match.re.groupindex and b" " not in value and value.lower() != value != value.upper()
    is_value = has_cases or re.search(rb"[0-9]|://[^/]*@", value) is not None
    return is_value and not re.fullmatch(rb"\$?[A-Z0-9]*_[A-Z0-9_]*", value)


def _readings(value: bytes) -> Iterator[tuple[SealedStr, Forms]]:
    """Yield a value decoded, as in a Kubernetes secret, then unchanged: base64 of a key can also be a valid key."""
    with suppress(ValueError):  # not base64 of UTF-8
        yield SealedStr(binascii.a2b_base64(value, strict_mode=True).rstrip(b"\r\n").decode()), ("base64",)
    yield SealedStr(value.decode(errors="surrogateescape")), ()


def walk(paths: Sequence[str]) -> Iterator[Entry]:
    """Yield everything at some paths and below them. Only links among the paths are followed."""
    seen: set[tuple[int, int]] = set()
    ahead: list[tuple[str, bool]] = [(path, True) for path in reversed(paths)]
    while ahead:
        here, is_named = ahead.pop()
        try:
            status = os.stat(here, follow_symlinks=is_named)
            if stat.S_ISREG(status.st_mode):
                yield os.path.realpath(here) if os.path.islink(here) else here, "file", "", True
            elif stat.S_ISLNK(status.st_mode):
                yield here, "link", "", True
            elif not stat.S_ISDIR(status.st_mode):
                yield here, "name", f"it {NOT_REGULAR}", is_named
            elif (status.st_dev, status.st_ino) not in seen:  # a mount within itself, or a path that is named twice
                seen.add((status.st_dev, status.st_ino))
                yield here, "name", "", True
                ahead += [(os.path.join(here, name), False) for name in sorted(os.listdir(here), reverse=True)]
        except OSError as error:
            yield here, "name", _why_unread(error), True


def read_place(path: str, where: Where) -> Iterator[Block]:
    """Yield the content of a file, block by block; or the target of a link.

    `UnreadError` says why the rest cannot be read.
    """
    try:
        yield from [os.fsencode(os.readlink(path))] if where == "link" else _blocks(path)
    except OSError as error:
        raise UnreadError(_why_unread(error)) from None


def _blocks(path: str) -> Iterator[Block]:
    with closing(open_unlinked(path, os.O_RDONLY)) as descriptor:
        status = regular_status(descriptor)
        offset = 0
        while offset < status.st_size:
            if hole := _data_after(descriptor, offset, status.st_size) - offset:
                offset += hole
                yield hole
            elif block := os.read(descriptor, min(status.st_size - offset, BLOCK_BYTES)):
                offset += len(block)
                yield block
            else:
                break
        if os.read(descriptor, 1) or version(os.fstat(descriptor)) != version(status):
            raise UnreadError(f"it {CHANGED}; scan again")


def _data_after(descriptor: int, offset: int, size: int) -> int:
    """Return where the data at or after an offset begins, and read on from there. Before it is a hole."""
    if size <= BLOCK_BYTES or not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        return min(os.lseek(descriptor, offset, os.SEEK_DATA), size)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a file system without holes
            return offset
    end = min(size, os.fstat(descriptor).st_size)  # of the file, which may be shorter now
    return os.lseek(descriptor, max(end, offset), os.SEEK_SET)


def _why_unread(error: OSError) -> str:
    return "it does not exist" if isinstance(error, FileNotFoundError) else reason(error)
