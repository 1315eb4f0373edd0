"""Who calls: one credential goes in, one principal comes out, or a refusal that says nothing of why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.authn.certificates import ClientCertificates
from gateway.authn.credential import Credential
from gateway.authn.jwt import JwtVerifier
from gateway.authn.refusals import Check, bearer_refused, certificate_refused
from gateway.authn.tokens import TokenEntry, TokenTable
from gateway.errors import UnauthenticatedError
from gateway.identity import ANONYMOUS, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What may be changed while the gateway runs of whom it lets in."""

    tokens: Sequence[TokenEntry]
    certificates: Mapping[str, Principal] = field(default_factory=dict)  # by SPIFFE ID or subject
    anonymous: bool = False  # callers without a credential, from loopback only


class Authenticator:
    """Knows every credential that is accepted."""

    def __init__(
        self,
        *,
        tokens: TokenTable,
        jwt: JwtVerifier,
        certificates: ClientCertificates | None = None,
        anonymous: bool = False,
    ) -> None:
        self._tokens = tokens
        self._anonymous = anonymous
        self._jwt = jwt
        self._certificates = certificates

    @property
    def takes_certificates(self) -> bool:
        """Whether any client certificate can be one that is accepted."""
        return self._certificates is not None

    def adopt(self, accepted: Accepted) -> None:
        """From now on let these in; `JwtVerifier.adopt` is for issuers, and `TlsFiles.reload` for what is on disk."""
        self._tokens.adopt(accepted.tokens)
        self._anonymous = accepted.anonymous
        if self._certificates is not None:
            self._certificates.adopt(accepted.certificates)

    async def authenticate(self, credential: Credential, *, stranger_may: bool = False) -> Principal:
        """Return who calls; `stranger_may` says that the call is open to callers without a credential.

        Raises:
            UnauthenticatedError: no credential, more than one, or one that is not accepted; `check` says why.
            KeysUnavailableError: nobody can say whether a token is good.
        """
        if credential.kinds > 1:
            raise UnauthenticatedError("show one kind of credential", check=Check.TWO_CREDENTIALS)
        if credential.socket is not None:
            return credential.socket
        if credential.bearer is not None:
            return await self._of_bearer(credential.bearer)
        if credential.certificate is not None:
            if self._certificates is None:
                raise certificate_refused(Check.CERTIFICATE_UNMAPPED)
            return self._certificates.authenticate(credential.certificate)
        if stranger_may or (self._anonymous and credential.from_loopback):
            return ANONYMOUS
        raise UnauthenticatedError("send a bearer token in the metadata key `authorization`", check=Check.MISSING)

    async def _of_bearer(self, token: str) -> Principal:
        """Return whose token it is: one of the configuration, or else one that an issuer has signed."""
        found = self._tokens.find(token)
        if found is not None:
            return found
        if token.count(".") != 2 or not self._jwt.issuers:  # noqa: PLR2004 - RFC 7515, 7.1
            raise bearer_refused(Check.TOKEN_UNKNOWN)
        return await self._jwt.authenticate(token)
