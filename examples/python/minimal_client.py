"""The least client of Tidewire's wire protocol, version 1 (docs/protocol.md), over a WebSocket.

It follows one live query and keeps its documents as they are in MongoDB, for this user: says hello, subscribes,
applies changes, and after a break resumes where it was. Whole documents only, and in no order: a `sort` or
`"documents": "delta"` would need more.

    follower = Follower("ws://127.0.0.1:8480/v1/ws", {"collection": "orders"}, token=get_token)
    await follower.run(on_message=print)
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

Message = dict[str, Any]

SUBSCRIPTION_ID = "1"
# A client that has heard nothing for the heartbeat and this much more takes the connection for dead.
SILENCE_MARGIN_S = 10
# Without a welcome between them, so many tokens are tried (protocol, section 5).
TOKENS_MAX = 3
# One document may be 16 MiB; the library's own limit is lower.
MESSAGE_BYTES_MAX = 64 * 2**20
# Used until the first welcome has given the values of the service.
RECONNECT = {"minMs": 250, "maxMs": 30_000, "factor": 2, "stableAfterMs": 5_000}


class Refused(Exception):
    """The service will not serve this request: trying again does not help."""


class Follower:
    """One live query, followed across connections."""

    def __init__(self, url: str, query: Message, token: Callable[[], Awaitable[str]] | None = None) -> None:
        """`query` holds the fields of `subscribe`; `token` is asked for a new one whenever one is needed."""
        self.url = url
        self.query = query
        self.token = token
        # The result, by the JSON text of each `_id`.
        self.documents: dict[str, Message] = {}
        self._ticket: str | None = None
        # None while what is held is not whole: then there is nothing to resume from.
        self._cursor: str | None = None
        # On the connection at hand: until then its watermarks say nothing of what is held.
        self._is_subscribed = False
        self._reconnect: Message = dict(RECONNECT)
        self._failures = 0
        self._tokens_tried = 0
        self._wait_ms: float | None = None

    async def run(self, on_message: Callable[[Message], None] = lambda message: None) -> None:
        """Follows until cancelled. Raises `Refused` where the service says that it never will."""
        while True:
            welcomed_at = None
            try:
                async with connect(
                    self.url,
                    subprotocols=["tidewire.v1"],  # type: ignore[list-item]
                    max_size=MESSAGE_BYTES_MAX,
                    ping_interval=None,  # the service pings, the library answers
                ) as socket:
                    heartbeat_s = await self._begin(socket)
                    welcomed_at = time.monotonic()
                    await self._listen(socket, heartbeat_s, on_message)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                self._judge(code, closed.rcvd.reason if closed.rcvd else "")
            except InvalidStatus as refused:
                # 429 and 5xx pass; anything else before the upgrade does not.
                if refused.response.status_code < 429:
                    raise Refused(f"HTTP {refused.response.status_code}") from refused
            except (OSError, InvalidHandshake, asyncio.TimeoutError):
                pass  # not reachable, gone in the middle of the handshake, or silent for too long
            stable_s = self._reconnect["stableAfterMs"] / 1_000
            if welcomed_at is not None and time.monotonic() - welcomed_at >= stable_s:
                self._failures = 0
            await asyncio.sleep(self._back_off_s())

    async def _begin(self, socket: ClientConnection) -> float:
        """Says hello and subscribes; returns the service's heartbeat in seconds."""
        self._is_subscribed = False
        hello: Message = {"type": "hello", "client": "python example"}
        if self.token is not None:
            hello["token"] = await self.token()
        subscribe = {"type": "subscribe", "id": SUBSCRIPTION_ID, **self.query}
        if self._cursor is not None:
            subscribe |= {"cursor": self._cursor, "ticket": self._ticket}
        # Together, so that the answer needs one round trip.
        await socket.send(json.dumps(hello))
        await socket.send(json.dumps(subscribe))
        while (message := json.loads(await socket.recv()))["type"] != "welcome":
            self._note(message)
        self._reconnect = message["reconnect"]
        self._tokens_tried = 0
        return message["heartbeat"] / 1_000

    async def _listen(
        self, socket: ClientConnection, heartbeat_s: float, on_message: Callable[[Message], None]
    ) -> None:
        while True:
            message = json.loads(await asyncio.wait_for(socket.recv(), heartbeat_s + SILENCE_MARGIN_S))
            self._note(message)
            self._apply(message)
            on_message(message)
            if message["type"] == "error" and message.get("id") == SUBSCRIPTION_ID:
                if message["retry"] in ("never", "token"):
                    raise Refused(f"{message['code']}: {message['message']}")
                return  # it passes: come back after the back-off
            if message["type"] == "unsubscribed":
                raise Refused(f"the subscription has ended: {message['reason']}")

    def _apply(self, message: Message) -> None:
        """Brings `documents` up to date. Unknown messages are ignored: the protocol may grow."""
        match message["type"]:
            case "subscribed":
                self._is_subscribed = True
                self._ticket = message["ticket"]
                if message["start"] in ("snapshot", "reset"):
                    self.documents.clear()
                    self._cursor = None if self.query.get("snapshot", True) else message["cursor"]
                else:
                    self._cursor = message["cursor"]
            case "reset":
                self._ticket = message["ticket"]
                self.documents.clear()
                self._cursor = None
            case "snapshot":
                for document in message["docs"]:
                    self.documents[_key(document["_id"])] = document
                if message["last"]:
                    self._cursor = message["cursor"]
            case "added" | "changed":
                self.documents[_key(message["doc"]["_id"])] = message["doc"]
                self._cursor = message["cursor"]
            case "removed":
                self.documents.pop(_key(message["_id"]), None)
                self._cursor = message["cursor"]
            case "watermark" if self._is_subscribed:
                self._cursor = message["cursor"]

    def _note(self, message: Message) -> None:
        """Remembers how long the service wants to be left alone."""
        if message["type"] == "draining":
            self._wait_ms = random.uniform(0, message["withinMs"])
        elif message["type"] == "error" and "retryAfterMs" in message:
            self._wait_ms = message["retryAfterMs"]

    def _judge(self, code: int, reason: str) -> None:
        """Reacts to a close code by its range (protocol, section 5)."""
        if 4100 <= code <= 4199:
            self._tokens_tried += 1
            if self.token is not None and self._tokens_tried < TOKENS_MAX:
                return
        elif code in (1000, 1001, 1005, 1006, 1012, 1013) or 4000 <= code <= 4099 or 4200 <= code <= 4299:
            return
        raise Refused(f"closed with {code}: {reason}")

    def _back_off_s(self) -> float:
        """Full jitter; it starts over only after a connection that lasted."""
        if self._wait_ms is not None:
            wait_ms, self._wait_ms = self._wait_ms, None
            return wait_ms / 1_000
        low, high, factor = (self._reconnect[name] for name in ("minMs", "maxMs", "factor"))
        upper_ms = min(high, low * factor**self._failures)
        self._failures += 1
        return random.uniform(0, upper_ms) / 1_000


def _key(document_id: Any) -> str:
    return json.dumps(document_id, sort_keys=True)
