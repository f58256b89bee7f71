"""Presence: the rooms that a client is in (docs/protocol.md, section 3.5)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Protocol

from ._errors import ClosedError, ForbiddenError, TidewireError, from_message
from ._link import Link

Message = Mapping[str, Any]
# `entering`: not in the room yet, or the client is offline. `left`: ended, by the program or with an error.
EntryStatus = Literal["entering", "present", "left"]

# Begins the ids of entries. Queries and fences have others.
_ID = "presence-"
# The first pause before a refused entry is requested again, in milliseconds. Later ones double, up to the maximum.
_ASK_AGAIN_MS = 1_000
_ASK_AGAIN_MAX_MS = 30_000


class _Stay:
    """One entry, and how many parts of the program keep it."""

    def __init__(self, entry_id: str, room: str) -> None:
        self.id = entry_id
        self.room = room
        self.data: Mapping[str, Any] | None = None
        self.users = 0
        self.attempts = 0
        self.status: EntryStatus = "entering"
        self.error: TidewireError | None = None
        # The connections on which a request waits, which takes the data of the moment in which it is sent.
        self.waiting: set[Link] = set()
        # The connections on which the service has confirmed the entry. Some may be closed since.
        self.confirmed: set[Link] = set()
        # Replaced at each change of the status.
        self.changed = asyncio.Event()

    def set(self, status: EntryStatus, error: TidewireError | None = None) -> None:
        self.status, self.error = status, error
        self.changed.set()
        self.changed = asyncio.Event()


class RoomsHost(Protocol):
    """The part of the session that its rooms need."""

    def open_links(self) -> list[Link]:
        """The connections that take requests."""

    def later(self, delay_ms: float, work: Callable[[], None]) -> None: ...


class Rooms:
    """All rooms that a client is in. It enters them again on every connection, with the same tab."""

    def __init__(self, host: RoomsHost, random: Callable[[], float]) -> None:
        self._host = host
        self._random = random
        # Identifies this client over reconnections, for as long as it runs.
        self._tab = uuid.uuid4().hex
        self._by_room: dict[str, _Stay] = {}
        self._count = 0

    def enter(self, room: str, data: Mapping[str, Any] | None) -> _Stay:
        stay = self._by_room.get(room)
        if stay is None:
            self._count += 1
            stay = self._by_room[room] = _Stay(f"{_ID}{self._count}", room)
        stay.users += 1
        if data is not None:
            stay.data = data
        if stay.users == 1 or data is not None:
            self._ask_everywhere(stay)
        return stay

    def update(self, stay: _Stay, data: Mapping[str, Any]) -> None:
        if stay.status == "left" or data == stay.data:
            return
        stay.data = data
        self._ask_everywhere(stay)

    def leave(self, stay: _Stay) -> None:
        """One part of the program has left. The entry ends with the last of them."""
        stay.users -= 1
        if stay.users > 0 or self._by_room.get(stay.room) is not stay:
            return
        for link in self._host.open_links():
            if link not in stay.waiting:
                link.send({"type": "leave", "id": stay.id})
        self._drop(stay, None)

    def ask_all(self, link: Link) -> None:
        """A connection takes requests from now on."""
        for stay in list(self._by_room.values()):
            self._ask(stay, link)

    def lost(self, links: Iterable[Link]) -> None:
        """A connection has broken. These are left, and a handover may have entered on one of them already."""
        left = set(links)
        for stay in self._by_room.values():
            stay.waiting &= left
            stay.confirmed &= left
            if not stay.confirmed:
                stay.set("entering", stay.error)

    def stop(self, error: TidewireError | None) -> None:
        for stay in list(self._by_room.values()):
            self._drop(stay, error or ClosedError())

    def receive(self, link: Link, message: Message) -> bool:
        """Handles a message about an entry. Returns whether it was one."""
        entry_id = message.get("id")
        if not isinstance(entry_id, str) or not entry_id.startswith(_ID):
            return False
        stay = next((stay for stay in self._by_room.values() if stay.id == entry_id), None)
        kind = message["type"]
        if stay is None:
            # The program left before the service had answered.
            if kind == "entered":
                link.send({"type": "leave", "id": entry_id})
        elif kind == "entered":
            stay.attempts = 0
            stay.confirmed.add(link)
            stay.set("present")
        elif kind == "error":
            self._refused(stay, link, message)
        elif message["reason"] == "forbidden":
            self._drop(stay, ForbiddenError("forbidden", "the right to be in the room was withdrawn"))
        else:
            self._ask(stay, link)
        return True

    def _ask_everywhere(self, stay: _Stay) -> None:
        for link in self._host.open_links():
            self._ask(stay, link)

    def _ask(self, stay: _Stay, link: Link) -> None:
        if link in stay.waiting or link not in self._host.open_links():
            return
        stay.waiting.add(link)

        def make() -> Message | None:
            stay.waiting.discard(link)
            if self._by_room.get(stay.room) is not stay:
                return None
            data = {} if stay.data is None else {"data": stay.data}
            return {"type": "enter", "id": stay.id, "room": stay.room, "tab": self._tab, **data}

        link.requests.add(make, len(json.dumps([stay.room, stay.data])))

    def _refused(self, stay: _Stay, link: Link, message: Message) -> None:
        error = from_message(message)
        if error.retry not in ("now", "later"):
            self._drop(stay, error)
            return
        stay.set("entering", error)
        pause_ms = min(_ASK_AGAIN_MAX_MS, _ASK_AGAIN_MS * 2 ** min(stay.attempts, 16)) * (0.5 + self._random() / 2)
        stay.attempts += 1

        def again() -> None:
            if self._by_room.get(stay.room) is stay:
                self._ask(stay, link)

        self._host.later(max(pause_ms, message.get("retryAfterMs", 0)), again)

    def _drop(self, stay: _Stay, error: TidewireError | None) -> None:
        del self._by_room[stay.room]
        stay.set("left", error)


class Entry:
    """The own entry in a room: `async with client.enter(room) as entry` is in the room until the end of the block."""

    def __init__(self, rooms: Callable[[], Rooms], room: str, data: Mapping[str, Any] | None) -> None:
        self._rooms = rooms
        self._room = room
        self._data = data
        self._stay: _Stay | None = None

    @property
    def status(self) -> EntryStatus:
        """`entering`: not in the room yet, or offline. `present`. `left`: ended, by the program or with `error`."""
        return "entering" if self._stay is None else self._stay.status

    @property
    def error(self) -> TidewireError | None:
        """Why the service has refused or ended the entry."""
        return None if self._stay is None else self._stay.error

    def update(self, data: Mapping[str, Any]) -> None:
        """Replaces the data that others see. Of several calls in a row, the last one counts."""
        if self._stay is not None:
            self._rooms().update(self._stay, data)

    async def __aenter__(self) -> Entry:
        """Waits until the service has saved the entry. Raises the error if it never will."""
        if self._stay is not None:
            raise RuntimeError("an entry is used once; make another one with client.enter")
        stay = self._stay = self._rooms().enter(self._room, self._data)
        try:
            while stay.status != "present":
                if stay.status == "left":
                    raise stay.error or ClosedError()
                await stay.changed.wait()
        except BaseException:
            self._rooms().leave(stay)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stay is not None:
            self._rooms().leave(self._stay)
