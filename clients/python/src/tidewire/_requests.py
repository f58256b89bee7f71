"""Keeps the requests of one connection below the service's rate limits.

A program may follow hundreds of queries at once. Without the queue the service would refuse their subscriptions, and
each would wait for its own retry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
# Called at the time of sending, because the request may be over by then, or continue from a newer cursor.
Make = Callable[[], "Message | None"]

# Defaults of `limits.requestsPerSecond`, `requestBurst`, `earlyMessages` and `messageBytes`.
REQUESTS_PER_SECOND = 50
REQUEST_BURST = 100
EARLY_MESSAGES = 32
MESSAGE_BYTES = 65_536
# The early messages of a connection together take at most this many times `limits.messageBytes`.
_EARLY_LARGEST_MESSAGES = 4
# This many bytes of a message cost as much as one small request.
_COST_BYTES = 1_024
# Half of what the service allows, because the queue does not count other messages, and clocks differ.
_SHARE = 0.5
# The most that the type, id, cursor and ticket of a `subscribe` take besides its request, in bytes.
_ENVELOPE_BYTES = 2_500
# The most that the names and punctuation of a message take, in bytes.
_PUNCTUATION_BYTES = 160
# The close code of a service that accepts fewer early messages.
_MALFORMED = 4400


def _cost_of(size: int) -> int:
    return 1 + size // _COST_BYTES


def _cost_of_message(message: Message, size: int) -> int:
    """The cost of a message as the service counts it, or slightly more. `size` is that without the envelope."""
    envelope = sum(len(message.get(name) or "") for name in ("id", "cursor", "ticket"))
    return _cost_of(size + _PUNCTUATION_BYTES + envelope)


@dataclass(frozen=True)
class Room:
    """How much may be sent before `welcome` has arrived."""

    messages: int = EARLY_MESSAGES
    size: int = _EARLY_LARGEST_MESSAGES * MESSAGE_BYTES


class EarlyRoom:
    """How much a connection may send right after `hello`: the default of every service, later the limits of this one."""

    def __init__(self) -> None:
        self.has_been_welcomed = False
        self.room = Room()

    def welcomed(self, limits: Mapping[str, float]) -> None:
        """Takes the limits of the service. A service without that limit accepts no early messages."""
        self.has_been_welcomed = True
        burst = int(limits.get("requestBurst", REQUEST_BURST) * _SHARE)
        messages = min(int(limits.get("earlyMessages", 0)), burst)
        self.room = Room(messages, _EARLY_LARGEST_MESSAGES * int(limits.get("messageBytes", 0)))

    def refused(self, code: int, was_early: bool) -> bool:
        """Whether the service has closed a connection because of its early messages. The next one sends none."""
        is_refused = was_early and code == _MALFORMED
        if is_refused:
            self.room = Room(0, 0)
        return is_refused


class RequestQueue:
    """Sends the requests of one connection when the limits of the service have room for them."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._is_ready = False
        self._burst = REQUEST_BURST * _SHARE
        self._per_second = REQUESTS_PER_SECOND * _SHARE
        # The cost that may be sent now. It is below zero after a request that cost more than was left.
        self._allowance = self._burst
        self._counted_at = 0.0
        # The room that is left for early messages; None while none may be sent.
        self._early: Room | None = None
        # The cost of the early messages that were sent. The service charges them after `welcome`.
        self._early_cost = 0
        self._queue: deque[tuple[Make, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests may be added: the connection is ready, or takes early messages."""
        return self._is_ready or self._early is not None

    @property
    def was_early(self) -> bool:
        """Whether messages were sent before `welcome`."""
        return self._early_cost > 0

    def opened(self, room: Room) -> None:
        """`hello` was sent. Requests that fit into the room follow at once, the rest when the connection is ready."""
        self._early = room

    def ready(self, limits: Mapping[str, float]) -> None:
        """Requests may be sent from now on, at the rate of this service."""
        self._burst = limits.get("requestBurst", REQUEST_BURST) * _SHARE
        self._per_second = limits.get("requestsPerSecond", REQUESTS_PER_SECOND) * _SHARE
        self._allowance = self._burst - self._early_cost
        self._counted_at = self._loop.time()
        self._is_ready = True
        self._early = None
        self._pump()

    def add(self, make: Make, size: int) -> None:
        """Adds a request. `size` is that of the message without its envelope, in bytes."""
        self._queue.append((make, size))
        if self._early is not None:
            self._pump_early()
        elif self._is_ready and self._timer is None:
            self._pump()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_ready = False
        self._early = None
        self._queue.clear()

    def _pump_early(self) -> None:
        while self._queue and self._early is not None:
            make, size = self._queue[0]
            room = self._early
            needed = size + _ENVELOPE_BYTES
            if room.messages < 1 or room.size < needed:
                return
            # The service charges all of them at once, after `welcome`.
            if self.was_early and self._early_cost + _cost_of(size) > self._burst:
                return
            self._queue.popleft()
            message = make()
            if message is None:
                continue
            self._early = Room(room.messages - 1, room.size - needed)
            self._early_cost += _cost_of_message(message, size)
            self._send(message)

    def _pump(self) -> None:
        self._timer = None
        now = self._loop.time()
        earned = (now - self._counted_at) * self._per_second
        self._allowance = min(self._burst, self._allowance + earned)
        self._counted_at = now
        while self._queue:
            make, size = self._queue[0]
            # A request that costs more than the burst waits for all of it, and the ones after it wait longer.
            missing = min(_cost_of(size), self._burst) - self._allowance
            if missing > 0:
                self._timer = self._loop.call_later(max(0.001, missing / self._per_second), self._pump)
                return
            self._queue.popleft()
            message = make()
            if message is None:
                continue
            self._allowance -= _cost_of_message(message, size)
            self._send(message)
