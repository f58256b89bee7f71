"""The queries of a program. A query is a description, and becomes active when it is followed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Protocol

from ._change_queue import ChangeQueue
from ._changes import Change, Document
from ._errors import BadRequestError, ClosedError, TidewireError
from ._live_result import LiveResult, Request
from ._status import Status


class QueryHost(Protocol):
    """The part of a client that its queries need."""

    @property
    def queue_limit(self) -> int: ...

    def find(self, key: str) -> LiveResult | None:
        """The result of a request if somebody follows it."""

    def acquire(self, key: str, request: Request) -> LiveResult:
        """The shared result of a request. The caller must follow it at once."""


class Changes:
    """A loop over the changes of a query. It follows the query until it is closed, left or garbage-collected."""

    def __init__(self, result: LiveResult, limit: int) -> None:
        self._is_closed = False
        self._result = result
        self._loop = asyncio.get_running_loop()
        self._queue: ChangeQueue = result.open_queue(limit)

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        return await self._queue.next()

    async def __aenter__(self) -> Changes:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves the loop. The change in hand counts as not processed."""
        self._is_closed = True
        self._result.close_queue(self._queue)

    def __del__(self) -> None:
        # A loop that was left by `break` ends here. Another thread may run this, so the client's own loop does the work.
        if not self._is_closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._result.close_queue, self._queue)


class Query:
    """A live query. Making one costs nothing and sends nothing. Equal queries of a client share one subscription.

    `async for change in query` follows it for as long as the loop runs, `async with query` for as long as the block.
    """

    def __init__(self, host: QueryHost, request: Request) -> None:
        self._host = host
        self._request = request
        self._key = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        self._followed: list[LiveResult] = []

    def __repr__(self) -> str:
        return f"Query({self._key})"

    @property
    def documents(self) -> Sequence[Document]:
        """The current result, with every change that has arrived; empty while nobody follows the query.

        It is the same list until something changes. A loop over the changes may be behind it.
        """
        result = self._host.find(self._key)
        return [] if result is None else result.documents

    @property
    def status(self) -> Status:
        """`connecting`, `catching-up`, `live`, `offline` or `stopped`. Only `live` says that the result is current."""
        result = self._host.find(self._key)
        return "connecting" if result is None else result.status

    @property
    def error(self) -> TidewireError | None:
        """Why the query is not live: why it has stopped, or why the last attempt failed."""
        result = self._host.find(self._key)
        return None if result is None else result.error

    def __aiter__(self) -> Changes:
        return self.changes()

    def changes(self) -> Changes:
        """Every change, starting with a `Snapshot` (not with `snapshot=False`).

        The loop ends when the client is closed, and raises the error of a query that has stopped. A loop that reads too
        slowly receives another `Snapshot` with the reason `lagged`.
        """
        return Changes(self._host.acquire(self._key, self._request), self._host.queue_limit)

    async def results(self) -> AsyncGenerator[Sequence[Document], None]:
        """The whole result, at first and after every change. Results that the loop is too slow for are left out."""
        if self._request.get("snapshot") is False:
            raise BadRequestError("bad-request", "without a snapshot there is no result: use `changes`")
        result = self._host.acquire(self._key, self._request)
        result.follow()
        try:
            shown: Sequence[Document] | None = None
            while True:
                if result.has_result and result.documents is not shown:
                    shown = result.documents
                    yield shown
                elif result.status == "stopped":
                    if result.error is not None:
                        raise result.error
                    return
                else:
                    await result.wait_for_change()
        finally:
            result.leave()

    async def statuses(self) -> AsyncGenerator[Status, None]:
        """The status, at first and after every change, until the query has stopped. A loop follows the query."""
        result = self._host.acquire(self._key, self._request)
        result.follow()
        waiting = result.open_statuses()
        try:
            status: Status | None = None
            while status != "stopped":
                while not waiting:
                    await result.wait_for_change()
                status = waiting.popleft()
                yield status
        finally:
            result.close_statuses(waiting)
            result.leave()

    async def snapshot(self) -> Sequence[Document]:
        """The result, once it is up to date. Raises the error of a query that has stopped."""
        result = self._host.acquire(self._key, self._request)
        result.follow()
        try:
            while result.status != "live":
                if result.status == "stopped":
                    raise result.error or ClosedError()
                await result.wait_for_change()
            return result.documents
        finally:
            result.leave()

    async def __aenter__(self) -> Query:
        result = self._host.acquire(self._key, self._request)
        result.follow()
        self._followed.append(result)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._followed.pop().leave()
