"""Follows a collection and prints each message about it or its subscription, one JSON line each.

    pip install -r requirements.txt
    TIDEWIRE_TOKEN=… python follow.py ws://127.0.0.1:8480/v1/ws orders '{"status": "open"}'
"""

import asyncio
import json
import os
import sys

from minimal_client import Follower, Message, Refused

SHOWN = {"subscribed", "snapshot", "added", "changed", "removed", "reset", "unsubscribed", "error"}


async def token() -> str:
    # A real program would fetch a fresh one from its login service here.
    return os.environ["TIDEWIRE_TOKEN"]


def show(message: Message) -> None:
    if message["type"] in SHOWN:
        print(json.dumps(message), flush=True)


async def main() -> None:
    url, collection, *rest = sys.argv[1:]
    query = {"collection": collection, **({"filter": json.loads(rest[0])} if rest else {})}
    await Follower(url, query, token).run(show)


try:
    asyncio.run(main())
except Refused as refused:
    sys.exit(str(refused))
except KeyboardInterrupt:
    pass
