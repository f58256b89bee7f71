"""The result of one request, between the service and the program. Equal queries of a client share one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ._change_queue import ChangeQueue, Mark
from ._changes import Change, Document, Snapshot
from ._errors import TidewireError
from ._result_set import Decode
from ._status import TRANSITIONS, Status, StatusEvent
from ._stores import Saved
from ._view import View

# The fields of `subscribe` that the program has chosen.
Request = Mapping[str, Any]
# How many statuses wait for a slow loop.
_STATUSES_MAX = 100


class Owner(Protocol):
    """The client, which decides what becomes of a result."""

    def abandoned(self, result: LiveResult) -> None:
        """Its last follower has left."""

    def moved(self, result: LiveResult) -> None:
        """Documents, cursor or ticket have changed."""

    def paused(self, result: LiveResult) -> None:
        """A loop is too slow for a query that has no result to catch up with. Its subscription is to end for now."""

    def unpaused(self, result: LiveResult) -> None:
        """The loop has caught up. The subscription is to resume at its position."""

    def failed(self, result: LiveResult, error: TidewireError) -> None:
        """It has an error. The client tries again unless the result has stopped."""


class LiveResult:
    """The result of one request: its documents, its status, and its followers."""

    def __init__(self, result_id: str, key: str, request: Request, decode: Decode, owner: Owner) -> None:
        self._id = result_id
        self._pauses = 0
        self._is_paused = False
        self._decode = decode
        self.key = key
        self.request = request
        self._owner = owner
        self._followers = 0
        self._queues: list[ChangeQueue] = []
        # The statuses that loops over them have not received yet.
        self._status_queues: list[deque[Status]] = []
        self._status: Status = "connecting"
        self._error: TidewireError | None = None
        self._own_error: TidewireError | None = None
        self._ticket: str | None = None
        self._refusals = 0
        # Whether a loop was left with changes that it had not processed.
        self._is_behind = False
        self._has_result = False
        # Always the same list, so that nothing seems to change.
        self._nothing: Sequence[Document] = []
        # Set and replaced at each change of the documents or of the status.
        self._changed = asyncio.Event()
        self._view = self.new_view()
        self._view.watchers[self] = None

    @property
    def id(self) -> str:
        """The id of the subscription. Another one begins after a pause, because an id is never used twice."""
        return self._id if self._pauses == 0 else f"{self._id}-{self._pauses}"

    def new_view(self, origin: View | None = None) -> View:
        return View(self.request.get("sort") is not None, self.wants_snapshot, self._decode, origin)

    @property
    def wants_snapshot(self) -> bool:
        return self.request.get("snapshot") is not False

    @property
    def view(self) -> View:
        """The documents that it shows. Requests with the same live query share one view."""
        return self._view

    @property
    def documents(self) -> Sequence[Document]:
        return self._view.documents if self._has_result and self.wants_snapshot else self._nothing

    @property
    def has_result(self) -> bool:
        """Whether there are documents to show: those of a snapshot, or those of the store."""
        return self._has_result

    @property
    def status(self) -> Status:
        return self._status

    @property
    def error(self) -> TidewireError | None:
        return self._error

    @property
    def own_error(self) -> TidewireError | None:
        """The error that concerns this query alone. It says why the service ends the query, if the service does."""
        return self._own_error

    @property
    def is_used(self) -> bool:
        return self._followers > 0

    @property
    def is_behind(self) -> bool:
        return self._is_behind

    @property
    def saved(self) -> Saved | None:
        """The state from which another process can resume; None while there is none."""
        cursor = self._view.cursor
        if cursor is None or self._ticket is None:
            return None
        documents = self._view.raw_documents if self.wants_snapshot else []
        return Saved(cursor=cursor, ticket=self._ticket, documents=documents, tail=self._view.tail)

    @property
    def resume_point(self) -> dict[str, str] | None:
        cursor = self._view.cursor
        if cursor is None or self._ticket is None:
            return None
        return {"cursor": cursor, "ticket": self._ticket}

    def count_refusal(self) -> int:
        """The service cannot accept the subscription now. Returns how many consecutive refusals there were before."""
        self._refusals += 1
        return self._refusals - 1

    # Followers

    def follow(self) -> None:
        self._followers += 1

    def leave(self) -> None:
        self._followers -= 1
        if self._followers == 0:
            self._owner.abandoned(self)

    def open_queue(self, limit: int) -> ChangeQueue:
        """Makes the queue of a loop. The loop counts as a follower until `close_queue`."""
        self.follow()
        queue = ChangeQueue((lambda: self.documents) if self.wants_snapshot else None, limit, self._drained)
        self._queues.append(queue)
        if self._has_result and self.wants_snapshot:
            # The loop receives the result as it is, so nothing that an earlier loop has left is missing.
            self._is_behind = False
            queue.push(Snapshot(self.documents))
        if self._status == "stopped":
            queue.end(self._error)
        return queue

    def close_queue(self, queue: ChangeQueue) -> None:
        if queue not in self._queues:
            return
        if not queue.is_done:
            self._is_behind = True
        self._queues.remove(queue)
        queue.discard()
        self._drained()
        self.leave()

    def open_statuses(self) -> deque[Status]:
        """Makes the queue of a loop over the statuses. The oldest ones of a very slow loop are dropped."""
        statuses: deque[Status] = deque([self._status], maxlen=_STATUSES_MAX)
        self._status_queues.append(statuses)
        return statuses

    def close_statuses(self, statuses: deque[Status]) -> None:
        self._status_queues = [one for one in self._status_queues if one is not statuses]

    def mark(self, reached: Callable[[], None], dropped: Callable[[], None]) -> None:
        """Calls `reached` when every loop has processed what the result shows now, or `dropped` if one is left."""
        Mark(list(self._queues), reached, dropped)

    @property
    def is_processed(self) -> bool:
        """Whether every loop has processed what the result shows."""
        return not self._is_behind and all(queue.is_done for queue in self._queues)

    async def wait_for_change(self) -> None:
        """Waits until the documents or the status change."""
        await self._changed.wait()

    # The service

    def restore(self, saved: Saved) -> None:
        """Takes the state that was stored earlier, unless the user may no longer see it."""
        if self._is_forbidden:
            return
        self._view.restore(saved.documents, saved.cursor, saved.tail)
        self._ticket = saved.ticket
        if self.wants_snapshot:
            self.changed(Snapshot(self._view.documents, "stored"))

    def show(self, view: View) -> None:
        """Shows this view from now on."""
        if self._view is view:
            return
        self._view.watchers.pop(self, None)
        view.watchers[self] = None
        self._view = view

    def changed(self, change: Change) -> None:
        if isinstance(change, Snapshot) and not self.wants_snapshot:
            if change.reason is None:
                return  # Another query with the same live query has asked for the documents.
            change = Snapshot([], change.reason)
        self._has_result = True
        for queue in list(self._queues):
            queue.push(change)
        self._notify()
        if not self.wants_snapshot and not self._is_paused and any(queue.is_full for queue in self._queues):
            self._is_paused = True
            self._owner.paused(self)

    def pause(self) -> None:
        """Keeps the position of now, under another id."""
        self._pauses += 1
        self.show(self.new_view(self._view))
        self.advance("reset")

    def _drained(self) -> None:
        if self._is_paused and all(queue.is_drained for queue in self._queues):
            self._is_paused = False
            self._owner.unpaused(self)

    def advance(self, event: StatusEvent) -> None:
        status = TRANSITIONS[self._status].get(event, self._status)
        has_recovered = status == "live" and self._error is not None
        if status == self._status and not has_recovered:
            return
        if status != self._status:
            for statuses in self._status_queues:
                statuses.append(status)
        self._status = status
        if status == "live":
            self._error = self._own_error = None
        self._notify()

    def renewed(self, ticket: str) -> None:
        """The service has accepted the subscription, or has sent a newer ticket."""
        self._refusals = 0
        self._ticket = ticket
        self._owner.moved(self)

    def moved(self) -> None:
        self._owner.moved(self)

    def note(self, error: TidewireError, is_own: bool = False) -> None:
        """Reports an error after which the client tries again. `is_own`: it concerns this query alone."""
        self._error = error
        self._own_error = error if is_own else None
        self._owner.failed(self, error)
        self._notify()

    def stop(self, error: TidewireError | None) -> None:
        """The query has ended permanently, with the error unless the program has closed the client."""
        self._error = error
        self.advance("stop")
        if self._is_forbidden:
            self._has_result = False
        for queue in list(self._queues):
            queue.end(error)
        if error is not None:
            self._owner.failed(self, error)

    @property
    def _is_forbidden(self) -> bool:
        """Whether the user may no longer see the documents."""
        return self._status == "stopped" and self._error is not None and self._error.code == "forbidden"

    def end(self) -> None:
        self._view.watchers.pop(self, None)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
