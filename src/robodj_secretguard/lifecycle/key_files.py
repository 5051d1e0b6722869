"""Writing new keys to the fallback files: break-glass storage on one machine (policy sections 1 and 2)."""

from __future__ import annotations

import contextlib
import errno
import os
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Final

from robodj_secretguard.checks import holds_key_material
from robodj_secretguard.errors import KeyFileError
from robodj_secretguard.files import locked_directory, prepared_file, put_in_place, read_unlinked, reason
from robodj_secretguard.sources import MAX_FILE_BYTES, within_config_dir
from robodj_secretguard.textfile import lines_of, look

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.textfile import TextFile

TEMPLATE: Final = ".example"
"""The ending of a template's name, beside the file that it is of."""

_KEY_MODE: Final = 0o600


def write_keys(directory: str, keys: Mapping[SecretPolicy, SealedStr], *, force: bool) -> None:
    """Write keys to their fallback files: all of them, or none where one is refused.

    Each file is made whole, readable by its owner alone, and put in place in one step, through no link. The comments
    of the file, or of its template where there is no file yet, are kept.

    Args:
        directory: the config directory.
        keys: the new keys, by the policies of their secrets.
        force: whether a key that is there is replaced.

    Raises:
        KeyFileError: a file holds a key or cannot be judged, or the directory is not fit for keys.
    """
    written: list[str] = []
    why = ""
    try:
        with locked_directory(directory), contextlib.ExitStack() as stack:
            files = {policy: look(_path(directory, policy), most=MAX_FILE_BYTES) for policy in keys}
            refused = [why for policy in keys if (why := _refusal(directory, policy, files[policy], force=force))]
            if refused:
                raise KeyFileError("; ".join(refused))
            ready = {policy: stack.enter_context(_prepared(directory, policy, key)) for policy, key in keys.items()}
            for policy, prepared in ready.items():
                put_in_place(prepared, _path(directory, policy), replace=files[policy].exists)
                written.append(policy.name)
    except FileExistsError:
        why = "a file was put there just now: look at it, and try again"
    except OSError as error:
        why = f"the config directory: {reason(error)}"
        if error.errno == errno.EBUSY:  # only the replacement of a file gives this
            why = _mount_point(next(policy for policy in keys if policy.name not in written))
    if why:
        raise KeyFileError(f"{why}; written before that: {', '.join(written)}" if written else why)


def _mount_point(policy: SecretPolicy) -> str:
    return (
        f"{policy.file} is a mount point and cannot be replaced: write the key to the file that is mounted there,"
        f" or deliver {policy.variable}"
    )


def _path(directory: str, policy: SecretPolicy) -> str:
    return os.path.join(directory, within_config_dir(policy.file))


def _refusal(directory: str, policy: SecretPolicy, file: TextFile, *, force: bool) -> str:
    """Say why a secret's file may not be written; empty where it may be."""
    path = _path(directory, policy)
    if os.path.islink(path):
        return f"{policy.file} is a link, and a key is written through none"
    if file.exists and not os.path.isfile(path):
        return f"{policy.file} is not a regular file"
    if not force and holds_key_material(file):
        what = "cannot be judged" if file.unreadable else "holds a key already"
        return f"{policy.file} {what}, and is only replaced with --force"
    return ""


@contextlib.contextmanager
def _prepared(directory: str, policy: SecretPolicy, key: SealedStr) -> Iterator[str]:
    """Write a key's file beside where it is to be, and make sure that it will be accepted there."""
    path = _path(directory, policy)
    text = _text(path) or _text(path + TEMPLATE)
    with contextlib.ExitStack() as stack:
        try:
            prepared = stack.enter_context(prepared_file(path, _with_key(text, key).encode(), _KEY_MODE))
        except OSError as error:
            msg = f"{policy.file}: {reason(error)}"
            raise KeyFileError(msg) from None
        made = look(prepared, most=MAX_FILE_BYTES)
        if made.unsafe or made.lines != (key,):
            why = "; ".join(made.unsafe) or "it would hold more than the key"
            msg = f"{policy.file} would not be accepted there: {why}"
            raise KeyFileError(msg)
        yield prepared


def _text(path: str) -> str:
    """Return what a file or a template holds; nothing where it is not there, is a link, or cannot be judged."""
    try:
        content, _ = read_unlinked(path, MAX_FILE_BYTES + 1)
    except OSError:
        return ""
    unreadable, _ = lines_of(content)
    if unreadable or len(content) > MAX_FILE_BYTES:
        return ""
    return content.removeprefix(BOM_UTF8).decode().replace("\r\n", "\n")


def _with_key(text: str, key: SealedStr) -> str:
    """Return a file's text with the key in the place of its first line that is neither blank nor a comment."""
    lines = text.removesuffix("\n").split("\n") if text else []
    place = next((number for number, line in enumerate(lines) if _is_value(line)), len(lines))
    before, after = lines[:place], [line for line in lines[place:] if not _is_value(line)]
    return "\n".join([*before, key.get_secret_value(), *after, ""])


def _is_value(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")
