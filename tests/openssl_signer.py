"""A signer outside of this process: `openssl` holds the key, as a token or a key service would."""

import base64
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.audit.keys import key_id

_DER_PREFIX = 12  # bytes of a SubjectPublicKeyInfo of Ed25519 before the key itself: RFC 8410


class OpensslSigner:
    """Signs with `openssl pkeyutl`; whatever goes wrong there is raised here."""

    def __init__(self, name: str, key: Path) -> None:
        """Take a private key in PEM, and read its public half once."""
        self.name = name
        self._key = key
        self._public = _openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER")[_DER_PREFIX:]

    def verifier_key(self) -> str:
        """Return the public half."""
        encoded = base64.b64encode(b"\x01" + self._public).decode()
        return f"{self.name}+{key_id(self.name, self._public).hex()}+{encoded}"

    def sign(self, note_text: bytes) -> bytes:
        """Return the signature of `note_text`."""
        with tempfile.NamedTemporaryFile() as text:  # -rawin wants a file whose length it can ask for
            text.write(note_text)
            text.flush()
            return _openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self._key), "-in", text.name)


def from_settings(settings: Mapping[str, Any], home: Path) -> OpensslSigner:
    """Make the signer that `[audit.signer_settings]` describes."""
    return OpensslSigner(settings["name"], home / settings["key"])


def generate_key(path: Path) -> Path:
    """Make a private key in PEM."""
    _openssl("genpkey", "-algorithm", "ed25519", "-out", str(path))
    return path


def install(folder: Path, entry_points: str) -> Path:
    """Make a folder that looks like an installed package with entry points of the group `missiongate.signers`."""
    made = folder / "site"
    info = made / "example_signer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example-signer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[missiongate.signers]\n{entry_points}\n")
    return made


def _openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], capture_output=True, check=True, timeout=30).stdout
