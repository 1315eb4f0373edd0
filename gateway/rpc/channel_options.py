"""What gRPC itself holds connections to, in its own words. Names: grpc/impl/channel_arg_names.h of gRPC Core."""

from typing import Final

from gateway.limits.transport import Transport

_PING_STRIKES_MAX: Final = 2  # pings that come too early, before the connection is closed
_PENDING_MAX: Final = 3_000  # grpc.server.max_pending_requests_hard_limit
_MS: Final = 1e3


def channel_options(transport: Transport) -> tuple[tuple[str, int], ...]:
    """Return the options of a server.

    gRPC rejects metadata between its soft and its hard limit by chance; here they are one number, so that what is
    accepted once is accepted always. So are the two numbers of calls that wait in gRPC Core for Python to take them:
    what is turned away there hears CANCELLED, so the gateway has to see the wait before, and to say so itself.
    """
    return (
        ("grpc.max_receive_message_length", transport.message_bytes_max),
        ("grpc.max_metadata_size", transport.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", transport.metadata_bytes_max),
        ("grpc.server.max_pending_requests", _PENDING_MAX),
        ("grpc.so_reuseport", 0),  # a second gateway on the port is an error, not a silent sharer
        ("grpc.max_allowed_incoming_connections", transport.connections_max),
        ("grpc.max_concurrent_streams", transport.streams_per_connection_max),
        ("grpc.server_handshake_timeout_ms", _ms(transport.handshake_seconds_max)),
        ("grpc.max_connection_idle_ms", _ms(transport.idle_seconds_max)),
        ("grpc.max_connection_age_ms", _ms(transport.age_seconds_max)),
        ("grpc.max_connection_age_grace_ms", _ms(transport.age_grace_seconds)),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(transport.ping_seconds_min)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES_MAX),
        # A watcher whose machine vanished is noticed, and its stream ended.
        ("grpc.keepalive_time_ms", _ms(transport.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _ms(transport.keepalive_timeout_seconds)),
        ("grpc.http2.max_pings_without_data", 0),
    )


def _ms(seconds: float) -> int:
    return min(round(seconds * _MS), (1 << 31) - 1)  # an int of C
