"""The server's TLS files."""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.authn.tls_files import FILE_BYTES_MAX, TlsFiles, TlsPaths
from gateway.errors import ConfigurationError
from tests.bundle_worlds import ManualClock
from tests.certificates import Authority

PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8)


def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))  # noqa: TID251 - certificates are good by the machine's clock


@pytest.fixture
def paths(tmp_path: Path) -> TlsPaths:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    return TlsPaths(certificate=certificate, key=key, client_authorities=authority.file)


def other_key(paths: TlsPaths) -> None:
    paths.key.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*PKCS8, NoEncryption()))


def encrypted(paths: TlsPaths) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    paths.key.write_bytes(key.private_bytes(*PKCS8, BestAvailableEncryption(b"secret")))


def another_kind(paths: TlsPaths) -> None:
    paths.key.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*PKCS8, NoEncryption()))


def half(paths: TlsPaths) -> None:
    paths.certificate.write_bytes(paths.certificate.read_bytes()[:300])


def expired(paths: TlsPaths) -> None:
    (paths.key.parent / "e").mkdir()
    certificate, key = Authority(paths.key.parent / "e").issue("server", expired=True)
    paths.certificate.write_bytes(certificate.read_bytes())
    paths.key.write_bytes(key.read_bytes())


def for_clients(paths: TlsPaths) -> None:
    (paths.key.parent / "e").mkdir()
    issued = Authority(paths.key.parent / "e").issue("server", usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    paths.certificate.write_bytes(issued[0].read_bytes())
    paths.key.write_bytes(issued[1].read_bytes())


def large(paths: TlsPaths) -> None:
    paths.certificate.write_bytes(b" " * (FILE_BYTES_MAX + 1))


def no_authority(paths: TlsPaths) -> None:
    (paths.client_authorities or paths.key).write_text("nobody")


DAMAGE = [
    (other_key, "tls.key_file: is not the key of"),
    (encrypted, "tls.key_file: has no private key in PEM, or an encrypted one"),
    (another_kind, "tls.key_file: is neither an RSA nor an EC key"),
    (half, "tls.cert_file: has no certificates"),
    (expired, "tls.cert_file: the first certificate has expired"),
    (for_clients, "tls.cert_file: the first certificate is not for servers"),
    (large, "tls.cert_file: .* is over"),
    (no_authority, "tls.client_ca_file: has no certificates"),
    (lambda paths: paths.key.unlink(), "tls.key_file: .* cannot be read"),
    (lambda paths: paths.key.chmod(0o604), "tls.key_file: .* may be read by others"),
]


@pytest.mark.parametrize(("damage", "rule"), DAMAGE)
def test_what_cannot_be_used_is_named_and_leaves_what_was(
    paths: TlsPaths, damage: Callable[[TlsPaths], None], rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start an error with its key; in a gateway that runs one line of the log, and what was there goes on."""
    files = TlsFiles(paths, clock())
    before = files.material
    damage(paths)
    with pytest.raises(ConfigurationError) as caught:
        TlsFiles(paths, clock())
    assert caught.value.code == "config.tls"
    assert re.search(rule, caught.value.message)
    with caplog.at_level(logging.ERROR):
        assert [files.reload(), files.reload()] == [False, False]
    assert files.material is before
    assert len(caplog.records) == 1
    assert "PRIVATE KEY" not in caplog.text


def test_files_that_are_whole_again_are_taken(paths: TlsPaths, tmp_path: Path) -> None:
    """A certificate is replaced file by file: in between nothing changes, and then everything does."""
    files = TlsFiles(paths, clock())
    before = files.material
    (tmp_path / "new").mkdir()
    certificate, key = Authority(tmp_path / "new").issue("server")
    paths.certificate.write_bytes(certificate.read_bytes())
    assert not files.reload()
    paths.key.write_bytes(key.read_bytes())
    assert files.reload()
    assert (files.material.certificate_pem, files.material.key_pem) == (certificate.read_bytes(), key.read_bytes())
    assert files.material is not before
    assert not files.reload()


def test_the_key_is_in_no_text(paths: TlsPaths) -> None:
    """Nor does a material that is printed by mistake say it."""
    assert "PRIVATE" not in repr(TlsFiles(paths, clock()).material)
