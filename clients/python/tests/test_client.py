"""The client against a service whose every message the test writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import unittest
from collections.abc import AsyncIterator, Callable
from typing import Any

import tidewire
from tidewire import Added, Removed, Snapshot

from tidewire._tokens import Tokens

from .scripted_service import LIMITS, QUICK, Peer, ScriptedService, until, within


def once(token: str) -> Callable[[], str]:
    """A source that gives one token and fails from then on."""
    tokens = [token]

    def source() -> str:
        if not tokens:
            raise OSError("the login service is down")
        return tokens.pop()

    return source


class ClientTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        # Tests that provoke errors do not print them.
        logging.getLogger("tidewire").setLevel(logging.CRITICAL)

    async def asyncSetUp(self) -> None:
        self.service = await self.enterAsyncContext(ScriptedService())

    if not hasattr(unittest.IsolatedAsyncioTestCase, "enterAsyncContext"):  # Python 3.10

        async def enterAsyncContext(self, context: Any) -> Any:
            entered = await context.__aenter__()
            self.addAsyncCleanup(context.__aexit__, None, None, None)
            return entered

    async def client(self, **options: Any) -> tidewire.Client:
        made = tidewire.connect(self.service.url, **{"token": "token", "reconnect": QUICK, **options})
        client: tidewire.Client = await self.enterAsyncContext(made)
        return client

    @contextlib.asynccontextmanager
    async def following(self, client: tidewire.Client, **options: Any) -> AsyncIterator[tuple[tidewire.Query, tidewire.Changes]]:
        query = client.query("orders", **options)
        async with query.changes() as changes:
            yield query, changes


class ConnectionTest(ClientTest):
    async def test_hello_and_subscribe_are_sent_without_waiting_for_welcome(self) -> None:
        client = await self.client()
        async with self.following(client, filter={"a": 1}):
            peer = await self.service.accept()
            hello = await peer.receive("hello")
            self.assertEqual((hello["token"], hello["values"], peer.path), ("token", "json", "/v1/ws"))
            subscribe = await peer.receive("subscribe")
            self.assertEqual((subscribe["collection"], subscribe["filter"]), ("orders", {"a": 1}))
            self.assertNotIn("cursor", subscribe)

    async def test_unknown_messages_and_fields_are_ignored(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome(future=1)
            await peer.send("future", query=1)
            await peer.subscribed(future=1)
            await peer.snapshot(1)
            self.assertEqual(await within(changes.__anext__()), Snapshot([{"_id": 1}]))
            self.assertEqual((query.documents, query.status, client.status), ([{"_id": 1}], "live", "connected"))

    async def test_a_cut_connection_resumes_with_the_last_cursor_and_ticket_and_repeats_nothing(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed(ticket="t1")
            await peer.snapshot(1)
            await peer.send("tickets", tickets={"1": "t2"})
            await peer.added(2, "c2")
            await peer.send("watermark", cursor="c3")
            await peer.added(3, "c3")
            for _ in range(3):
                await within(changes.__anext__())
            peer.cut()
            peer = await self.service.accept()
            await peer.welcome()
            subscribe = await peer.subscribed("resumed", query=7, cursor="c3", ticket="t3")
            self.assertEqual((subscribe["cursor"], subscribe["ticket"]), ("c3", "t2"))
            # The cut was within a transaction, so its first change arrives again.
            await peer.added(3, "c3", query=7)
            await peer.added(4, "c4", query=7)
            self.assertEqual(await within(changes.__anext__()), Added({"_id": 4}, "insert", "c4"))
            self.assertEqual([one["_id"] for one in query.documents], [1, 2, 3, 4])

    async def test_without_a_complete_snapshot_there_is_no_cursor(self) -> None:
        client = await self.client()
        async with self.following(client):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1, last=False)
            await peer.send("watermark", cursor="c2")
            peer.cut()
            peer = await self.service.accept()
            await peer.welcome()
            self.assertNotIn("cursor", await peer.receive("subscribe"))

    async def test_a_text_that_is_no_message_ends_the_connection_and_the_client_comes_back(self) -> None:
        client = await self.client()
        for text in ("<html>", "[]", '{"type":"snapshot"}', '{"type":"subscribed","id":"1"}'):
            async with self.following(client, filter={"text": text}):
                peer = await self.service.accept()
                await peer.welcome()
                await peer.receive("subscribe")
                await peer.send_text(text)
                await peer.closed()
        peer = await self.service.accept()
        await peer.welcome()

    async def test_a_silent_connection_is_dropped(self) -> None:
        await self.client(silence=0.05)
        peer = await self.service.accept()
        await peer.welcome(heartbeat=50)
        await self.service.accept()

    async def test_a_service_that_never_welcomes_is_left(self) -> None:
        await self.client(connect_timeout=0.1)
        await self.service.accept()
        await self.service.accept()

    async def test_a_service_that_takes_fewer_early_messages_receives_none_on_the_next_connection(self) -> None:
        client = await self.client()
        async with self.following(client) as (_, changes):
            peer = await self.service.accept()
            await peer.receive("hello")
            await peer.receive("subscribe")
            await peer.close(4400)
            peer = await self.service.accept()
            await peer.receive("hello")
            await peer.is_silent()
            await peer.send_welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await within(changes.__anext__())

    async def test_a_hopeless_code_stops_the_client_with_the_error_before_it(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.receive("hello")
            await peer.send("error", code="unauthenticated", message="not genuine", retry="never")
            await peer.close(4401)
            with self.assertRaises(tidewire.UnauthenticatedError) as caught:
                await within(changes.__anext__())
            self.assertEqual((str(caught.exception), caught.exception.retry), ("unauthenticated: not genuine", "never"))
            self.assertEqual((client.status, query.status, self.service.attempts), ("stopped", "stopped", 1))
            for waiting in (client.ready(), query.snapshot(), client.fence((1, 1))):
                with self.assertRaises(tidewire.UnauthenticatedError):
                    await within(waiting)

    async def test_an_http_answer_in_place_of_the_upgrade_is_permanent_except_429_and_5xx(self) -> None:
        body = json.dumps({"type": "error", "code": "forbidden", "message": "this origin is not listed"})
        wait = {"Retry-After": "0"}
        self.service.refusals = [(503, {}, b""), (429, wait, b""), (502, {}, b"<html>"), (403, {}, body.encode())]
        client = await self.client()
        with self.assertRaisesRegex(tidewire.ForbiddenError, "this origin is not listed"):
            await within(client.ready())
        self.assertEqual(self.service.attempts, 4)

    async def test_closing_the_client_ends_loops_and_fails_what_waits(self) -> None:
        client = tidewire.connect(self.service.url, token="token")
        async with client:
            query = client.query("orders")
            changes = query.changes()
            waiting = [asyncio.ensure_future(work) for work in (query.snapshot(), client.fence((1, 1)))]
            await asyncio.sleep(0)
        with self.assertRaises(StopAsyncIteration):
            await within(changes.__anext__())
        for one in waiting:
            with self.assertRaises(tidewire.ClosedError):
                await within(one)
        with self.assertRaises(RuntimeError):
            await client.__aenter__()

    async def test_a_client_that_was_not_entered_says_so(self) -> None:
        client = tidewire.connect(self.service.url)
        with self.assertRaisesRegex(RuntimeError, "async with"):
            client.query("orders").changes()

    def test_an_impossible_address_or_option_is_refused_at_once(self) -> None:
        for url in ("live.example.com", "ftp://a", "http://", "http://a/?token=1"):
            with self.assertRaises(ValueError):
                tidewire.connect(url)
        with self.assertRaisesRegex(ValueError, "scope"):
            tidewire.connect("http://a", store=tidewire.MemoryStore())


class TokenTest(ClientTest):
    async def test_a_plain_function_an_async_one_and_none_at_all_give_tokens(self) -> None:
        async def later() -> str:
            return "later"

        for source, expected in ((lambda: "plain", "plain"), (later, "later"), (lambda: later(), "later"), (None, None)):
            async with tidewire.connect(self.service.url, token=source):
                peer = await self.service.accept()
                self.assertEqual((await peer.receive("hello")).get("token"), expected)

    async def test_an_expired_token_is_replaced_three_times_at_most(self) -> None:
        given: list[int] = []

        async def token() -> str:
            given.append(1)
            return f"token {len(given)}"

        client = await self.client(token=token)
        for number in range(1, 5):
            peer = await self.service.accept()
            self.assertEqual((await peer.receive("hello"))["token"], f"token {number}")
            await peer.close(4100)
        with self.assertRaises(tidewire.UnauthenticatedError):
            await within(client.ready())
        self.assertEqual(len(given), 4)

    async def test_a_token_is_renewed_on_the_connection_when_the_service_announces_its_end(self) -> None:
        tokens = iter(["first", "second", "third"])
        await self.client(token=lambda: next(tokens))
        peer = await self.service.accept()
        await peer.welcome()
        await peer.send("expiring", inMs=60_000)
        self.assertEqual((await peer.receive("refresh"))["token"], "second")
        # Half of the time that is left is over.
        await peer.send("refreshed", expires=time.time() * 1_000 + 400)
        self.assertEqual((await peer.receive("refresh"))["token"], "third")

    async def test_a_token_is_renewed_by_the_clock_if_the_service_sends_no_notice(self) -> None:
        tokens = iter(["first", "second"])
        await self.client(token=lambda: next(tokens))
        peer = await self.service.accept()
        await peer.welcome(expires=time.time() * 1_000 + 200)
        self.assertEqual((await peer.receive("refresh"))["token"], "second")

    async def test_a_program_that_still_keeps_its_token_is_asked_again_after_half_of_the_time_left(self) -> None:
        tokens = iter(["first", "first", "first", "second"])
        await self.client(token=lambda: next(tokens))
        peer = await self.service.accept()
        await peer.welcome(expires=time.time() * 1_000 + 800)
        await peer.send("expiring", inMs=800)
        self.assertEqual((await peer.receive("refresh"))["token"], "second")

    async def test_a_program_that_has_no_token_at_first_is_asked_again(self) -> None:
        answers: list[str | Exception] = ["first", OSError("the login is down"), "second"]

        def token() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        await self.client(token=token)
        peer = await self.service.accept()
        await peer.welcome(expires=time.time() * 1_000 + 400)
        self.assertEqual((await peer.receive("refresh"))["token"], "second")

    async def test_a_refused_token_leaves_the_connection_and_the_query_says_why(self) -> None:
        tokens = iter(["first", "second"])
        client = await self.client(token=lambda: next(tokens))
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.send("expiring", inMs=60_000)
            await peer.receive("refresh")
            await peer.send("error", code="forbidden", message="another user", retry="never")
            await until(lambda: query.error is not None)
            self.assertEqual((str(query.error), client.status), ("forbidden: another user", "connected"))
            await peer.snapshot(1)
            await within(changes.__anext__())
            self.assertEqual((query.error, query.status), (None, "live"))

    async def test_an_error_of_the_token_ends_with_the_next_message_of_a_live_query(self) -> None:
        client = await self.client(token=once("first"))
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await within(changes.__anext__())
            await peer.send("expiring", inMs=60_000)
            await until(lambda: query.error is not None)
            self.assertEqual(query.status, "live")
            await peer.send("watermark", cursor="c2")
            await until(lambda: query.error is None)

    async def test_callers_at_the_same_time_share_a_request_and_the_end_of_one_is_not_that_of_the_other(self) -> None:
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        calls: list[int] = []

        async def token() -> str:
            calls.append(1)
            return await asked

        tokens = Tokens(token)
        first, second = (asyncio.create_task(tokens.get(True)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        asked.set_result("token")
        self.assertEqual((await within(second), len(calls)), ("token", 1))

    async def test_a_source_that_fails_is_asked_again(self) -> None:
        calls: list[int] = []

        def token() -> str:
            calls.append(1)
            if len(calls) == 1:
                raise OSError("the login service is down")
            return "token"

        client = await self.client(token=token)
        peer = await self.service.accept()
        self.assertEqual((await peer.welcome())["token"], "token")
        await within(client.ready())


class QueryTest(ClientTest):
    async def live(self, client: tidewire.Client, *document_ids: Any) -> Peer:
        peer: Peer = await self.service.accept()
        await peer.welcome()
        await peer.subscribed()
        await peer.snapshot(*document_ids)
        return peer

    async def test_equal_queries_share_a_subscription_which_ends_after_the_last_has_left(self) -> None:
        client = await self.client(linger=0.05)
        async with client.query("orders") as first, client.query("orders") as second:
            peer = await self.live(client, 1)
            self.assertEqual(await within(first.snapshot()), [{"_id": 1}])
            self.assertIs(first.documents, second.documents)
        self.assertEqual((await peer.receive("unsubscribe"))["id"], "1")
        self.assertEqual(first.documents, [])

    async def test_a_loop_that_is_left_by_break_ends_its_subscription(self) -> None:
        client = await self.client(linger=0)

        async def first() -> Any:
            async for change in client.query("orders"):
                return change

        reading = asyncio.create_task(first())
        peer = await self.live(client, 1)
        await within(reading)
        await peer.receive("unsubscribe")

    async def test_results_gives_the_whole_result_after_every_change(self) -> None:
        client = await self.client()
        results = client.query("orders").results()
        reading = asyncio.ensure_future(results.__anext__())
        peer = await self.live(client, 1)
        self.assertEqual(await within(reading), [{"_id": 1}])
        await peer.added(2, "c2")
        self.assertEqual(await within(results.__anext__()), [{"_id": 1}, {"_id": 2}])

    async def test_statuses_gives_each_status_in_order_until_the_query_has_stopped(self) -> None:
        client = await self.client()

        async def collect() -> list[str]:
            return [status async for status in client.query("orders").statuses()]

        collecting = asyncio.create_task(collect())
        peer = await self.live(client, 1)
        peer.cut()
        peer = await self.service.accept()
        await peer.welcome()
        await peer.subscribed("resumed")
        await peer.send("watermark", cursor="c2")
        await peer.close(4403)
        once_more = ["connecting", "catching-up", "live"]
        self.assertEqual(await within(collecting), [*once_more, "offline", *once_more, "stopped"])

    async def test_a_slow_loop_over_the_statuses_receives_the_last_hundred(self) -> None:
        client = await self.client()
        query = client.query("orders")
        statuses = query.statuses()
        self.assertEqual(await within(statuses.__anext__()), "connecting")
        result = client.find(query._key)
        assert result is not None
        for _ in range(60):
            result.advance("lost")
            result.advance("attempt")
        result.stop(None)
        received = [status async for status in statuses]
        self.assertEqual((len(received), received[-2:]), (100, ["connecting", "stopped"]))

    async def test_the_fields_of_a_request_are_those_of_the_protocol(self) -> None:
        client = await self.client()
        queries = [
            client.query("a", sort={"n": -1}, limit=5, fields=["n"], delta=True),
            client.query("a", sort="n"),
            client.query("a", sort=[("n", 1), ("m", -1)], snapshot=False),
            client.aggregate("a", {"x": 1}, by="status", values={"total": {"sum": "price"}}),
            client.aggregate("a"),
        ]
        loops = [query.changes() for query in queries]
        peer = await self.service.accept()
        await peer.receive("hello")
        requests = [await peer.receive("subscribe") for _ in loops]
        for request in requests:
            del request["type"], request["id"]
        self.assertEqual(
            requests,
            [
                {"collection": "a", "fields": ["n"], "sort": [["n", -1]], "limit": 5, "documents": "delta"},
                {"collection": "a", "sort": [["n", 1]]},
                {"collection": "a", "sort": [["n", 1], ["m", -1]], "snapshot": False},
                {"collection": "a", "filter": {"x": 1}, "aggregate": {"by": "status", "values": {"total": {"sum": "price"}}}},
                {"collection": "a", "aggregate": {}},
            ],
        )
        for wrong in ({"limit": 1}, {"snapshot": False, "delta": True}):
            with self.assertRaises(tidewire.BadRequestError):
                client.query("a", **wrong)

    async def test_a_refused_query_ends_alone(self) -> None:
        client = await self.client()
        async with self.following(client) as (_, refused), self.following(client, filter={"a": 1}) as (_, other):
            peer = await self.service.accept()
            await peer.welcome()
            subscribe = await peer.receive("subscribe")
            await peer.send("error", id=subscribe["id"], code="forbidden", message="no", retry="never")
            await peer.subscribed(query=2)
            await peer.snapshot(1, query=2)
            with self.assertRaises(tidewire.ForbiddenError):
                await within(refused.__anext__())
            self.assertEqual(await within(other.__anext__()), Snapshot([{"_id": 1}]))

    async def test_an_id_that_was_requested_twice_is_followed_all_the_same(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome()
            subscribe = await peer.receive("subscribe")
            await peer.send("error", id=subscribe["id"], code="duplicate-id", message="twice", retry="never")
            await peer.send("subscribed", id=subscribe["id"], query=1, start="snapshot", cursor="c1", ticket="t1")
            await peer.snapshot(1)
            await within(changes.__anext__())

    async def test_a_query_that_is_left_before_the_welcome_ends_after_it(self) -> None:
        client = await self.client(linger=0)
        async with self.following(client):
            peer = await self.service.accept()
            await peer.receive("hello")
            subscribe = await peer.receive("subscribe")
        await peer.send_welcome()
        self.assertEqual((await peer.receive("unsubscribe"))["id"], subscribe["id"])

    async def test_a_temporary_refusal_is_asked_again_on_the_same_connection(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome()
            subscribe = await peer.receive("subscribe")
            error = {"code": "unavailable", "message": "later", "retry": "later", "retryAfterMs": 1}
            await peer.send("error", id=subscribe["id"], **error)
            await peer.subscribed()
            await peer.snapshot(1)
            await within(changes.__anext__())
            self.assertIsNone(query.error)

    async def test_a_query_that_may_no_longer_be_read_shows_nothing_and_its_loop_raises(self) -> None:
        # A reason that the client does not know counts as a missing right. An earlier error of the token changes nothing.
        for reason, is_renewed in (("forbidden", True), ("quarantined", True), ("forbidden", False)):
            client = await self.client(token=once("first"))
            async with self.following(client) as (query, changes):
                peer = await self.live(client, 1)
                await within(changes.__anext__())
                if not is_renewed:
                    await peer.send("expiring", inMs=60_000)
                    await until(lambda: query.error is not None)
                await peer.send("unsubscribed", id="1", reason=reason)
                with self.assertRaisesRegex(tidewire.ForbiddenError, reason):
                    await within(changes.__anext__())
                self.assertEqual((query.documents, query.status), ([], "stopped"))

    async def test_a_query_whose_rights_cannot_be_judged_hides_its_documents_and_says_why(self) -> None:
        for code, details in (("snapshot-too-large", {"limit": "lookupValues"}), ("unavailable", {})):
            client = await self.client()
            async with self.following(client) as (query, changes):
                peer = await self.live(client, 1)
                await within(changes.__anext__())
                await peer.send("error", id="1", code=code, message="no", retry="later", details=details)
                await peer.send("unsubscribed", id="1", reason="forbidden")
                with self.assertRaises(tidewire.ForbiddenError) as caught:
                    await within(changes.__anext__())
                self.assertEqual((query.documents, query.status), ([], "stopped"))
                self.assertEqual(str(caught.exception.__cause__), f"{code}: no")

    async def test_a_query_ends_with_its_own_error_and_not_with_one_of_the_token(self) -> None:
        for own in (True, False):
            client = await self.client(token=once("first"))
            async with self.following(client) as (query, changes):
                peer = await self.live(client, 1)
                await within(changes.__anext__())
                if own:
                    limit = {"limit": "workPerUser"}
                    await peer.send("error", id="1", code="too-many-subscriptions", message="no", details=limit)
                else:
                    await peer.send("expiring", inMs=60_000)
                    await until(lambda: query.error is not None)
                await peer.send("unsubscribed", id="1", reason="config")
                expected = tidewire.TooManySubscriptionsError if own else tidewire.UnknownCollectionError
                with self.assertRaises(expected):
                    await within(changes.__anext__())
                self.assertEqual(query.documents, [{"_id": 1}])

    async def test_queries_that_the_service_shares_show_the_same_documents(self) -> None:
        client = await self.client()
        async with self.following(client) as (one, _), self.following(client, filter={"a": {}}) as (other, changes):
            peer = await self.live(client, 1)
            await peer.subscribed("shared", ticket="t2")
            self.assertEqual(await within(changes.__anext__()), Snapshot([{"_id": 1}]))
            await peer.added(2, "c2")
            await within(changes.__anext__())
            self.assertEqual((one.documents, other.documents), ([{"_id": 1}, {"_id": 2}],) * 2)

    async def test_a_query_whose_rights_moved_keeps_its_documents_and_receives_the_difference(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            peer = await self.live(client, 1, 2)
            moved = {"id": "1", "query": 2, "start": "moved", "from": 1, "cursor": "c5", "ticket": "t5"}
            await peer.send("subscribed", **moved)
            await peer.send("removed", query=2, cursor="c5", cause="grant", _id=1)
            await within(changes.__anext__())
            self.assertEqual(await within(changes.__anext__()), Removed(1, {"_id": 1}, "grant", "c5"))
            await peer.send("watermark", cursor="c6")
            await within(query.snapshot())
            self.assertEqual(query.documents, [{"_id": 2}])

    async def test_a_fence_is_sent_again_on_the_next_connection(self) -> None:
        client = await self.client()
        async with self.following(client):
            peer = await self.live(client)
            fence = asyncio.create_task(client.fence({"$timestamp": {"t": 5, "i": 1}}))
            first = await peer.receive("fence")
            self.assertEqual(first["operationTime"], {"$timestamp": {"t": 5, "i": 1}})
            peer.cut()
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed("resumed")
            self.assertEqual(await peer.receive("fence"), first)
            await peer.send("fenced", id=first["id"], cursor="c2")
            await within(fence)

    async def test_a_refused_fence_raises(self) -> None:
        client = await self.client()
        async with self.following(client):
            peer = await self.live(client)
            fence = asyncio.create_task(client.fence((5, 1)))
            message = await peer.receive("fence")
            await peer.send("error", id=message["id"], code="too-many-requests", message="16 wait", retry="later")
            with self.assertRaises(tidewire.TooManyRequestsError):
                await within(fence)

    async def test_many_queries_stay_below_the_rate_of_the_service(self) -> None:
        client = await self.client()
        loops = [client.query("orders", {"n": number}).changes() for number in range(60)]
        peer = await self.service.accept()
        await peer.welcome(limits={**LIMITS, "requestBurst": 40, "requestsPerSecond": 200})
        began = time.monotonic()
        for _ in loops:
            await peer.receive("subscribe")
        # 32 early ones leave nothing of half of the burst. The other 28, and the 12 that are owed, wait for their turn.
        self.assertGreater(time.monotonic() - began, 0.3)


class PauseTest(ClientTest):
    async def test_a_slow_loop_without_a_snapshot_pauses_its_query_and_resumes_at_its_position(self) -> None:
        client = await self.client(queue_limit=4)
        async with self.following(client, snapshot=False) as (query, changes):
            peer = await self.service.accept()
            await peer.welcome()
            first = await peer.subscribed("live")
            for number in range(1, 6):
                await peer.added(number, f"c{number}")
            self.assertEqual(await peer.receive("unsubscribe"), {"type": "unsubscribe", "id": first["id"]})
            await peer.send("unsubscribed", id=first["id"], reason="requested")
            await peer.send("watermark", cursor="c9")
            received = [(await within(changes.__anext__())).document["_id"] for _ in range(2)]
            second = await peer.subscribed("resumed", query=2, cursor="c4", ticket="t2")
            self.assertNotEqual(second["id"], first["id"])
            self.assertEqual((second["cursor"], second["ticket"]), ("c4", "t1"))
            await peer.added(5, "c5", query=2)
            received += [(await within(changes.__anext__())).document["_id"] for _ in range(3)]
            self.assertEqual(received, [1, 2, 3, 4, 5])
            await peer.send("watermark", cursor="c9")
            await within(query.snapshot())

    async def test_a_paused_query_is_not_requested_on_the_next_connection(self) -> None:
        client = await self.client(queue_limit=1)
        async with self.following(client, snapshot=False) as (_, changes), self.following(client) as (_, other):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed("live")
            await peer.subscribed(query=2)
            await peer.snapshot(1, query=2)
            await within(other.__anext__())
            await peer.added(1, "c2")
            await peer.receive("unsubscribe")
            peer.cut()
            peer = await self.service.accept()
            await peer.welcome()
            self.assertNotIn("snapshot", await peer.subscribed("resumed", query=1))
            fence = asyncio.create_task(client.fence((1, 1)))
            await peer.send("fenced", id=(await peer.receive("fence"))["id"], cursor="c2")
            await within(fence)
            await within(changes.__anext__())
            self.assertEqual((await peer.receive("subscribe"))["cursor"], "c2")


class DrainTest(ClientTest):
    async def test_a_draining_node_is_left_after_the_next_one_has_answered(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, changes):
            old = await self.service.accept()
            await old.welcome()
            await old.subscribed()
            await old.snapshot(1)
            await within(changes.__anext__())
            await old.send("draining", withinMs=10)
            new = await self.service.accept()
            await new.welcome()
            subscribe = await new.receive("subscribe")
            # The old connection delivers meanwhile, and the new one repeats that.
            await old.added(2, "c2")
            self.assertEqual(await within(changes.__anext__()), Added({"_id": 2}, "insert", "c2"))
            await new.send("subscribed", id=subscribe["id"], query=1, start="resumed", cursor="c1", ticket="t2")
            await new.added(2, "c2")
            await new.added(3, "c3")
            self.assertEqual(await within(changes.__anext__()), Added({"_id": 3}, "insert", "c3"))
            self.assertEqual((subscribe["cursor"], client.status, len(query.documents)), ("c1", "connected", 3))
            await old.closed()


    async def test_messages_of_the_old_connection_no_longer_count_for_a_query_that_the_new_one_serves(self) -> None:
        client = await self.client()
        async with self.following(client) as (first, _), self.following(client, filter={"a": 1}) as (second, _):
            old = await self.service.accept()
            await old.welcome()
            for query in (1, 2):
                await old.subscribed(query=query)
                await old.snapshot(query, query=query)
            await within(first.snapshot())
            await within(second.snapshot())
            await old.send("draining", withinMs=10)
            new = await self.service.accept()
            await new.welcome()
            fence = asyncio.create_task(client.fence((1, 1)))
            await old.receive("fence")
            await new.subscribed("resumed")
            await new.added(5, "c5")
            await until(lambda: len(first.documents) == 2)
            await old.send("unsubscribed", id="1", reason="forbidden")
            await old.added(9, "c9", query=1)
            await new.subscribed("resumed", query=2)
            # The new connection is the current one now, and receives the unanswered fences again.
            await new.send("fenced", id=(await new.receive("fence"))["id"], cursor="c9")
            await within(fence)
            self.assertEqual((first.documents, first.status), ([{"_id": 1}, {"_id": 5}], "catching-up"))

    async def test_a_query_is_not_live_if_the_old_connection_breaks_before_the_new_one_has_answered(self) -> None:
        client = await self.client()
        async with self.following(client) as (query, _):
            old = await self.service.accept()
            await old.welcome()
            await old.subscribed()
            await old.snapshot(1)
            await within(query.snapshot())
            await old.send("draining", withinMs=10)
            new = await self.service.accept()
            await new.receive("hello")
            old.cut()
            await until(lambda: query.status != "live")
            self.assertEqual((query.status, client.status), ("connecting", "connecting"))
            await new.send_welcome()
            await new.subscribed("resumed")
            await new.send("watermark", cursor="c2")
            await within(query.snapshot())
            self.assertEqual(client.status, "connected")


class PresenceTest(ClientTest):
    async def test_a_client_is_in_a_room_until_the_end_of_the_block_with_the_last_data(self) -> None:
        client = await self.client()
        entering = asyncio.create_task(self.enterAsyncContext(client.enter("r1", {"n": 1})))
        peer = await self.service.accept()
        await peer.welcome()
        enter = await peer.receive("enter")
        self.assertEqual((enter["room"], enter["data"]), ("r1", {"n": 1}))
        await peer.send("entered", id=enter["id"])
        entry = await within(entering)
        self.assertEqual(entry.status, "present")
        entry.update({"n": 1})
        entry.update({"n": 2})
        self.assertEqual(await peer.receive("enter"), {**enter, "data": {"n": 2}})
        # Another part of the program shares the entry.
        async with client.enter("r1"):
            pass
        await entry.__aexit__(None, None, None)
        self.assertEqual(await peer.receive("leave"), {"type": "leave", "id": enter["id"]})
        self.assertEqual((entry.status, entry.error), ("left", None))

    async def test_it_enters_again_with_the_same_tab_after_a_cut_and_after_its_entry_was_lost(self) -> None:
        client = await self.client()
        entering = asyncio.create_task(self.enterAsyncContext(client.enter("r1")))
        peer = await self.service.accept()
        await peer.welcome()
        first = await peer.receive("enter")
        self.assertNotIn("data", first)
        await peer.send("entered", id=first["id"])
        entry = await within(entering)
        peer.cut()
        await until(lambda: entry.status == "entering")
        peer = await self.service.accept()
        await peer.welcome()
        self.assertEqual(await peer.receive("enter"), first)
        await peer.send("entered", id=first["id"])
        await peer.send("left", id=first["id"], reason="lost")
        self.assertEqual(await peer.receive("enter"), first)

    async def test_it_is_present_during_a_handover_as_long_as_a_connection_that_has_entered_is_open(self) -> None:
        client = await self.client()
        entering = asyncio.create_task(self.enterAsyncContext(client.enter("r1")))
        first = await self.service.accept()
        await first.welcome()
        enter = await first.receive("enter")
        await first.send("entered", id=enter["id"])
        entry = await within(entering)
        async with self.following(client) as (query, _):
            await first.subscribed()
            await first.snapshot(1)
            await within(query.snapshot())
            await first.send("draining", withinMs=10)
            second = await self.service.accept()
            await second.receive("hello")
            first.cut()
            await until(lambda: client.status != "connected")
            self.assertEqual(entry.status, "entering")
            await second.send_welcome()
            await second.subscribed("resumed")
            await second.send("watermark", cursor="c2")
            await until(lambda: query.status == "live")
            await second.send("entered", id=(await second.receive("enter"))["id"])
            await until(lambda: entry.status == "present")
            await second.send("draining", withinMs=10)
            third = await self.service.accept()
            await third.welcome()
            await third.receive("subscribe")
            await third.send("entered", id=(await third.receive("enter"))["id"])
            # The client leaves a room that it does not know, which shows that it has read the message before.
            await third.send("entered", id="presence-0")
            await third.receive("leave")
            second.cut()
            await until(lambda: query.status == "connecting")
            self.assertEqual(entry.status, "present")

    async def test_a_refusal_raises_and_a_right_that_is_withdrawn_ends_the_entry(self) -> None:
        client = await self.client()
        peer = await self.service.accept()
        await peer.welcome()
        entering = asyncio.create_task(self.enterAsyncContext(client.enter("r1")))
        enter = await peer.receive("enter")
        await peer.send("error", id=enter["id"], code="forbidden", message="no rule", retry="never")
        with self.assertRaises(tidewire.ForbiddenError):
            await within(entering)
        entering = asyncio.create_task(self.enterAsyncContext(client.enter("r2")))
        enter = await peer.receive("enter")
        await peer.send("entered", id=enter["id"])
        entry = await within(entering)
        await peer.send("left", id=enter["id"], reason="forbidden")
        await until(lambda: entry.status == "left")
        self.assertIsInstance(entry.error, tidewire.ForbiddenError)

    async def test_a_room_that_is_left_before_the_answer_is_left_after_it(self) -> None:
        client = await self.client()
        peer = await self.service.accept()
        await peer.welcome()
        entering = asyncio.create_task(client.enter("r1").__aenter__())
        enter = await peer.receive("enter")
        entering.cancel()
        await peer.receive("leave")
        await peer.send("entered", id=enter["id"])
        self.assertEqual((await peer.receive("leave"))["id"], enter["id"])


class PersistenceTest(ClientTest):
    async def test_a_loop_that_is_left_receives_the_change_in_hand_again(self) -> None:
        store = tidewire.MemoryStore()
        client = await self.client(store=store, scope="u1", store_interval=0.01, linger=60)
        query = client.query("orders", snapshot=False)
        changes = query.changes()
        peer = await self.service.accept()
        await peer.welcome()
        await peer.subscribed("live")
        await peer.added(1, "c2")
        await within(changes.__anext__())
        waiting = asyncio.ensure_future(changes.__anext__())
        await until(lambda: bool(store._kept))
        await peer.added(2, "c3")
        await within(waiting)
        await peer.added(3, "c4")
        await peer.send("watermark", cursor="c5")
        await within(query.snapshot())
        await changes.aclose()
        await peer.receive("unsubscribe")
        changes = query.changes()
        subscribe = await peer.receive("subscribe")
        self.assertEqual((subscribe["cursor"], [kept.cursor for kept in store._kept.values()]), ("c2", ["c2"]))

    async def test_nothing_is_stored_beyond_the_change_at_which_one_of_two_loops_was_left(self) -> None:
        store = tidewire.MemoryStore()
        client = await self.client(store=store, scope="u1", store_interval=0.001)
        query = client.query("orders", snapshot=False)
        left, other = query.changes(), query.changes()
        peer = await self.service.accept()
        await peer.welcome()
        await peer.subscribed("live")
        await peer.added(1, "c2")
        await within(left.__anext__())
        await left.aclose()
        for number in range(2, 6):
            await within(other.__anext__())
            await peer.added(number, f"c{number + 1}")
            await asyncio.sleep(0.02)  # several times as long as a state would wait
        self.assertLessEqual({kept.cursor for kept in store._kept.values()}, {"c1"})

    async def test_the_next_process_resumes_after_the_last_change_that_was_processed(self) -> None:
        store = tidewire.MemoryStore()
        options: dict[str, Any] = {"token": "token", "store": store, "scope": "u1", "store_interval": 0.01}
        async with tidewire.connect(self.service.url, **options) as client:
            changes = client.query("orders").changes()
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await within(changes.__anext__())
            waiting = asyncio.ensure_future(changes.__anext__())
            await until(lambda: bool(store._kept))
            await peer.added(2, "c2")
            await peer.added(3, "c3")
            await within(waiting)  # the snapshot is processed, and this change is in hand
        async with tidewire.connect(self.service.url, **options) as client:
            changes = client.query("orders").changes()
            self.assertEqual(await within(changes.__anext__()), Snapshot([{"_id": 1}], "stored"))
            peer = await self.service.accept()
            await peer.welcome()
            self.assertEqual((await peer.receive("subscribe"))["cursor"], "c1")

    async def test_a_loop_that_waits_for_more_has_processed_everything(self) -> None:
        store = tidewire.MemoryStore()
        options: dict[str, Any] = {"token": "token", "store": store, "scope": "u1", "store_interval": 60}
        async with tidewire.connect(self.service.url, **options) as client:
            changes = client.query("orders").changes()
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await peer.added(2, "c2")
            for _ in range(2):
                await within(changes.__anext__())
            waiting = asyncio.ensure_future(changes.__anext__())
            await asyncio.sleep(0)
        await asyncio.gather(waiting, return_exceptions=True)
        async with tidewire.connect(self.service.url, **options) as client:
            changes = client.query("orders").changes()
            self.assertEqual(await within(changes.__anext__()), Snapshot([{"_id": 1}, {"_id": 2}], "stored"))
            peer = await self.service.accept()
            await peer.welcome()
            subscribe = await peer.receive("subscribe")
            self.assertEqual((subscribe["cursor"], subscribe["ticket"]), ("c2", "t1"))
        async with tidewire.connect(self.service.url, **{**options, "scope": "u2"}) as client:
            changes = client.query("orders").changes()
            peer = await self.service.accept()
            await peer.welcome()
            self.assertNotIn("cursor", await peer.receive("subscribe"))

    async def test_a_state_is_not_stored_after_the_right_to_it_was_withdrawn(self) -> None:
        store = tidewire.MemoryStore()
        client = await self.client(store=store, scope="u1", store_interval=0.01)
        query = client.query("orders")
        changes = query.changes()
        peer = await self.service.accept()
        await peer.welcome()
        await peer.subscribed()
        await peer.snapshot(1)
        await within(changes.__anext__())
        # The state waits until this loop has processed the snapshot, and is void by then.
        await until(lambda: bool(client._persistence and client._persistence._pending))
        await peer.send("unsubscribed", id="1", reason="forbidden")
        await until(lambda: query.status == "stopped")
        with self.assertRaises(tidewire.ForbiddenError):
            await within(changes.__anext__())
        await client.aclose()
        self.assertEqual(store._kept, {})

    async def test_stored_states_are_removed_when_the_service_refuses_the_whole_client(self) -> None:
        for has_message in (True, False):
            store = tidewire.MemoryStore()
            client = await self.client(store=store, scope="u1", store_interval=0.01)
            async with self.following(client) as (query, changes):
                peer = await self.service.accept()
                await peer.welcome()
                await peer.subscribed()
                await peer.snapshot(1)
                await within(changes.__anext__())
                loop = asyncio.ensure_future(changes.__anext__())
                await until(lambda: bool(store._kept))
                if has_message:
                    await peer.send("error", code="forbidden", message="locked", retry="never")
                await peer.close(4403)
                with self.assertRaises(tidewire.ForbiddenError):
                    await within(loop)
                self.assertEqual((query.documents, query.status), ([], "stopped"))
            await client.aclose()
            self.assertEqual(store._kept, {})

    async def test_a_state_that_is_read_after_the_service_has_refused_the_client_is_not_shown(self) -> None:
        store = tidewire.MemoryStore()
        options: dict[str, Any] = {"store": store, "scope": "u1"}
        client = await self.client(**options)
        async with self.following(client) as (_, changes):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await within(changes.__anext__())
            await asyncio.wait({asyncio.ensure_future(changes.__anext__())}, timeout=0)
        await client.aclose()
        self.assertEqual(len(store._kept), 1)
        is_refused = asyncio.Event()

        class Slow(tidewire.MemoryStore):
            async def load(self, key: str) -> tidewire.Saved | None:
                await is_refused.wait()
                return await store.load(key)

        client = await self.client(**{**options, "store": Slow()})
        async with client.query("orders") as query:
            peer = await self.service.accept()
            await peer.receive("hello")
            await peer.send("error", code="forbidden", message="this user is locked", retry="never")
            await peer.close(4403)
            await until(lambda: client.status == "stopped")
            is_refused.set()
            await asyncio.gather(*client._restoring)
            self.assertEqual((query.documents, query.status), ([], "stopped"))

    async def test_a_store_that_fails_counts_as_empty(self) -> None:
        class Failing:
            async def load(self, key: str) -> None:
                raise OSError("broken")

            save = remove = load

        client = await self.client(store=Failing(), scope="u1", store_interval=0.01)
        async with self.following(client) as (_, changes):
            peer = await self.service.accept()
            await peer.welcome()
            await peer.subscribed()
            await peer.snapshot(1)
            await within(changes.__anext__())
