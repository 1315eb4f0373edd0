"""keys new, show, passphrase, rotate, and init and serve with an encrypted key."""

from pathlib import Path

import pytest

from engine.audit import keyfile
from engine.audit.key_ring import KeyRing
from engine.audit.keyfile import KeyFile
from engine.audit.keys import Ed25519Signer
from gateway.config import CONFIG_NAME, load_config
from gateway.signing.changing import LogKeys
from gateway.signing.signers import KEY_FILE, VERIFIER_KEY_FILE
from tests.cli_runner import Ran, run
from tests.openssl_signer import generate_key, install

PHRASE = b"correct horse battery"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stretching is looked at elsewhere."""
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**4)


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    return private(tmp_path / "phrase", PHRASE + b"\n")


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def assert_refused(done: Ran, code: str, exit_code: int = 2) -> None:
    """One error with a code, and the exit code of its kind."""
    assert (done.code, [error["code"] for error in done.json["errors"]]) == (exit_code, [code])


class TestNew:
    def test_a_key_under_a_passphrase(self, tmp_path: Path, phrase: Path) -> None:
        """A file of the passphrase is enough to say that it is to be encrypted."""
        made = run("keys", "new", "a", "--out", tmp_path / "k", "--passphrase-file", phrase, "-o", "json").json
        key = KeyFile.read(tmp_path / "k")
        assert made == {
            "name": "a",
            "key_file": str(tmp_path / "k"),
            "verifier_key": key.verifier_key,
            "encrypted": True,
        }
        assert key.signer(PHRASE).name == "a"

    def test_without_a_source_no_key_is_made(self, tmp_path: Path) -> None:
        """Nobody can be asked: the error names the option."""
        done = run("keys", "new", "a", "--out", tmp_path / "k", "--encrypt", "-o", "json")
        assert_refused(done, "key.passphrase_missing")
        assert "--passphrase-file" in done.out
        assert not (tmp_path / "k").exists()

    def test_a_weak_passphrase_makes_no_key(self, tmp_path: Path) -> None:
        """Twelve bytes at least."""
        weak = private(tmp_path / "weak", b"elevenbytes\n")
        done = run("keys", "new", "a", "--out", tmp_path / "k", "--passphrase-file", weak, "-o", "json")
        assert_refused(done, "key.passphrase_weak")
        assert not (tmp_path / "k").exists()


def test_show_needs_no_passphrase(tmp_path: Path, phrase: Path) -> None:
    """The public half of either form; what is no key is told."""
    for name, args in (("plain", ()), ("sealed", ("--passphrase-file", phrase))):
        made = run("keys", "new", "a", "--out", tmp_path / name, *args, "-o", "json").json
        shown = run("keys", "show", tmp_path / name, "-o", "json").json
        assert shown == {key: made[key] for key in ("key_file", "verifier_key", "encrypted")}
        assert made["verifier_key"] in run("keys", "show", tmp_path / name).out
    assert_refused(run("keys", "show", phrase, "-o", "json"), "key.unreadable")


class TestPassphrase:
    def test_it_is_set_changed_and_removed(self, tmp_path: Path, phrase: Path) -> None:
        """The key stays the same."""
        path = tmp_path / "k"
        vkey = run("keys", "new", "a", "--out", path, "-o", "json").json["verifier_key"]
        other = private(tmp_path / "other", b"another passphrase")
        set_ = run("keys", "passphrase", path, "--new-passphrase-file", phrase, "-o", "json")
        assert set_.json == {"key_file": str(path), "verifier_key": vkey, "encrypted": True}
        assert KeyFile.read(path).signer(PHRASE).verifier_key() == vkey
        changing = ("keys", "passphrase", path, "--passphrase-file", phrase)
        assert run(*changing, "--new-passphrase-file", other).code == 0
        assert_refused(run(*changing, "--remove", "-o", "json"), "key.passphrase")
        assert "no longer" in run("keys", "passphrase", path, "--passphrase-file", other, "--remove").out
        assert KeyFile.read(path).signer().verifier_key() == vkey

    def test_removing_and_giving_one_is_a_contradiction(self, tmp_path: Path, phrase: Path) -> None:
        """Nothing is changed."""
        run("keys", "new", "a", "--out", tmp_path / "k")
        done = run("keys", "passphrase", tmp_path / "k", "--remove", "--new-passphrase-file", phrase, "-o", "json")
        assert_refused(done, "config.invalid")
        assert not KeyFile.read(tmp_path / "k").encrypted


class TestInit:
    def test_the_log_key_is_encrypted_and_the_configuration_knows_where(self, tmp_path: Path, phrase: Path) -> None:
        """`serve` finds the passphrase by what init wrote; the verifier key is in the clear."""
        home = tmp_path / "home"
        made = run("init", "--home", home, "--encrypt-key", "--passphrase-file", phrase, "-o", "json").json
        key = KeyFile.read(home / KEY_FILE)
        assert (key.encrypted, key.verifier_key) == (True, made["verifier_key"])
        assert load_config(home).audit.choice(home).open().verifier_key() == made["verifier_key"]

    def test_without_a_source_no_home_is_made(self, tmp_path: Path) -> None:
        """All of it, or nothing."""
        done = run("init", "--home", tmp_path / "home", "--encrypt-key", "-o", "json")
        assert_refused(done, "key.passphrase_missing")
        weak = private(tmp_path / "weak", b"short")
        assert_refused(
            run("init", "--home", tmp_path / "home", "--passphrase-file", weak, "-o", "json"), "key.passphrase_weak"
        )
        assert list((tmp_path / "home").iterdir()) == []

    def test_serve_says_what_to_set(self, tmp_path: Path, phrase: Path) -> None:
        """Without a terminal and without a source; and where the passphrase is another one."""
        home = tmp_path / "home"
        run("init", "--home", home, "--passphrase-file", phrase)
        phrase.write_bytes(b"another passphrase")
        assert_refused(run("serve", "--home", home, "-o", "json"), "key.passphrase")
        config = home / CONFIG_NAME
        config.write_text(config.read_text().partition("[audit]")[0])
        done = run("serve", "--home", home, "-o", "json")
        assert_refused(done, "key.passphrase_missing")
        assert "audit.passphrase_file" in done.out
        assert "audit.passphrase_env" in done.out
        config.write_text(config.read_text() + '[audit]\npassphrase_env = "GATE_PHRASE"\n')
        assert_refused(run("serve", "--home", home, "-o", "json"), "key.passphrase_missing")
        wrong = run("serve", "--home", home, "-o", "json", env={"GATE_PHRASE": "another passphrase"})
        assert_refused(wrong, "key.passphrase")


class TestRotate:
    def test_old_and_new_key_are_told(self, tmp_path: Path) -> None:
        """JSON has both, the event, and where the old key is; the text says what auditors must know."""
        vkey = run("init", "--home", tmp_path, "-o", "json").json["verifier_key"]
        done = run("keys", "rotate", "--home", tmp_path, "--keep-old", "-o", "json").json
        kept = f"{tmp_path / KEY_FILE}.{vkey.split('+')[1]}"
        assert done == {"seq": 1, "old": vkey, "new": done["new"], "resumed": False, "kept": kept}
        assert KeyFile.read(Path(kept)).verifier_key == vkey
        assert run("keys", "show", tmp_path / KEY_FILE, "-o", "json").json["verifier_key"] == done["new"]
        again = run("keys", "rotate", "--home", tmp_path)
        assert done["new"] in again.out
        assert (tmp_path / VERIFIER_KEY_FILE).read_text().strip() in again.out
        assert "auditors" in again.out

    def test_what_was_broken_off_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The command is the same; serve says that it has to be given."""
        run("init", "--home", tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(LogKeys, "_swap", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
            assert run("keys", "rotate", "--home", tmp_path, "-o", "json").code == 2
        served = run("serve", "--home", tmp_path, "-o", "json")
        assert_refused(served, "audit.rotation_unfinished", 4)
        assert "keys rotate" in served.out
        assert "broken off is done" in run("keys", "rotate", "--home", tmp_path).out

    def test_an_encrypted_key_takes_its_passphrase_from_the_configuration(self, tmp_path: Path, phrase: Path) -> None:
        """The new one is under the same."""
        run("init", "--home", tmp_path / "h", "--passphrase-file", phrase)
        new = run("keys", "rotate", "--home", tmp_path / "h", "-o", "json").json["new"]
        assert KeyFile.read(tmp_path / "h" / KEY_FILE).signer(PHRASE).verifier_key() == new

    def test_a_log_moves_to_an_installed_signer_and_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`audit.next_signer` says who comes; without it, a log under another signer is not handed on."""
        home = tmp_path / "home"
        first = run("init", "--home", home, "-o", "json").json["verifier_key"]
        name = first.partition("+")[0]
        generate_key(home / "token.pem")
        monkeypatch.syspath_prepend(install(tmp_path, "openssl = tests.openssl_signer:from_settings"))
        plain, settings = (
            (home / CONFIG_NAME).read_text(),
            f'signer_settings = {{name = "{name}", key = "token.pem"}}\n',
        )
        (home / CONFIG_NAME).write_text(f'{plain}[audit]\nnext_signer = "openssl"\nnext_{settings}')
        moved = run("keys", "rotate", "--home", home, "-o", "json").json
        assert (moved["old"], moved["kept"]) == (first, None)
        text = run("keys", "rotate", "--home", home)
        assert "audit.next_signer" in text.out
        assert (home / VERIFIER_KEY_FILE).read_text().strip() == moved["new"]
        (home / CONFIG_NAME).write_text(f'{plain}[audit]\nsigner = "openssl"\n{settings}')
        assert_refused(run("keys", "rotate", "--home", home, "-o", "json"), "config.signer")
        (home / KEY_FILE).unlink()
        run("keys", "new", name, "--out", home / KEY_FILE)
        (home / CONFIG_NAME).write_text(f'{plain}[audit]\nsigner = "openssl"\n{settings}next_signer = "file"\n')
        back = run("keys", "rotate", "--home", home, "-o", "json").json
        assert KeyRing.load(home / "audit", back["new"]).newest_first == (back["new"], moved["new"], first)

    def test_signers_of_two_names_do_not_hand_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The name is the log's origin, and stays."""
        home = tmp_path / "home"
        run("init", "--home", home)
        generate_key(home / "token.pem")
        monkeypatch.syspath_prepend(install(tmp_path, "openssl = tests.openssl_signer:from_settings"))
        with (home / CONFIG_NAME).open("a") as config:
            config.write('[audit]\nnext_signer = "openssl"\nnext_signer_settings = {name = "x", key = "token.pem"}\n')
        assert_refused(run("keys", "rotate", "--home", home, "-o", "json"), "config.signer")


def test_a_hook_is_signed_with_an_encrypted_key(tmp_path: Path, phrase: Path) -> None:
    """`hook sign` takes the passphrase as `keys new` does; without one it says which option."""
    run("keys", "new", "acme.example/hooks", "--out", tmp_path / "k", "--passphrase-file", phrase)
    missing = run("hook", "sign", tmp_path, "--key", tmp_path / "k", "-o", "json")
    assert_refused(missing, "key.passphrase_missing")
    done = run("hook", "sign", tmp_path, "--key", tmp_path / "k", "--passphrase-file", phrase, "-o", "json")
    assert done.json["errors"][0]["code"].startswith("hook.")  # the folder holds no hook: the key was opened before


def test_a_name_is_kept_by_the_key(tmp_path: Path) -> None:
    """What `new` makes is what `show` shows, of any name that a key may have."""
    run("keys", "new", "x" * 255, "--out", tmp_path / "k")
    assert (
        Ed25519Signer("x" * 255, KeyFile.read(tmp_path / "k").signer().seed()).verifier_key()
        == (run("keys", "show", tmp_path / "k", "-o", "json").json["verifier_key"])
    )
