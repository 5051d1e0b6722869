"""Writing new keys to the fallback files: break-glass storage on one machine (policy sections 1 and 2)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from robodj_secretguard.lifecycle.files import BusyError, locked_directory, prepared_file, put_in_place
from robodj_secretguard.material import is_placeholder
from robodj_secretguard.sources import MAX_FILE_BYTES, within_config_dir
from robodj_secretguard.textfile import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sealed import SealedStr
    from robodj_secretguard.textfile import TextFile

TEMPLATE: Final = ".example"
"""The ending of a template's name, beside the file that it is of."""

_KEY_MODE: Final = 0o600


class KeyFileError(Exception):
    """No key was written to a file that this says so of. Its text shows no path that somebody gave."""


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
    why = ""
    try:
        with locked_directory(directory), contextlib.ExitStack() as prepared:
            refused = [why for policy in keys if (why := _refusal(directory, policy, force=force))]
            if not refused:
                ready = [
                    (prepared.enter_context(_prepared(directory, policy, key)), policy) for policy, key in keys.items()
                ]
                for path, policy in ready:
                    _put(path, directory, policy, force=force)
            why = "; ".join(refused)
    except BusyError:
        why = "another process is writing in the config directory: try again"
    except FileExistsError:
        why = "a file was put there just now: look at it, and try again"
    except OSError as error:
        why = f"the config directory cannot be written to: {os.strerror(error.errno or 0)}"
    if why:
        raise KeyFileError(why)


def _path(directory: str, policy: SecretPolicy) -> str:
    return os.path.join(directory, within_config_dir(policy.file))


def _refusal(directory: str, policy: SecretPolicy, *, force: bool) -> str:
    """Say why a secret's file may not be written; empty where it may be."""
    path = _path(directory, policy)
    file = look(path, most=MAX_FILE_BYTES)
    if os.path.islink(path):
        return f"{policy.file} is a link, and a key is written through none"
    if file.exists and not os.path.isfile(path):
        return f"{policy.file} is not a regular file"
    if not force and (file.unreadable or _keys_in(file)):
        what = "cannot be judged" if file.unreadable else "holds a key already"
        return f"{policy.file} {what}, and is only replaced with --force"
    return ""


def _keys_in(file: TextFile) -> Iterable[SealedStr]:
    return [line for line in file.lines if not is_placeholder(line.get_secret_value())]


@contextlib.contextmanager
def _prepared(directory: str, policy: SecretPolicy, key: SealedStr) -> Iterator[str]:
    """Write a key's file beside where it is to be, and make sure that it will be accepted there."""
    path = _path(directory, policy)
    text = _text(path) or _text(path + TEMPLATE)
    with prepared_file(path, _with_key(text, key).encode(), _KEY_MODE) as prepared:
        made = look(prepared, most=MAX_FILE_BYTES)
        if made.unsafe or made.lax or made.lines != (key,):
            why = "; ".join((*made.unsafe, *made.lax)) or "it would hold more than the key"
            msg = f"{policy.file} would not be accepted there: {why}"
            raise KeyFileError(msg)
        yield prepared


def _put(prepared: str, directory: str, policy: SecretPolicy, *, force: bool) -> None:
    path = _path(directory, policy)
    file = look(path, most=MAX_FILE_BYTES)  # once more: nobody's key is replaced that was put there just now
    put_in_place(prepared, path, replace=file.exists and (force or not _keys_in(file)))


def _text(path: str) -> str:
    """Return what a file or a template holds; nothing where it is not there or cannot be judged."""
    if look(path, most=MAX_FILE_BYTES).unreadable:
        return ""
    with contextlib.suppress(OSError), open(path, encoding="utf-8-sig") as file:
        return file.read(MAX_FILE_BYTES)
    return ""


def _with_key(text: str, key: SealedStr) -> str:
    """Return a file's text with the key in the place of its first line that is neither blank nor a comment."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not lines[-1]:
        lines.pop()
    values = [number for number, line in enumerate(lines) if line.strip() and not line.strip().startswith("#")]
    at = values[0] if values else len(lines)
    kept = [line for number, line in enumerate(lines) if number not in values or number == at]
    kept[at : at + 1] = [key.get_secret_value()]
    return "\n".join([*kept, ""])
