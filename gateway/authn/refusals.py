"""Why a caller is not let in: a code for counters and the log, and one text for the client, whatever it was."""

from collections import Counter
from enum import StrEnum

from gateway.errors import UnauthenticatedError


class Check(StrEnum):
    """What a credential can fail at. The list is closed: it labels counters."""

    MISSING = "missing"
    SCHEME = "scheme"  # no `Bearer TOKEN`, or more than one
    TWO_CREDENTIALS = "two_credentials"
    TOKEN_UNKNOWN = "token_unknown"  # noqa: S105 - a code, as in what follows
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    JWT_FORM = "jwt_form"  # it is none, is too large, or says something twice
    JWT_ALGORITHM = "jwt_algorithm"
    JWT_TYPE = "jwt_type"
    JWT_ISSUER = "jwt_issuer"
    JWT_KEY = "jwt_key"  # nobody knows a key of this name for this algorithm
    JWT_SIGNATURE = "jwt_signature"
    JWT_EXPIRED = "jwt_expired"
    JWT_NOT_YET = "jwt_not_yet"
    JWT_LIFETIME = "jwt_lifetime"
    JWT_AUDIENCE = "jwt_audience"
    JWT_CLAIMS = "jwt_claims"  # subject or tenant cannot be had of them
    CHANGED = "changed"  # under a stream that goes on, the same credential has come to name somebody else
    KEYS_UNAVAILABLE = "keys_unavailable"  # a fault: nobody can say whether the token is good
    CERTIFICATE_FORM = "certificate_form"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_USAGE = "certificate_usage"
    CERTIFICATE_CHAIN = "certificate_chain"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_UNCHECKED = "certificate_unchecked"  # no list of its issuer is in time, so nobody knows
    CERTIFICATE_UNMAPPED = "certificate_unmapped"


def bearer_refused(check: Check) -> UnauthenticatedError:
    """Return the refusal of a token: in the same words, whatever was wrong with it."""
    return UnauthenticatedError("the bearer token is not accepted", check=check)


def certificate_refused(check: Check) -> UnauthenticatedError:
    """Likewise of a client certificate."""
    return UnauthenticatedError("the client certificate is not accepted", check=check)


class Refusals:
    """Counts calls whose callers nobody knows. A stranger adds to a number, and to nothing that grows."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()

    @property
    def totals(self) -> dict[str, int]:
        """Refusals since the start, by check."""
        return dict(self._totals)

    def count(self, check: str) -> None:
        """Count one."""
        name = str(check)  # plain: the log takes no member of an enumeration for a name
        self._totals[name] += 1
        self._untold[name] += 1

    def take(self) -> dict[str, int]:
        """Return what was counted since the last time."""
        untold, self._untold = self._untold, Counter()
        return dict(sorted(untold.items()))

    def give_back(self, counts: dict[str, int]) -> None:
        """Take back what could not be told."""
        self._untold.update(counts)
