"""The stage store: results in folders named by the hash of everything that decided them.

A stage's key is the hash of its kind, its code version, its identity settings and its inputs' keys. The folder is
filled under a temporary name, renamed into place, and its marker ``done.json`` is written last of all, so a folder
with a marker is whole. A lock lets two processes share a store: the second waits and then finds the result.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unteach.errors import UserError

MARKER = "done.json"


@dataclass(frozen=True)
class StageKey:
    """What a stage is: its kind, the version of its code, its identity settings and its inputs' keys."""

    kind: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, StageKey] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; inputs appear by their hash."""
        return {
            "kind": self.kind,
            "version": self.version,
            "settings": self.settings,
            "inputs": {name: key.digest for name, key in sorted(self.inputs.items())},
        }

    @property
    def digest(self) -> str:
        """Sixteen hex digits of the SHA-256 of the canonical JSON form."""
        text = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """A folder of finished stages. ``folder(key)`` is where a stage's files are; ``writing(key)`` fills one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: StageKey) -> Path:
        """Where the stage's files are, whether or not it has been computed."""
        return self.root / key.kind / key.digest

    def is_done(self, key: StageKey) -> bool:
        """True once the stage's marker is there."""
        return (self.folder(key) / MARKER).is_file()

    def marker(self, key: StageKey) -> dict[str, Any]:
        """What was recorded with a finished stage: its key, when, how long it took."""
        content: dict[str, Any] = json.loads((self.folder(key) / MARKER).read_text(encoding="utf-8"))
        return content

    def markers(self, kind: str) -> Iterator[dict[str, Any]]:
        """Markers of every finished stage of a kind."""
        for path in sorted((self.root / kind).glob(f"*/{MARKER}")):
            yield json.loads(path.read_text(encoding="utf-8"))

    @contextlib.contextmanager
    def writing(
        self, key: StageKey, *, needs_bytes: int = 0, amount: int = 0, share: float = 1.0
    ) -> Iterator[Path | None]:
        """Give an empty folder to fill, then put it in place; or ``None`` if another process finished it meanwhile.

        Nothing is kept if the body raises. ``needs_bytes`` is checked against the free space before anything starts;
        ``amount`` of work is recorded with the time it took, for later estimates; ``share`` is this stage's share of
        that time where several are done in one go.

        Raises:
            UserError: the disk has not enough room, before or while writing.
        """
        final = self.folder(key)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with locked(final.with_name(f".{final.name}.lock")):
                if self.is_done(key):
                    yield None
                    return
                self._check_room(needs_bytes)
                work = final.with_name(f".{final.name}.partial")
                shutil.rmtree(work, ignore_errors=True)
                shutil.rmtree(final, ignore_errors=True)
                work.mkdir()
                started = time.time()
                try:
                    yield work
                    finished = time.time()
                    marker = {
                        "key": key.as_dict(),
                        "finished": finished,
                        "seconds": share * (finished - started),
                        "amount": amount,
                    }
                    work.rename(final)
                    write_atomically(final / MARKER, json.dumps(marker, ensure_ascii=False, indent=1))
                finally:
                    shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            explained = explain_os_error(error, self.root)
            if explained is error or not self._concerns(error):
                raise
            raise explained from error

    def _concerns(self, error: OSError) -> bool:
        return error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(self.root)

    def _check_room(self, needs_bytes: int) -> None:
        free = shutil.disk_usage(self.root).free
        if free < needs_bytes:
            raise UserError(
                f"not enough disk space in {self.root}: this stage writes about {needs_bytes / 1e6:,.0f} MB and "
                f"{free / 1e6:,.0f} MB are free. Free some space or choose another folder with --store; "
                "finished stages are kept and will be reused."
            )


def cache_folder() -> Path:
    """Where unteach keeps what it derives once: ``$UNTEACH_CACHE``, or ``unteach`` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unteach"
    return Path(os.environ.get("UNTEACH_CACHE") or default)


def explain_os_error(error: OSError, where: Path) -> UserError | OSError:
    """A full or read-only disk as an error the user can act on; anything else unchanged."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"the disk is full while writing under {where}. Finished stages are kept: free some space and run the "
            "same command again."
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return UserError(f"cannot write under {where}: {error.strerror}. Choose another folder with --out or --store.")
    return error


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new content, never a part of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock on ``path``; it ends with the process, so a killed run leaves no stale lock."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
