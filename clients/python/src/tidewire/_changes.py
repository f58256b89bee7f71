"""The changes of a result, as a program receives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

# A document of a result. The client shares it between the result and the changes, so do not modify it.
Document = Mapping[str, Any]

Cause = Literal["insert", "update", "replace", "delete", "grant", "window"]
SnapshotReason = Literal["stored", "history-lost", "rights-changed", "cursor-invalid", "lagged"]


@dataclass(frozen=True)
class Snapshot:
    """The whole result: at the start, and with a reason if it replaces the earlier documents.

    `stored`: the documents are those of the store, and the changes since then follow. `lagged`: the loop or the
    connection was too slow, and the result replaces the changes that the loop has not received. The other reasons are
    those of the service. A query with `snapshot=False` receives an empty one, with a reason, if changes are missing.
    """

    documents: Sequence[Document]
    reason: SnapshotReason | None = None


@dataclass(frozen=True)
class Added:
    """A document has entered the result."""

    document: Document
    cause: Cause
    cursor: str
    # In sorted queries the `_id` of the document that now follows, None at the end.
    before: Any = None


@dataclass(frozen=True)
class Changed:
    """A document of the result has changed, or has moved in a sorted result."""

    document: Document
    # The document before the change. A query with `snapshot=False` does not know it.
    previous: Document | None
    cause: Cause
    cursor: str
    before: Any = None


@dataclass(frozen=True)
class Removed:
    """A document has left the result."""

    id: Any
    # The document before the removal. A query with `snapshot=False` does not know it.
    document: Document | None
    cause: Cause
    cursor: str


# One step of a result. Applied in order, the changes give the result at every point.
Change = Union[Snapshot, Added, Changed, Removed]
