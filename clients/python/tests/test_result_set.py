"""The documents of a result: their order, and differences."""

import random
import unittest
from typing import Any

from tidewire._result_set import ResultSet, key_of, with_delta


def ids(documents: ResultSet) -> list[Any]:
    return [document["_id"] for document in documents.documents]


def result_set(is_sorted: bool, *document_ids: Any) -> ResultSet:
    made = ResultSet(is_sorted, lambda value: value)
    for document_id in document_ids:
        made.put({"_id": document_id}, None)
    return made


class ResultSetTest(unittest.TestCase):
    def test_ids_of_other_types_are_other_documents(self) -> None:
        self.assertEqual(len({key_of(value) for value in (1, "1", None, "null", {"a": 1}, [1])}), 6)
        documents = result_set(False, 1, "1")
        self.assertEqual(len(documents), 2)

    def test_unsorted_documents_stay_in_the_order_of_arrival(self) -> None:
        documents = result_set(False, 3, 1, 2)
        documents.put({"_id": 1, "n": 1}, None)
        documents.put({"_id": 0}, 3)
        self.assertEqual(ids(documents), [3, 1, 2, 0])

    def test_sorted_documents_are_inserted_and_moved_before_others(self) -> None:
        documents = result_set(True, 1, 2, 3)
        documents.put({"_id": 0}, 1)
        documents.put({"_id": 3, "n": 1}, 1)
        self.assertEqual(ids(documents), [0, 3, 1, 2])
        documents.put({"_id": 0, "n": 1}, None)
        self.assertEqual(ids(documents), [3, 1, 2, 0])
        documents.put({"_id": 1, "n": 1}, 1)
        documents.put({"_id": 2, "n": 1}, None, moves=False)
        self.assertEqual(ids(documents), [3, 1, 2, 0])

    def test_a_document_before_an_unknown_one_is_the_last(self) -> None:
        documents = result_set(True, 1)
        documents.put({"_id": 2}, 99)
        self.assertEqual(ids(documents), [1, 2])

    def test_an_unknown_document_is_not_removed(self) -> None:
        documents = result_set(True, 1)
        documents.remove(2)
        documents.remove(1)
        documents.remove(1)
        self.assertEqual(ids(documents), [])

    def test_the_list_is_the_same_until_something_changes(self) -> None:
        documents = result_set(True, 1)
        before = documents.documents
        self.assertIs(documents.documents, before)
        documents.put({"_id": 2}, None)
        self.assertIsNot(documents.documents, before)
        self.assertEqual([document["_id"] for document in before], [1])

    def test_random_inserts_moves_and_removals_agree_with_a_list(self) -> None:
        seed = random.randrange(2**31)
        dice = random.Random(seed)
        documents = ResultSet(True, lambda value: value)
        model: list[int] = []
        for _ in range(2_000):
            document_id = dice.randrange(30)
            if dice.random() < 0.3:
                documents.remove(document_id)
                model = [held for held in model if held != document_id]
                continue
            others = [held for held in model if held != document_id]
            before = dice.choice([None, *others])
            documents.put({"_id": document_id}, before)
            model = others
            model.insert(len(model) if before is None else model.index(before), document_id)
            self.assertEqual(ids(documents), model, f"seed {seed}")

    def test_documents_are_decoded_once_for_the_program_and_kept_as_received(self) -> None:
        decoded: list[Any] = []

        def decode(value: Any) -> Any:
            decoded.append(value)
            return {**value, "decoded": True}

        documents = ResultSet(False, decode)
        documents.put({"_id": 1}, None)
        self.assertEqual(documents.documents, [{"_id": 1, "decoded": True}])
        self.assertEqual(documents.shown(1), {"_id": 1, "decoded": True})
        self.assertEqual(documents.raw_documents, [{"_id": 1}])
        self.assertEqual(len(decoded), 1)


class DeltaTest(unittest.TestCase):
    def test_set_writes_paths_and_unset_deletes_them_first(self) -> None:
        document = {"_id": 1, "a": {"b": 1, "c": 2}, "d": [1], "e": 5}
        changed = with_delta(document, {"a.b": 9, "f.g.h": 1, "d": [2]}, ["a.c", "e"])
        self.assertEqual(changed, {"_id": 1, "a": {"b": 9}, "d": [2], "f": {"g": {"h": 1}}})
        self.assertEqual(document, {"_id": 1, "a": {"b": 1, "c": 2}, "d": [1], "e": 5})

    def test_an_existing_field_keeps_its_position_and_a_new_one_is_appended(self) -> None:
        changed = with_delta({"_id": 1, "a": 1, "b": 2}, {"c": 3, "a": 4}, [])
        self.assertEqual(list(changed), ["_id", "a", "b", "c"])
        changed = with_delta({"_id": 1, "a": 1, "b": 2}, {"a": 4}, ["a"])
        self.assertEqual(list(changed), ["_id", "b", "a"])

    def test_parts_that_it_does_not_concern_stay_the_same_objects(self) -> None:
        document = {"_id": 1, "a": {"b": 1}, "c": {"d": 1}}
        changed = with_delta(document, {"a.b": 2}, [])
        self.assertIs(changed["c"], document["c"])
        self.assertIsNot(changed["a"], document["a"])
