"""URLs that the gateway may call: http or https, and read the same way by every parser.

Two parsers read each one: the strict grammar of RFC 3986 here, and WHATWG's (ada). Where WHATWG would repair the
input (backslashes, tabs, missing slashes, dot segments, percent-encoded or numeric hosts) the two differ, and the URL
is refused: a host that the check reads one way and the connection another is how request forgery starts.
Sources: RFC 3986, appendix A; WHATWG URL Standard, 4.4.
"""

import re
from dataclasses import dataclass
from typing import Final

import ada_url

from gateway.addresses import PORT_MAX, AddressPolicy
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.host import Host, check_reach, parse_address, parse_name_or_ipv4

URL_CHARS_MAX: Final = 8_192

_TOO_LONG: Final = Finding("too_long", f"is longer than {URL_CHARS_MAX} characters")
_CONTROL: Final = Finding("control", "holds white space, a control character or a backslash; percent-encode it")
_SCHEME: Final = Finding("scheme", "does not begin with http:// or https://")
_CREDENTIALS: Final = Finding("credentials", "holds credentials; send them in a header, as a secret")
_SYNTAX: Final = Finding("syntax", "is no URL as RFC 3986 writes one; percent-encode what is not a URL's character")
_HOST: Final = Finding("host_name", "has no host, or one that is neither a DNS name nor an address")
_PORT: Final = Finding("port", f"has no port from 1 to {PORT_MAX} after its colon; write it in plain decimals")
_REWRITTEN: Final = Finding(
    "rewritten", "reads differently to other parsers; write its canonical form, without dot segments"
)

_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
_START: Final = re.compile(r"(https?)://([^/?#]*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]*)\]|([^\[\]:]*))(?::([0-9]*))?")
_PCHAR: Final = r"[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2}"
_REST: Final = re.compile(rf"((?:/(?:{_PCHAR})*)*)(\?(?:{_PCHAR}|[/?])*)?(\#(?:{_PCHAR}|[/?])*)?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class UrlParts:
    """What a URL that passed asks for. `port` is the scheme's where none is written."""

    scheme: str
    host: Host
    port: int


def check_url(value: str, addresses: AddressPolicy) -> Finding | None:
    """Return the rule that `value` breaks, or None."""
    parts = parse_url(value)
    return parts if isinstance(parts, Finding) else check_reach(parts.host, parts.port, addresses)


def parse_url(value: str) -> UrlParts | Finding:
    """Read `value` with both parsers; they have to agree."""
    if len(value) > URL_CHARS_MAX:
        return _TOO_LONG
    if _UNSAFE.search(value):
        return _CONTROL
    start = _START.match(value)
    if start is None:
        return _SCHEME
    rest = _REST.fullmatch(value, start.end())
    if rest is None:
        return _SYNTAX
    parts = _parse_authority(start[1].lower(), start[2])
    if isinstance(parts, Finding):
        return parts
    return parts if _whatwg_agrees(value, parts, rest) else _REWRITTEN


def _parse_authority(scheme: str, authority: str) -> UrlParts | Finding:
    if "@" in authority:
        return _CREDENTIALS
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return _HOST
    port = _parse_port(match[3], scheme)
    if port is None:
        return _PORT
    host = parse_address(match[1]) if match[1] is not None else parse_name_or_ipv4(match[2])
    return host if isinstance(host, Finding) else UrlParts(scheme, host, port)


def _parse_port(text: str | None, scheme: str) -> int | None:
    if text is None:
        return _DEFAULT_PORTS[scheme]
    if not text or text[0] == "0" or len(text) > len(str(PORT_MAX)):
        return None
    port = int(text)
    return port if port <= PORT_MAX else None


def _whatwg_agrees(value: str, parts: UrlParts, rest: re.Match[str]) -> bool:
    """Return whether WHATWG's parser finds the same host, port, path, query and fragment."""
    host = f"[{parts.host.ascii}]" if ":" in parts.host.ascii else parts.host.ascii
    port = "" if parts.port == _DEFAULT_PORTS[parts.scheme] else f":{parts.port}"
    query = (rest[2] or "").replace("'", "%27")  # the one character of RFC 3986 that WHATWG encodes
    try:
        href: str = ada_url.normalize_url(value)
    except ValueError:
        return False
    return href == f"{parts.scheme}://{host}{port}{rest[1] or '/'}{query}{rest[3] or ''}"
