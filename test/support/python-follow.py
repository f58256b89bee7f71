"""A program with the Python client, for tests: follows a query, and prints each change as a JSON line.

    python-follow.py '{"url": …, "collection": …, "filter": {…}, "query": {…}, "store": …, "connect": {…}}'

It compares the result that the changes give with `query.documents` whenever the loop has caught up, and prints a
difference as {"type": "complaint"}. The token is that of TIDEWIRE_TOKEN, or one of `tokenSeconds` signed with
TIDEWIRE_JWT_SECRET. With `holdAt` the loop stops reading after so many changes until the file `until` exists; with `blocks` it
stops the whole event loop as well.
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
    return sign({"sub": "u1", "iat": now, "exp": now + OPTIONS["tokenSeconds"]})


def print_welcome(message: Any) -> None:
    if message["type"] in ("welcome", "subscribed"):
        write(message["type"], start=message.get("start"))


def apply(held: dict[str, Any], change: tidewire.Change) -> None:
    if isinstance(change, Snapshot):
        held.clear()
        held.update({json.dumps(document["_id"]): document for document in change.documents})
        write("snapshot", docs=list(change.documents), reason=change.reason)
    elif isinstance(change, Removed):
        held.pop(json.dumps(change.id), None)
        write("removed", _id=change.id, cause=change.cause)
    else:
        held[json.dumps(change.document["_id"])] = change.document
        write("added" if isinstance(change, Added) else "changed", doc=change.document, cause=change.cause)
        if isinstance(change, Changed) and "query" not in OPTIONS and change.previous is None:
            write("complaint", text=f"no document before {change!r}")


async def hold(query: tidewire.Query, changes: tidewire.Changes) -> None:
    until = Path(OPTIONS["until"])
    write("holding", rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    while not until.exists():
        if OPTIONS.get("blocks"):
            time.sleep(0.02)
        else:
            await asyncio.sleep(0.02)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write("continuing", rss=rss, waiting=len(changes._queue._waiting), documents=len(query.documents))


async def main() -> None:
    store = tidewire.FileStore(OPTIONS["store"]) if "store" in OPTIONS else None
    options = {"reconnect": {"minMs": 5, "maxMs": 100, "attemptsPerMinute": 10_000}, **OPTIONS.get("connect", {})}
    client = tidewire.connect(OPTIONS["url"], token=token, store=store, scope="u1", **options)
    client._options = dataclasses.replace(client._options, trace=print_welcome)
    query = client.query(OPTIONS["collection"], OPTIONS.get("filter"), **OPTIONS.get("query", {}))
    held: dict[str, Any] = {}
    count = 0
    async with client:
        changes = query.changes()
        async for change in changes:
            count += 1
            apply(held, change)
            if changes._queue._waiting or not OPTIONS.get("query", {}).get("snapshot", True):
                pass
            elif held != {json.dumps(document["_id"]): document for document in query.documents}:
                write("complaint", text=f"the changes give {held}, the query {query.documents}")
            if count == OPTIONS.get("holdAt"):
                await hold(query, changes)


try:
    asyncio.run(main())
except tidewire.TidewireError as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    pass
