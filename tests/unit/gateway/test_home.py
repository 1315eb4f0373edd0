"""init: the directory that a gateway lives in."""

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from engine.audit.keyfile import KeyFile
from engine.clock import SystemClock
from gateway import home as module
from gateway.authn.tokens import TokenTable
from gateway.config import CONFIG_NAME, load_config
from gateway.errors import ConfigurationError
from gateway.home import make_home
from gateway.policy.bundle import Bundle
from gateway.signing.signers import KEY_FILE
from gateway.vault.master import KEY_FILE as SECRETS_KEY_FILE


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_has_all_that_serve_needs(tmp_path: Path) -> None:
    """A key that signs, a bundle that loads, a configuration that parses, a token that names the admin."""
    made = make_home(tmp_path / "deep" / "home")
    config = load_config(made.home)
    assert TokenTable([t.entry() for t in config.tokens], SystemClock()).find(made.token).roles == ("admin",)
    assert made.token_file.read_text() == made.token + "\n"
    assert KeyFile.read(made.home / KEY_FILE).signer().verifier_key() == made.verifier_key
    assert (made.home / "keys/log.vkey").read_text().strip() == made.verifier_key
    assert Bundle.load(made.home / config.policy.source).digest.startswith("sha256:")
    assert not list(made.home.rglob("*_test.rego"))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_secrets_are_nobody_elses(tmp_path: Path, umask: int) -> None:
    """Home and keys are 0700, key and token 0600, whatever the umask; the token is not in the configuration."""
    before = os.umask(umask)
    try:
        made = make_home(tmp_path / "home")
    finally:
        os.umask(before)
    assert mode(made.home) == 0o700
    assert mode(made.home / "keys") == 0o700
    assert mode(made.token_file) == mode(made.home / KEY_FILE) == mode(made.home / SECRETS_KEY_FILE) == 0o600
    config = (made.home / CONFIG_NAME).read_text()
    assert made.token not in config
    assert sha256(made.token.encode()).hexdigest() in config
    assert made.token not in repr(made)


def test_two_homes_share_no_secret(tmp_path: Path) -> None:
    """Each has its own key and token."""
    one, two = make_home(tmp_path / "one"), make_home(tmp_path / "two")
    assert one.token != two.token
    assert one.verifier_key != two.verifier_key
    assert (one.home / SECRETS_KEY_FILE).read_bytes() != (two.home / SECRETS_KEY_FILE).read_bytes()


@pytest.mark.parametrize("name", [CONFIG_NAME, "keys", "policies"])
def test_nothing_that_is_there_is_touched(tmp_path: Path, name: str) -> None:
    """A home that has any of what init makes is refused, and stays as it was."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        make_home(tmp_path)
    assert caught.value.code == "config.exists"
    assert name in caught.value.message
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mine").read_text() == "mine"


def test_a_fresh_volume_may_hold_other_things(tmp_path: Path) -> None:
    """Such as lost+found."""
    (tmp_path / "lost+found").mkdir()
    make_home(tmp_path)
    assert (tmp_path / CONFIG_NAME).exists()


@pytest.mark.parametrize("step", ["_write_secret", "shutil.copytree"])
def test_a_home_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A full disk in the middle leaves nothing, so that the next init works."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"{module.__name__}.{step}", full)
        with pytest.raises(ConfigurationError, match="No space left on device") as caught:
            make_home(tmp_path / "home")
    assert caught.value.code == "config.home"
    assert list((tmp_path / "home").iterdir()) == []
    make_home(tmp_path / "home")


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        make_home(tmp_path / "home")
    assert caught.value.code == "config.home"


def test_an_address_cannot_write_configuration(tmp_path: Path) -> None:
    """`listen` is quoted into the file: it can be wrong, but it cannot set another key."""
    made = make_home(tmp_path / "home", listen='x:1"\nanonymous = true\n#')
    with pytest.raises(ConfigurationError, match="listen"):
        load_config(made.home)
