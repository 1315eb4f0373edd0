"""What a stream begins with, before anything has come of it: a client knows then that it was let in."""

from typing import Final

STREAM_OPENED: Final = (("missiongate-stream", "open"),)
"""Initial metadata of every stream of the gateway's own services. One that breaks without was never there."""
