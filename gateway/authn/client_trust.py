"""Whether a client certificate is good: its dates, its use, the chain to an authority, and that nobody revoked it.

TLS has looked at all of this but revocation, at the handshake, with what was in force then. Here it is looked at for
the call, with what is in force now: a connection may outlive a certificate, an authority, and a list of revocations.
Source: RFC 5280, 4.2.1.12, 5 and 6; path building is that of `cryptography.x509.verification`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from gateway.authn.refusals import Check, certificate_refused
from gateway.errors import ConfigurationError

AUTHORITIES_MAX: Final = 64
REVOCATION_LISTS_MAX: Final = 64
ISSUERS_MAX: Final = 256  # authorities, and those below them that were shown, whose lists are kept
DEPTH_MAX: Final = 4  # intermediates between an authority and a client
_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
# Lists that say something of a part of the certificates only (RFC 5280, 5.2.4 and 5.2.5): half a list is none.
_PARTIAL: Final = frozenset({ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT})
_SIGNERS: Final = (
    rsa.RSAPublicKey,
    ec.EllipticCurvePublicKey,
    dsa.DSAPublicKey,
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
)


@dataclass(frozen=True, slots=True)
class _Revoked:
    """A list that its authority has signed, as it is looked into: without a way through it or its signature."""

    since: datetime
    until: datetime | None
    serials: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTrust:
    """Whom clients' certificates have to come from, and what was revoked. `lists` is None where none is configured."""

    pem: bytes = field(repr=False)
    authorities: tuple[x509.Certificate, ...]
    lists: tuple[x509.CertificateRevocationList, ...] | None
    _signed: dict[bytes, tuple[_Revoked, ...]] = field(default_factory=dict, repr=False, compare=False)  # by issuer

    def verify(self, leaf: x509.Certificate, shown: Sequence[x509.Certificate], now: datetime) -> datetime:
        """Return until when what is found here holds, if nothing on the disk changes.

        Raises:
            UnauthenticatedError: it is not good.
        """
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            raise certificate_refused(Check.CERTIFICATE_EXPIRED)
        if not _is_for_clients(leaf):
            raise certificate_refused(Check.CERTIFICATE_USAGE)
        chain = self._chain(leaf, shown, now)
        until = min(each.not_valid_after_utc for each in chain)
        if self.lists is None:
            return until
        for certificate, issuer in pairwise(chain):
            until = min(until, self._require_unrevoked(certificate, issuer, now))
        return until

    def _chain(
        self, leaf: x509.Certificate, shown: Sequence[x509.Certificate], now: datetime
    ) -> list[x509.Certificate]:
        """Return the certificates from the client's to an authority's."""
        builder = PolicyBuilder().store(Store(list(self.authorities))).time(now).max_chain_depth(DEPTH_MAX)
        verifier = builder.extension_policies(ca_policy=_AUTHORITY, ee_policy=_CLIENT).build_client_verifier()
        try:
            chain = verifier.verify(leaf, list(shown)).chain
        except (VerificationError, ValueError, UnsupportedAlgorithm) as error:
            raise certificate_refused(Check.CERTIFICATE_CHAIN) from error
        if len(chain) < 2:  # noqa: PLR2004 - an authority does not sign calls itself
            raise certificate_refused(Check.CERTIFICATE_CHAIN)
        return chain

    def _require_unrevoked(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> datetime:
        """Return until when the list counts that does not name the certificate."""
        own = [each for each in self.revoked_by(issuer) if each.since <= now]
        newest = max(own, key=lambda each: each.since, default=None)
        if newest is None or newest.until is None or newest.until < now:
            raise certificate_refused(Check.CERTIFICATE_UNCHECKED)
        if certificate.serial_number in newest.serials:
            raise certificate_refused(Check.CERTIFICATE_REVOKED)
        return newest.until

    def revoked_by(self, issuer: x509.Certificate) -> tuple[_Revoked, ...]:
        """Return the lists of an authority. Found out once: who was revoked may call as often as anybody."""
        name = issuer.fingerprint(hashes.SHA256())
        found = self._signed.get(name)
        if found is None:
            found = tuple(
                _Revoked(each.last_update_utc, each.next_update_utc, frozenset(entry.serial_number for entry in each))
                for each in self.lists or ()
                if _is_of(each, issuer)
            )
            if len(self._signed) < ISSUERS_MAX:
                self._signed[name] = found
        return found


def read_trust(authorities_pem: bytes, lists_pem: bytes | None) -> ClientTrust:
    """Return what the files say.

    Raises:
        ConfigurationError: `config.tls`.
    """
    try:
        authorities = x509.load_pem_x509_certificates(authorities_pem)
    except ValueError as error:
        raise _refused("tls.client_ca_file", "has no certificates in PEM") from error
    if len(authorities) > AUTHORITIES_MAX:
        raise _refused("tls.client_ca_file", f"has more than {AUTHORITIES_MAX} certificates")
    lists = None if lists_pem is None else _lists(lists_pem)
    trust = ClientTrust(pem=authorities_pem, authorities=tuple(authorities), lists=lists)
    for authority in authorities:  # here, and not for a call: whoever follows the files does so in a thread
        trust.revoked_by(authority)
    return trust


def _lists(pem: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    name = "tls.client_crl_file"
    blocks = _CRL.findall(pem)
    if not 1 <= len(blocks) <= REVOCATION_LISTS_MAX:
        raise _refused(name, f"must have 1 to {REVOCATION_LISTS_MAX} lists in PEM")
    try:
        lists = tuple(x509.load_pem_x509_crl(block) for block in blocks)
        partial = any(extension.oid in _PARTIAL for each in lists for extension in each.extensions)
    except ValueError as error:
        raise _refused(name, "has a list that cannot be read") from error
    if partial:
        raise _refused(name, "has a list of a part of the certificates only (delta, or by distribution point)")
    return lists


def _is_of(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Return whether an authority has signed a list."""
    try:
        key = issuer.public_key()
        return revoked.issuer == issuer.subject and isinstance(key, _SIGNERS) and revoked.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _is_for_clients(leaf: x509.Certificate) -> bool:
    """Return whether a certificate says that it is for clients; one that says nothing of its use does not."""
    try:
        return ExtendedKeyUsageOID.CLIENT_AUTH in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False


def _signs(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an authority whose key may not sign certificates")


# The rules of the web's public authorities, but for two that private ones rarely keep: a subject that is no name of a
# host, and a key usage in every certificate of an authority.
_AUTHORITY: Final = ExtensionPolicy.webpki_defaults_ca().may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
_CLIENT: Final = ExtensionPolicy.webpki_defaults_ee().may_be_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)


def _refused(name: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {rule}", code="config.tls")
