"""Which peers are this machine."""

import pytest

from gateway.rpc.authenticating import is_loopback


@pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:5000", "ipv4:127.8.8.8:1", "ipv6:[::1]:5000", "ipv6:%5B::1%5D:5000"])
def test_loopback_addresses_are(peer: str) -> None:
    """In every spelling that gRPC gives a peer."""
    assert is_loopback(peer)


@pytest.mark.parametrize(
    "peer",
    [
        "", "ipv4:", "ipv4:127.0.0.1", "ipv4:10.0.0.1:5000", "ipv4:0.0.0.0:1", "ipv6:[::]:1", "ipv6:[fe80::1%25lo]:1",
        "ipv6:[::ffff:10.0.0.1]:1", "unix:/tmp/socket", "unix:127.0.0.1:1", "ipv4:127.0.0.1.evil.example:1",
        "ipv4:localhost:1", "dns:127.0.0.1:1", "127.0.0.1:1",
    ],
)  # fmt: skip
def test_nothing_else_is(peer: str) -> None:
    """Other addresses, names that look like one, sockets, and what cannot be read."""
    assert not is_loopback(peer)
