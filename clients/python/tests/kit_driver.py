"""The driver of the protocol kit for this client (docs/protocol-kit/README.md, "The driver").

    npx tidewire kit --driver 'python3 clients/python/tests/kit_driver.py'
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from typing import Any

import tidewire
from tidewire import Change, Removed, Snapshot

# The longest command, in bytes.
LINE_BYTES = 64 * 2**20


class Following:
    """A query that is followed, and the tasks that report it."""

    def __init__(self, query: tidewire.Query, report: Any) -> None:
        self.query = query
        self._report = report
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._watch())]

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        try:
            async with self.query.changes() as changes:
                try:
                    async for change in changes:
                        self._report(change=line_of(change))
                except tidewire.TidewireError as error:
                    self._report(stopped={"code": error.code}, documents=list(self.query.documents))
        except Exception:
            self._report(failure=traceback.format_exc())

    async def _watch(self) -> None:
        async for status in self.query.statuses():
            self._report(status=status)


class Driven:
    """One client of the kit, and what it follows."""

    def __init__(self, number: int, url: str, token: str | None, values: Any) -> None:
        self.number = number
        self.queries: dict[str, Following] = {}
        self._tokens: asyncio.Queue[str] = asyncio.Queue()
        self._first = token
        source = None if token is None else self._token
        self.client = tidewire.connect(url, token=source, values=values, linger=0)

    def report(self, **fields: Any) -> None:
        print(json.dumps({"n": self.number, **fields}), flush=True)

    async def _token(self) -> str:
        first, self._first = self._first, None
        if first is not None:
            return first
        self.report(wants="token")
        return await self._tokens.get()

    def give(self, token: str) -> None:
        self._tokens.put_nowait(token)

    def follow(self, name: str, request: dict[str, Any]) -> None:
        def report(**fields: Any) -> None:
            self.report(q=name, **fields)

        self.queries[name] = Following(query_of(self.client, request), report)

    async def fence(self, name: str, ask: int, operation_time: Any) -> None:
        try:
            await self.client.fence(operation_time)
            self.report(q=name, answer=ask, documents=list(self.queries[name].query.documents))
        except Exception as error:
            self.report(q=name, answer=ask, failure=repr(error))

    async def leave(self) -> None:
        await self.client.aclose()
        for following in self.queries.values():
            await following.leave()


def query_of(client: tidewire.Client, request: dict[str, Any]) -> tidewire.Query:
    options = dict(request)
    collection, filter = options.pop("collection"), options.pop("filter", None)
    if "aggregate" in options:
        return client.aggregate(collection, filter, **options["aggregate"])
    delta = options.pop("documents", "full") == "delta"
    return client.query(collection, filter, delta=delta, **options)


def line_of(change: Change) -> dict[str, Any]:
    kind = type(change).__name__.lower()
    if isinstance(change, Snapshot):
        return {"type": kind, "docs": list(change.documents)}
    if isinstance(change, Removed):
        return {"type": kind, "_id": change.id}
    return {"type": kind, "doc": change.document}


async def main() -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    clients: dict[int, Driven] = {}
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        command = json.loads(line)
        number, name = command["n"], command.get("q", "")
        work = None
        if "follow" in command:
            request = command["follow"].pop("request")
            if number not in clients:
                clients[number] = Driven(number, **command["follow"])
                await clients[number].client.__aenter__()
            clients[number].follow(name, request)
        elif "fence" in command:
            work = clients[number].fence(name, command["ask"], command["fence"])
        elif "token" in command:
            clients[number].give(command["token"])
        elif name:
            work = clients[number].queries[name].leave()
        else:
            work = clients[number].leave()
        if work is not None:
            task = asyncio.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main())
