"""Where a stranger comes from."""

import pytest

from gateway.limits.peers import peer_key


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("ipv4:10.0.0.1:443", "10.0.0.1"),
        ("ipv6:%5B2001:db8::1%5D:443", "2001:db8::/64"),
        ("ipv6:[2001:db8::ffff:1]:443", "2001:db8::/64"),
        ("ipv6:[::ffff:10.0.0.1]:443", "10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:443", "fe80::/64"),
        ("ipv6:[::1]:1", "::/64"),
        ("unix:/run/missiongate/ann.sock", "unix"),
        ("unix:", "unix"),
        ("", ""),
        ("x" * 10_000, "x" * 16),
    ],
)
def test_an_address_is_a_key(peer: str, key: str) -> None:
    """Without its port; a network where one customer has all of it; and never more than a few characters."""
    assert peer_key(peer) == key
