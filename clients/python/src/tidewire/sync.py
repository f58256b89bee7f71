"""The client for programs without asyncio. A thread of its own runs the event loop; every call waits for it.

with tidewire.sync.connect("https://live.example.com", token=token) as client:
    for change in client.query("orders", {"status": "open"}):
        print(change)
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from . import _client as aio
from . import _presence, _query
from ._changes import Change, Document
from ._errors import TidewireError
from ._fences import OperationTime
from ._session import ConnectionStatus
from ._status import Status

P = ParamSpec("P")
T = TypeVar("T")


class _LoopThread:
    """A thread that runs an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a program that forgets to close its client still ends.
        self._thread = threading.Thread(target=self._run, name="tidewire", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the thread, and waits for its result."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("the client was closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("the client was closed while a call was waiting") from None
        except KeyboardInterrupt:
            future.cancel()
            raise

    def call(self, work: Callable[[], T]) -> T:
        """Calls a function in the thread."""

        async def run() -> T:
            return work()

        return self.run(run())

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


class Changes:
    """A loop over the changes of a query: an iterator that follows the query until it is closed or left."""

    def __init__(self, thread: _LoopThread, changes: _query.Changes) -> None:
        self._thread = thread
        self._changes = changes

    def __iter__(self) -> Changes:
        return self

    def __next__(self) -> Change:
        try:
            return self._thread.run(self._changes.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def next(self, timeout: float | None = None) -> Change:
        """The next change. Raises `TimeoutError` if none arrives within so many seconds, and loses none."""
        try:
            return self._thread.run(_within(self._changes.__anext__(), timeout))
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Changes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the loop. The change in hand counts as not processed."""
        self._thread.run(self._changes.aclose())


class Query:
    """A live query, as `tidewire.Query`."""

    def __init__(self, thread: _LoopThread, query: _query.Query) -> None:
        self._thread = thread
        self._query = query

    def __repr__(self) -> str:
        return repr(self._query)

    @property
    def documents(self) -> Sequence[Document]:
        """The current result, with every change that has arrived; empty while nobody follows the query."""
        return self._thread.call(lambda: self._query.documents)

    @property
    def status(self) -> Status:
        return self._thread.call(lambda: self._query.status)

    @property
    def error(self) -> TidewireError | None:
        return self._thread.call(lambda: self._query.error)

    def __iter__(self) -> Changes:
        return self.changes()

    def changes(self) -> Changes:
        """Every change, starting with a `Snapshot`; see `tidewire.Query.changes`."""
        return Changes(self._thread, self._thread.call(self._query.changes))

    def results(self) -> Iterator[Sequence[Document]]:
        """The whole result, at first and after every change."""
        return self._each(self._query.results)

    def statuses(self) -> Iterator[Status]:
        """The status, at first and after every change, until the query has stopped."""
        return self._each(self._query.statuses)

    def _each(self, make: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
        items = self._thread.call(make)
        try:
            while True:
                try:
                    item = self._thread.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self._thread.run(items.aclose())

    def snapshot(self, timeout: float | None = None) -> Sequence[Document]:
        """The result, once it is up to date. Raises `TimeoutError` after so many seconds."""
        return self._thread.run(_within(self._query.snapshot(), timeout))

    def __enter__(self) -> Query:
        self._thread.run(self._query.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._query.__aexit__(kind, error, trace))


class Entry:
    """The own entry in a room, as `tidewire.Entry`: `with client.enter(room) as entry`."""

    def __init__(self, thread: _LoopThread, entry: _presence.Entry) -> None:
        self._thread = thread
        self._entry = entry

    @property
    def status(self) -> _presence.EntryStatus:
        return self._entry.status

    @property
    def error(self) -> TidewireError | None:
        return self._entry.error

    def update(self, data: Mapping[str, Any]) -> None:
        """Replaces the data that others see."""
        self._thread.call(lambda: self._entry.update(data))

    def __enter__(self) -> Entry:
        self._thread.run(self._entry.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._entry.__aexit__(kind, error, trace))


def _makes_query(
    make: Callable[Concatenate[aio.Client, P], _query.Query],
) -> Callable[Concatenate[Client, P], Query]:
    """The method of the other client, with the same arguments."""

    @functools.wraps(make)
    def method(client: Client, *args: P.args, **options: P.kwargs) -> Query:
        return Query(client._running(), make(client._client, *args, **options))

    return cast("Callable[Concatenate[Client, P], Query]", method)


class Client:
    """One user's access to a service, as `tidewire.Client`. Any thread may use it."""

    def __init__(self, client: aio.Client) -> None:
        self._client = client
        self._thread: _LoopThread | None = None

    query = _makes_query(aio.Client.query)
    aggregate = _makes_query(aio.Client.aggregate)

    def __enter__(self) -> Client:
        thread = _LoopThread()
        try:
            thread.run(self._client.__aenter__())
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and all queries: loops end, and pending calls raise an error."""
        thread, self._thread = self._running(), None
        try:
            thread.run(self._client.aclose())
        finally:
            thread.stop()

    @property
    def status(self) -> ConnectionStatus:
        """The status of the connection: `connecting`, `connected`, `offline` or `stopped`."""
        return self._client.status

    @property
    def error(self) -> TidewireError | None:
        """Why the connection has stopped, or why the last attempt failed."""
        return self._client.error

    def ready(self, timeout: float | None = None) -> None:
        """Waits until the service has accepted the client. Raises `TimeoutError` after so many seconds."""
        self._running().run(_within(self._client.ready(), timeout))

    def fence(self, operation_time: OperationTime, timeout: float | None = None) -> None:
        """Waits until every query shows the writes up to this time: read your own writes."""
        self._running().run(_within(self._client.fence(operation_time), timeout))

    def enter(self, room: str, data: Mapping[str, Any] | None = None) -> Entry:
        """Is in a room until the end of the `with` block; see `tidewire.Client.enter`."""
        return Entry(self._running(), self._client.enter(room, data))

    def _running(self) -> _LoopThread:
        if self._thread is None:
            raise RuntimeError("the client is not connected: use `with tidewire.sync.connect(…) as client`")
        return self._thread


async def _next(results: AsyncIterator[T]) -> T:
    return await results.__anext__()


async def _within(work: Coroutine[Any, Any, T], timeout: float | None) -> T:
    try:
        return await asyncio.wait_for(work, timeout)
    except asyncio.TimeoutError:
        raise TimeoutError(f"no answer within {timeout} s") from None


def _as_sync(make: Callable[P, aio.Client]) -> Callable[P, Client]:
    @functools.wraps(make)
    def connect(*args: P.args, **options: P.kwargs) -> Client:
        return Client(make(*args, **options))

    return connect


connect = _as_sync(aio.connect)
