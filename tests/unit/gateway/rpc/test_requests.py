"""What is kept of a request."""

from typing import Any

import grpc

from gateway.rpc.interceptor import _parsed
from gateway.v1 import mission_pb2

PADDING = b"\xa2\x1f\x88\x27" + b"x" * 5_000  # field 500, of which the message knows nothing


def test_fields_that_nobody_knows_are_not_kept() -> None:
    """A watch may last for days; what its request has beside its fields is gone once it is read."""
    wanted = mission_pb2.WatchMissionRequest(mission_id="m-1")
    raw = wanted.SerializeToString() + PADDING
    assert mission_pb2.WatchMissionRequest.FromString(raw).ByteSize() == len(raw)
    handler: Any = grpc.unary_stream_rpc_method_handler(
        lambda *_: iter(()), request_deserializer=mission_pb2.WatchMissionRequest.FromString
    )
    kept = _parsed(handler, raw)
    assert kept.SerializeToString() == wanted.SerializeToString()
