"""What bounds connections and streams below the calls, where gRPC holds it; a change of it needs a new start."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Bounds of a listening server. Every field is a maximum, but for `ping_seconds_min`."""

    message_bytes_max: int  # over the document limit, so that our own error names the rule
    metadata_bytes_max: int
    connections_max: int  # of each listening address
    streams_per_connection_max: int
    handshake_seconds_max: float  # until a connection has said that it speaks HTTP/2, TLS included
    idle_seconds_max: float  # of a connection without a call
    age_seconds_max: float  # of a connection; then its calls have `age_grace_seconds` to end
    age_grace_seconds: float
    ping_seconds_min: float  # between two pings of a client; who keeps on is cut off
    keepalive_seconds: float  # after which a silent client is asked whether it is still there
    keepalive_timeout_seconds: float
    read_seconds_max: float  # that one message of a request may take to come
    requests_slow_max: int  # at once of a principal or address that do not come at once
    write_seconds_max: float  # that one message of a stream waits for its reader
    calls_open_max: int  # of all kinds; what is over it hears RESOURCE_EXHAUSTED from gRPC itself
