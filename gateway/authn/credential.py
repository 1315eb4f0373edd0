"""What a call shows of who makes it."""

from dataclasses import dataclass, field

from gateway.identity import Principal


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A client certificate as TLS has taken it; what it is worth is still to be found out."""

    leaf_pem: bytes
    chain_pem: bytes = b""  # the leaf and whatever was shown beside it, or nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """At most one of the three kinds is accepted; `from_loopback` is none, and opens the door to strangers at most."""

    bearer: str | None = field(default=None, repr=False)
    certificate: ShownCertificate | None = field(default=None, repr=False)
    socket: Principal | None = None  # whose socket the call came through
    from_loopback: bool = False

    @property
    def kinds(self) -> int:
        """How many kinds of credential the call shows."""
        return sum(each is not None for each in (self.bearer, self.certificate, self.socket))
