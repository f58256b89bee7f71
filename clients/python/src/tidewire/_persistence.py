"""Stores the state of queries as a program processes them, so that the next process resumes there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from ._live_result import LiveResult
from ._stores import Saved, Store

log = logging.getLogger("tidewire")


class Persistence:
    """Stores results at intervals, and only when every loop has processed the changes that a state contains."""

    def __init__(self, store: Store, scope: str, interval: float) -> None:
        self._store = store
        self._scope = scope
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._moved: dict[LiveResult, None] = {}
        # Results with a state that waits until it is processed or stored. So a slow store holds one state of each.
        self._pending: set[LiveResult] = set()
        # The last operation on the store for each key. The next one waits for it.
        self._working: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def load(self, result: LiveResult) -> Saved | None:
        key = self._key_of(result)
        try:
            working = self._working.get(key)
            if working is not None:
                await asyncio.wait([working])
            return await self._store.load(key)
        except Exception as error:
            log.warning("the stored state of %s was not read: %s", result.request["collection"], error)
            return None  # a failing store counts as empty

    def moved(self, result: LiveResult) -> None:
        """Documents, cursor or ticket have changed."""
        self._moved[result] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._store_moved)

    def remove(self, result: LiveResult) -> None:
        """The service has ended the query, so its state is void."""
        self._moved.pop(result, None)
        self._pending.discard(result)
        key = self._key_of(result)
        self._run(key, lambda: self._store.remove(key))

    def forget(self, result: LiveResult) -> None:
        """The program has left the query. Its state is stored once more if all of it was processed."""
        if result not in self._moved:
            return
        del self._moved[result]
        saved = result.saved if result.is_processed else None
        if saved is not None:
            self._save(result, saved)

    async def close(self) -> None:
        """Stores what is processed, and waits for the store."""
        if self._timer is not None:
            self._timer.cancel()
        for result in list(self._moved):
            self.forget(result)
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    def _store_moved(self) -> None:
        self._timer = None
        for result in list(self._moved):
            if result in self._pending:
                continue
            del self._moved[result]
            if not result.is_behind:
                self._store_later(result)
        if self._moved:
            self._timer = self._loop.call_later(self._interval, self._store_moved)

    def _store_later(self, result: LiveResult) -> None:
        """Takes the state of now, and stores it once every loop has processed it."""
        saved = result.saved
        if saved is None:
            return
        self._pending.add(result)

        def reached() -> None:
            if result not in self._pending:
                return  # the service has ended the query in the meantime
            self._save(result, saved).add_done_callback(lambda _: self._pending.discard(result))

        result.mark(reached, lambda: self._pending.discard(result))

    def _save(self, result: LiveResult, saved: Saved) -> asyncio.Task[None]:
        key = self._key_of(result)
        return self._run(key, lambda: self._store.save(key, saved))

    def _run(self, key: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Runs an operation on the store after the last one for the same key."""
        before = self._working.get(key)

        async def run() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work()
            except Exception as error:
                # The next one may succeed. Until then a restarted program receives the changes again.
                log.warning("the state of a query was not stored: %s", error)

        task = asyncio.create_task(run())
        self._working[key] = task

        def done(_: asyncio.Task[None]) -> None:
            if self._working.get(key) is task:
                del self._working[key]

        task.add_done_callback(done)
        return task

    def _key_of(self, result: LiveResult) -> str:
        return json.dumps([self._scope, result.key])
