"""Whom a client certificate names: its SPIFFE ID, or else its subject, as the configuration maps them.

Source: SPIFFE X509-SVID, 2 and 5.2 (one URI, which is the identity); RFC 4514 for subjects as text.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from engine.clock import Clock
from engine.lru import LruCache
from gateway.authn.client_trust import ClientTrust
from gateway.authn.credential import ShownCertificate
from gateway.authn.refusals import Check, certificate_refused
from gateway.authn.tls_files import TlsFiles
from gateway.identity import Principal

SHOWN_BYTES_MAX: Final = 256 * 1024
SHOWN_MAX: Final = 8  # certificates beside the client's own
KNOWN_MAX: Final = 4_096
_SPIFFE: Final = "spiffe://"


@dataclass(frozen=True, slots=True)
class _Known:
    """A certificate that was good, by what was in force then."""

    trust: ClientTrust
    name: str
    until: datetime


class ClientCertificates:
    """Says whose certificates are."""

    def __init__(self, files: TlsFiles, principals: Mapping[str, Principal], clock: Clock) -> None:
        """Take whom certificates name: by SPIFFE ID, or by the subject as RFC 4514 writes it."""
        self._files = files
        self._principals = dict(principals)
        self._clock = clock
        self._known: LruCache[bytes, _Known] = LruCache(KNOWN_MAX, KNOWN_MAX)

    def adopt(self, principals: Mapping[str, Principal]) -> None:
        """From now on these certificates name these principals, and no others anybody."""
        self._principals = dict(principals)

    def authenticate(self, shown: ShownCertificate) -> Principal:
        """Return whom a certificate names.

        Raises:
            UnauthenticatedError: it is not good, or names nobody.
        """
        trust, now = self._files.material.clients, self._clock.now()
        if trust is None or len(shown.leaf_pem) + len(shown.chain_pem) > SHOWN_BYTES_MAX:
            raise certificate_refused(Check.CERTIFICATE_FORM)
        digest = hashlib.sha256(len(shown.leaf_pem).to_bytes(8) + shown.leaf_pem + shown.chain_pem).digest()
        known = self._known.get(digest)
        if known is None or known.trust is not trust or now > known.until:
            known = _verified(shown, trust, now)
            self._known.put(digest, known, 1)
        principal = self._principals.get(known.name)
        if principal is None:
            raise certificate_refused(Check.CERTIFICATE_UNMAPPED)
        return principal


def _verified(shown: ShownCertificate, trust: ClientTrust, now: datetime) -> _Known:
    try:
        leaf = x509.load_pem_x509_certificate(shown.leaf_pem)
        beside = x509.load_pem_x509_certificates(shown.chain_pem) if shown.chain_pem else []
    except ValueError as error:
        raise certificate_refused(Check.CERTIFICATE_FORM) from error
    if len(beside) > SHOWN_MAX + 1:
        raise certificate_refused(Check.CERTIFICATE_FORM)
    until = trust.verify(leaf, [each for each in beside if each != leaf], now)
    return _Known(trust, name_in(leaf), until)


def name_in(leaf: x509.Certificate) -> str:
    """Return the SPIFFE ID of a certificate, or the subject of one that has none.

    Raises:
        UnauthenticatedError: neither can be told: several URIs of which one is a SPIFFE ID, or no name at all.
    """
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    except ValueError as error:
        raise certificate_refused(Check.CERTIFICATE_FORM) from error
    if any(uri.lower().startswith(_SPIFFE) for uri in uris):
        if len(uris) != 1:
            raise certificate_refused(Check.CERTIFICATE_FORM)
        return uris[0]
    name = leaf.subject.rfc4514_string()
    if not name:
        raise certificate_refused(Check.CERTIFICATE_FORM)
    return name
