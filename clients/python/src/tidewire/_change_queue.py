"""Changes between the client, which does not wait, and a loop, which may be slow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ._changes import Change, Document, Snapshot


class Mark:
    """A point in the changes of a result. It is reached when every loop has processed the changes before it.

    If a loop is left before it has processed them, the mark is dropped instead.
    """

    def __init__(
        self, queues: Sequence[ChangeQueue], reached: Callable[[], None], dropped: Callable[[], None]
    ) -> None:
        self._left = set(queues)
        self._reached = reached
        self._dropped = dropped
        if not queues:
            reached()
        for queue in queues:
            queue.mark(self)

    def passed(self, queue: ChangeQueue) -> None:
        self._left.discard(queue)
        if not self._left:
            self._reached()

    def drop(self) -> None:
        self._dropped()


class ChangeQueue:
    """The changes that a loop has not received yet.

    Beyond the limit the whole result replaces them. If there is no result, nothing is replaced: the owner stops to push
    while the queue `is_full`, until `drained` is called.
    """

    def __init__(
        self, documents: Callable[[], Sequence[Document]] | None, limit: int, drained: Callable[[], None]
    ) -> None:
        self._documents = documents
        self._limit = limit
        self._drained = drained
        self._waiting: deque[Change | Mark] = deque()
        self._changes = 0
        self._reader: asyncio.Future[None] | None = None
        self._is_processing = False
        self._error: Exception | None = None
        self._has_ended = False

    @property
    def is_done(self) -> bool:
        """Whether the loop has processed every change: it waits for the next one."""
        return not self._is_processing and not self._waiting

    def __len__(self) -> int:
        return self._changes

    @property
    def is_empty(self) -> bool:
        """Whether the loop has received every change."""
        return self._changes == 0

    @property
    def is_full(self) -> bool:
        return self._changes >= self._limit

    @property
    def is_drained(self) -> bool:
        """Whether there is room for many changes again."""
        return self._changes <= self._limit // 2

    def push(self, change: Change) -> None:
        if self._has_ended:
            return
        self._waiting.append(change)
        self._changes += 1
        if self._changes > self._limit and self._documents is not None:
            marks = [waiting for waiting in self._waiting if isinstance(waiting, Mark)]
            self._waiting = deque([Snapshot(self._documents(), "lagged"), *marks])
            self._changes = 1
        self._wake()

    def mark(self, mark: Mark) -> None:
        if self._has_ended:
            return
        self._waiting.append(mark)
        if not self._is_processing:
            self._pass_marks()

    def end(self, error: Exception | None = None) -> None:
        """No change follows. The loop receives the waiting ones, and the error after them."""
        if self._has_ended:
            return
        self._has_ended = True
        self._error = error
        self._wake()

    def discard(self) -> None:
        """The loop has been left."""
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            if isinstance(item, Mark):
                item.drop()
        self._changes = 0
        self.end()

    async def next(self) -> Change:
        """The next change. Raises `StopAsyncIteration` at the end."""
        # By asking for the next change, a loop says that it has processed the last one.
        self._is_processing = False
        while True:
            self._pass_marks()
            if self._waiting:
                change = self._waiting.popleft()
                assert not isinstance(change, Mark)
                self._changes -= 1
                self._is_processing = True
                if self.is_drained:
                    self._drained()
                return change
            if self._has_ended:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            if self._reader is not None:
                raise RuntimeError("another task waits for the next change already")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def _pass_marks(self) -> None:
        while self._waiting and isinstance(self._waiting[0], Mark):
            mark = self._waiting.popleft()
            assert isinstance(mark, Mark)
            mark.passed(self)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
