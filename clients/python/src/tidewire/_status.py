"""The status of a query, as a table of every status and every event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

# connecting: reaching the service, or waiting for its answer. catching-up: missing data is arriving. live: the result
# is current. offline: the connection was lost, and the client tries again. stopped: ended permanently.
Status = Literal["connecting", "catching-up", "live", "offline", "stopped"]

# attempt: a connection attempt begins. subscribed: the service has accepted the subscription. caught-up: all data up to
# now has arrived. reset: the documents are void, and are sent again. refused: the service cannot accept the
# subscription now. lost: the connection was lost. stop: the query has ended.
StatusEvent = Literal["attempt", "subscribed", "caught-up", "reset", "refused", "lost", "stop"]

# Only the events that change a status. Others make no sense in it, for example because the end of a connection has
# overtaken them.
TRANSITIONS: Mapping[Status, Mapping[StatusEvent, Status]] = {
    "connecting": {"subscribed": "catching-up", "lost": "offline", "stop": "stopped"},
    "catching-up": {"caught-up": "live", "refused": "connecting", "lost": "offline", "stop": "stopped"},
    "live": {
        "subscribed": "catching-up",
        "reset": "catching-up",
        "refused": "connecting",
        "lost": "offline",
        "stop": "stopped",
    },
    "offline": {"attempt": "connecting", "stop": "stopped"},
    "stopped": {},
}
