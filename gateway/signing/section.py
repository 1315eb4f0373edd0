"""The part of the `[audit]` section that says who signs the log, and where a passphrase comes from."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationInfo, field_validator

from gateway.section import Section
from gateway.signing.passphrase import PassphraseSource
from gateway.signing.signers import FILE_SIGNER, SignerChoice

_ADVICE: Final = (
    "write audit.passphrase_file, or audit.passphrase_env, into missiongate.toml, or start it where somebody can type"
)


class SigningSection(Section):
    """Who signs the audit log, now and after the next rotation."""

    passphrase_file: str = ""
    passphrase_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,127})?$")] = ""
    signer: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")] = FILE_SIGNER
    signer_settings: dict[str, Any] = Field(default_factory=dict, repr=False)  # a PIN, say
    next_signer: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]{0,63})?$")] = ""
    next_signer_settings: dict[str, Any] = Field(default_factory=dict, repr=False)

    @field_validator("passphrase_env")
    @classmethod
    def _one_source(cls, variable: str, info: ValidationInfo) -> str:
        if variable and info.data.get("passphrase_file"):
            raise ValueError("write either passphrase_file or passphrase_env")
        return variable

    @field_validator("signer_settings", "next_signer_settings")
    @classmethod
    def _of_another_signer(cls, settings: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        field = str(info.field_name).removesuffix("_settings")
        if settings and info.data.get(field, FILE_SIGNER) in {FILE_SIGNER, ""}:
            raise ValueError(f"the key file has no settings; name another signer in {field}")
        return settings

    @field_validator("next_signer")
    @classmethod
    def _another_one_follows(cls, following: str, info: ValidationInfo) -> str:
        if following == FILE_SIGNER == info.data.get("signer"):
            raise ValueError("without next_signer a new key file follows the key file")
        return following

    def choice(self, home: Path, *, terminal: bool = False) -> SignerChoice:
        """Return who signs the log of a home; `terminal`: somebody may be asked for the passphrase there."""
        source = PassphraseSource(
            file=home / self.passphrase_file if self.passphrase_file else None,
            variable=self.passphrase_env,
            terminal=terminal,
            advice=_ADVICE,
        )
        return SignerChoice(home=home, passphrase=source, name=self.signer, settings=self.signer_settings)

    def following(self, home: Path, *, terminal: bool = False) -> SignerChoice | None:
        """Return who is to sign it after `missiongate keys rotate`, or None: a new key in the home's file."""
        if not self.next_signer:
            return None
        choice = self.choice(home, terminal=terminal)
        return replace(choice, name=self.next_signer, settings=self.next_signer_settings)
