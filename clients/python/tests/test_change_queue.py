"""The queue between the client and a loop: its limit, its end, and the marks of processed changes."""

import asyncio
import unittest

from tidewire import Change, ForbiddenError, Removed, Snapshot
from tidewire._change_queue import ChangeQueue, Mark

DOCUMENTS = [{"_id": 1}]


def change(number: int) -> Removed:
    return Removed(number, None, "delete", "c")


def queue(limit: int = 3) -> ChangeQueue:
    return ChangeQueue(lambda: DOCUMENTS, limit, lambda: None)


class QueueTest(unittest.IsolatedAsyncioTestCase):
    async def test_changes_arrive_in_order_whether_the_loop_waits_or_not(self) -> None:
        changes = queue()
        changes.push(change(1))
        changes.push(change(2))
        self.assertEqual([await changes.next(), await changes.next()], [change(1), change(2)])
        waiting = asyncio.create_task(changes.next())
        await asyncio.sleep(0)
        changes.push(change(3))
        self.assertEqual(await waiting, change(3))

    async def test_at_the_limit_every_change_waits_and_beyond_it_the_result_replaces_them(self) -> None:
        changes = queue(3)
        for number in range(3):
            changes.push(change(number))
        self.assertEqual(await changes.next(), change(0))
        changes.push(change(3))
        changes.push(change(4))
        self.assertEqual(await changes.next(), Snapshot(DOCUMENTS, "lagged"))
        changes.push(change(5))
        self.assertEqual(await changes.next(), change(5))

    async def test_a_queue_that_is_never_read_stays_small(self) -> None:
        changes = queue(10)
        for number in range(10_000):
            changes.push(change(number))
        self.assertLessEqual(len(changes), 10)

    async def test_without_a_result_nothing_is_replaced_and_the_owner_learns_when_there_is_room(self) -> None:
        drained: list[int] = []
        changes = ChangeQueue(None, 4, lambda: drained.append(1))
        for number in range(4):
            self.assertFalse(changes.is_full)
            changes.push(change(number))
        self.assertTrue(changes.is_full)
        self.assertEqual([await changes.next(), drained], [change(0), []])
        self.assertEqual([await changes.next(), drained], [change(1), [1]])

    async def test_the_end_follows_the_waiting_changes(self) -> None:
        changes = queue()
        changes.push(change(1))
        changes.end(ForbiddenError("forbidden", "no"))
        changes.push(change(2))
        self.assertEqual(await changes.next(), change(1))
        with self.assertRaises(ForbiddenError):
            await changes.next()
        with self.assertRaises(StopAsyncIteration):
            await changes.next()

    async def test_the_end_wakes_a_waiting_loop(self) -> None:
        changes = queue()
        waiting = asyncio.create_task(changes.next())
        await asyncio.sleep(0)
        changes.end()
        with self.assertRaises(StopAsyncIteration):
            await waiting

    async def test_a_loop_that_is_cancelled_while_it_waits_loses_nothing(self) -> None:
        changes = queue()
        waiting = asyncio.create_task(changes.next())
        await asyncio.sleep(0)
        changes.push(change(1))
        waiting.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiting
        self.assertEqual(await changes.next(), change(1))

    async def test_two_tasks_cannot_share_a_loop(self) -> None:
        changes = queue()
        first = asyncio.create_task(changes.next())
        await asyncio.sleep(0)
        with self.assertRaises(RuntimeError):
            await changes.next()
        first.cancel()


class MarkTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.reached = 0
        self.dropped = 0

    def mark(self, *queues: ChangeQueue) -> None:
        def reached() -> None:
            self.reached += 1

        def dropped() -> None:
            self.dropped += 1

        Mark(queues, reached, dropped)

    async def test_a_mark_is_reached_when_the_loop_asks_for_the_change_after_it(self) -> None:
        changes = queue()
        changes.push(change(1))
        self.mark(changes)
        changes.push(change(2))
        await changes.next()
        self.assertEqual(self.reached, 0)
        await changes.next()
        self.assertEqual(self.reached, 1)

    async def test_a_mark_is_reached_at_once_if_the_loop_waits(self) -> None:
        changes = queue()
        waiting = asyncio.create_task(changes.next())
        await asyncio.sleep(0)
        self.mark(changes)
        self.assertEqual(self.reached, 1)
        waiting.cancel()

    async def test_a_mark_waits_for_the_slowest_loop(self) -> None:
        fast, slow = queue(), queue()
        slow.push(change(1))
        self.mark(fast, slow)
        self.assertEqual(self.reached, 0)
        await slow.next()
        slow.push(change(2))
        await slow.next()
        self.assertEqual(self.reached, 1)

    async def test_a_mark_without_loops_is_reached_at_once(self) -> None:
        self.mark()
        self.assertEqual(self.reached, 1)

    async def test_a_mark_survives_an_overflow(self) -> None:
        changes = queue(2)
        changes.push(change(1))
        self.mark(changes)
        changes.push(change(2))
        changes.push(change(3))
        received: list[Change] = [await changes.next()]
        self.assertEqual((received, self.reached), ([Snapshot(DOCUMENTS, "lagged")], 0))
        changes.push(change(4))
        await changes.next()
        self.assertEqual(self.reached, 1)

    async def test_a_mark_is_dropped_if_the_loop_is_left_before_it(self) -> None:
        changes = queue()
        changes.push(change(1))
        self.mark(changes)
        await changes.next()
        self.assertFalse(changes.is_done)
        changes.discard()
        self.assertEqual((self.reached, self.dropped), (0, 1))
