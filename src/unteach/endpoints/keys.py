"""API keys: from the environment or the system's keyring, and from nowhere else."""

from __future__ import annotations

import importlib
import os
from typing import Any

from unteach.errors import UserError


def find_key(variable: str, keyring: str | None) -> str | None:
    """The key from the environment variable, else from the keyring entry ``service/user``; ``None`` if neither has it.

    Raises:
        UserError: a keyring entry is named but malformed, or there is no keyring to read.
    """
    if key := os.environ.get(variable, "").strip():
        return key
    if keyring is None:
        return None
    service, separator, user = keyring.partition("/")
    if not (separator and service and user):
        raise UserError(f"keyring: {keyring!r}: write SERVICE/USER, as in `keyring set SERVICE USER`.")
    try:
        ring: Any = importlib.import_module("keyring")
    except ImportError as error:
        raise UserError(f"keyring: {keyring!r} needs the keyring package: pip install 'unteach[keyring]'") from error
    try:
        found: str | None = ring.get_password(service, user)
    except ring.errors.KeyringError as error:
        raise UserError(f"keyring: {keyring!r} cannot be read: {error}") from error
    return found


def needed_key(variable: str, keyring: str | None, what: str) -> str:
    """As ``find_key``; a missing key is a ``UserError`` that says where to put it."""
    key = find_key(variable, keyring)
    if key is None:
        where = f" or the keyring entry {keyring!r}" if keyring else ""
        raise UserError(f"{what} needs a key in the environment variable {variable}{where}; neither specs nor files.")
    return key


def without_key(text: str, key: str | None) -> str:
    """A message of a server that may repeat the key, without it."""
    return text.replace(key, "[key]") if key else text
