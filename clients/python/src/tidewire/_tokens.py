"""Asks the program for tokens, and renews them before they expire."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, Union

from ._errors import TidewireError, UnauthenticatedError

# A token; or a function that returns one, which is called for the first connection and whenever the token expires.
# A plain function runs in a thread, so that it may wait.
TokenSource = Union[str, Callable[[], Union["str | None", Awaitable["str | None"]]], None]

# A token that expires within this time is not used for a new connection.
_MARGIN_S = 5
# How long before its expiry a token is renewed if the service sends no notice.
_AHEAD_S = 30


class Tokens:
    """The last token. Callers at the same time share one request to the program."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token: str | None = None
        self._expires_at: float | None = None
        self._asking: asyncio.Task[str | None] | None = None

    @property
    def current(self) -> str | None:
        """The token in use."""
        return self._token

    def note_expiry(self, expires_at: float | None) -> None:
        """The service has reported when the token expires, in seconds since 1970."""
        self._expires_at = expires_at

    async def get(self, fresh: bool) -> str | None:
        """Gets a token. `fresh`: the last one is not valid any more, or expires soon."""
        is_good = self._expires_at is None or time.time() < self._expires_at - _MARGIN_S
        if not fresh and is_good and self._token is not None:
            return self._token
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        # One caller's end must not cancel the request of the others.
        return await asyncio.shield(self._asking)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _asked(self, task: asyncio.Task[str | None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # Marks it as seen: every caller receives it, unless all callers have left.

    async def _ask(self) -> str | None:
        token = await self._from_source()
        if token is not None and not isinstance(token, str):
            raise TypeError(f"a token is a string, not {type(token).__name__}")
        if token != self._token:
            self._expires_at = None
        self._token = token
        return token

    async def _from_source(self) -> str | None:
        source = self._source
        if source is None or isinstance(source, str):
            return source
        if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(getattr(source, "__call__", None)):
            given = source()
        else:
            given = await asyncio.to_thread(source)
        return await given if inspect.isawaitable(given) else given


class RenewalEvents(Protocol):
    def token_renewed(self, token: str) -> None:
        """There is a new token."""

    def renewal_failed(self, error: TidewireError) -> None: ...


class TokenRenewal:
    """Renews the token before it expires: when the service announces the expiry, or by the clock."""

    def __init__(self, tokens: Tokens, events: RenewalEvents) -> None:
        self._tokens = tokens
        self._events = events
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._expires_at_ms: float | None = None

    def expires(self, expires_at_ms: float | None) -> None:
        """The token in use expires at this time, in milliseconds since 1970."""
        self._tokens.note_expiry(None if expires_at_ms is None else expires_at_ms / 1_000)
        self._cancel_timer()
        self._expires_at_ms = expires_at_ms
        left = 0.0 if expires_at_ms is None else expires_at_ms / 1_000 - time.time()
        # There is no expiry, or the local clock is wrong. In that case the notice of the service, or the end of the
        # connection, causes the renewal.
        if left <= 0:
            return
        delay = left - min(_AHEAD_S, left / 2)
        self._timer = asyncio.get_running_loop().call_later(delay, self.renew)

    def renew(self) -> None:
        self._cancel_timer()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew())

    def stop(self) -> None:
        """The connection has ended. The next one uses a new token by itself."""
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _renew(self) -> None:
        before = self._tokens.current
        try:
            token = await self._tokens.get(True)
        except Exception as cause:
            text = f"no new token was available, and the old one expires: {cause}"
            error = UnauthenticatedError("unauthenticated", text)
            error.__cause__ = cause
            self._events.renewal_failed(error)
        else:
            if token is not None and token != before:
                self._events.token_renewed(token)
                return
        # Many programs keep a token until shortly before its expiry: asks again after half of the time that is left.
        self.expires(self._expires_at_ms)
