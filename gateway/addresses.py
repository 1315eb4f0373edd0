"""Which network addresses the gateway may open a connection to.

Public unicast, and what policy data names; nothing else. The tables are written out from the IANA registries,
because `ipaddress.is_global` answers differently from one Python to the next (3.11: yes for 192.0.0.192,
64:ff9b::/96, 2002::/16, ::127.0.0.1 and fec0::/10).

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190); IANA IPv6 Global Unicast
Address Assignments (RFC 4291, 2.4).
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from gateway.errors import PolicyInvalidError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

NETWORKS_MAX: Final = 1_024  # entries in policy data
ENTRY_CHARS_MAX: Final = 300  # one entry: a name of 253, or a network, and a port
PORT_MAX: Final = 65_535

# Never public, although some blocks are registered as globally reachable: those are anycast services of the
# IETF (PCP, TURN, AMT, AS112), not hosts that a mission has business with.
_IPV4_SPECIAL: Final = (
    "0.0.0.0/8",  # this network, RFC 791; 0.0.0.0 reaches the own host on Linux
    "10.0.0.0/8",  # private use, RFC 1918
    "100.64.0.0/10",  # shared address space, RFC 6598; 100.100.100.200 is a cloud's metadata service
    "127.0.0.0/8",  # loopback, RFC 1122
    "168.63.129.16/32",  # a cloud's host agent on a public address (Azure WireServer); in no registry
    "169.254.0.0/16",  # link local, RFC 3927; 169.254.169.254 is the clouds' metadata service
    "172.16.0.0/12",  # private use, RFC 1918
    "192.0.0.0/24",  # IETF protocol assignments, RFC 6890; 192.0.0.192 is a cloud's metadata service
    "192.0.2.0/24",  # documentation, RFC 5737
    "192.31.196.0/24",  # AS112, RFC 7535
    "192.52.193.0/24",  # AMT, RFC 7450
    "192.88.99.0/24",  # 6to4 relay anycast, deprecated, RFC 7526
    "192.168.0.0/16",  # private use, RFC 1918
    "192.175.48.0/24",  # AS112, RFC 7534
    "198.18.0.0/15",  # benchmarking, RFC 2544
    "198.51.100.0/24",  # documentation, RFC 5737
    "203.0.113.0/24",  # documentation, RFC 5737
    "224.0.0.0/4",  # multicast, RFC 5771
    "240.0.0.0/4",  # reserved and limited broadcast, RFC 1112, RFC 8190
)

# Everything outside 2000::/3 is refused, and with it loopback, ::ffff:0:0/96 (IPv4-mapped), 64:ff9b::/96 and
# 64:ff9b:1::/48 (NAT64), fc00::/7, fe80::/10, fec0::/10, 5f00::/16 and ff00::/8.
_IPV6_GLOBAL_UNICAST: Final = "2000::/3"
_IPV6_SPECIAL: Final = (
    "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID, DRIP, anycast
    "2001:db8::/32",  # documentation, RFC 3849
    "2002::/16",  # 6to4, RFC 3056: embeds any IPv4 address
    "2620:4f:8000::/48",  # AS112, RFC 7534
    "3fff::/20",  # documentation, RFC 9637
)


class _Ranges:
    """A set of disjoint closed integer ranges, asked by binary search."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, networks: Iterable[str]) -> None:
        ordered = sorted((ip_network(n) for n in networks), key=lambda n: int(n.network_address))
        self._firsts = [int(n.network_address) for n in ordered]
        self._lasts = [int(n.broadcast_address) for n in ordered]

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self._firsts, value) - 1
        return at >= 0 and value <= self._lasts[at]


_SPECIAL_V4: Final = _Ranges(_IPV4_SPECIAL)
_GLOBAL_V6: Final = _Ranges([_IPV6_GLOBAL_UNICAST])
_SPECIAL_V6: Final = _Ranges(_IPV6_SPECIAL)


def is_public(address: Address) -> bool:
    """Return whether `address` is public unicast: none of the special blocks, no scope, no embedded IPv4."""
    value = int(address)
    if isinstance(address, IPv4Address):
        return value not in _SPECIAL_V4
    return address.scope_id is None and value in _GLOBAL_V6 and value not in _SPECIAL_V6


@dataclass(frozen=True, slots=True)
class AllowedNetwork:
    """A network that policy opens; `port` None means every port."""

    network: Network
    port: int | None


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Public unicast, and the networks and names that policy data adds. It only ever adds.

    A literal or resolved address is asked of `allows`. A host name is asked of `allows_name`: yes means that policy
    vouches for this name at this port, so what it resolves to is allowed as well; `permits` says just that.
    """

    networks: tuple[AllowedNetwork, ...] = ()
    names: frozenset[tuple[str, int]] = frozenset()  # (lower-case ASCII host, port)

    @classmethod
    def parse(cls, entries: Iterable[object]) -> "AddressPolicy":
        """Build from policy data: `10.0.0.0/8`, `10.0.0.0/8:443`, `[fd00::/8]:443`, `127.0.0.1:8080`, `localhost:8080`.

        Raises:
            PolicyInvalidError: an entry is none of these forms (`policy.bad_network`), or there are too many.
        """
        networks: list[AllowedNetwork] = []
        names: set[tuple[str, int]] = set()
        for count, entry in enumerate(entries, start=1):
            if count > NETWORKS_MAX:
                raise PolicyInvalidError(f"more than {NETWORKS_MAX} allowed networks", code="policy.bad_network")
            parsed = _parse_entry(entry)
            if isinstance(parsed, AllowedNetwork):
                networks.append(parsed)
            else:
                names.add(parsed)
        return cls(tuple(networks), frozenset(names))

    def allows(self, address: Address, port: int | None) -> bool:
        """Return whether a connection to `address`, literal or resolved, at `port` (1 to 65535) is allowed.

        Port None asks whether there is a port at which it is: for a host that is named before its port is known.
        """
        if port is not None and not 0 < port <= PORT_MAX:
            return False
        if is_public(address):
            return True
        # A scoped or IPv4-mapped address means another address than it spells: no network of policy covers it.
        if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
            return False
        return any(
            (port is None or allowed.port is None or allowed.port == port)
            and allowed.network.version == address.version
            and address in allowed.network
            for allowed in self.networks
        )

    def allows_name(self, host: str, port: int | None) -> bool:
        """Return whether policy names `host` (ASCII, any case, no trailing dot) at `port`; None: at some port."""
        name = host.lower()
        return any(name == n for n, _ in self.names) if port is None else (name, port) in self.names

    def permits(self, host: str, address: Address, port: int) -> bool:
        """Return whether a connection for `host`, which resolved to `address`, at `port` is allowed."""
        return self.allows(address, port) or self.allows_name(host, port)


PUBLIC_ONLY: Final = AddressPolicy()

_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:./]+)\](?::([0-9]{1,5}))?")
_IPV4: Final = re.compile(r"([0-9.]+(?:/[0-9]{1,2})?)(?::([0-9]{1,5}))?")
_IPV6: Final = re.compile(r"(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?")
_NAME: Final = re.compile(
    r"((?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9_-]{0,61}[a-z0-9_])?):([0-9]{1,5})"
)


def _parse_entry(entry: object) -> AllowedNetwork | tuple[str, int]:
    """Return a network, or a (name, port), or raise PolicyInvalidError."""
    if not isinstance(entry, str) or len(entry) > ENTRY_CHARS_MAX:
        raise PolicyInvalidError("an allowed network is a short string", code="policy.bad_network")
    if match := _BRACKETED.fullmatch(entry):
        return AllowedNetwork(_network(match[1], entry), _port(match[2], entry))
    if match := _IPV4.fullmatch(entry):
        return AllowedNetwork(_network(match[1], entry), _port(match[2], entry))
    if _IPV6.fullmatch(entry):
        return AllowedNetwork(_network(entry, entry), None)
    if match := _NAME.fullmatch(entry):
        port = _port(match[2], entry)
        if port is not None:
            return match[1], port
    raise PolicyInvalidError(
        f"{entry!r} is neither a network (10.0.0.0/8, 127.0.0.1:8080, [fd00::/8]:443) nor a lower-case host:port",
        code="policy.bad_network",
    )


def _network(text: str, entry: str) -> Network:
    try:
        return ip_network(text, strict=True)
    except ValueError as err:
        raise PolicyInvalidError(f"{entry!r} is no network: {err}", code="policy.bad_network") from err


def _port(text: str | None, entry: str) -> int | None:
    if text is None:
        return None
    port = int(text)
    if not 0 < port <= PORT_MAX or text[0] == "0":
        raise PolicyInvalidError(f"{entry!r} has no port from 1 to {PORT_MAX}", code="policy.bad_network")
    return port


def is_loopback_host(host: str) -> bool:
    """Return whether a host, without brackets and port, is this machine alone: what goes there stays here."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
