"""Stores for the state of queries, so that a program that is started again resumes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

# Written into each file, so that a later version of the client recognizes files of another form.
FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """The state of a query, from which a later process resumes. All values are as the service has sent them."""

    cursor: str
    ticket: str
    documents: Sequence[Mapping[str, Any]] = field(default_factory=list)
    # Changes that the service may repeat after the cursor.
    tail: Sequence[Mapping[str, Any]] = field(default_factory=list)


class Store(Protocol):
    """Where the state of queries is kept. A store that fails counts as empty, and the client reads everything again."""

    async def load(self, key: str) -> Saved | None: ...

    async def save(self, key: str, saved: Saved) -> None: ...

    async def remove(self, key: str) -> None: ...


class MemoryStore:
    """Keeps states in memory, for clients of the same process that are closed and opened again."""

    def __init__(self) -> None:
        self._kept: dict[str, Saved] = {}

    async def load(self, key: str) -> Saved | None:
        return self._kept.get(key)

    async def save(self, key: str, saved: Saved) -> None:
        self._kept[key] = saved

    async def remove(self, key: str) -> None:
        self._kept.pop(key, None)


class FileStore:
    """Keeps each query in a file of its own in a folder, which only the current user can read.

    A file is replaced as a whole, so that a crash leaves the old one or the new one. Only one process at a time may use
    the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    async def load(self, key: str) -> Saved | None:
        return await asyncio.to_thread(self._load, key)

    async def save(self, key: str, saved: Saved) -> None:
        await asyncio.to_thread(self._save, key, saved)

    async def remove(self, key: str) -> None:
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _load(self, key: str) -> Saved | None:
        try:
            kept = json.loads(self._path(key).read_text("utf-8"))
        except FileNotFoundError:
            return None
        if kept.get("format") != FORMAT or kept.get("key") != key:
            return None
        return Saved(**kept["saved"])

    def _save(self, key: str, saved: Saved) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not `asdict`, which copies every document.
        text = json.dumps({"format": FORMAT, "key": key, "saved": vars(saved)}, separators=(",", ":"))
        # `mkstemp` makes a file that only the current user can read.
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path(key))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
