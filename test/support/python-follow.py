"""A program with the Python client, for tests: follows queries of a collection, and prints each change as a JSON line.

    python-follow.py '{"url": …, "collection": …, "queries": [{"filter": {…}, "sort": …}], "store": …, "connect": {…}}'

Each line names the query by its number, `q`. Whenever a loop has caught up, the program compares the result of its changes
with `query.documents`, and prints a difference as {"type": "complaint"}, and the order of a sorted result as
{"type": "order"}. The token is that of TIDEWIRE_TOKEN, or one of `tokenSeconds` signed with
TIDEWIRE_JWT_SECRET. With `holdAt` the loop stops reading after so many changes until the file `until` exists, and prints
{"type": "full"} once more changes wait than the client keeps; with `blocks` it stops the whole event loop as well.
"""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
import os
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import tidewire
from tidewire import Added, Changed, Removed, Snapshot

OPTIONS = json.loads(sys.argv[1])


def write(kind: str, **fields: Any) -> None:
    print(json.dumps({"type": kind, **fields}), flush=True)


def sign(claims: dict[str, Any]) -> str:
    def encode(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).decode().rstrip("=")

    text = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    secret = os.environ["TIDEWIRE_JWT_SECRET"].encode()
    return f"{text}.{encode(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def token() -> str:
    if "tokenSeconds" not in OPTIONS:
        return os.environ["TIDEWIRE_TOKEN"]
    write("token")
    now = int(time.time())
    # Times of tokens are whole seconds, and a client takes an equal token for none.
    unique = {"jti": str(uuid.uuid4())}
    return sign({"sub": "u1", "iat": now, "exp": now + OPTIONS["tokenSeconds"], **unique})


def print_welcome(message: Any) -> None:
    if message["type"] in ("welcome", "subscribed"):
        write(message["type"], start=message.get("start"))


class Following:
    """A loop over the changes of one query."""

    def __init__(self, client: tidewire.Client, number: int, options: dict[str, Any]) -> None:
        self.number = number
        self.holds = options.get("snapshot", True)
        self.is_sorted = "sort" in options
        self.query = client.query(OPTIONS["collection"], **options)
        self.held: dict[str, Any] = {}

    def write(self, kind: str, **fields: Any) -> None:
        write(kind, q=self.number, **fields)

    async def run(self) -> None:
        changes = self.query.changes()
        count = 0
        async for change in changes:
            count += 1
            self.apply(change)
            if self.holds and changes._queue.is_empty:
                self.compare()
            if count == OPTIONS.get("holdAt"):
                await hold(self.query, changes)

    def apply(self, change: tidewire.Change) -> None:
        held = self.held
        if isinstance(change, Snapshot):
            held.clear()
            held.update({json.dumps(document["_id"]): document for document in change.documents})
            self.write("snapshot", docs=list(change.documents), reason=change.reason)
        elif isinstance(change, Removed):
            before = held.pop(json.dumps(change.id), None)
            if self.holds and change.document != before:
                self.write("complaint", text=f"{before} before {change!r}")
            self.write("removed", _id=change.id, cause=change.cause)
        else:
            key = json.dumps(change.document["_id"])
            before = held.get(key)
            if self.holds and before != (change.previous if isinstance(change, Changed) else None):
                self.write("complaint", text=f"{before} before {change!r}")
            held[key] = change.document
            kind = "added" if isinstance(change, Added) else "changed"
            self.write(kind, doc=change.document, cause=change.cause)

    def compare(self) -> None:
        documents = self.query.documents
        if self.held != {json.dumps(document["_id"]): document for document in documents}:
            self.write("complaint", text=f"the changes give {self.held}, the query {documents}")
        if self.is_sorted:
            self.write("order", ids=[document["_id"] for document in documents])


def has_overflowed(changes: tidewire.Changes) -> bool:
    queue = changes._queue
    return queue.is_full or any(
        isinstance(change, Snapshot) and change.reason == "lagged" for change in queue._waiting
    )


async def hold(query: tidewire.Query, changes: tidewire.Changes) -> None:
    until = Path(OPTIONS["until"])
    write("holding", rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    is_full = False
    while not until.exists():
        if not is_full and has_overflowed(changes):
            is_full = True
            write("full")
        if OPTIONS.get("blocks"):
            time.sleep(0.02)
        else:
            await asyncio.sleep(0.02)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write("continuing", rss=rss, waiting=len(changes._queue), documents=len(query.documents))


async def print_statuses(client: tidewire.Client) -> None:
    shown = None
    while True:
        if client.status != shown:
            shown = client.status
            write("status", status=shown)
        assert client._changed is not None
        await client._changed.wait()


async def main() -> None:
    store = tidewire.FileStore(OPTIONS["store"]) if "store" in OPTIONS else None
    options = {"reconnect": {"minMs": 5, "maxMs": 100, "attemptsPerMinute": 10_000}, **OPTIONS.get("connect", {})}
    client = tidewire.connect(OPTIONS["url"], token=token, store=store, scope="u1", **options)
    client._options = dataclasses.replace(client._options, trace=print_welcome)
    async with client:
        statuses = asyncio.create_task(print_statuses(client))
        queries = enumerate(OPTIONS.get("queries", [{}]))
        await asyncio.gather(*(Following(client, number, options).run() for number, options in queries))
        statuses.cancel()


try:
    asyncio.run(main())
except tidewire.TidewireError as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    pass
