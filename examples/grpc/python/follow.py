"""Follows a collection over gRPC, prints each change as one JSON line, and continues where it stopped.

    pip install -r requirements.txt grpcio-tools
    python -m grpc_tools.protoc -I ../../../proto --python_out=. --grpc_python_out=. tidewire/v1/live_queries.proto
    TIDEWIRE_TOKEN=… python follow.py 127.0.0.1:8482 orders '{"status": "open"}'

The file of STATE (follow.state.json) holds the cursor and the ticket. A program that keeps its result in a database
saves both in the same transaction.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from tidewire.v1 import live_queries_pb2 as pb
from tidewire.v1 import live_queries_pb2_grpc

STATE = Path(os.environ.get("STATE", "follow.state.json"))
# The proto names them START_RESUMED and so on.
CONTINUES = {pb.START_RESUMED, pb.START_MOVED}


def read_state() -> dict[str, str]:
    return json.loads(STATE.read_text()) if STATE.exists() else {"cursor": "", "ticket": ""}


def save_state(state: dict[str, str]) -> None:
    # Replaced at once, so that a kill leaves either the old state or the new one.
    fresh = STATE.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(STATE)


def show(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def take(response: pb.FollowResponse, state: dict[str, str]) -> None:
    """Prints a message, and takes its cursor and its ticket."""
    name = response.WhichOneof("message")
    if name is None:
        return  # of a newer version of the service
    message = getattr(response, name)
    if name == "subscribed":
        show(type=name, start=pb.Start.Name(message.start))
        if message.start not in CONTINUES:
            state["cursor"] = ""
    elif name == "snapshot":
        for document in message.documents:
            show(type="has", document=json.loads(document))
    elif name in ("added", "changed"):
        show(type=name, document=json.loads(message.document))
    elif name == "removed":
        show(type=name, id=json.loads(message.id))
    elif name == "reset":
        show(type=name)
        state["cursor"] = ""
    state["cursor"] = getattr(message, "cursor", "") or state["cursor"]
    state["ticket"] = getattr(message, "ticket", "") or state["ticket"]


def follow(service: live_queries_pb2_grpc.LiveQueriesStub, query: dict[str, Any]) -> None:
    """Follows until the stream ends. The status says why."""
    state = read_state()
    # A real program would fetch a fresh token from its login service here.
    metadata = [("authorization", f"Bearer {os.environ['TIDEWIRE_TOKEN']}")]
    request = pb.FollowRequest(**query, values=pb.VALUES_EJSON)
    if state["cursor"]:
        request.cursor, request.ticket = state["cursor"], state["ticket"]
    for response in service.Follow(request, metadata=metadata):
        take(response, state)
        save_state(state)


def main() -> None:
    address, collection, *rest = sys.argv[1:]
    query = {"collection": collection, **({"filter": rest[0]} if rest else {})}
    # Pings show that the service has vanished. It allows one every ten seconds.
    options = [("grpc.keepalive_time_ms", 30_000)]
    delay = 0.25
    with grpc.insecure_channel(address, options=options) as channel:
        service = live_queries_pb2_grpc.LiveQueriesStub(channel)
        while True:
            began = time.monotonic()
            try:
                follow(service, query)
            except grpc.RpcError as error:
                trailers = dict(error.trailing_metadata() or ())
                show(type="status", status=error.code().name, code=trailers.get("tidewire-code"))
                if trailers.get("tidewire-retry") in ("never", "token"):
                    sys.exit(f"refused: {error.details()}")
            delay = 0.25 if time.monotonic() - began > 5 else min(delay * 2, 30)
            time.sleep(random.uniform(0, delay))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
