"""The pace of requests: whatever a program asks for, the service never refuses it for its rate."""

import asyncio
import json
import unittest
from collections.abc import Callable
from typing import Any

from tidewire._requests import MESSAGE_BYTES, REQUEST_BURST, REQUESTS_PER_SECOND, Message, RequestQueue, Room

RESUMED = {"cursor": "c" * 27, "ticket": "t" * 330}


class FakeLoop:
    """The clock of an event loop, which the test advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.timers.append((self.now + delay, callback))
        return None

    def run(self) -> None:
        while self.timers:
            self.now, callback = self.timers.pop(0)
            callback()


class Service:
    """Charges as the service does: one for each message, and one more for each full KiB."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.tokens = float(REQUEST_BURST)
        self.at = 0.0
        self.sent = 0
        self.refused = 0
        self.early: list[int] | None = None

    def receive(self, message: Message) -> None:
        self.sent += 1
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        cost = 1 + len(text.encode()) // 1_024
        if self.early is None:
            self.charge(cost)
        else:
            self.early.append(cost)

    def charge(self, cost: int) -> None:
        now = self.loop.time()
        self.tokens = min(REQUEST_BURST, self.tokens + (now - self.at) * REQUESTS_PER_SECOND)
        self.at = now
        price = min(cost, REQUEST_BURST)
        if self.tokens < price - 1e-6:
            self.refused += 1
        else:
            self.tokens -= price

    def welcome(self) -> None:
        early, self.early = self.early or [], None
        for cost in early:
            self.charge(cost)


class PaceTest(unittest.IsolatedAsyncioTestCase):
    def start(self) -> tuple[FakeLoop, Service, RequestQueue]:
        loop = FakeLoop()
        service = Service(loop)
        queue = RequestQueue(service.receive)
        queue._loop = loop  # type: ignore[assignment]
        return loop, service, queue

    def add(self, queue: RequestQueue, text: str) -> None:
        request = {"collection": "items", "filter": {"text": text}}
        size = len(json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode())
        queue.add(lambda: {**request, "type": "subscribe", "id": "q1", **RESUMED}, size)

    async def test_no_request_is_refused_for_its_rate(self) -> None:
        await asyncio.sleep(0)
        texts: list[Callable[[int], str]] = [
            lambda number: "x",
            lambda number: "x" * 60_000,
            lambda number: "x" * (60_000 if number % 50 == 49 else 1),
            lambda number: "x" * 900,
            lambda number: "語" * 1_500,
        ]
        for text_of in texts:
            loop, service, queue = self.start()
            queue.ready({})
            for number in range(200):
                self.add(queue, text_of(number))
            loop.run()
            self.assertEqual((service.sent, service.refused), (200, 0))

    async def test_early_messages_are_not_refused_for_their_rate(self) -> None:
        await asyncio.sleep(0)
        loop, service, queue = self.start()
        service.early = []
        queue.opened(Room(32, 4 * MESSAGE_BYTES))
        for _ in range(20):
            self.add(queue, "x" * 40_000)
        self.assertGreater(service.sent, 0)
        service.welcome()
        queue.ready({})
        loop.run()
        self.assertEqual((service.sent, service.refused), (20, 0))


if __name__ == "__main__":
    unittest.main()
