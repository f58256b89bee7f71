"""Fences: callers that wait to read their own writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Union

from ._errors import TidewireError, from_message

Message = Mapping[str, Any]


class TimestampLike(Protocol):
    """`bson.timestamp.Timestamp`, as PyMongo returns it."""

    @property
    def time(self) -> int: ...

    @property
    def inc(self) -> int: ...


# When a write took place: PyMongo's `session.operation_time`, its Extended JSON, or the two numbers.
OperationTime = Union[TimestampLike, Mapping[str, Any], "tuple[int, int]"]


def _to_extended_json(operation_time: OperationTime) -> Message:
    if isinstance(operation_time, tuple):
        seconds, increment = operation_time
    elif isinstance(operation_time, Mapping):
        inner = operation_time.get("$timestamp", operation_time)
        seconds, increment = inner["t"], inner["i"]
    else:
        seconds, increment = operation_time.time, operation_time.inc
    return {"$timestamp": {"t": int(seconds), "i": int(increment)}}


class Fences:
    """The unanswered fences. The requests are repeated on the next connection."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Message, asyncio.Future[None]]] = {}
        self._count = 0

    def add(self, operation_time: OperationTime, send: Callable[[Message], None]) -> asyncio.Future[None]:
        """Requests a fence, and returns the future of its answer."""
        self._count += 1
        fence_id = f"fence-{self._count}"
        message = {"type": "fence", "id": fence_id, "operationTime": _to_extended_json(operation_time)}
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[fence_id] = (message, future)
        # A caller that no longer waits, for example after a time limit, needs no repetition.
        future.add_done_callback(lambda _: self._waiting.pop(fence_id, None))
        send(message)
        return future

    def send_all(self, send: Callable[[Message], None]) -> None:
        """Requests all of them again over a new connection."""
        for message, _ in list(self._waiting.values()):
            send(message)

    def passed(self, fence_id: str) -> None:
        _, future = self._waiting.pop(fence_id, (None, None))
        if future is not None and not future.done():
            future.set_result(None)

    def refused(self, fence_id: str, message: Message) -> bool:
        """Whether an error was about a fence."""
        _, future = self._waiting.pop(fence_id, (None, None))
        if future is not None and not future.done():
            future.set_exception(from_message(message))
        return future is not None

    def fail(self, error: TidewireError) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            if not future.done():
                future.set_exception(error)
