"""Client of Tidewire: live queries on MongoDB, exact and resumable.

async with tidewire.connect("https://live.example.com", token=token) as client:
    async for change in client.query("orders", {"status": "open"}):
        print(change)

`tidewire.sync` has the same for programs without asyncio.
"""

from ._changes import Added, Cause, Change, Changed, Document, Removed, Snapshot, SnapshotReason
from ._client import Client, Sort, connect
from ._errors import (
    BadFilterError,
    BadRequestError,
    ClosedError,
    ForbiddenError,
    SnapshotTooLargeError,
    TidewireError,
    TooManyRequestsError,
    TooManySubscriptionsError,
    UnauthenticatedError,
    UnavailableError,
    UnknownCollectionError,
)
from ._fences import OperationTime
from ._presence import Entry, EntryStatus
from ._query import Changes, Query
from ._session import ConnectionStatus
from ._status import Status
from ._stores import FileStore, MemoryStore, Saved, Store
from ._tokens import TokenSource
from ._values import Values
from ._version import __version__

__all__ = [
    "Added",
    "BadFilterError",
    "BadRequestError",
    "Cause",
    "Change",
    "Changed",
    "Changes",
    "Client",
    "ClosedError",
    "ConnectionStatus",
    "Document",
    "Entry",
    "EntryStatus",
    "FileStore",
    "ForbiddenError",
    "MemoryStore",
    "OperationTime",
    "Query",
    "Removed",
    "Saved",
    "Snapshot",
    "SnapshotReason",
    "SnapshotTooLargeError",
    "Sort",
    "Status",
    "Store",
    "TidewireError",
    "TokenSource",
    "TooManyRequestsError",
    "TooManySubscriptionsError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownCollectionError",
    "Values",
    "__version__",
    "connect",
]
