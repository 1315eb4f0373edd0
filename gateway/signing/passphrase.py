"""Where the passphrase of a signing key comes from: a file, a variable of the environment, or the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Final

from engine.audit.errors import KeyPassphraseError
from engine.audit.keyfile import KeyFile, read_private, wipe
from engine.audit.keys import Ed25519Signer
from gateway.errors import ConfigurationError

MISSING: Final = "key.passphrase_missing"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseSource:
    """The one place that a passphrase is taken from; the terminal, where neither file nor variable is named."""

    file: Path | None = None
    variable: str = ""
    terminal: bool = True  # somebody may be asked there
    advice: str = ""  # what to do where there is no source

    @property
    def configured(self) -> bool:
        """Whether a file or a variable is named."""
        return self.file is not None or bool(self.variable)

    @contextmanager
    def reading(self, what: Path, *, new: bool = False) -> Iterator[bytearray]:
        """Yield the passphrase of the key file `what`, and overwrite it afterwards. A new one is asked for twice.

        Raises:
            KeyFileError: the file of the passphrase is missing, or open to others (`key.unreadable`).
            KeyPassphraseError: what was typed the second time is something else (`key.passphrase_mistyped`).
            ConfigurationError: there is no source (`key.passphrase_missing`).
        """
        phrase = self._read(what, new=new)
        try:
            yield phrase
        finally:
            wipe(phrase)

    def forget(self) -> None:
        """Take the variable out of the environment, so that no child inherits it."""
        if self.variable:
            os.environ.pop(self.variable, None)

    def _read(self, what: Path, *, new: bool) -> bytearray:
        if self.file is not None:
            return _without_line_end(bytearray(read_private(self.file)))
        if self.variable:
            value = os.environb.pop(os.fsencode(self.variable), None)
            if not value:
                raise ConfigurationError(f"{what} takes a passphrase, and {self.variable} is not set", code=MISSING)
            return bytearray(value)
        if not self.terminal or not sys.stdin.isatty():
            advice = f": {self.advice}" if self.advice else ""
            raise ConfigurationError(
                f"{what} takes a passphrase, and there is no terminal to ask on{advice}", code=MISSING
            )
        return _asked(f"passphrase of {what}: " if not new else f"new passphrase for {what}: ", twice=new)


def _asked(prompt: str, *, twice: bool) -> bytearray:
    typed = getpass(prompt)
    if twice and typed != getpass("again: "):
        raise KeyPassphraseError("the two are not the same; nothing was changed", code="key.passphrase_mistyped")
    return bytearray(typed.encode("utf-8", "surrogateescape"))


def _without_line_end(phrase: bytearray) -> bytearray:
    """Drop one line end: editors and `echo` put it there."""
    for end in (b"\r\n", b"\n"):
        if phrase.endswith(end):
            del phrase[-len(end) :]
            break
    return phrase


def open_key(path: Path, source: PassphraseSource) -> Ed25519Signer:
    """Return the signer of a key file, with its passphrase where it takes one.

    Raises:
        KeyFileError: it cannot be used; KeyPassphraseError, not with this passphrase.
        ConfigurationError: `key.passphrase_missing`.
    """
    key = KeyFile.read(path)
    if not key.encrypted:
        if source.configured:
            _LOG.warning("%s is not encrypted, although a passphrase is configured", path)
        return key.signer()
    with source.reading(path) as phrase:
        return key.signer(phrase)
