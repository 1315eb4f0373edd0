"""init and serve, as far as they go without serving."""

from pathlib import Path

from gateway.config import CONFIG_NAME
from tests.cli_runner import run


def test_init_says_where_things_are_and_not_the_token(tmp_path: Path) -> None:
    """JSON: home, token_file, verifier_key. The token itself is in its file only."""
    made = run("init", "--home", tmp_path / "a b", "-o", "json")
    assert made.code == 0
    assert made.json.keys() == {"home", "token_file", "verifier_key"}
    token = Path(made.json["token_file"]).read_text().strip()
    assert token not in made.out
    text = run("init", "--home", tmp_path / "c d")
    assert f"serve --home '{tmp_path}/c d'" in text.out
    assert Path(tmp_path, "c d", "keys/log.vkey").read_text().strip() in text.out.splitlines()[2]


def test_init_changes_nothing_that_is_there(tmp_path: Path) -> None:
    """A second time is 2."""
    assert run("init", "--home", tmp_path / "home").code == 0
    before = (tmp_path / "home" / CONFIG_NAME).read_bytes()
    done = run("init", "--home", tmp_path / "home", "-o", "json")
    assert done.code == 2
    assert done.json["errors"][0]["code"] == "config.exists"
    assert (tmp_path / "home" / CONFIG_NAME).read_bytes() == before


def test_serve_needs_a_home_that_holds_together(tmp_path: Path) -> None:
    """No home, no address, an open address, a broken policy, an open key file: each its code, in plain words."""
    home = tmp_path / "home"
    assert run("serve", "--home", home, "-o", "json").json["errors"][0]["code"] == "config.unreadable"
    run("init", "--home", home)
    for listen, code in (("nonsense", "config.invalid"), ("0.0.0.0:0", "config.listen")):
        done = run("serve", "--home", home, "--listen", listen, "-o", "json")
        assert done.code == 2
        assert done.json["errors"][0]["code"] == code
    (home / "keys/log.key").chmod(0o644)
    done = run("serve", "--home", home, "--listen", "127.0.0.1:0", "-o", "json")
    assert done.code == 2
    assert done.json["errors"][0]["code"] == "key.unreadable"
    (home / "policies/data.json").write_text("{")
    assert run("serve", "--home", home, "-o", "json").code == 2
