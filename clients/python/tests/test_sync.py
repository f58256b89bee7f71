"""The client without asyncio, against a service whose every message the test writes."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import Callable
from typing import Any

import tidewire
import tidewire.sync
from tidewire import Added, Snapshot

from .scripted_service import PATIENCE_S, QUICK, ScriptedService, within


class SyncTest(unittest.TestCase):
    """The service runs in the main thread, and the program in another one."""

    def play(self, service_side: Any, program: Callable[[tidewire.sync.Client], Any]) -> Any:
        async def run() -> Any:
            async with ScriptedService() as service:

                def run_program() -> Any:
                    with tidewire.sync.connect(service.url, token="token", reconnect=QUICK) as client:
                        return program(client)

                running = asyncio.create_task(asyncio.to_thread(run_program))
                await service_side(await service.accept())
                return await within(running)

        return asyncio.run(run())

    def test_a_loop_receives_the_snapshot_and_changes(self) -> None:
        async def serve(peer: Any) -> None:
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await peer.added(2, "c2")

        def program(client: tidewire.sync.Client) -> Any:
            query = client.query("orders")
            changes = []
            for change in query:
                changes.append(change)
                if len(changes) == 2:
                    return changes, query.documents, query.status, client.status

        changes, documents, *statuses = self.play(serve, program)
        self.assertEqual(changes, [Snapshot([{"_id": 1}]), Added({"_id": 2}, "insert", "c2")])
        self.assertEqual((documents, statuses), ([{"_id": 1}, {"_id": 2}], ["live", "connected"]))

    def test_a_wait_with_a_limit_ends_and_loses_no_change(self) -> None:
        may_send = threading.Event()

        async def serve(peer: Any) -> None:
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await asyncio.to_thread(may_send.wait, PATIENCE_S)
            await peer.added(2, "c2")

        def program(client: tidewire.sync.Client) -> Any:
            with client.query("orders").changes() as changes:
                first = changes.next(timeout=PATIENCE_S)
                with self.assertRaises(TimeoutError):
                    changes.next(timeout=0.01)
                may_send.set()
                return first, changes.next(timeout=PATIENCE_S)

        self.assertEqual(self.play(serve, program), (Snapshot([{"_id": 1}]), Added({"_id": 2}, "insert", "c2")))

    def test_results_statuses_snapshot_fence_and_errors(self) -> None:
        async def serve(peer: Any) -> None:
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            fence = await peer.receive("fence")
            await peer.send("fenced", id=fence["id"], cursor="c2")
            refused = await peer.receive("subscribe")
            await peer.send("error", id=refused["id"], code="forbidden", message="no", retry="never")

        def program(client: tidewire.sync.Client) -> Any:
            client.ready(timeout=PATIENCE_S)
            with client.query("orders") as query:
                shown = [query.snapshot(timeout=PATIENCE_S), next(iter(query.results())), next(iter(query.statuses()))]
                client.fence((1, 1), timeout=PATIENCE_S)
                with self.assertRaises(tidewire.ForbiddenError):
                    client.aggregate("orders").snapshot()
                return shown

        self.assertEqual(self.play(serve, program), [[{"_id": 1}], [{"_id": 1}], "live"])

    def test_closing_the_client_ends_a_loop_of_another_thread(self) -> None:
        loops = []

        async def serve(peer: Any) -> None:
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)

        def program(client: tidewire.sync.Client) -> Any:
            query = client.query("orders")
            has_begun = threading.Event()

            def follow() -> None:
                for _ in query:
                    has_begun.set()

            loops.append(threading.Thread(target=follow))
            loops[0].start()
            self.assertTrue(has_begun.wait(PATIENCE_S))
            return client

        client = self.play(serve, program)
        loops[0].join(PATIENCE_S)
        self.assertFalse(loops[0].is_alive())
        with self.assertRaisesRegex(RuntimeError, "not connected"):
            client.query("orders")
