"""Where an HTTP effect goes: one URL, parsed once, the same for policy and for the connection."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import ada_url

from gateway.addresses import Address
from gateway.errors import EffectError

URL_CHARS_MAX: Final = 8_192
_PORTS: Final = {"http:": 80, "https:": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """A parsed URL. The pipeline puts `host` and `port` into the effect document, so no second parser can differ."""

    scheme: str  # "http" or "https"
    host: str  # lower-case ASCII name, or an address without brackets
    port: int
    path: str  # path and query as they go into the request line

    @classmethod
    def parse(cls, url: str) -> "HttpTarget":
        """Parse by the WHATWG rules, and refuse a spelling that they would change.

        A parser that resolves `/public/../admin` or `%2e%2e` would request another path than the text that policy
        matched, so only the canonical spelling passes; the message names it.

        Raises:
            EffectError: `effect.url_refused`.
        """
        if len(url) > URL_CHARS_MAX or not url.isascii():
            raise _refused(f"a URL has at most {URL_CHARS_MAX} ASCII characters")
        try:
            parsed = ada_url.URL(url)
        except ValueError as err:
            raise _refused("this is not a URL") from err
        if parsed.protocol not in _PORTS:
            raise _refused("the scheme must be http or https")
        if parsed.username or parsed.password:
            raise _refused("a URL carries no credentials")
        if parsed.hash or url.endswith("#"):
            raise _refused("a URL of a request has no fragment")
        if parsed.href not in {url, f"{url}/"}:
            raise _refused(f"write it in its canonical form, {parsed.href}")
        port = int(parsed.port) if parsed.port else _PORTS[parsed.protocol]
        if port == 0:
            raise _refused("a port is 1 to 65535")
        host = parsed.hostname.removeprefix("[").removesuffix("]")
        return cls(scheme=parsed.protocol[:-1], host=host, port=port, path=parsed.pathname + parsed.search)

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


def _refused(message: str) -> EffectError:
    return EffectError(message, code="effect.url_refused")
