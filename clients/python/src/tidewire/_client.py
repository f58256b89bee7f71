"""The client of a Tidewire service, for asyncio."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Union
from urllib.parse import urlsplit

from ._errors import BadRequestError, ClosedError, TidewireError
from ._fences import OperationTime
from ._live_result import LiveResult, Request
from ._persistence import Persistence
from ._presence import Entry
from ._query import Query
from ._session import ConnectionStatus, Session, SessionOptions
from ._stores import Store
from ._tokens import TokenSource
from ._transport import Target
from ._values import Values, decoder_of, to_extended_json

# The order of a result: paths with 1 (ascending) or -1 (descending), or one path, ascending.
Sort = Union[str, Mapping[str, Literal[1, -1]], Sequence["tuple[str, Literal[1, -1]]"]]
Trace = Callable[[Mapping[str, Any]], None]

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}

log = logging.getLogger("tidewire")


def connect(
    url: str,
    *,
    token: TokenSource = None,
    values: Values = "json",
    store: Store | None = None,
    scope: str | None = None,
    store_interval: float = 1.0,
    queue_limit: int = 1_000,
    linger: float = 1.0,
    connect_timeout: float = 15.0,
    silence: float = 10.0,
    reconnect: Mapping[str, float] | None = None,
    websocket: Mapping[str, Any] | None = None,
) -> Client:
    """Makes a client: `async with tidewire.connect(url, token=token) as client`. All times are in seconds.

    url: the address of the service, `https://live.example.com`. A path is kept as a prefix.
    token: a token, or a function that returns one, plain or async. It is called again when the token expires. Without
        one the client is anonymous.
    values: `json`; `ejson`, MongoDB Extended JSON; or `bson`, types of the package `bson` (ObjectId, datetime, …).
    store, scope: where the state of queries is kept, so that the next process resumes, and the owner of the data, for
        example the user's id. A state that was stored under one scope is never used under another.
    store_interval: the shortest time between two writes of a state.
    queue_limit: how many changes wait for a slow loop. Beyond that, the whole result replaces them.
    linger: how long a query that nobody follows stays active for the next follower.
    connect_timeout: how long making a connection may take.
    silence: how much longer than its heartbeat the service may be silent.
    reconnect: replaces the service's advice: `minMs`, `maxMs`, `factor`, `stableAfterMs`, `attemptsPerMinute` (12).
    websocket: more arguments for `websockets.connect`, for example `ssl` or `proxy`.
    """
    if store is not None and scope is None:
        raise ValueError("a store needs `scope`, the owner of the data, for example the id of the user")
    if queue_limit < 1:
        raise ValueError("queue_limit must be at least 1")
    wire = "json" if values == "json" else "ejson"
    target = Target(_address_of(url), wire, connect_timeout, silence, websocket or {})
    options = SessionOptions(target, token, decoder_of(values), reconnect or {}, random.random)
    return Client(options, store, scope or "", store_interval, queue_limit, linger)


def _address_of(url: str) -> str:
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError(f"the address of a service begins with http:, https:, ws: or wss:, not {url!r}")
    if parts.query or parts.fragment:
        raise ValueError(f"the address of a service has no query and no fragment: {url!r}")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


class Client:
    """One user's access to a service: one connection for all queries. Use it within one event loop, in one thread."""

    def __init__(
        self,
        options: SessionOptions,
        store: Store | None,
        scope: str,
        store_interval: float,
        queue_limit: int,
        linger: float,
    ) -> None:
        self._options = options
        self._store = store
        self._scope = f"{scope} {options.target.url} {options.target.values}"
        self._store_interval = store_interval
        self._queue_limit = queue_limit
        self._linger = linger
        self._session: Session | None = None
        self._persistence: Persistence | None = None
        self._results: dict[str, LiveResult] = {}
        self._lingering: dict[LiveResult, asyncio.TimerHandle] = {}
        self._restoring: set[asyncio.Task[None]] = set()
        self._count = 0
        # Replaced at each change of the connection's status.
        self._changed: asyncio.Event | None = None

    # The public interface

    async def __aenter__(self) -> Client:
        if self._session is not None:
            raise RuntimeError("a client is used once; make another one with tidewire.connect")
        self._changed = asyncio.Event()
        if self._store is not None:
            self._persistence = Persistence(self._store, self._scope, self._store_interval)
        self._session = Session(self._options, self)
        self._session.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the connection and all queries: loops end, and pending snapshots and fences raise `ClosedError`."""
        session = self._active()
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        for task in self._restoring:
            task.cancel()
        if self._persistence is not None:
            await self._persistence.close()
        await session.close()

    @property
    def status(self) -> ConnectionStatus:
        """The status of the connection: `connecting`, `connected`, `offline` or `stopped`."""
        return "connecting" if self._session is None else self._session.status

    @property
    def error(self) -> TidewireError | None:
        """Why the connection has stopped, or why the last attempt failed."""
        return None if self._session is None else self._session.error

    async def ready(self) -> None:
        """Waits until the service has accepted the client. Raises the error if it never will."""
        session = self._active()
        while session.status != "connected":
            if session.status == "stopped":
                raise session.error or ClosedError()
            assert self._changed is not None
            await self._changed.wait()

    def query(
        self,
        collection: str,
        filter: Mapping[str, Any] | None = None,
        *,
        fields: Sequence[str] | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
        snapshot: bool = True,
        delta: bool = False,
    ) -> Query:
        """A live query on the documents that match, as for `find`. Raises `BadFilterError` for an impossible filter.

        fields: only these paths; `_id` is always included.
        sort, limit: at most so many documents, the first by the sort. Equal ones are ordered by `_id`.
        snapshot: False for changes only, from now on. The client keeps no documents then.
        delta: the service sends only the difference of changed documents. The result is the same.
        """
        if limit is not None and sort is None:
            raise BadRequestError("bad-request", "a limit needs a sort")
        if not snapshot and (limit is not None or delta):
            raise BadRequestError("bad-request", "without a snapshot there is neither a limit nor a delta")
        request: dict[str, Any] = {"collection": collection, **_filter_of(filter)}
        if fields is not None:
            request["fields"] = list(fields)
        if sort is not None:
            request["sort"] = _sort_of(sort)
        if limit is not None:
            request["limit"] = limit
        if not snapshot:
            request["snapshot"] = False
        if delta:
            request["documents"] = "delta"
        return Query(self, request)

    def aggregate(
        self,
        collection: str,
        filter: Mapping[str, Any] | None = None,
        *,
        by: str | Sequence[str] | None = None,
        values: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Query:
        """A live query of counts and groups. Its documents are rows: `_id` is the group, the other fields are values.

        by: the path, or up to four paths, of the groups. Without it there is one row, of all documents.
        values: by their names: `{"count": True}`, or `{"sum": path}`, `avg`, `min` or `max`. Default: one `count`.
        """
        aggregate: dict[str, Any] = {}
        if by is not None:
            aggregate["by"] = by if isinstance(by, str) else list(by)
        if values is not None:
            aggregate["values"] = {name: dict(value) for name, value in values.items()}
        return Query(self, {"collection": collection, **_filter_of(filter), "aggregate": aggregate})

    async def fence(self, operation_time: OperationTime) -> None:
        """Waits until every query shows the writes up to this time: read your own writes.

        operation_time: PyMongo's `session.operation_time`, or its Extended JSON. Raises `UnavailableError` if it takes
        too long.
        """
        await self._active().fence(operation_time)

    def enter(self, room: str, data: Mapping[str, Any] | None = None) -> Entry:
        """Is in a room: `async with client.enter("room-1", {"typing": False}) as entry`.

        `query("presence", {"room": "room-1"})` follows who is in it. The client enters again after each reconnection, so
        that others see one stay. Entries of the same room share it: it ends with the last, and the last data count.
        """
        return Entry(lambda: self._active().rooms, room, data)

    # The host of the queries

    @property
    def queue_limit(self) -> int:
        return self._queue_limit

    def find(self, key: str) -> LiveResult | None:
        return self._results.get(key)

    def acquire(self, key: str, request: Request) -> LiveResult:
        session = self._active()
        known = self._results.get(key)
        if known is not None:
            timer = self._lingering.pop(known, None)
            if timer is not None:
                timer.cancel()
            return known
        self._count += 1
        result = LiveResult(str(self._count), key, request, self._options.decode, self)
        self._results[key] = result
        session.add(result)
        if self._persistence is None:
            session.ready(result)
        else:
            task = asyncio.create_task(self._restore(result, self._persistence))
            self._restoring.add(task)
            task.add_done_callback(self._restoring.discard)
        return result

    def _active(self) -> Session:
        if self._session is None:
            raise RuntimeError("the client is not connected: use `async with tidewire.connect(…) as client`")
        return self._session

    async def _restore(self, result: LiveResult, persistence: Persistence) -> None:
        saved = await persistence.load(result)
        if saved is not None and result.is_used:
            result.restore(saved)
        self._active().ready(result)

    # The events of the results and of the session

    def abandoned(self, result: LiveResult) -> None:
        """Keeps the result for a moment, because a program that leaves a query often follows it again at once."""
        # A loop was left before it had processed all changes. The next loop receives them again, from the store.
        is_void = result.is_behind and self._persistence is not None
        if result.status == "stopped" or self._linger <= 0 or is_void:
            self._end(result)
        elif result not in self._lingering:
            loop = asyncio.get_running_loop()
            self._lingering[result] = loop.call_later(self._linger, self._end, result)

    def _end(self, result: LiveResult) -> None:
        self._lingering.pop(result, None)
        if self._results.get(result.key) is result:
            del self._results[result.key]
        if self._persistence is not None:
            self._persistence.forget(result)
        self._active().remove(result)

    def moved(self, result: LiveResult) -> None:
        if self._persistence is not None:
            self._persistence.moved(result)

    def paused(self, result: LiveResult) -> None:
        log.info("a loop over %s is too slow, and its query pauses", result.request["collection"])
        self._active().pause(result)

    def unpaused(self, result: LiveResult) -> None:
        self._active().ready(result)

    def failed(self, result: LiveResult, error: TidewireError) -> None:
        level = logging.WARNING if result.status == "stopped" else logging.DEBUG
        log.log(level, "the query on %s is %s: %s", result.request["collection"], result.status, error)

    def query_ended(self, result: LiveResult) -> None:
        if self._persistence is not None:
            self._persistence.remove(result)

    def connection_changed(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = asyncio.Event()


def _filter_of(filter: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if filter is None else {"filter": to_extended_json(filter)}


def _sort_of(sort: Sort) -> list[list[Any]]:
    if isinstance(sort, str):
        return [[sort, 1]]
    pairs = sort.items() if isinstance(sort, Mapping) else sort
    return [[path, direction] for path, direction in pairs]
