"""Follows live queries over gRPC for tests. Commands arrive as JSON lines, and so do the answers.

    {"n": 1, "follow": {"address": …, "token": …, "values": …, "request": {…}}}   begins stream 1
    {"n": 1, "fence": {"t": …, "i": …}, "id": "7"}                               the stream receives `fenced` with the id
    {"n": 1, "leave": true}                                                      ends the stream

Each message is printed as {"n": 1, "message": {…}}, in the form that a WebSocket would have brought, and the status of a
stream as a message of the type `error`.
"""

import json
import sys
import threading
from typing import Any

import grpc
from grpc_status import rpc_status
from tidewire.v1 import live_queries_pb2 as pb
from tidewire.v1 import live_queries_pb2_grpc

lock = threading.Lock()


def write(line: dict[str, Any]) -> None:
    with lock:
        print(json.dumps(line), flush=True)


def word(enum: Any, value: int) -> str:
    """`START_SNAPSHOT` becomes `snapshot`, `REASON_HISTORY_LOST` `history-lost`."""
    return enum.Name(value).split("_", 1)[1].lower().replace("_", "-")


def to_message(response: pb.FollowResponse) -> dict[str, Any]:
    name = response.WhichOneof("message")
    message = getattr(response, name)
    result: dict[str, Any] = {"type": name}
    if name in ("subscribed", "snapshot", "added", "changed", "removed", "reset"):
        # A stream has one live query, so that its messages need no number.
        result["query"] = 1
    for field, value in message.ListFields():
        if field.name in ("cursor", "ticket", "connection", "id", "last", "unset"):
            result[field.name] = list(value) if field.name == "unset" else value
    if name in ("subscribed", "reset") and message.reason:
        result["reason"] = word(pb.Reason, message.reason)
    if name == "subscribed":
        result["start"] = word(pb.Start, message.start)
    elif name == "snapshot":
        result |= {"docs": [json.loads(document) for document in message.documents], "last": message.last}
    elif name in ("added", "changed", "removed"):
        result["cause"] = word(pb.Cause, message.cause)
    if name == "added" or (name == "changed" and message.HasField("document")):
        result["doc"] = json.loads(message.document)
    if name in ("changed", "removed") and "id" in result:
        result["_id"] = json.loads(result.pop("id"))
    if name == "changed" and message.HasField("set"):
        result["set"] = json.loads(message.set)
    if name in ("added", "changed") and message.HasField("before"):
        result["before"] = json.loads(message.before)
    if name == "unsubscribed":
        result["reason"] = message.reason
    return result


def to_error(error: grpc.RpcError) -> dict[str, Any]:
    status = rpc_status.from_call(error)
    detail = pb.ErrorDetail()
    if status is None or not status.details or not status.details[0].Unpack(detail):
        return {"type": "error", "code": error.code().name, "message": error.details()}
    details = {"details": json.loads(detail.details)} if detail.details else {}
    return {"type": "error", "code": detail.code, "message": error.details(), "retry": detail.retry, **details}


def to_request(request: dict[str, Any], values: str | None) -> pb.FollowRequest:
    given = dict(request)
    for name in ("filter", "aggregate"):
        if name in given:
            given[name] = json.dumps(given[name])
    given["sort"] = [pb.SortKey(path=path, descending=order < 0) for path, order in given.get("sort", [])]
    return pb.FollowRequest(**given, values=pb.VALUES_EJSON if values == "ejson" else pb.VALUES_UNSPECIFIED)


class Stream:
    def __init__(self, number: int, options: dict[str, Any]) -> None:
        token = options["token"]
        self.number = number
        self.metadata = [] if token is None else [("authorization", f"Bearer {token}")]
        self.channel = grpc.insecure_channel(options["address"])
        self.service = live_queries_pb2_grpc.LiveQueriesStub(self.channel)
        self.connection = ""
        request = to_request(options["request"], options["values"])
        self.call = self.service.Follow(request, metadata=self.metadata)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        name = ""
        try:
            for response in self.call:
                message = to_message(response)
                name = message["type"]
                self.connection = message.get("connection", self.connection)
                write({"n": self.number, "message": message})
        except grpc.RpcError as error:
            # After `unsubscribed` the status repeats it.
            if name != "unsubscribed" and error.code() is not grpc.StatusCode.CANCELLED:
                write({"n": self.number, "message": to_error(error)})
        write({"n": self.number, "ended": True})

    def fence(self, time: dict[str, int], name: str) -> None:
        request = pb.FenceRequest(connection=self.connection, id=name, operation_time=pb.OperationTime(**time))
        try:
            self.service.Fence(request, metadata=self.metadata)
        except grpc.RpcError as error:
            write({"n": self.number, "failed": name, "why": error.details()})


def main() -> None:
    streams: dict[int, Stream] = {}
    for line in sys.stdin:
        command = json.loads(line)
        number = command["n"]
        if "follow" in command:
            streams[number] = Stream(number, command["follow"])
        elif "fence" in command:
            work = (command["fence"], command["id"])
            threading.Thread(target=streams[number].fence, args=work, daemon=True).start()
        else:
            streams[number].call.cancel()
            streams[number].channel.close()


main()
