"""The documents of one live query through snapshots, changes, repetitions and resets."""

import unittest
from typing import Any

from tidewire import Added, Change, Changed, Removed, Snapshot
from tidewire._view import View


class Recorder:
    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.events: list[str] = []
        self.tickets: list[str] = []

    def changed(self, change: Change) -> None:
        self.changes.append(change)

    def advance(self, event: str) -> None:
        self.events.append(event)

    def renewed(self, ticket: str) -> None:
        self.tickets.append(ticket)

    def moved(self) -> None:
        pass


def view(is_sorted: bool = False, holds: bool = True) -> tuple[View, Recorder]:
    made = View(is_sorted, holds, lambda value: value)
    recorder = Recorder()
    made.watchers[recorder] = None
    return made, recorder


def added(document_id: Any, cursor: str, **more: Any) -> dict[str, Any]:
    document = {"_id": document_id, **more.pop("fields", {})}
    return {"type": "added", "query": 1, "cursor": cursor, "cause": "insert", "doc": document, **more}


def changed(document_id: Any, cursor: str, **more: Any) -> dict[str, Any]:
    return {**added(document_id, cursor, **more), "type": "changed", "cause": "update"}


def removed(document_id: Any, cursor: str) -> dict[str, Any]:
    return {"type": "removed", "query": 1, "cursor": cursor, "cause": "delete", "_id": document_id}


def snapshot(cursor: str, *document_ids: Any, last: bool = True) -> dict[str, Any]:
    return {"type": "snapshot", "query": 1, "docs": [{"_id": one} for one in document_ids], "cursor": cursor, "last": last}


class SnapshotTest(unittest.TestCase):
    def test_a_snapshot_is_shown_when_it_is_complete_and_its_cursor_counts_only_then(self) -> None:
        shown, recorder = view()
        shown.start_over(True, None, "c1")
        shown.snapshot(snapshot("c1", 1, last=False))
        self.assertEqual((shown.documents, shown.cursor, recorder.changes), ([], None, []))
        shown.watermark("c9")
        self.assertIsNone(shown.cursor)
        shown.snapshot(snapshot("c1", 2))
        self.assertEqual(recorder.changes, [Snapshot([{"_id": 1}, {"_id": 2}])])
        self.assertEqual((shown.cursor, recorder.events), ("c1", ["caught-up"]))

    def test_the_earlier_documents_stay_visible_until_then(self) -> None:
        shown, recorder = view()
        shown.start_over(True, None, "c1")
        shown.snapshot(snapshot("c1", 1))
        shown.reset({"type": "reset", "query": 1, "ticket": "t2", "reason": "lagged"})
        self.assertEqual(shown.documents, [{"_id": 1}])
        self.assertEqual((recorder.tickets, recorder.events), (["t2"], ["caught-up", "reset"]))
        shown.snapshot(snapshot("c5", 2))
        self.assertEqual(recorder.changes[-1], Snapshot([{"_id": 2}], "lagged"))


class ChangeTest(unittest.TestCase):
    def test_changes_are_applied_and_reported_with_the_document_before(self) -> None:
        shown, recorder = view()
        shown.start_over(True, None, "c1")
        shown.snapshot(snapshot("c1", 1))
        shown.change(added(2, "c2"))
        shown.change(changed(2, "c3", fields={"n": 1}))
        shown.change(removed(1, "c4"))
        shown.change(removed(7, "c5"))
        self.assertEqual(
            recorder.changes[1:],
            [
                Added({"_id": 2}, "insert", "c2"),
                Changed({"_id": 2, "n": 1}, {"_id": 2}, "update", "c3"),
                Removed(1, {"_id": 1}, "delete", "c4"),
            ],
        )
        self.assertEqual((shown.documents, shown.cursor), ([{"_id": 2, "n": 1}], "c5"))

    def test_a_document_that_is_held_already_is_not_added_again(self) -> None:
        shown, recorder = view()
        shown.restore([{"_id": 1}], "c1", [])
        shown.change(added(1, "c2", fields={"n": 1}))
        self.assertEqual(recorder.changes, [Changed({"_id": 1, "n": 1}, {"_id": 1}, "insert", "c2")])

    def test_a_difference_is_applied_to_the_document(self) -> None:
        shown, recorder = view()
        shown.restore([{"_id": 1, "a": 1, "b": 2}], "c1", [])
        message = {"type": "changed", "query": 1, "cursor": "c2", "cause": "update", "_id": 1}
        shown.change({**message, "set": {"a": 5}, "unset": ["b"]})
        self.assertEqual(shown.documents, [{"_id": 1, "a": 5}])
        self.assertIsInstance(recorder.changes[0], Changed)

    def test_a_sorted_document_moves_only_if_the_message_says_where(self) -> None:
        shown, _ = view(is_sorted=True)
        shown.restore([{"_id": 1}, {"_id": 2}], "c1", [])
        shown.change(changed(2, "c2", fields={"n": 1}))
        self.assertEqual([one["_id"] for one in shown.documents], [1, 2])
        shown.change(changed(2, "c3", before=1))
        self.assertEqual([one["_id"] for one in shown.documents], [2, 1])
        shown.change(changed(2, "c4", before=None))
        self.assertEqual([one["_id"] for one in shown.documents], [1, 2])

    def test_without_a_snapshot_changes_pass_and_no_document_is_kept(self) -> None:
        shown, recorder = view(holds=False)
        shown.begin("c1")
        for at in range(100):
            shown.change(added(at, f"a{at}"))
        shown.change(changed(500, "c2"))
        shown.change(removed(501, "c3"))
        self.assertEqual(len(shown.documents), 0)
        self.assertEqual(recorder.changes[-2], Changed({"_id": 500}, None, "update", "c2"))
        self.assertEqual(recorder.changes[-1], Removed(501, None, "delete", "c3"))
        self.assertEqual(shown.cursor, "c3")

    def test_without_a_snapshot_a_reset_says_that_there_is_a_gap(self) -> None:
        shown, recorder = view(holds=False)
        shown.start_over(False, "history-lost", "c9")
        self.assertEqual((recorder.changes, shown.cursor), ([Snapshot([], "history-lost")], "c9"))


class RepetitionTest(unittest.TestCase):
    def test_the_repeated_part_of_a_transaction_is_skipped(self) -> None:
        shown, recorder = view()
        shown.restore([], "c1", [])
        shown.change(added(1, "c1"))
        shown.change(added(2, "c1"))
        shown.resuming()
        shown.resumed()
        for message in (added(1, "c1"), added(2, "c1"), added(3, "c2")):
            shown.change({**message, "query": 9})
        self.assertEqual([change.document["_id"] for change in recorder.changes if isinstance(change, Added)], [1, 2, 3])

    def test_comparing_stops_at_the_first_difference(self) -> None:
        shown, recorder = view()
        shown.restore([{"_id": 5, "n": 0}], "c1", [])
        shown.resuming()
        shown.change(changed(5, "c2", fields={"n": 1}))
        shown.change(changed(5, "c3", fields={"n": 2}))
        shown.resumed()
        shown.change(changed(5, "c2", fields={"n": 9}))
        shown.change(changed(5, "c3", fields={"n": 2}))
        self.assertEqual([change.document["n"] for change in recorder.changes if isinstance(change, Changed)], [1, 2, 9, 2])

    def test_changes_of_an_older_connection_after_the_request_are_skipped_on_the_new_one(self) -> None:
        shown, recorder = view()
        shown.restore([], "c1", [])
        shown.resuming()
        shown.change(added(1, "c2"))
        shown.change(added(2, "c3"))
        shown.resumed()
        for message in (added(1, "c2"), added(2, "c3"), added(3, "c4")):
            shown.change(message)
        self.assertEqual(len(recorder.changes), 3)

    def test_true_and_one_are_not_the_same(self) -> None:
        shown, recorder = view()
        shown.restore([], "c1", [])
        shown.change(added(1, "c1", fields={"n": True}))
        shown.resuming()
        shown.resumed()
        shown.change(added(1, "c1", fields={"n": 1}))
        self.assertEqual(len(recorder.changes), 2)

    def test_a_stored_tail_is_skipped_by_the_next_process(self) -> None:
        first, _ = view()
        first.restore([], "c1", [])
        first.change(added(1, "c1"))
        second, recorder = view()
        second.restore(first.raw_documents, "c1", first.tail)
        second.resuming()
        second.resumed()
        second.change(added(1, "c1"))
        second.change(added(2, "c2"))
        self.assertEqual(recorder.changes, [Added({"_id": 2}, "insert", "c2")])

    def test_a_watermark_ends_the_repetition_and_empties_the_memory(self) -> None:
        shown, _ = view()
        shown.restore([], "c1", [])
        shown.change(added(1, "c2"))
        shown.watermark("c3")
        self.assertEqual((shown.tail, shown.cursor), ([], "c3"))
