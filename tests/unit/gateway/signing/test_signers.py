"""Which signer signs the log."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from engine.audit import keyfile
from engine.audit.checkpoint import open_checkpoint
from engine.audit.errors import AuditUnavailableError, KeyPassphraseError
from engine.audit.keyfile import save_key
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.log import AuditLog
from gateway.audit_config import AuditConfig
from gateway.errors import ConfigurationError
from gateway.signing.signers import KEY_FILE
from tests.audit_logs import NAME, SIGNER, VKEY, TickingClock, append, note
from tests.openssl_signer import OpensslSigner, generate_key, install

PHRASE = b"correct horse battery"


class Misnamed(Ed25519Signer):
    """Says another name than its key."""

    def verifier_key(self) -> str:
        return VKEY


def misnamed(settings: Mapping[str, Any], home: Path) -> Ed25519Signer:
    """Make a signer whose names differ."""
    del settings, home
    return Misnamed("example.com/other", bytes(32))


def broken(settings: Mapping[str, Any], home: Path) -> Ed25519Signer:
    """Make nothing."""
    raise ConnectionError(f"no token in the slot {settings} {home.name}")


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[None]:
    """A package with signers is installed."""
    lines = (
        "openssl = tests.openssl_signer:from_settings",
        f"misnamed = {__name__}:misnamed",
        f"broken = {__name__}:broken",
        "absent = tests.openssl_signer:nothing",
        "twice = tests.openssl_signer:from_settings",
    )
    paths = [install(tmp_path / "a", "\n".join(lines)), install(tmp_path / "b", lines[-1])]
    (paths[1] / "example_signer-1.0.dist-info").rename(paths[1] / "second_signer-1.0.dist-info")
    (paths[1] / "second_signer-1.0.dist-info/METADATA").write_text("Name: second-signer\nVersion: 1.0\n")
    sys.path[:0] = map(str, paths)
    yield
    del sys.path[: len(paths)]


def config(values: dict[str, object] | None = None) -> AuditConfig:
    """Return a section."""
    return AuditConfig.model_validate(values or {})


def plugged(name: str, home: Path) -> AuditConfig:
    """Return a section with an installed signer."""
    return config({"signer": name, "signer_settings": {"name": NAME, "key": str(home / "token.pem")}})


def test_the_key_file_signs_unless_another_is_named(tmp_path: Path) -> None:
    """Without a word in the configuration it is keys/log.key."""
    (tmp_path / "keys").mkdir()
    save_key(tmp_path / KEY_FILE, SIGNER)
    assert config().choice(tmp_path).open().verifier_key() == VKEY


def test_an_encrypted_key_opens_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative file is in the home; the variable is gone afterwards; another passphrase is `key.passphrase`."""
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**4)
    (tmp_path / "keys").mkdir()
    save_key(tmp_path / KEY_FILE, SIGNER, PHRASE)
    (tmp_path / "phrase").write_bytes(PHRASE + b"\n")
    (tmp_path / "phrase").chmod(0o600)
    assert config({"passphrase_file": "phrase"}).choice(tmp_path).open().verifier_key() == VKEY
    monkeypatch.setenv("GATE_PHRASE", "another passphrase")
    with pytest.raises(KeyPassphraseError):
        config({"passphrase_env": "GATE_PHRASE"}).choice(tmp_path).open()
    assert "GATE_PHRASE" not in os.environ
    with pytest.raises(ConfigurationError, match=r"audit\.passphrase_file") as refused:
        config().choice(tmp_path).open()
    assert refused.value.code == "key.passphrase_missing"


@pytest.mark.usefixtures("installed")
async def test_an_installed_signer_signs_outside_of_the_process(tmp_path: Path) -> None:
    """A log under `openssl pkeyutl`: the checkpoint is the one that any other signer of that key would make."""
    generate_key(tmp_path / "token.pem")
    signer = plugged("openssl", tmp_path).choice(tmp_path).open()
    assert isinstance(signer, OpensslSigner)
    log = AuditLog.open(tmp_path / "log", signer=signer, clock=TickingClock())
    await log.durable(append(log, 1))
    await log.close()
    key = VerifierKey.parse(signer.verifier_key())
    assert open_checkpoint((tmp_path / "log/checkpoint").read_bytes(), key).size == 2
    again = AuditLog.open(tmp_path / "log", signer=signer, clock=TickingClock())
    await again.close()


@pytest.mark.usefixtures("installed")
async def test_a_signer_that_fails_stops_the_log(tmp_path: Path) -> None:
    """The key is pulled out: the waiter is told no, nothing more is recorded; with the key back, the log opens."""
    pem = generate_key(tmp_path / "token.pem")
    signer = plugged("openssl", tmp_path).choice(tmp_path).open()
    log = AuditLog.open(tmp_path / "log", signer=signer, clock=TickingClock())
    pem.rename(tmp_path / "away")
    with pytest.raises(AuditUnavailableError):
        await log.durable(append(log, 1))
    with pytest.raises(AuditUnavailableError):
        append(log, 2)
    with pytest.raises(AuditUnavailableError):
        await log.close()
    (tmp_path / "away").rename(pem)
    again = await asyncio.to_thread(AuditLog.open, tmp_path / "log", signer=signer, clock=TickingClock())
    assert b"audit.recovered" in b"".join(again.read(0, 10))
    await again.close()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other", "no installed package brings a signer 'other'; there are: absent, broken, file, misnamed, openssl"),
        ("twice", "more than one package"),
        ("broken", "ConnectionError: no token in the slot"),
        ("misnamed", "its key that it is 'example.com/gateway'"),
        ("absent", "cannot be imported"),
    ],
)
def test_a_signer_that_does_not_come_up_is_a_configuration_error(tmp_path: Path, name: str, why: str) -> None:
    """Whatever a package does, the error names the key of the configuration and the reason."""
    with pytest.raises(ConfigurationError, match=r"^audit\.signer: ") as refused:
        plugged(name, tmp_path).choice(tmp_path).open()
    assert refused.value.code == "config.signer"
    assert why in refused.value.message


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"passphrase_file": "a", "passphrase_env": "B"}, "passphrase_env"),
        ({"passphrase_env": "1B"}, "passphrase_env"),
        ({"passphrase_env": "A=B"}, "passphrase_env"),
        ({"signer_settings": {"slot": 1}}, "signer_settings"),
        ({"next_signer_settings": {"slot": 1}}, "next_signer_settings"),
        ({"next_signer": "file"}, "next_signer"),
        ({"signer": ""}, "signer"),
        ({"signer": "../x"}, "signer"),
    ],
)
def test_a_section_that_contradicts_itself_is_refused(values: dict[str, object], field: str) -> None:
    """The error names the key."""
    with pytest.raises(ValueError, match=field):
        config(values)


def test_the_openssl_signer_signs_as_the_library_does(tmp_path: Path) -> None:
    """RFC 8032 leaves one signature for a key and a text: both make it."""
    pem = tmp_path / "key.pem"
    pem.write_bytes(SIGNER._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signer = OpensslSigner(NAME, pem)
    assert signer.verifier_key() == VKEY
    assert signer.sign(note(b"x\n")) == SIGNER.sign(note(b"x\n"))
