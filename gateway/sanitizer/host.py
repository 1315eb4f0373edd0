"""Hosts: a fully qualified DNS name, or a literal address in its one canonical spelling.

This is admission: shape and literal addresses. What a public name resolves to is checked at the effect, where the
connection goes to the checked address.
Sources: RFC 1123, 2.1; RFC 5890 to 5892 (IDNA 2008); RFC 6761 and the IANA Special-Use Domain Names registry;
RFC 9476 (.alt); ICANN resolution 2024.07.29.06 (.internal).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import idna

from gateway.addresses import Address, AddressPolicy
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.scripts import is_single_script

HOST_CHARS_MAX: Final = 253  # RFC 1035, 3.1, as text
HOSTS_CACHED: Final = 1_024  # parsing asks nothing but the text; missions name the same few hosts again and again

_TOO_LONG: Final = Finding("host_too_long", f"has a host longer than {HOST_CHARS_MAX} characters")
_NAME: Final = Finding(
    "host_name", "has a host that is no DNS name: labels of letters, digits and inner hyphens, dots between"
)
_IDNA: Final = Finding(
    "idna", "has a host that IDNA 2008 does not allow; write it in lower case, normalised, or as xn--"
)
_MIXED: Final = Finding("mixed_script", "has a host label that mixes scripts")
_NUMERIC: Final = Finding(
    "host_numeric", "has a host that some parsers take for an IPv4 address; write it as four plain decimals"
)
_NOT_CANONICAL: Final = Finding("host_not_canonical", "has an IP address that is not in its canonical spelling")
_SINGLE_LABEL: Final = Finding("single_label", "has a host of one label, which means a machine of the local network")
_SPECIAL_USE: Final = Finding("special_use", "has a host under a domain that is not for the public internet")
_ADDRESS: Final = Finding("address", "has an address that is not public, and that policy does not name")

# Names that are never delegated in the public DNS, and what local networks use in their stead.
_SPECIAL_USE_DOMAINS: Final = (
    "alt", "arpa", "corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain",
    "localhost", "mail", "onion", "private", "test",
)  # fmt: skip
_SPECIAL_USE_SUFFIXES: Final = tuple("." + domain for domain in _SPECIAL_USE_DOMAINS)

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_DECIMALS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
# WHATWG URL, 3.5, "ends in a number": such a host is an IPv4 address or nothing.
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Host:
    """A host that passed: its ASCII name in lower case (xn-- labels), or its address."""

    ascii: str
    address: Address | None = None


def check_host(value: str, addresses: AddressPolicy) -> Finding | None:
    """Return the rule that `value`, a host without a port, breaks; or None. IPv6 is written without brackets."""
    if len(value) > HOST_CHARS_MAX:
        return _TOO_LONG
    host = parse_address(value) if ":" in value else parse_name_or_ipv4(value)
    return host if isinstance(host, Finding) else check_reach(host, None, addresses)


def check_reach(host: Host, port: int | None, addresses: AddressPolicy) -> Finding | None:
    """Return why `host` may not be reached at `port` (None: at some port), or None."""
    if host.address is not None:
        return None if addresses.allows(host.address, port) else _ADDRESS
    if addresses.allows_name(host.ascii, port):
        return None
    if "." not in host.ascii:
        return _SINGLE_LABEL
    return _SPECIAL_USE if host.ascii.endswith(_SPECIAL_USE_SUFFIXES) else None


def parse_address(text: str) -> Host | Finding:
    """Parse an IPv6 address without brackets. Source: RFC 5952 (one spelling for each address)."""
    try:
        address = ip_address(text)
    except ValueError:
        return _NAME
    return _canonical(address, text)


@lru_cache(maxsize=HOSTS_CACHED)
def parse_name_or_ipv4(text: str) -> Host | Finding:
    """Parse a DNS name, in ASCII or Unicode, or an IPv4 address."""
    if len(text) > HOST_CHARS_MAX:
        return _TOO_LONG
    if _DECIMALS.fullmatch(text):
        host = parse_address(text)
        return host if isinstance(host, Host) else _NUMERIC
    if _ENDS_IN_NUMBER.fullmatch(text):
        return _NUMERIC
    labels: list[str] = []
    for label in text.split("."):
        encoded = _encode_label(label)
        if isinstance(encoded, Finding):
            return encoded
        labels.append(encoded)
    name = ".".join(labels)
    return Host(name) if len(name) <= HOST_CHARS_MAX else _TOO_LONG


def _canonical(address: IPv4Address | IPv6Address, text: str) -> Host | Finding:
    return Host(str(address), address) if str(address) == text else _NOT_CANONICAL


def _encode_label(label: str) -> str | Finding:
    """Return the label as DNS carries it. An xn-- label has to be the encoding of what it decodes to."""
    if label.isascii() and label[:4].lower() != "xn--":
        return label.lower() if _LABEL.fullmatch(label) else _NAME
    try:
        encoded = idna.alabel(label.lower() if label.isascii() else label).decode("ascii")
        decoded = idna.ulabel(encoded)
    except (idna.IDNAError, UnicodeError):
        return _IDNA
    return encoded if is_single_script(decoded) else _MIXED
