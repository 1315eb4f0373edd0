"""Makes the directory that a gateway lives in: a key, a policy bundle, a configuration and the first token."""

import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from engine.audit.keyfile import Passphrase, save_key
from engine.audit.keys import Ed25519Signer
from gateway.config import CONFIG_NAME
from gateway.errors import ConfigurationError
from gateway.rules import bundled_policies
from gateway.signing.signers import KEY_FILE, VERIFIER_KEY_FILE
from gateway.store.master_keys import KEY_FILE as PAYLOADS_KEY_FILE
from gateway.vault.master import KEY_FILE as SECRETS_KEY_FILE
from gateway.vault.master import write_key
from gateway.vault.sealing import KEY_BYTES

LOG_NAME: Final = "missiongate.local/log"
_TOKEN_BYTES: Final = 32
_KEYS: Final = "keys"
_POLICIES: Final = "policies"
_TOKEN_FILE: Final = "keys/admin.token"  # noqa: S105 - where it is, not what it is

_CONFIG: Final = """\
# Missiongate. Every key is explained in docs/configuration.md.
listen = {listen}
anonymous = {anonymous}  # callers without a token, from loopback only

[[tokens]]  # only the SHA-256 of a token is kept; the token itself is in {token_file}
subject = "admin"
tenant = "default"
roles = ["admin"]
sha256 = "{token_sha256}"

[policy]
source = "policies"  # the folder with the rules

[workers]
sandbox = 2
policy = 1
"""
_AUDIT_CONFIG: Final = """
[audit]
passphrase_file = {passphrase_file}  # of the key that signs the log
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHome:
    """What was made. `token` is shown once and kept in `token_file` (mode 0600)."""

    home: Path
    token: str = field(repr=False)
    token_file: Path
    verifier_key: str


def make_home(
    home: Path,
    *,
    listen: str = "127.0.0.1:7443",
    anonymous: bool = False,
    passphrase: Passphrase | None = None,
    passphrase_file: Path | None = None,
) -> NewHome:
    """Make a home directory, mode 0700, with everything that `serve` needs; all of it, or nothing.

    With a `passphrase` the key that signs the log is encrypted; `passphrase_file` is where `serve` will find it.

    Raises:
        ConfigurationError: there is something of a gateway in it already, or the directory cannot be written.
        KeyPassphraseError: the passphrase is too short (`key.passphrase_weak`).
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        if taken := next((name for name in (CONFIG_NAME, _KEYS, _POLICIES) if (home / name).exists()), None):
            raise ConfigurationError(f"{home} has a {taken} already; nothing was changed", code="config.exists")
        try:
            audit = ""
            if passphrase_file is not None:
                audit = _AUDIT_CONFIG.format(passphrase_file=json.dumps(str(passphrase_file.absolute())))
            return _fill(home, listen, anonymous=anonymous, passphrase=passphrase, audit=audit)
        except BaseException:
            _empty(home)
            raise
    except OSError as error:  # shutil's own has no strerror
        raise ConfigurationError(f"{home}: {error.strerror or 'cannot be filled'}", code="config.home") from error


def _fill(home: Path, listen: str, *, anonymous: bool, passphrase: Passphrase | None, audit: str) -> NewHome:
    """Write everything; the configuration comes last, so that a home which has one is whole."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    (home / _KEYS).mkdir(mode=0o700)
    signer = Ed25519Signer.generate(LOG_NAME)
    save_key(home / KEY_FILE, signer, passphrase)
    _write_secret(home / _TOKEN_FILE, token + "\n")
    for key_file in (SECRETS_KEY_FILE, PAYLOADS_KEY_FILE):
        write_key(home / key_file, os.urandom(KEY_BYTES))
    (home / VERIFIER_KEY_FILE).write_text(signer.verifier_key() + "\n")
    shutil.copytree(bundled_policies(), home / _POLICIES, ignore=shutil.ignore_patterns("*_test.rego"))
    (home / CONFIG_NAME).write_text(
        _CONFIG.format(
            listen=json.dumps(listen),
            anonymous="true" if anonymous else "false",
            token_file=_TOKEN_FILE,
            token_sha256=sha256(token.encode()).hexdigest(),
        )
        + audit
    )
    return NewHome(home=home, token=token, token_file=home / _TOKEN_FILE, verifier_key=signer.verifier_key())


def _write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else could read at any moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)


def _empty(home: Path) -> None:
    """Take back what was made; what was there before was none of these names."""
    with suppress(OSError):
        (home / CONFIG_NAME).unlink(missing_ok=True)
    for name in (_KEYS, _POLICIES):
        shutil.rmtree(home / name, ignore_errors=True)
