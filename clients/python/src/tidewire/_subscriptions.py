"""The subscriptions of a client and how they start.

A start depends on the answer of the service and on what the client already shows. Queries with the same live query
share a view, so one answer may concern several of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ._changes import Snapshot
from ._errors import TidewireError, error_of, from_message
from ._link import Link
from ._live_result import LiveResult
from ._view import View

Message = Mapping[str, Any]

# The first pause before a refused subscription is requested again, in milliseconds. Later ones grow to the maximum.
_ASK_AGAIN_MS = 1_000
_ASK_AGAIN_MAX_MS = 30_000


class BrokenAnswerError(Exception):
    """An answer of the service makes no sense."""


class SubscriptionsEvents(Protocol):
    def ask_later(self, link: Link, result: LiveResult, delay_ms: float) -> None:
        """The subscription is to be requested again, after a while."""

    def subscription_ended(self, result: LiveResult) -> None:
        """It has ended permanently, and its stored state is void."""


class Subscriptions:
    """The subscriptions of a client, and the answers of the service (docs/protocol.md, section 3.3)."""

    def __init__(self, events: SubscriptionsEvents, random: Callable[[], float]) -> None:
        self._events = events
        self._random = random
        self._results: dict[str, LiveResult] = {}
        # Results whose stored state was read. A request before that would fetch everything again.
        self._ready: set[LiveResult] = set()

    def add(self, result: LiveResult) -> None:
        self._results[result.id] = result

    def __contains__(self, result: object) -> bool:
        return isinstance(result, LiveResult) and self._results.get(result.id) is result

    @property
    def list(self) -> list[LiveResult]:
        """A copy, because the program may add or remove results meanwhile."""
        return list(self._results.values())

    def ready(self, result: LiveResult) -> None:
        """The stored state of a result was read."""
        self._ready.add(result)

    def ask(self, link: Link, result: LiveResult) -> None:
        """Requests a result, resuming from its current state."""
        if result not in self._ready:
            return
        link.asked[result] = None
        size = len(json.dumps(result.request, ensure_ascii=False, separators=(",", ":")).encode())

        # The message is made when the rate limit admits it, with the cursor of that moment, because changes arrive
        # until then.
        def make() -> Message | None:
            if result not in link.asked:
                return None
            # Another query resumes the view that both share. A second resumption would bring each missed change twice.
            resume_point = None if self._is_resumed(link, result) else result.resume_point
            if resume_point is not None:
                result.view.resuming()
            return {**result.request, "type": "subscribe", "id": result.id, **(resume_point or {})}

        link.requests.add(make, size)

    def _is_resumed(self, link: Link, result: LiveResult) -> bool:
        """Whether another result with the same view was requested on this connection. Notes the request of this one."""
        is_resumed = any(
            other is not result and other.view is result.view and other in self for other in link.sent
        )
        link.sent[result] = None
        return is_resumed

    def ask_all(self, link: Link) -> None:
        """Requests every result that was not requested on this connection yet."""
        for result in self.list:
            if result not in link.asked and result not in link.serves:
                self.ask(link, result)

    def taken_over(self, link: Link) -> None:
        """The old connection broke before the new one had answered every request."""
        for result in self.list:
            if link.is_ready and result not in link.asked:
                continue
            result.advance("lost")
            result.advance("attempt")

    def note(self, error: TidewireError) -> None:
        """Reports an error to all of them. Another attempt follows."""
        for result in self.list:
            result.note(error)

    def disconnected(self, error: TidewireError) -> None:
        """The only connection has ended, and another attempt follows."""
        for result in self.list:
            result.advance("lost")
            result.note(error)

    def renewed(self, tickets: Mapping[str, str]) -> None:
        """Takes newer tickets, by the ids of their subscriptions."""
        for result_id, ticket in tickets.items():
            if result_id in self._results:
                self._results[result_id].renewed(ticket)

    def remove(self, result: LiveResult, links: Iterable[Link]) -> None:
        result.end()
        self._ready.discard(result)
        if self._results.pop(result.id, None) is not None:
            self._unsubscribe(result, links)

    def pause(self, result: LiveResult, links: Iterable[Link]) -> None:
        """Ends the subscription, and keeps its position until `ready` and `ask` resume it."""
        self._ready.discard(result)
        if self._results.pop(result.id, None) is None:
            return
        links = list(links)
        self._unsubscribe(result, links)
        result.pause()
        self._results[result.id] = result
        for link in links:
            link.prune()

    def _unsubscribe(self, result: LiveResult, links: Iterable[Link]) -> None:
        for link in links:
            was_requested = result in link.asked or result in link.serves
            link.asked.pop(result, None)
            link.serves.pop(result, None)
            link.sent.pop(result, None)
            if was_requested:
                link.send({"type": "unsubscribe", "id": result.id})
            link.prune()

    def is_served(self, result_id: str | None, link: Link | None) -> bool:
        """Whether a connection delivers for the subscription with this id."""
        result = self._results.get(result_id) if result_id is not None else None
        return result is not None and link is not None and result in link.serves

    def subscribed(self, link: Link, message: Message, others: Iterable[Link]) -> None:
        """Handles `subscribed`. `others` have delivered for it before, and their messages no longer count."""
        result = self._results.get(message["id"])
        if result is None:
            return
        link.asked.pop(result, None)
        link.serves[result] = None
        # Resumed on the connection that already delivers this view, so the view stays attached.
        goes_on = message["start"] == "resumed" and link.views.get(message["query"]) is result.view
        if not goes_on:
            self._start(link, result, message)
        result.renewed(message["ticket"])
        for other in others:
            other.forget(result.view)
            other.prune()
        link.prune()
        if goes_on and result.status == "live":
            return
        result.advance("subscribed")
        if result.view.is_current:
            result.advance("caught-up")

    def error(self, link: Link, message: Message) -> None:
        result = self._results.get(message.get("id", ""))
        # `duplicate-id`: requested twice, because an answer was given up too early. The first request counts.
        if result is None or message["code"] == "duplicate-id":
            return
        is_answer = result in link.asked
        link.asked.pop(result, None)
        if is_answer:
            result.view.resume_failed()
        error = from_message(message)
        if not is_answer and error.details.get("limit") == "aggregateGroups":
            # An aggregate has grown beyond its limit. Nothing more follows.
            self._end(result, error)
        elif not is_answer:
            # The next message shows whether the subscription continues.
            result.note(error, is_own=True)
        elif error.retry == "never":
            self._end(result, error)
        else:
            result.advance("refused")
            result.note(error)
            most_ms = min(_ASK_AGAIN_MAX_MS, _ASK_AGAIN_MS * 2 ** min(result.count_refusal(), 16))
            self._events.ask_later(link, result, message.get("retryAfterMs", 0) + self._random() * most_ms)
        link.prune()

    def unsubscribed(self, link: Link, message: Message) -> None:
        result = self._results.get(message["id"])
        if result is None:
            return
        self._end(result, _end_error(message["reason"], result.own_error))
        link.prune()

    def lost(self, link: Link, others: Iterable[Link]) -> None:
        """A connection has ended before it had answered every request."""
        for result in link.asked:
            if not any(result in other.asked for other in others):
                result.view.resume_failed()
        link.asked.clear()

    def _end(self, result: LiveResult, error: TidewireError) -> None:
        self._results.pop(result.id, None)
        self._ready.discard(result)
        result.end()
        result.stop(error)
        self._events.subscription_ended(result)

    def _start(self, link: Link, result: LiveResult, message: Message) -> None:
        """Starts the result as the answer says."""
        start, cursor, number = message["start"], message["cursor"], message["query"]
        held = result.view
        present = link.views.get(number)

        def fork(view: View) -> View:
            return result.new_view(view)

        def attach(view: View) -> View:
            link.views[number] = view
            result.show(view)
            return view

        if start in ("snapshot", "reset"):
            attach(present or fork(held)).start_over(result.wants_snapshot, message.get("reason"), cursor)
        elif start == "live":
            attach(present or fork(held)).begin(cursor)
        elif start == "resumed":
            is_shared = any(view is held for view in link.views.values())
            attach(fork(held) if is_shared else held).resumed()
        elif start == "moved":
            base = link.views.get(message["from"], held)
            is_others = any(watcher is not result for watcher in base.watchers)
            if not is_others:
                link.forget(base)
            attach(fork(base) if is_others else base).rights_moved()
        elif start == "shared" and present is not None:
            if present is held:
                return
            attach(present)
            # Another query has followed this view until now, so the loops of this one have received nothing of it.
            if present.cursor is not None:
                result.changed(Snapshot(present.documents))
        else:
            raise BrokenAnswerError(f"subscribed with start {start} for query {number}")


# The reasons after which the documents stay visible. A reason that this version does not know may be a missing right.
_KEEPING_REASONS = frozenset({"requested", "collection-dropped", "config"})


def _end_error(reason: str, own_error: TidewireError | None) -> TidewireError:
    """The error of a query that the service has ended.

    A missing right always has its own code, because the code hides the documents.
    """
    code = "unknown-collection" if reason in _KEEPING_REASONS else "forbidden"
    if own_error is not None and (code != "forbidden" or own_error.code == code):
        return own_error
    error = error_of(code, f"the service ended the query: {reason}", details={"reason": reason}, retry="never")
    error.__cause__ = own_error
    return error
