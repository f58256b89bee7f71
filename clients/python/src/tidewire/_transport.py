"""One WebSocket to the service: opening it, reading and writing messages, and noticing that it is silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from ._errors import TidewireError, end_error, error_of
from ._version import __version__

Message = Mapping[str, Any]

SUBPROTOCOL = "tidewire.v1"
CLIENT = f"tidewire-python/{__version__}"
# The code of a connection that broke off, and of one that could not be made.
BROKEN = 1006
# Other codes that this client gives itself, for an HTTP answer in place of the upgrade.
_OVERLOADED = 1013
_WAIT = 4200
_NOT_ALLOWED = 4403
# One document may have 16 MiB, and the library's own limit is lower.
_MESSAGE_BYTES_MAX = 64 * 2**20
# How long the service has to answer the end of a connection, in seconds.
_CLOSE_TIMEOUT_S = 2

log = logging.getLogger("tidewire")


@dataclass(frozen=True)
class Target:
    """The service, and the settings of a connection to it."""

    # The address of the service, `ws:` or `wss:`, without a slash at the end.
    url: str
    # `json` or `ejson`.
    values: str
    connect_timeout: float
    # How much longer than a heartbeat the service may be silent, in seconds.
    silence: float
    # More arguments for `websockets.connect`.
    websocket: Mapping[str, Any] = field(default_factory=dict)


class TransportEvents(Protocol):
    """The events of a transport. None follows `closed`, which happens once, or `end`."""

    def opened(self) -> None:
        """`hello` was sent, so a few subscriptions may follow."""

    def message(self, message: Message) -> None: ...

    def closed(self, code: int, error: TidewireError) -> None: ...


class Transport:
    """A WebSocket. Messages wait in a queue until it is open and the network takes them."""

    def __init__(self, target: Target, events: TransportEvents) -> None:
        self._target = target
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._socket: ClientConnection | None = None
        self._outgoing: deque[Message] = deque()
        self._has_outgoing = asyncio.Event()
        self._has_ended = False
        self._patience = target.connect_timeout
        self._heard_at = self._loop.time()
        self._watchdog = self._loop.call_later(self._patience, self._look)

    def send(self, message: Message) -> None:
        """Sends a message as soon as possible. Only requests of the program wait here, so the program bounds them."""
        if not self._has_ended:
            self._outgoing.append(message)
            self._has_outgoing.set()

    def end(self) -> None:
        """No event follows. The caller cancels `run`, which closes the connection."""
        self._has_ended = True
        self._watchdog.cancel()
        self._outgoing.clear()

    async def run(self, token: str | None) -> None:
        """Connects, reads until the connection ends, and reports the end by `closed`."""
        try:
            await self._run(token)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else BROKEN
            self._close(code, closed.rcvd.reason if closed.rcvd else "")
        except InvalidStatus as refused:
            self._refused(refused)
        except (OSError, WebSocketException, asyncio.TimeoutError) as error:
            self._close(BROKEN, f"no connection to {self._target.url}: {str(error) or type(error).__name__}")
        except Exception as error:
            # An answer that this client does not understand. The next connection begins from a clean state.
            log.exception("the connection is dropped because of an unexpected message or error")
            self._close(BROKEN, f"unexpected {type(error).__name__}: {error}")

    async def _run(self, token: str | None) -> None:
        target = self._target
        async with connect(
            f"{target.url}/v1/ws",
            subprotocols=[cast(Subprotocol, SUBPROTOCOL)],
            max_size=_MESSAGE_BYTES_MAX,
            ping_interval=None,  # the service pings, and the library answers
            open_timeout=None,  # the watchdog limits the time until `welcome`
            close_timeout=_CLOSE_TIMEOUT_S,
            **target.websocket,
        ) as socket:
            self._socket = socket
            hello = {"type": "hello", "values": target.values, "client": CLIENT}
            self.send(hello if token is None else {**hello, "token": token})
            writer = asyncio.create_task(self._write(socket))
            try:
                self._events.opened()
                await self._read(socket)
            finally:
                writer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await writer

    async def _read(self, socket: ClientConnection) -> None:
        while not self._has_ended:
            text = await socket.recv()
            if self._has_ended:
                return
            message = json.loads(text)
            if message["type"] == "welcome":
                self._patience = message["heartbeat"] / 1_000 + self._target.silence
                # The new patience may be shorter than the time that the timer has left.
                self._watchdog.cancel()
                self._watchdog = self._loop.call_later(self._patience, self._look)
            self._heard_at = self._loop.time()
            self._events.message(message)

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                while self._outgoing:
                    message = self._outgoing.popleft()
                    await socket.send(json.dumps(message, ensure_ascii=False, separators=(",", ":")))
                self._has_outgoing.clear()
                await self._has_outgoing.wait()
        except ConnectionClosed:
            pass  # the reader receives the same, and reports it
        except Exception:
            log.exception("the connection is dropped because a message could not be sent")
            socket.transport.abort()

    def _refused(self, refused: InvalidStatus) -> None:
        """The service, or something before it, has answered the upgrade by an HTTP status."""
        response = refused.response
        status = response.status_code
        error = _error_of_answer(status, bytes(response.body or b""), response.headers.get("Retry-After"))
        code = _NOT_ALLOWED
        if status == 429 or status >= 500:
            code = _OVERLOADED if error.retry_after is None else _WAIT
        self._close(code, "", error)

    def _look(self) -> None:
        """Compares the time of the last message with the patience. To feed the watchdog costs nothing."""
        left = self._heard_at + self._patience - self._loop.time()
        if left > 0:
            self._watchdog = self._loop.call_later(left, self._look)
            return
        if self._socket is not None:
            self._socket.transport.abort()
        self._close(BROKEN, f"nothing was heard from {self._target.url} for {self._patience:g} s")

    def _close(self, code: int, reason: str, error: TidewireError | None = None) -> None:
        if self._has_ended:
            return
        self.end()
        self._events.closed(code, error or end_error(code, reason))


def _error_of_answer(status: int, body: bytes, wait: str | None) -> TidewireError:
    """The error of an HTTP answer: that of the service in its body, or one that names the status."""
    retry_after = float(wait) if wait is not None and wait.isdigit() else None
    try:
        given = json.loads(body)
        details, retry = given.get("details"), given.get("retry")
        return error_of(given["code"], given["message"], details=details, retry=retry, retry_after=retry_after)
    except (ValueError, KeyError, TypeError):
        code = {401: "unauthenticated", 403: "forbidden"}.get(status, "unavailable")
        text = f"the service answered the upgrade with HTTP {status}"
        return error_of(code, text, details={"status": status}, retry_after=retry_after)
