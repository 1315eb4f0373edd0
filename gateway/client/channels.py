"""What both kinds of channels have in common: target, credentials, options, and what goes with each call."""

from collections.abc import Iterable
from typing import Final

import grpc

from gateway.client.patience import CallOptions
from gateway.client.server import Server, Tls
from gateway.rpc.opened import STREAM_OPENED

MESSAGE_BYTES_MAX: Final = 128 * 1024 * 1024  # a result of 10,000 steps, each with some output
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment has no business with the token
    ("grpc.keepalive_time_ms", 60_000),  # a gateway whose machine vanished is noticed; it takes no more than this
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),  # also of a watch on which nothing happens
    ("grpc.service_config_disable_resolution", 1),  # no record of the DNS makes gRPC repeat what is made once
    ("grpc.initial_reconnect_backoff_ms", 100),  # beneath our own waits, which would else find nothing tried
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def target(server: Server) -> str:
    """Return the address as gRPC wants it; a host name is not taken for a scheme."""
    return server.address if server.is_socket else f"dns:{server.address}"


def credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Return the credentials of a channel."""
    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca, private_key=tls.key, certificate_chain=tls.certificate
    )


def is_opened(initial: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Return whether a stream was let in by the gateway, be it that nothing came of it."""
    return STREAM_OPENED[0] in {(key, value) for key, value in initial or ()}


def metadata(token: str | None, options: CallOptions) -> tuple[tuple[str, str], ...]:
    """Return what goes with one attempt."""
    found = (("authorization", f"Bearer {token}" if token else ""), ("traceparent", options.traceparent))
    return tuple(pair for pair in found if pair[1])
