"""Which signer signs the audit log: the key file of the home, or one that an installed package brings.

A package brings a signer by an entry point of the group `missiongate.signers`: a callable that takes the table
`[audit.signer_settings]` and the home directory, and returns an `engine.audit.keys.Signer` (docs/audit-keys.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from engine.audit.keys import Signer, VerifierKey
from gateway.errors import ConfigurationError
from gateway.signing.passphrase import PassphraseSource, open_key

GROUP: Final = "missiongate.signers"
FILE_SIGNER: Final = "file"
KEY_FILE: Final = "keys/log.key"
VERIFIER_KEY_FILE: Final = "keys/log.vkey"
_UNUSABLE: Final = "config.signer"

SignerFactory = Callable[[Mapping[str, Any], Path], Signer]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerChoice:
    """The signer that a configuration names, not opened yet."""

    home: Path
    passphrase: PassphraseSource
    name: str = FILE_SIGNER
    settings: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Signer:
        """Return the signer; asks for a passphrase, where the key takes one and no other source is configured.

        Raises:
            KeyFileError: the key file cannot be used; KeyPassphraseError, not with this passphrase.
            ConfigurationError: `key.passphrase_missing`; `config.signer`, nothing installed brings such a signer, or
                it does not come up.
        """
        if self.name != FILE_SIGNER:
            return self._plugged_in()
        try:
            return open_key(self.home / KEY_FILE, self.passphrase)
        finally:
            self.passphrase.forget()  # also where the key turned out not to need it

    def _plugged_in(self) -> Signer:
        factory = _factory(self.name)
        try:
            signer = factory(self.settings, self.home)
            name = VerifierKey.parse(signer.verifier_key()).name
        except Exception as error:
            raise ConfigurationError(
                f"audit.signer: {self.name} does not come up: {type(error).__name__}: {error}", code=_UNUSABLE
            ) from error
        if name != signer.name:
            raise ConfigurationError(
                f"audit.signer: {self.name} says that it is {signer.name!r}, and its key that it is {name!r}",
                code=_UNUSABLE,
            )
        return signer


def _factory(name: str) -> SignerFactory:
    """Return what makes the signer `name`."""
    found = list(metadata.entry_points(group=GROUP, name=name))
    if len(found) != 1:
        installed = ", ".join(sorted({FILE_SIGNER, *(each.name for each in metadata.entry_points(group=GROUP))}))
        many = "more than one package brings" if found else "no installed package brings"
        raise ConfigurationError(f"audit.signer: {many} a signer {name!r}; there are: {installed}", code=_UNUSABLE)
    try:
        factory: SignerFactory = found[0].load()
    except Exception as error:
        raise ConfigurationError(
            f"audit.signer: {name} cannot be imported: {type(error).__name__}: {error}", code=_UNUSABLE
        ) from error
    return factory
