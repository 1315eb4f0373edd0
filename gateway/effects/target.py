"""Where an HTTP effect goes: one URL, parsed once, the same for policy and for the connection."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import ada_url

from gateway.addresses import Address
from gateway.errors import EffectError

URL_CHARS_MAX: Final = 8_192
_PORTS: Final = {"http:": 80, "https:": 443}
# Scheme, authority, path and query, fragment; without what a WHATWG parser strips (white space) or turns (backslash).
_PARTS: Final = re.compile(r"(https?)://([^/?#\\\x00-\x20\x7f]+)([^#\\\x00-\x20\x7f]*)(?:#.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """A parsed URL. The pipeline puts `host` and `port` into the effect document, so no second parser can differ."""

    scheme: str  # "http" or "https"
    host: str  # lower-case ASCII name, or an address without brackets
    port: int
    path: str  # path and query as they go into the request line

    @classmethod
    def parse(cls, url: str) -> "HttpTarget":
        """Parse by the WHATWG rules, and refuse a path that they would change.

        A parser that resolves `/public/../admin` or `%2e%2e` would request another path than the text that policy
        matched. A host is decided on as parsed, so its spelling is free.

        Raises:
            EffectError: `effect.url_refused`.
        """
        match = _PARTS.fullmatch(url) if len(url) <= URL_CHARS_MAX else None
        if match is None:
            raise _refused(f"a URL is http or https and at most {URL_CHARS_MAX} characters, without white space")
        try:
            parsed = ada_url.URL(url)
        except ValueError as err:
            raise _refused("this is not a URL") from err
        if parsed.username or parsed.password or "@" in match[2]:
            raise _refused("a URL carries no credentials")
        path = match[3] if match[3].startswith("/") else f"/{match[3]}"
        canonical = parsed.href.partition("#")[0].removeprefix(parsed.origin)
        if canonical not in {path, _encoded_as_whatwg(path)}:
            raise _refused(f"write path and query in their canonical form, {canonical}")
        port = int(parsed.port) if parsed.port else _PORTS[parsed.protocol]
        if port == 0:
            raise _refused("a port is 1 to 65535")
        host = parsed.hostname.removeprefix("[").removesuffix("]")
        return cls(scheme=parsed.protocol[:-1], host=host, port=port, path=path)

    @property
    def address(self) -> Address | None:
        """The address, where the host is written as one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """The value of the Host field: the port is left out where the scheme implies it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[f"{self.scheme}:"] else f"{host}:{self.port}"


def _encoded_as_whatwg(path: str) -> str:
    """Return `path` with the one character of RFC 3986 encoded that WHATWG encodes; it is requested as written."""
    before, mark, query = path.partition("?")
    return before + mark + query.replace("'", "%27")


def _refused(message: str) -> EffectError:
    return EffectError(message, code="effect.url_refused")
