"""Moments as protobuf spells them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a moment as protobuf; None stays None, which is a field that is not set."""
    if moment is None:
        return None
    out = Timestamp()
    out.FromDatetime(moment)
    return out
