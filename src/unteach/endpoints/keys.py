"""API keys: from the environment or the system's keyring, and from nowhere else."""

from __future__ import annotations

import importlib
import os
from typing import Any

from unteach.errors import UserError

VARIABLE = r"^[A-Z_][A-Z0-9_]*$"
"""The form of a variable's name, which a key put there by mistake does not have."""

_SHOWN = 300


def find_key(variable: str | None, keyring: str | None) -> str | None:
    """The key from the environment variable, else from the keyring entry ``service/user``; ``None`` if neither has it.

    Raises:
        UserError: a keyring entry is named but malformed, there is no keyring to read, or what was found is no key.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    where = variable
    if not key and keyring is not None:
        key, where = _from_keyring(keyring), "the keyring"
    if not all("!" <= character <= "~" for character in key):  # an HTTP library would refuse it, and show it
        raise UserError(f"the key in {where} holds a blank, a line break or a letter that no key has: copy it again.")
    return key or None


def _from_keyring(entry: str) -> str:
    service, separator, user = entry.partition("/")
    if not (separator and service and user):
        raise UserError("keyring: write SERVICE/USER, as in `keyring set SERVICE USER`; never the key itself.")
    try:
        ring: Any = importlib.import_module("keyring")
    except ImportError as error:
        raise UserError(f"keyring: {entry!r} needs the keyring package: pip install 'unteach[keyring]'") from error
    try:
        return (ring.get_password(service, user) or "").strip()
    except ring.errors.KeyringError as error:
        raise UserError(f"keyring: {entry!r} cannot be read: {error}") from error


def needed_key(variable: str | None, keyring: str | None, what: str) -> str:
    """As ``find_key``; a missing key is a ``UserError`` that says where to put it."""
    key = find_key(variable, keyring)
    if key is None:
        places = [f"the environment variable {variable}"] if variable else []
        places += [f"the keyring entry {keyring!r}"] if keyring else []
        raise UserError(f"{what} needs a key in {' or '.join(places)}; neither specs nor files.")
    return key


def key_for(variable: str | None, keyring: str | None, what: str) -> str | None:
    """The key where a place for it is named, which then must hold one; none for an address without."""
    return needed_key(variable, keyring, what) if variable or keyring else None


def without_key(text: str, key: str | None) -> str:
    """A message of a server, which may repeat the key: without it, on one line, no longer than anyone reads."""
    text = text.replace(key, "[key]") if key else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
