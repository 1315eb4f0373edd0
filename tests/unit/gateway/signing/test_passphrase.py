"""Where a passphrase comes from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.audit import keyfile
from engine.audit.errors import KeyFileError, KeyPassphraseError
from engine.audit.keyfile import save_key
from gateway.errors import ConfigurationError
from gateway.signing import passphrase
from gateway.signing.passphrase import PassphraseSource, open_key
from tests.audit_logs import SIGNER, VKEY

KEY = Path("log.key")
PHRASE = "correct horse battery"


def read(source: PassphraseSource, *, new: bool = False) -> bytes:
    """Return what a source gives."""
    with source.reading(KEY, new=new) as phrase:
        return bytes(phrase)


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a file with a mode."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


class Terminal:
    """Somebody who types, in turn, what they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
        self.prompts: list[str] = []
        self._typed = list(typed)
        monkeypatch.setattr(passphrase, "getpass", self._getpass)
        monkeypatch.setattr(sys, "stdin", self)

    def isatty(self) -> bool:
        return True

    def _getpass(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self._typed.pop(0)


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (b"a b c\n", b"a b c"),
        (b"a b c\r\n", b"a b c"),
        (b"a b c", b"a b c"),
        (b" a \n\n", b" a \n"),
        (b"\xff\x00\n", b"\xff\x00"),
        (b"\n", b""),
    ],
)
def test_a_file_gives_its_bytes_without_one_line_end(tmp_path: Path, content: bytes, phrase: bytes) -> None:
    """Spaces, bytes that are no text and further line ends belong to the passphrase."""
    assert read(PassphraseSource(file=private(tmp_path / "phrase", content))) == phrase


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """As for the key itself."""
    with pytest.raises(KeyFileError) as refused:
        read(PassphraseSource(file=private(tmp_path / "phrase", b"x", mode)))
    assert refused.value.code == "key.unreadable"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, a link, a pipe."""
    (tmp_path / "link").symlink_to(private(tmp_path / "phrase", b"x"))
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("missing", ".", "link", "pipe"):
        with pytest.raises(KeyFileError):
            read(PassphraseSource(file=tmp_path / name))


def test_a_variable_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was read, no child of the process gets it."""
    monkeypatch.setenv("GATE_PHRASE", PHRASE + "\n")
    assert read(PassphraseSource(variable="GATE_PHRASE")) == PHRASE.encode() + b"\n"
    assert "GATE_PHRASE" not in os.environ
    assert b"GATE_PHRASE" not in subprocess.run(["env"], capture_output=True, check=True).stdout


def test_a_variable_that_is_not_needed_is_forgotten_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the key turns out not to be encrypted."""
    monkeypatch.setenv("GATE_PHRASE", PHRASE)
    PassphraseSource(variable="GATE_PHRASE").forget()
    PassphraseSource(variable="GATE_PHRASE").forget()
    PassphraseSource().forget()
    assert "GATE_PHRASE" not in os.environ


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """Missing and empty are one: a typed error with its name."""
    monkeypatch.delenv("GATE_PHRASE", raising=False)
    if value is not None:
        monkeypatch.setenv("GATE_PHRASE", value)
    with pytest.raises(ConfigurationError, match="GATE_PHRASE") as refused:
        read(PassphraseSource(variable="GATE_PHRASE"))
    assert refused.value.code == "key.passphrase_missing"


def test_somebody_at_the_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a key that is there, twice for a new one; letters beyond ASCII are UTF-8."""
    terminal = Terminal(monkeypatch, "schlüssel", "neuer Schlüssel", "neuer Schlüssel")
    assert read(PassphraseSource()) == "schlüssel".encode()
    assert read(PassphraseSource(), new=True) == "neuer Schlüssel".encode()
    assert len(terminal.prompts) == 3
    assert all(str(KEY) in prompt for prompt in (terminal.prompts[0], terminal.prompts[1]))


def test_a_new_passphrase_that_is_mistyped_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key under a passphrase that nobody knows would be lost."""
    Terminal(monkeypatch, PHRASE, PHRASE + "x")
    with pytest.raises(KeyPassphraseError) as refused:
        read(PassphraseSource(), new=True)
    assert refused.value.code == "key.passphrase_mistyped"


@pytest.mark.parametrize("terminal", [False, True])
def test_without_a_source_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Nobody is asked where nobody sits, or where the program may not ask."""
    if terminal:
        Terminal(monkeypatch)
    else:
        monkeypatch.setattr(sys, "stdin", Path("/dev/null").open())  # noqa: SIM115 - closed by the collector below
    with pytest.raises(ConfigurationError, match=r"log\.key.*write it there") as refused:
        read(PassphraseSource(terminal=not terminal, advice="write it there"))
    assert refused.value.code == "key.passphrase_missing"
    if not terminal:
        sys.stdin.close()


def test_the_buffer_is_overwritten(tmp_path: Path) -> None:
    """What was read is zeros when the block is left, by an error as well."""
    source = PassphraseSource(file=private(tmp_path / "phrase", PHRASE.encode()))
    seen: list[bytearray] = []

    def use() -> None:
        with source.reading(KEY) as phrase:
            seen.append(phrase)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        use()
    assert seen == [bytes(len(PHRASE))]


def test_a_key_is_opened_with_what_its_source_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Encrypted with the passphrase, plain without; a passphrase that is not needed is a warning."""
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**4)
    save_key(tmp_path / "plain", SIGNER)
    save_key(tmp_path / "sealed", SIGNER, PHRASE.encode())
    source = PassphraseSource(file=private(tmp_path / "phrase", PHRASE.encode()))
    assert open_key(tmp_path / "sealed", source).verifier_key() == VKEY
    assert open_key(tmp_path / "plain", PassphraseSource(terminal=False)).verifier_key() == VKEY
    assert caplog.messages == []
    assert open_key(tmp_path / "plain", source).verifier_key() == VKEY
    assert "not encrypted" in caplog.text
