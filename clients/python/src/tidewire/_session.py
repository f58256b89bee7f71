"""The one connection of a client over its whole life: when to connect, when to replace it, and when to give up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ._errors import ClosedError, TidewireError, from_message
from ._fences import Fences, OperationTime
from ._link import Link
from ._live_result import LiveResult
from ._presence import Rooms
from ._reconnect import Reconnect
from ._requests import EarlyRoom
from ._result_set import Decode
from ._subscriptions import Subscriptions
from ._tokens import TokenRenewal, Tokens, TokenSource
from ._transport import BROKEN, Target

Message = Mapping[str, Any]
# `connecting` until the service has accepted the client, `offline` between two attempts, `stopped` permanently.
ConnectionStatus = Literal["connecting", "connected", "offline", "stopped"]

log = logging.getLogger("tidewire")


class SessionEvents(Protocol):
    def query_ended(self, result: LiveResult) -> None:
        """The service has ended a query permanently, and its stored state is void."""

    def connection_changed(self) -> None: ...


@dataclass(frozen=True)
class SessionOptions:
    target: Target
    token: TokenSource
    decode: Decode
    reconnect: Mapping[str, float]
    random: Callable[[], float]
    # Receives each message of the connection in use. For tests.
    trace: Callable[[Message], None] | None = None


class Session:
    """The connection of a client. `Subscriptions` decides how its queries resume."""

    def __init__(self, options: SessionOptions, events: SessionEvents) -> None:
        self._options = options
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._reconnect = Reconnect(options.random, options.reconnect)
        self._tokens = Tokens(options.token)
        self._renewal = TokenRenewal(self._tokens, self)
        self._subscriptions = Subscriptions(self, options.random)
        self._fences = Fences()
        self._rooms = Rooms(self, options.random)
        self._early = EarlyRoom()
        self._status: ConnectionStatus = "connecting"
        self._error: TidewireError | None = None
        # The current connection, or the one that is being made.
        self._link: Link | None = None
        # A second connection while the first still delivers, because its node shuts down.
        self._next: Link | None = None
        # The connection over which a new token was sent that was not answered yet.
        self._refreshing: Link | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> ConnectionStatus:
        return self._status

    @property
    def error(self) -> TidewireError | None:
        """Why it has stopped, or why the last attempt failed."""
        return self._error

    @property
    def rooms(self) -> Rooms:
        """The rooms that the client is in."""
        return self._rooms

    def start(self) -> None:
        self._connect(False)

    async def close(self) -> None:
        """Ends the connection and all queries, and waits until the sockets are closed."""
        self.stop(None)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self, error: TidewireError | None) -> None:
        """Ends the connection and all queries, with the error unless the program has closed the client."""
        if self._status == "stopped":
            return
        self._end_all()
        self._fences.fail(error or ClosedError())
        self._rooms.stop(error)
        self._set_status("stopped", error)
        for result in self._subscriptions.list:
            self._stop_result(result, error)

    def add(self, result: LiveResult) -> None:
        self._subscriptions.add(result)
        if self._status == "stopped":
            self._stop_result(result, self._error)

    def _stop_result(self, result: LiveResult, error: TidewireError | None) -> None:
        result.stop(error)
        # The next process must not show the stored documents.
        if error is not None and error.code == "forbidden":
            self._events.query_ended(result)

    def ready(self, result: LiveResult) -> None:
        """The stored state of the result was read, so the result may be requested."""
        if result not in self._subscriptions:
            return
        self._subscriptions.ready(result)
        for link in self._links():
            if link.requests.is_open:
                self._subscriptions.ask(link, result)

    def remove(self, result: LiveResult) -> None:
        self._subscriptions.remove(result, self._links())

    def pause(self, result: LiveResult) -> None:
        """Ends the subscription of a result until `ready`, and keeps its position."""
        self._subscriptions.pause(result, self._links())

    async def fence(self, operation_time: OperationTime) -> None:
        """Returns when every change up to a write's operation time has arrived."""
        if self._status == "stopped":
            raise self._error or ClosedError()
        if not self._subscriptions.list:
            return  # no query is left that could lag behind

        def send(message: Message) -> None:
            if self._link is not None:
                self._link.send(message)

        await self._fences.add(operation_time, send)

    # The connection

    def open_links(self) -> list[Link]:
        """The connections that take requests."""
        return [link for link in self._links() if link.requests.is_open]

    def later(self, delay_ms: float, work: Callable[[], None]) -> None:
        """Calls a function after a while, unless the session has stopped by then."""
        self._later(delay_ms, work)

    def _links(self) -> list[Link]:
        return [link for link in (self._link, self._next) if link is not None]

    def _now_ms(self) -> float:
        return self._loop.time() * 1_000

    def _later(self, delay_ms: float, work: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            work()

        timer = self._loop.call_later(delay_ms / 1_000, run)
        self._timers.add(timer)

    def _set_status(self, status: ConnectionStatus, error: TidewireError | None = None) -> None:
        self._status = status
        self._error = error
        self._events.connection_changed()

    def _connect(self, with_new_token: bool) -> None:
        self._set_status("connecting", self._error)
        for result in self._subscriptions.list:
            result.advance("attempt")
        self._link = self._open(with_new_token)

    def _open(self, with_new_token: bool) -> Link:
        self._reconnect.attempted(self._now_ms())
        target = self._options.target
        link = Link(target, self)
        task = link.start(self._tokens, with_new_token, target.connect_timeout)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return link

    def _promote(self) -> None:
        """Leaves the old connection once the new one has answered every request."""
        following = self._next
        if following is None or not following.is_ready or following.asked:
            return
        old, self._link, self._next = self._link, following, None
        if old is not None:
            old.end()
        self._fences.send_all(following.send)
        self._connected(following)

    def _connected(self, link: Link) -> None:
        if link is not self._link or not link.is_ready:
            return
        self._set_status("connected")
        if link.is_draining:
            self._move()

    def _move(self) -> None:
        """Make before break: the next connection is made while this one delivers."""
        active = self._link
        if active is None or not active.is_ready or self._next is not None:
            return
        pause_ms = self._reconnect.pause_ms(self._now_ms())
        if pause_ms > 0:
            self._later(pause_ms, lambda: self._move_from(active))
            return
        self._next = self._open(False)

    def _move_from(self, link: Link) -> None:
        if link is self._link:
            self._move()

    # The events of the links

    def link_opened(self, link: Link) -> None:
        link.open_early(self._early.room)
        self._subscriptions.ask_all(link)
        self._rooms.ask_all(link)

    def link_message(self, link: Link, message: Message) -> None:
        if link not in self._links():
            return
        was_in_use = link is self._link
        if was_in_use:
            self._trace(message)
        self._receive(link, message)
        # The answer that made a connection the current one counts as its message.
        if not was_in_use and link is self._link:
            self._trace(message)

    def _trace(self, message: Message) -> None:
        if self._options.trace is not None:
            self._options.trace(message)

    def _receive(self, link: Link, message: Message) -> None:
        kind = message["type"]
        if kind in ("snapshot", "added", "changed", "removed", "reset"):
            view = link.views.get(message["query"])
            if view is None:
                return
            if kind == "snapshot":
                view.snapshot(message)
            elif kind == "reset":
                view.reset(message)
            else:
                view.change(message)
        elif kind == "watermark":
            for view in list(link.views.values()):
                view.watermark(message["cursor"])
        elif kind in ("entered", "left", "error") and self._rooms.receive(link, message):
            pass
        elif kind in ("subscribed", "unsubscribed", "error"):
            self._answered(link, message)
        elif kind == "welcome":
            self._welcomed(link, message)
        elif kind == "tickets":
            self._subscriptions.renewed(message["tickets"])
        elif kind == "expiring":
            self._renewal.renew()
        elif kind == "refreshed":
            self._refreshing = None
            self._renewal.expires(message["expires"])
        elif kind == "draining":
            self._draining(link, message["withinMs"])
        elif kind == "fenced":
            self._fences.passed(message["id"])
        # Others are newer than this client, and are ignored.

    def _welcomed(self, link: Link, message: Message) -> None:
        self._early.welcomed(message["limits"])
        self._reconnect.welcomed(message["reconnect"], self._now_ms())
        self._renewal.expires(message["expires"])
        link.welcome(message)
        self._connected(link)
        self._subscriptions.ask_all(link)
        if link is self._link:
            self._fences.send_all(link.send)
        self._promote()

    def _answered(self, link: Link, message: Message) -> None:
        subscriptions = self._subscriptions
        kind, request_id = message["type"], message.get("id")
        # Messages of the old connection about a query that the new one has taken over are ignored.
        if link is self._link and subscriptions.is_served(request_id, self._next):
            return
        if kind == "subscribed":
            subscriptions.subscribed(link, message, [other for other in self._links() if other is not link])
        elif kind == "unsubscribed":
            subscriptions.unsubscribed(link, message)
        else:
            if "retryAfterMs" in message:
                self._reconnect.wait_at_least(message["retryAfterMs"], self._now_ms())
            if request_id is not None and self._fences.refused(request_id, message):
                return
            # The old token stays in force until it expires. The program should know why the new one was refused.
            if request_id is None and link is self._refreshing:
                self._refreshing = None
                self.renewal_failed(from_message(message))
            subscriptions.error(link, message)
        self._promote()

    def _draining(self, link: Link, within_ms: float) -> None:
        self._reconnect.wait_at_least(within_ms, self._now_ms())
        if link.drain():
            self._later(self._reconnect.moment_within(within_ms), lambda: self._move_from(link))

    def link_closed(self, link: Link, code: int, error: TidewireError) -> None:
        if link not in self._links():
            return
        is_too_early = not link.is_ready and self._early.refused(code, link.requests.was_early)
        link.end()
        if link is self._next:
            self._next = None
            self._lost(link)
            # The current connection still delivers. When it ends, the client connects again.
            active = self._link
            if active is not None and active.is_draining:
                self._later(self._reconnect.next_delay_ms(), lambda: self._move_from(active))
            return
        self._link, self._next = self._next, None
        self._lost(link)
        if self._link is not None:
            # The old connection broke before the new one had answered every request.
            self._subscriptions.taken_over(self._link)
            self._set_status("connecting", error)
            self._connected(self._link)
            return
        if link.last_error is not None:
            error = from_message(link.last_error)
        self._come_back(BROKEN if is_too_early else code, error)

    def _lost(self, link: Link) -> None:
        self._subscriptions.lost(link, self._links())
        self._rooms.lost(self._links())

    def _come_back(self, code: int, error: TidewireError) -> None:
        self._renewal.stop()
        self._refreshing = None
        now_ms = self._now_ms()
        if error.retry_after is not None:
            self._reconnect.wait_at_least(error.retry_after * 1_000, now_ms)
        step = self._reconnect.closed(code, now_ms)
        if step.delay_ms is None:
            log.error("the connection has stopped: %s", error)
            self.stop(error)
            return
        log.info("disconnected, next attempt in %d ms: %s", step.delay_ms, error)
        self._subscriptions.disconnected(error)
        self._set_status("offline", error)
        self._later(step.delay_ms, lambda: self._connect(step.with_new_token))

    def _end_all(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._renewal.stop()
        self._tokens.close()
        links = self._links()
        self._link = self._next = None
        for link in links:
            link.end()

    # The events of the token renewal and of the subscriptions

    def token_renewed(self, token: str) -> None:
        self._refreshing = self._link
        if self._link is not None:
            self._link.send({"type": "refresh", "token": token})

    def renewal_failed(self, error: TidewireError) -> None:
        log.warning("the token was not renewed: %s", error)
        self._subscriptions.note(error)

    def ask_later(self, link: Link, result: LiveResult, delay_ms: float) -> None:
        def ask() -> None:
            if link in self._links() and result in self._subscriptions:
                self._subscriptions.ask(link, result)

        self._later(delay_ms, ask)

    def subscription_ended(self, result: LiveResult) -> None:
        self._events.query_ended(result)
