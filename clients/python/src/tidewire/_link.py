"""One connection attempt and everything known about it.

During a change of node two links exist at once, so nothing about a connection is kept in the session itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from ._errors import TidewireError, end_error
from ._live_result import LiveResult
from ._requests import RequestQueue, Room
from ._transport import BROKEN, Target, Transport
from ._tokens import Tokens
from ._view import View

Message = Mapping[str, Any]


class LinkEvents(Protocol):
    """The events of a link, for the session."""

    def link_opened(self, link: Link) -> None: ...

    def link_message(self, link: Link, message: Message) -> None: ...

    def link_closed(self, link: Link, code: int, error: TidewireError) -> None: ...


class Link:
    """One connection and its state."""

    def __init__(self, target: Target, events: LinkEvents) -> None:
        self._events = events
        # By the number of the live query.
        self.views: dict[int, View] = {}
        # Results that wait for the answer to their `subscribe`.
        self.asked: dict[LiveResult, None] = {}
        # Results for which this connection delivers.
        self.serves: dict[LiveResult, None] = {}
        # Results that were requested on this connection, in the order of the messages.
        self.sent: dict[LiveResult, None] = {}
        self._transport = Transport(target, self)
        # Requests, which are sent at the rate that the service permits.
        self.requests = RequestQueue(self._transport.send)
        self._is_ready = False
        self._is_draining = False
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None
        self._last_error: Message | None = None
        # The ends of subscriptions that were requested early. They are sent when the connection is ready.
        self._ends: list[Message] = []

    @property
    def is_ready(self) -> bool:
        """Whether the service has accepted the client, so that requests can be sent."""
        return self._is_ready

    @property
    def is_draining(self) -> bool:
        """Whether the node has announced its shutdown."""
        return self._is_draining

    @property
    def last_error(self) -> Message | None:
        """The error about the connection itself, if it was the last message. It is the reason for the end."""
        return self._last_error

    def start(self, tokens: Tokens, with_new_token: bool, timeout_s: float) -> asyncio.Task[None]:
        """Gets a token and connects. Any failure closes the link. The task is done when the connection has ended."""
        self._task = asyncio.create_task(self._run(tokens, with_new_token, timeout_s))
        return self._task

    async def _run(self, tokens: Tokens, with_new_token: bool, timeout_s: float) -> None:
        try:
            token = await asyncio.wait_for(tokens.get(with_new_token), timeout_s)
        except Exception as cause:
            text = f"the token source failed: {str(cause) or type(cause).__name__}"
            error = end_error(BROKEN, text)
            error.__cause__ = cause
            if not self._has_ended:
                self._transport.end()
                self._events.link_closed(self, BROKEN, error)
            return
        if not self._has_ended:
            await self._transport.run(token)

    def welcome(self, message: Message) -> None:
        self._is_ready = True
        ends, self._ends = self._ends, []
        for end in ends:
            self.send(end)
        self.requests.ready(message["limits"])

    def drain(self) -> bool:
        """Notes that the node shuts down. Returns whether that is news."""
        is_news = not self._is_draining
        self._is_draining = True
        return is_news

    def open_early(self, room: Room) -> None:
        self.requests.opened(room)

    def send(self, message: Message) -> None:
        if self._is_ready:
            self._transport.send(message)
        elif message["type"] == "unsubscribe" and self.requests.was_early:
            self._ends.append(message)

    def prune(self) -> None:
        """Drops the views that are no longer shown."""
        # The answer to a pending request may be `shared`, which refers to a view that exists already.
        if not self.asked:
            self.views = {number: view for number, view in self.views.items() if view.watchers}

    def forget(self, view: View) -> None:
        """Another connection owns the view from now on."""
        self.views = {number: held for number, held in self.views.items() if held is not view}

    def end(self) -> None:
        self._has_ended = True
        self._is_ready = False
        self.requests.end()
        self._transport.end()
        if self._task is not None:
            self._task.cancel()

    # The events of the transport

    def opened(self) -> None:
        self._events.link_opened(self)

    def message(self, message: Message) -> None:
        # An error about the connection counts until another message arrives.
        if message["type"] != "error":
            self._last_error = None
        elif "id" not in message:
            self._last_error = message
        self._events.link_message(self, message)

    def closed(self, code: int, error: TidewireError) -> None:
        self._events.link_closed(self, code, error)
