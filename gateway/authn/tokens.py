"""Static bearer tokens of the configuration, kept as their SHA-256 only."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from engine.clock import Clock
from gateway.authn.refusals import Check, bearer_refused
from gateway.identity import Principal

TOKEN_BYTES_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntry:
    """A static token."""

    sha256: str  # 64 hex digits
    principal: Principal
    expires: datetime | None = None  # from then on it is refused; None: never


class TokenTable:
    """Looks a bearer token up without telling by its timing which entry came close."""

    def __init__(self, entries: Sequence[TokenEntry], clock: Clock) -> None:
        self._entries = tuple(entries)
        self._clock = clock

    def adopt(self, entries: Sequence[TokenEntry]) -> None:
        """From now on accept these and no others."""
        self._entries = tuple(entries)

    def find(self, token: str) -> Principal | None:
        """Return the principal of `token`; None: it is in no entry, empty or too long.

        Raises:
            UnauthenticatedError: it has expired.
        """
        encoded = token.encode("utf-8", "surrogatepass")
        if not 0 < len(encoded) <= TOKEN_BYTES_MAX:
            return None
        found: TokenEntry | None = None
        digest = hashlib.sha256(encoded).hexdigest()
        for entry in self._entries:  # every entry, so that the time says nothing
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            return None
        if found.expires is not None and self._clock.now() >= found.expires:
            raise bearer_refused(Check.TOKEN_EXPIRED)
        return found.principal
