"""Where a caller comes from, as strangers are counted: an address, or for IPv6 the network that one customer has."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

_CUSTOMER_BITS: Final = 64  # whoever has one IPv6 address has 2^64 of them (RFC 6177)


def peer_key(peer: str) -> str:
    """Return the key of a gRPC peer: `ipv4:10.0.0.1:443` is `10.0.0.1`, `ipv6:[2001:db8::1]:443` is `2001:db8::/64`.

    What is no address, such as the path of a Unix socket, is one key for its kind: it can only be local.
    """
    family, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return family[:16]
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _CUSTOMER_BITS), strict=False))
