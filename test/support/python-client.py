"""Drives the Python client for tests. Commands arrive as JSON lines, and so do the answers.

    {"n": 1, "follow": {"url": …, "token": …, "values": …, "request": {…}}}   makes client 1 and follows a query
    {"n": 1, "ask": 7, "fence": {"$timestamp": …}}                            answers 7 when the writes have arrived
    {"n": 1, "leave": true}                                                   closes the client

Each message that a client receives is printed as {"n": 1, "message": {…}}. The answer to a fence holds the documents of
the query, and the complaints of a model that was made from the changes alone.
"""

import asyncio
import dataclasses
import json
import sys
import traceback
from typing import Any

import tidewire
from tidewire import Added, Change, Changed, Removed, Snapshot


def write(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


class Model:
    """A result that is made from the changes of a loop. It complains about a change that does not fit."""

    def __init__(self, holds: bool) -> None:
        self.holds = holds
        self.documents: dict[str, Any] = {}
        self.complaints: list[str] = []

    def take(self, change: Change) -> None:
        if isinstance(change, Snapshot):
            self.documents = {json.dumps(document["_id"]): document for document in change.documents}
            return
        key = json.dumps(change.id if isinstance(change, Removed) else change.document["_id"])
        if self.holds and isinstance(change, Added) == (key in self.documents):
            self.complaints.append(repr(change))
        if isinstance(change, Changed) and self.holds and change.previous != self.documents.get(key):
            self.complaints.append(f"not the document before: {change!r}")
        if isinstance(change, Removed):
            self.documents.pop(key, None)
        else:
            self.documents[key] = change.document


class Following:
    """One client that follows one query."""

    def __init__(self, number: int, options: dict[str, Any]) -> None:
        self.number = number
        request = options["request"]
        client = tidewire.connect(options["url"], token=options["token"], values=options["values"] or "json")
        # The messages themselves are not part of the interface, and only tests look at them.
        client._options = dataclasses.replace(client._options, trace=self.trace)
        self.client = client
        # As the test wrote it, also where the client itself would refuse it.
        self.query = tidewire.Query(client, request)
        self.resumes = "cursor" in request
        self.model = Model(request.get("snapshot", True) and not self.resumes)
        self.changes: tidewire.Changes | None = None
        self.fenced: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.loop = asyncio.create_task(self.run())

    def trace(self, message: Any) -> None:
        write({"n": self.number, "message": message})

    async def run(self) -> None:
        try:
            async with self.client:
                self.changes = self.query.changes()
                async for change in self.changes:
                    self.model.take(change)
        except tidewire.TidewireError:
            pass  # the message that says so was printed
        except Exception:
            write({"n": self.number, "failure": traceback.format_exc()})

    async def fence(self, ask: int, operation_time: Any) -> None:
        try:
            await self.client.fence(operation_time)
            while self.changes is not None and not self.changes._queue.is_done and not self.loop.done():
                await asyncio.sleep(0)
            documents = list(self.query.documents)
            held = list(self.model.documents.values())
            order = json.dumps
            if self.model.holds and sorted(map(order, held)) != sorted(map(order, documents)):
                self.model.complaints.append(f"the changes give {held}, the query {documents}")
            answer = {"documents": documents, "complaints": self.model.complaints, "status": self.query.status}
            write({"n": self.number, "answer": ask, **answer})
        except Exception as error:
            write({"n": self.number, "answer": ask, "failure": repr(error)})

    async def leave(self) -> None:
        self.loop.cancel()
        await asyncio.gather(self.loop, return_exceptions=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    all_following: dict[int, Following] = {}
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        command = json.loads(line)
        number = command["n"]
        if "follow" in command:
            all_following[number] = Following(number, command["follow"])
            continue
        following = all_following[number]
        work = following.leave() if "leave" in command else following.fence(command["ask"], command["fence"])
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
