"""Networks as Go's `net` package reads them: an IPv4 address in IPv6 form is an IPv4 address.

Source: OPA v1/topdown/cidr.go, internal/cidr/merge; Go `net.ParseIP`, `net.ParseCIDR`, `IPNet.Contains`.
An address with a zone (`fe80::1%eth0`) is none, and neither is one with a leading zero (`010.0.0.1`).
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from gateway.policy.supplied.operands import ITEMS_MAX, OperandError, Value, items, string

_PREFIX: Final = re.compile(r"[0-9]+", re.ASCII)
_PREFIX_DIGITS_MAX: Final = 3
_V4, _V6 = 32, 128  # bits of an address
_MAPPED: Final = 0xFFFF  # ::ffff:0:0/96, above the 32 bits of the IPv4 address
_MAPPED_END: Final = 1 << 48


@dataclass(frozen=True, slots=True)
class _Network:
    address: int  # the first, masked
    bits: int  # of an address: 32 or 128
    prefix: int

    @property
    def last(self) -> int:
        return self.address | ((1 << (self.bits - self.prefix)) - 1)

    def holds(self, address: int, bits: int) -> bool:
        return bits == self.bits and self.address <= address <= self.last

    def holds_all(self, other: "_Network") -> bool:
        return self.holds(other.address, other.bits) and self.prefix <= other.prefix


def contains(network: Value, other: Value) -> bool:
    """`net.cidr_contains(network, address or network)`."""
    outer, inner = _network(string(network)), string(other)
    address = _address(inner)
    return outer.holds_all(_network(inner)) if address is None else outer.holds(*address)


def intersects(left: Value, right: Value) -> bool:
    """`net.cidr_intersects(a, b)`."""
    a, b = _network(string(left)), _network(string(right))
    return a.holds(b.address, b.bits) or b.holds(a.address, a.bits)


def is_valid(value: Value) -> bool:
    """`net.cidr_is_valid(x)`; of what is no string, false."""
    if type(value) is not str:
        return False
    try:
        _network(string(value))
    except OperandError:
        return False
    return True


def expand(value: Value) -> set[str]:
    """`net.cidr_expand(network)`, of at most 65,536 addresses."""
    network = _network(string(value))
    if network.last - network.address >= ITEMS_MAX:
        raise OperandError(f"over {ITEMS_MAX} addresses")
    return {_show(address, network.bits) for address in range(network.address, network.last + 1)}


def merge(value: Value) -> set[str]:
    """`net.cidr_merge(networks)`: the fewest networks with the same addresses.

    An address without a prefix is refused (OPA takes its old class for one), and so are IPv6 networks that reach into
    the first 2^48 addresses beside IPv4 ones, which OPA would merge with them.
    """
    networks = [_network(string(one)) for one in items(value)]
    merged: set[str] = set()
    low = any(network.bits == _V6 and network.address <= _MAPPED_END for network in networks)
    if low and any(network.bits == _V4 for network in networks):
        raise OperandError("IPv4 networks beside an IPv6 network that reaches to ::ffff:0:0/96")
    four = [ipaddress.IPv4Network((one.address, one.prefix)) for one in networks if one.bits == _V4]
    six = [ipaddress.IPv6Network((one.address, one.prefix)) for one in networks if one.bits == _V6]
    merged.update(map(str, ipaddress.collapse_addresses(four)))
    merged.update(map(str, ipaddress.collapse_addresses(six)))
    return merged


def _address(text: str) -> tuple[int, int] | None:
    """Return an address and its bits as `net.ParseIP` reads it, or None."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return _in_short(int(address), address.max_prefixlen)


def _in_short(address: int, bits: int) -> tuple[int, int]:
    mapped = bits == _V6 and address >> _V4 == _MAPPED
    return (address & (1 << _V4) - 1, _V4) if mapped else (address, bits)


def _network(text: str) -> _Network:
    """Return a network as `net.ParseCIDR` reads it.

    Raises:
        OperandError: it is none.
    """
    head, slash, tail = text.partition("/")
    digits = tail.lstrip("0") or "0"
    try:
        found = ipaddress.ip_address(head)
    except ValueError:
        found = None
    bits = found.max_prefixlen if found is not None and slash and "%" not in head else -1
    prefix = int(digits) if _PREFIX.fullmatch(tail) and len(digits) <= _PREFIX_DIGITS_MAX else _V6 + 1
    if found is None or prefix > bits:
        raise OperandError("is no network in CIDR form")
    masked = int(found) >> (bits - prefix) << (bits - prefix)
    address, short = _in_short(masked, bits)
    return _Network(address, short, prefix - (bits - short))


def contains_matches(networks: Value, others: Value) -> set[tuple[Value, Value]]:
    """`net.cidr_contains_matches(networks, others)`."""
    left, right = _matchable(networks), _matchable(others)
    if len(left) * len(right) > ITEMS_MAX:
        raise OperandError(f"over {ITEMS_MAX} pairs")
    return {(a, b) for network, a in left for other, b in right if contains(network, other)}


def _matchable(value: Value) -> list[tuple[str, Value]]:
    if type(value) is str:
        return [(value, value)]
    if type(value) is dict:
        return [(_element(one), key) for key, one in value.items()]
    if type(value) is set:
        return [(_element(one), one) for one in value]
    if type(value) is list:
        return [(_element(one), place) for place, one in enumerate(value)]
    return []


def _element(value: Value) -> str:
    if type(value) is list and value:
        value = value[0]
    if type(value) is not str:
        raise OperandError("element must be string or non-empty array")
    return value


def _show(address: int, bits: int) -> str:
    return str(ipaddress.IPv4Address(address) if bits == _V4 else ipaddress.IPv6Address(address))
