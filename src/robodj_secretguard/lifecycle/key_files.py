"""Writing new keys to the fallback files: break-glass storage on one machine (policy sections 1 and 2)."""

from __future__ import annotations

import contextlib
import errno
import os
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import holds_key_material
from robodj_secretguard.errors import UsageError
from robodj_secretguard.files import locked_directory, prepared_file, put_in_place, read_unlinked, reason
from robodj_secretguard.sources import MAX_FILE_BYTES, within_config_dir
from robodj_secretguard.textfile import read_text_file, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.textfile import TextFile

TEMPLATE: Final = ".example"
"""The ending of a template's name, next to the file that it is of."""

_KEY_MODE: Final = 0o600


def write_keys(directory: str, keys: Mapping[SecretPolicy, SealedStr], *, force: bool) -> None:
    """Write keys to their fallback files: all of them, or none if one is refused.

    Each file is made whole, readable by its owner alone, and put in place in one step, through no link. The comments
    of the file, or of its template where there is no file yet, are kept.
    """
    paths = {policy: os.path.join(directory, within_config_dir(policy.file)) for policy in keys}
    written: list[str] = []
    try:
        with locked_directory(directory), contextlib.ExitStack() as stack:
            files = {policy: read_text_file(path, most=MAX_FILE_BYTES) for policy, path in paths.items()}
            refusals = [_refusal(policy, path, files[policy], force=force) for policy, path in paths.items()]
            if any(refusals):
                raise UsageError("; ".join(filter(None, refusals)))
            ready = {policy: _prepare(stack, policy, paths[policy], key) for policy, key in keys.items()}
            for policy, prepared in ready.items():
                put_in_place(prepared, paths[policy], replace=files[policy].exists)
                written.append(policy.name)
            return
    except FileExistsError:
        why = "a file was put there just now: look at it, and try again"
    except OSError as error:
        why = f"the config directory: {reason(error)}"
        if error.errno == errno.EBUSY:  # only the replacement of a file gives this
            policy = next(policy for policy in keys if policy.name not in written)
            why = (
                f"{policy.file} is a mount point and cannot be replaced: write the key to the file that is mounted"
                f" there, or deliver {policy.variable}"
            )
    raise UsageError(f"{why}; written before that: {', '.join(written)}" if written else why)


def _refusal(policy: SecretPolicy, path: str, file: TextFile, *, force: bool) -> str:
    """Say why a secret's file may not be written; empty where it may be."""
    if os.path.islink(path):
        return f"{policy.file} is a link, and a key is written through none"
    if file.exists and not os.path.isfile(path):
        return f"{policy.file} is not a regular file"
    if not force and holds_key_material(file):
        what = "cannot be judged" if file.unreadable else "holds a key already"
        return f"{policy.file} {what}, and is only replaced with --force"
    return ""


def _prepare(stack: contextlib.ExitStack, policy: SecretPolicy, path: str, key: SealedStr) -> str:
    """Write a key's file next to where it is to be, make sure that it will be accepted there, and return its path."""
    text = _text(path) or _text(path + TEMPLATE)
    try:
        prepared = stack.enter_context(prepared_file(path, _with_key(text, key).encode(), _KEY_MODE))
    except OSError as error:
        why = f": {reason(error)}"
    else:
        made = read_text_file(prepared, most=MAX_FILE_BYTES)
        if made.lines == (key,) and not made.unsafe:
            return prepared
        why = f" would not be accepted there: it {' and '.join(made.unsafe) or 'has more than the key'}"
    raise UsageError(policy.file + why)


def _text(path: str) -> str:
    """Return what a file or a template holds; nothing where it is not there, is a link, or cannot be judged."""
    try:
        content, _ = read_unlinked(path, MAX_FILE_BYTES + 1)
    except OSError:
        return ""
    if text_of(content).unreadable or len(content) > MAX_FILE_BYTES:
        return ""
    return content.removeprefix(BOM_UTF8).decode().replace("\r\n", "\n")


def _with_key(text: str, key: SealedStr) -> str:
    """Return a file's text with the key instead of its first line that is neither blank nor a comment."""
    lines = text.removesuffix("\n").split("\n") if text else []
    place = next((number for number, line in enumerate(lines) if _is_value(line)), len(lines))
    before, after = lines[:place], [line for line in lines[place:] if not _is_value(line)]
    return "\n".join([*before, key.get_secret_value(), *after, ""])


def _is_value(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")
