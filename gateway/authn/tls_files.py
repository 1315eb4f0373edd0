"""The server's certificate and key, the authorities of its clients and their revocations: read again while it runs.

Reading is all or nothing: half-written files, a key of another certificate or an expired certificate leave in force
what was, and are tried again. Whoever asks for `material` has a whole that fits together.
"""

import asyncio
import logging
import stat
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from engine.clock import Clock
from gateway.authn.client_trust import ClientTrust, read_trust
from gateway.detached import in_thread
from gateway.errors import ConfigurationError

FILE_BYTES_MAX: Final = 1024 * 1024  # of certificates and keys
CRL_BYTES_MAX: Final = 16 * 1024 * 1024
CHAIN_MAX: Final = 16
_OTHERS: Final = 0o007
_LOG: Final = logging.getLogger(__name__)
_Raw: TypeAlias = tuple[bytes, bytes, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPaths:
    """Where they are; each is PEM."""

    certificate: Path  # the server's, and what leads from it to an authority
    key: Path  # not encrypted, and not for others to read
    client_authorities: Path | None = None
    client_revocations: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """What one reading has given."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    ends: datetime  # of the certificate
    clients: ClientTrust | None  # None: nobody is asked for a certificate


class TlsFiles:
    """Has the newest material that is good."""

    def __init__(self, paths: TlsPaths, clock: Clock) -> None:
        """Read the files.

        Raises:
            ConfigurationError: `config.tls`, with the key of the configuration and what is wrong; nothing of a file.
        """
        self._paths = paths
        self._clock = clock
        self._raw = _read(paths)
        self._material = _material(self._raw, clock)
        self._complaint = ""
        self._turn = threading.Lock()  # whoever follows the files reads in a thread, and others may ask for it

    @property
    def material(self) -> TlsMaterial:
        """What new connections are made with, and clients checked by."""
        return self._material

    def check(self) -> None:
        """Read the files anew, and use nothing of it.

        Raises:
            ConfigurationError: `config.tls`, they could not be used.
        """
        _material(_read(self._paths), self._clock)

    def reload(self) -> bool:
        """Read the files anew and say whether that changed anything; what is no good is logged, once, and not used."""
        with self._turn:
            return self._reloaded()

    def _reloaded(self) -> bool:
        try:
            raw = _read(self._paths)
            if raw == self._raw:
                self._complaint = ""
                return False
            self._material = _material(raw, self._clock)
        except ConfigurationError as error:
            if error.message != self._complaint:
                _LOG.error("TLS goes on with what it has: %s", error.message)
            self._complaint = error.message
            return False
        self._raw = raw
        self._complaint = ""
        _LOG.info("TLS files were read anew")
        return True

    async def follow(self, every_seconds: float) -> None:
        """Read them anew from time to time, until this is cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await in_thread(self.reload)
            except Exception:  # noqa: BLE001 - what a file may do to a library ends no watch
                _LOG.exception("TLS files cannot be read anew; TLS goes on with what it has")


def _read(paths: TlsPaths) -> _Raw:
    """Return what is in the files."""
    ca, crl = paths.client_authorities, paths.client_revocations
    return (
        _bytes(paths.certificate, "tls.cert_file", FILE_BYTES_MAX),
        _bytes(paths.key, "tls.key_file", FILE_BYTES_MAX, secret=True),
        None if ca is None else _bytes(ca, "tls.client_ca_file", FILE_BYTES_MAX),
        None if crl is None else _bytes(crl, "tls.client_crl_file", CRL_BYTES_MAX),
    )


def _bytes(path: Path, name: str, bytes_max: int, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(bytes_max + 1)
    except OSError as error:
        raise _refused(name, f"{path} cannot be read ({error.strerror})") from error
    if secret and mode & _OTHERS:
        raise _refused(name, f"{path} may be read by others; chmod o= it")
    if len(raw) > bytes_max:
        raise _refused(name, f"{path} is over {bytes_max} bytes")
    return raw


def _material(raw: _Raw, clock: Clock) -> TlsMaterial:
    """Return what fits together.

    Raises:
        ConfigurationError: it does not.
    """
    certificate_pem, key_pem, ca_pem, crl_pem = raw
    try:
        chain = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError as error:
        raise _refused("tls.cert_file", "has no certificates in PEM") from error
    try:
        key = load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refused("tls.key_file", "has no private key in PEM, or an encrypted one") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _refused("tls.key_file", "is neither an RSA nor an EC key, which TLS here is made with")
    if len(chain) > CHAIN_MAX:
        raise _refused("tls.cert_file", f"has more than {CHAIN_MAX} certificates")
    if key.public_key() != chain[0].public_key():
        raise _refused("tls.key_file", "is not the key of the first certificate in tls.cert_file")
    if not chain[0].not_valid_before_utc <= clock.now() <= chain[0].not_valid_after_utc:
        raise _refused("tls.cert_file", "the first certificate has expired, or is not valid yet")
    if not _is_for_servers(chain[0]):
        raise _refused("tls.cert_file", "the first certificate is not for servers (extended key usage)")
    clients = None if ca_pem is None else read_trust(ca_pem, crl_pem)
    ends = chain[0].not_valid_after_utc
    return TlsMaterial(certificate_pem=certificate_pem, key_pem=key_pem, ends=ends, clients=clients)


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError as error:
        raise _refused("tls.cert_file", "the first certificate has an extension that cannot be read") from error
    return ExtendedKeyUsageOID.SERVER_AUTH in usage


def _refused(name: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {rule}", code="config.tls")
