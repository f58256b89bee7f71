"""The documents of one live query in the client, and the bookkeeping to resume them exactly.

A resumption may repeat changes that the client has applied, and a snapshot may arrive in parts. The program sees neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ._changes import Added, Change, Changed, Document, Removed, Snapshot, SnapshotReason
from ._result_set import Decode, Raw, ResultSet, with_delta
from ._status import StatusEvent

Message = Mapping[str, Any]


class Watcher(Protocol):
    """A query of the program that shows a view."""

    def changed(self, change: Change) -> None: ...

    def advance(self, event: StatusEvent) -> None: ...

    def renewed(self, ticket: str) -> None:
        """The service has started the view again, under another ticket."""

    def moved(self) -> None:
        """The documents or the cursor have changed."""


class View:
    """The documents of one live query, and their cursor. Queries of the program with the same live query share it."""

    def __init__(self, is_sorted: bool, holds: bool, decode: Decode, origin: View | None = None) -> None:
        """`holds`: the view has the result. Otherwise it passes changes on, and keeps no documents."""
        self.watchers: dict[Watcher, None] = {}
        self._is_sorted = is_sorted
        self._holds = holds
        self._decode = decode
        self._set: ResultSet = ResultSet(is_sorted, decode, None if origin is None else origin._set)
        # The snapshot that is arriving. The earlier documents stay visible until it is complete.
        self._staging: ResultSet | None = None
        self._reason: SnapshotReason | None = None
        self._cursor = None if origin is None else origin.cursor
        # Changes applied after the cursor that a resumption names. They will be sent again.
        self._tail: list[Message] = [] if origin is None else origin.tail
        self._resumes_at: str | None = None
        # Changes that the service is about to repeat, and the cursor from which it continues.
        self._repeats: list[Message] = []
        self._repeats_from: str | None = None
        self._is_current = False

    @property
    def documents(self) -> Sequence[Document]:
        return self._set.documents

    @property
    def raw_documents(self) -> list[Raw]:
        return self._set.raw_documents

    @property
    def is_current(self) -> bool:
        """Whether all data of the start has arrived."""
        return self._is_current

    @property
    def cursor(self) -> str | None:
        """The cursor to resume from. There is none while a snapshot arrives: its cursor is valid only at its end."""
        return self._cursor if self._staging is None else None

    @property
    def tail(self) -> list[Message]:
        """The changes that a resumption from the cursor may repeat."""
        return [message for message in self._tail if message["cursor"] == self._cursor]

    def restore(self, documents: Sequence[Raw], cursor: str, tail: Sequence[Message]) -> None:
        """Takes the state that was stored earlier."""
        for raw in documents:
            self._set.put(raw, None)
        self._cursor = cursor
        self._tail = list(tail)

    def resuming(self) -> None:
        """A resumption from the current cursor was requested, perhaps while an older connection still delivers."""
        if self._resumes_at is None:
            self._resumes_at = self._cursor

    def resume_failed(self) -> None:
        self._resumes_at = None
        self._tail = self.tail

    def resumed(self) -> None:
        """The service continues from the cursor of `resuming`. It repeats later changes, and the view skips them."""
        self._repeats = self._tail
        self._repeats_from = self._resumes_at
        self.resume_failed()
        self._is_current = False

    def rights_moved(self) -> None:
        """The documents continue as those of another live query. The difference follows."""
        self._forget()
        self._is_current = False

    def begin(self, cursor: str) -> None:
        """Changes follow from here on."""
        self._forget()
        self._cursor = cursor
        self._is_current = True

    def start_over(self, holds: bool, reason: SnapshotReason | None, cursor: str | None) -> None:
        """A snapshot follows, unless the view holds no documents. In that case changes follow from the cursor on."""
        self._forget()
        self._holds = holds
        self._reason = reason
        self._is_current = not holds
        self._cursor = None if holds else cursor
        self._staging = ResultSet(self._is_sorted, self._decode) if holds else None
        if not holds:
            self._set = ResultSet(self._is_sorted, self._decode)
            self._announce_snapshot()

    def snapshot(self, message: Message) -> None:
        if self._staging is None:
            self._staging = ResultSet(self._is_sorted, self._decode)
        for raw in message["docs"]:
            self._staging.put(raw, None)
        if not message["last"]:
            return
        self._set = self._staging
        self._staging = None
        self._cursor = message["cursor"]
        self._announce_snapshot()
        self._caught_up()

    def change(self, message: Message) -> None:
        if self._is_repeat(message):
            return
        if message["cursor"] != self._cursor and self._resumes_at is None:
            self._tail = []
        self._tail.append(message)
        if self._staging is not None:
            self._apply(self._staging, message)
            return
        self._cursor = message["cursor"]
        change = self._apply(self._set, message)
        for watcher in list(self.watchers):
            if change is not None:
                watcher.changed(change)
            watcher.moved()

    def reset(self, message: Message) -> None:
        self.start_over(self._holds, message["reason"], None)
        for watcher in list(self.watchers):
            watcher.renewed(message["ticket"])
            watcher.advance("caught-up" if self._is_current else "reset")

    def watermark(self, cursor: str) -> None:
        """Everything up to this cursor has arrived."""
        if self._staging is not None:
            return
        if self._resumes_at is None:
            self._tail = []
        self._repeats = []
        self._cursor = cursor
        self._caught_up()
        for watcher in list(self.watchers):
            watcher.moved()

    def _apply(self, documents: ResultSet, message: Message) -> Change | None:
        """Applies a change, and returns it as the program sees it: an existing document is not added again."""
        cause, cursor = message["cause"], message["cursor"]
        if message["type"] == "removed":
            document_id = message["_id"]
            previous = documents.shown(document_id)
            documents.remove(document_id)
            if previous is None and self._holds:
                return None
            return Removed(self._decode(document_id), previous, cause, cursor)
        raw = message.get("doc")
        document_id = message["_id"] if raw is None else raw["_id"]
        previous = documents.shown(document_id)
        if raw is None:
            base = documents.get(document_id) or {"_id": document_id}
            raw = with_delta(base, message.get("set") or {}, message.get("unset") or [])
        before = message.get("before")
        following = None if before is None else self._decode(before)
        if not self._holds:
            document = self._decode(raw)
            if message["type"] == "added":
                return Added(document, cause, cursor, following)
            return Changed(document, None, cause, cursor, following)
        documents.put(raw, before, moves="before" in message)
        shown = documents.shown(document_id)
        assert shown is not None
        if previous is None:
            return Added(shown, cause, cursor, following)
        return Changed(shown, previous, cause, cursor, following)

    def _caught_up(self) -> None:
        self._is_current = True
        for watcher in list(self.watchers):
            watcher.advance("caught-up")

    def _forget(self) -> None:
        self._tail = []
        self._repeats = []
        self._resumes_at = None

    def _announce_snapshot(self) -> None:
        change = Snapshot(self.documents, self._reason)
        self._reason = None
        for watcher in list(self.watchers):
            watcher.changed(change)
            watcher.moved()

    def _is_repeat(self, message: Message) -> bool:
        """Whether a message repeats a change that was applied already.

        That is the rest of a transaction that was cut off, or changes that an older connection has delivered in the
        meantime. The order is the same on every node.
        """
        while self._repeats:
            first = self._repeats.pop(0)
            if _is_same(first, message):
                return True
            # A change with exactly the cursor of the resumption is repeated only from within a transaction.
            if first["cursor"] != self._repeats_from:
                self._repeats = []
        return False


def _is_same(one: Message, other: Message) -> bool:
    """Compares two messages without the number of the live query, which differs between connections."""
    if one["cursor"] != other["cursor"]:
        return False
    # As text, because `1 == True` in Python.
    return json.dumps({**one, "query": 0}) == json.dumps({**other, "query": 0})
