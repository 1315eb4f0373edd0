"""Makes the directory that a gateway lives in: a key, a policy bundle, a configuration and the first token."""

import secrets
import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from engine.audit.keys import Ed25519Signer
from gateway.assembly import KEY_FILE, bundled_policies
from gateway.config import CONFIG_NAME
from gateway.errors import ConfigurationError

LOG_NAME: Final = "missiongate.local/log"
_TOKEN_BYTES: Final = 32
_TOKEN_FILE: Final = "keys/admin.token"  # noqa: S105 - where it is, not what it is

_CONFIG: Final = """\
# Missiongate. Every key is explained in docs/configuration.md.
listen = "{listen}"
anonymous = {anonymous}  # callers without a token, from loopback only
policies = "policies"

[[tokens]]  # only the SHA-256 of a token is kept; the token itself is in {token_file}
subject = "admin"
tenant = "default"
roles = ["admin"]
sha256 = "{token_sha256}"

[workers]
sandbox = 2
policy = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHome:
    """What was made. `token` is shown once and kept in `token_file` (mode 0600)."""

    home: Path
    token: str = field(repr=False)
    token_file: Path
    verifier_key: str


def make_home(home: Path, *, listen: str = "127.0.0.1:7443", anonymous: bool = False) -> NewHome:
    """Make a home directory, mode 0700, with everything that `serve` needs.

    Raises:
        ConfigurationError: there is a configuration already, or the directory cannot be made.
    """
    if (home / CONFIG_NAME).exists():
        raise ConfigurationError(f"{home} has a {CONFIG_NAME} already", code="config.exists")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        (home / "keys").mkdir(mode=0o700)
        signer = Ed25519Signer.generate(LOG_NAME)
        signer.save(home / KEY_FILE)
        token_file = home / _TOKEN_FILE
        token_file.touch(mode=0o600)
        token_file.write_text(token + "\n")
        (home / "keys/log.vkey").write_text(signer.verifier_key() + "\n")
        shutil.copytree(bundled_policies(), home / "policies", ignore=shutil.ignore_patterns("*_test.rego"))
        (home / CONFIG_NAME).write_text(
            _CONFIG.format(
                listen=listen,
                anonymous="true" if anonymous else "false",
                token_file=_TOKEN_FILE,
                token_sha256=sha256(token.encode()).hexdigest(),
            )
        )
    except OSError as error:
        raise ConfigurationError(f"{home}: {error.strerror}", code="config.home") from error
    return NewHome(home=home, token=token, token_file=token_file, verifier_key=signer.verifier_key())
