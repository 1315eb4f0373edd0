"""Names to addresses: asked once an effect, with a bounded time, by a resolver that tests can replace."""

import socket
from ipaddress import ip_address
from typing import Final, Protocol

from gateway.addresses import Address
from gateway.effects.blocking import BlockingPool
from gateway.errors import EffectError

ADDRESSES_MAX: Final = 64  # of one name; more is no answer that we want to walk through


class Resolver(Protocol):
    """Asks the name service."""

    async def resolve(self, host: str, port: int, *, timeout_seconds: float) -> tuple[Address, ...]:
        """Return the addresses of `host`, at least one, in the order in which they should be tried.

        Raises:
            EffectError: `effect.name_not_resolved`, or `effect.timeout`.
        """


class SystemResolver:
    """`getaddrinfo` in a thread: it cannot be cancelled, so it has a pool of its own and a deadline."""

    def __init__(self, pool: BlockingPool) -> None:
        self._pool = pool

    async def resolve(self, host: str, port: int, *, timeout_seconds: float) -> tuple[Address, ...]:
        """Return the addresses that this machine's resolver gives."""
        return await self._pool.run(lambda: _lookup(host, port), timeout_seconds=timeout_seconds)


def _lookup(host: str, port: int) -> tuple[Address, ...]:
    try:
        answers = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as err:
        raise EffectError(f"{host}: the name has no address", code="effect.name_not_resolved") from err
    # The scope of a link-local address (`fe80::1%eth0`) stays in the text, and the address policy refuses it.
    addresses = tuple(dict.fromkeys(ip_address(str(answer[4][0])) for answer in answers))
    if not 0 < len(addresses) <= ADDRESSES_MAX:
        raise EffectError(f"{host}: {len(addresses)} addresses are no answer", code="effect.name_not_resolved")
    return addresses
