"""The documents of a result in memory. A change costs the same for any number of documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._changes import Document

# A document in the form in which it was received. It is never modified, only replaced.
Raw = Mapping[str, Any]
Decode = Callable[[Any], Any]


def key_of(document_id: Any) -> str:
    """The key of an `_id` of any type: its JSON, in which 1 and "1" differ."""
    return json.dumps(document_id, separators=(",", ":"))


class _Place:
    """A document between its neighbours. The set's own place is before the first and after the last."""

    __slots__ = ("raw", "shown", "previous", "next")

    def __init__(self) -> None:
        self.raw: Raw | None = None
        self.shown: Document | None = None
        self.previous: _Place = self
        self.next: _Place = self

    def insert_before(self, following: _Place) -> None:
        self.previous.next, self.next.previous = self.next, self.previous
        self.previous, self.next = following.previous, following
        following.previous.next = self
        following.previous = self

    def unlink(self) -> None:
        self.previous.next, self.next.previous = self.next, self.previous


class ResultSet:
    """The documents of a result, in order: a linked list with an index, from which a list is made when it is read."""

    def __init__(self, is_sorted: bool, decode: Decode, origin: ResultSet | None = None) -> None:
        """`is_sorted`: documents are inserted before others. Otherwise they stay in the order of arrival."""
        self._is_sorted = is_sorted
        self._decode = decode
        self._places: dict[str, _Place] = {}
        self._ends = _Place()
        self._list: Sequence[Document] | None = None
        if origin is not None:
            for place in origin._in_order():
                if place.raw is not None:
                    self.put(place.raw, None)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def documents(self) -> Sequence[Document]:
        """The documents for the program: the same list until something changes."""
        if self._list is None:
            self._list = [self._shown(place) for place in self._in_order()]
        return self._list

    @property
    def raw_documents(self) -> list[Raw]:
        return [place.raw for place in self._in_order() if place.raw is not None]

    def get(self, document_id: Any) -> Raw | None:
        place = self._places.get(key_of(document_id))
        return None if place is None else place.raw

    def shown(self, document_id: Any) -> Document | None:
        """A document for the program, decoded once."""
        place = self._places.get(key_of(document_id))
        return None if place is None else self._shown(place)

    def put(self, raw: Raw, before: Any, moves: bool = True) -> None:
        """Inserts a document, or replaces the one with its `_id`.

        `before` is the `_id` of the document that follows it, None for the end. With `moves=False` a known document
        keeps its position.
        """
        key = key_of(raw["_id"])
        place = self._places.get(key)
        is_known = place is not None
        if place is None:
            place = self._places[key] = _Place()
        place.raw = raw
        place.shown = None
        self._list = None
        if is_known and not (moves and self._is_sorted):
            return
        following = self._ends
        if self._is_sorted and before is not None:
            # An unknown document counts as the end.
            following = self._places.get(key_of(before), self._ends)
        if following is not place:
            place.insert_before(following)

    def remove(self, document_id: Any) -> None:
        place = self._places.pop(key_of(document_id), None)
        if place is not None:
            place.unlink()
            self._list = None

    def _shown(self, place: _Place) -> Document:
        if place.shown is None:
            shown: Document = self._decode(place.raw)
            place.shown = shown
        return place.shown

    def _in_order(self) -> list[_Place]:
        places = []
        place = self._ends.next
        while place is not self._ends:
            places.append(place)
            place = place.next
        return places


def with_delta(raw: Raw, changed: Mapping[str, Any], removed: Sequence[str]) -> Raw:
    """Applies a difference. Parts that it does not concern stay the same objects."""
    result = dict(raw)
    for path in removed:
        _without(result, path.split("."))
    for path, value in changed.items():
        _with(result, path.split("."), value)
    return result


def _without(document: dict[str, Any], names: Sequence[str]) -> None:
    head, *rest = names
    if not rest:
        document.pop(head, None)
        return
    inner = document.get(head)
    copy = dict(inner) if isinstance(inner, dict) else {}
    document[head] = copy
    _without(copy, rest)


def _with(document: dict[str, Any], names: Sequence[str], value: Any) -> None:
    head, *rest = names
    if not rest:
        document[head] = value
        return
    inner = document.get(head)
    copy = dict(inner) if isinstance(inner, dict) else {}
    document[head] = copy
    _with(copy, rest, value)
