"""A service whose every message a test writes: for situations that a real one rarely gets into."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

Message = dict[str, Any]

# Generous, because a test machine may be busy. Nothing waits as long as it passes.
PATIENCE_S = 20
QUICK = {"minMs": 1, "maxMs": 5, "stableAfterMs": 1_000, "factor": 2, "attemptsPerMinute": 1_000}
LIMITS = {"requestBurst": 100, "requestsPerSecond": 50, "earlyMessages": 32, "messageBytes": 65_536}


async def within(waiting: Any) -> Any:
    return await asyncio.wait_for(waiting, PATIENCE_S)


async def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds that no event announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it does not hold in time"
        await asyncio.sleep(0.001)


class Peer:
    """One connection, as the service sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.path = socket.request.path if socket.request else ""

    async def receive(self, kind: str) -> Message:
        message: Message = json.loads(await within(self._socket.recv()))
        assert message["type"] == kind, message
        return message

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def send_text(self, text: str) -> None:
        await self._socket.send(text)

    async def welcome(self, **fields: Any) -> Message:
        """Receives `hello`, and answers it."""
        hello = await self.receive("hello")
        await self.send_welcome(**fields)
        return hello

    async def send_welcome(self, **fields: Any) -> None:
        given = {"heartbeat": 60_000, "expires": None, "reconnect": QUICK, "limits": LIMITS, **fields}
        await self.send("welcome", connection="c", node="n", user="u1", **given)

    async def is_silent(self) -> None:
        """Waits for the answer to a WebSocket ping, before which every message that was sent has arrived."""
        await within(await self._socket.ping())
        try:
            message = await asyncio.wait_for(self._socket.recv(), 0.01)
        except asyncio.TimeoutError:
            return
        raise AssertionError(message)

    async def subscribed(self, start: str = "snapshot", query: int = 1, **fields: Any) -> Message:
        """Receives `subscribe`, and answers it."""
        message = await self.receive("subscribe")
        given = {"cursor": "c1", "ticket": "t1", **fields}
        await self.send("subscribed", id=message["id"], query=query, start=start, **given)
        return message

    async def snapshot(self, *document_ids: Any, query: int = 1, cursor: str = "c1", last: bool = True) -> None:
        docs = [{"_id": one} for one in document_ids]
        await self.send("snapshot", query=query, docs=docs, cursor=cursor, last=last)

    async def added(self, document_id: Any, cursor: str, query: int = 1) -> None:
        await self.send("added", query=query, cursor=cursor, cause="insert", doc={"_id": document_id})

    async def close(self, code: int) -> None:
        await self._socket.close(code)

    def cut(self) -> None:
        self._socket.transport.abort()

    async def closed(self) -> None:
        """Waits until the client has closed the connection."""
        try:
            while True:
                await within(self._socket.recv())
        except ConnectionClosed:
            pass


class ScriptedService:
    """Listens on a port of the system's choice."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: Server | None = None
        # The answers to the next upgrades, in place of a connection.
        self.refusals: list[tuple[int, Mapping[str, str], bytes]] = []
        self.attempts = 0

    async def __aenter__(self) -> ScriptedService:
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol("tidewire.v1")],
            process_request=self._process,
            ping_interval=None,
            close_timeout=1,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def accept(self) -> Peer:
        """The next connection of a client."""
        peer: Peer = await within(self._peers.get())
        return peer

    async def _handle(self, socket: ServerConnection) -> None:
        self._peers.put_nowait(Peer(socket))
        await socket.wait_closed()

    def _process(self, connection: ServerConnection, _request: Request) -> Response | None:
        self.attempts += 1
        if not self.refusals:
            return None
        status, headers, body = self.refusals.pop(0)
        response = connection.respond(HTTPStatus(status), body.decode())
        for name, value in headers.items():
            response.headers[name] = value
        return response
