"""hook sign, push, list, enable, disable, rollback and keys new, against a real server in front of a fake registry."""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from engine.audit.keyfile import KeyFile
from engine.audit.keys import VerifierKey
from gateway.config import CONFIG_NAME, load_config
from gateway.errors import ConflictError, HookRefusedError
from gateway.registry.placement import Placement
from gateway.sandbox.files import read_files
from gateway.sandbox.signature import Publisher, publisher_of
from tests.cli_runner import run
from tests.fakes import FakeDesk, FakeHooks, hook_view
from tests.hook_folders import files_of, write_folder
from tests.rpc_server import served_aside

KEYS = {"name", "version", "kind", "publisher", "sha256", "enabled", "placement", "published_at", "published_by"}


@pytest.fixture
def hooks() -> FakeHooks:
    return FakeHooks()


@pytest.fixture
def env(hooks: FakeHooks) -> Iterator[dict[str, str]]:
    with served_aside(FakeDesk(), hooks=hooks) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert run("keys", "new", "acme.example/hooks", "--out", tmp_path / "acme.key").code == 0
    return tmp_path / "acme.key"


class TestKeys:
    def test_a_new_key_signs_and_its_other_half_goes_into_the_configuration(self, tmp_path: Path) -> None:
        """What is printed can be pasted as it is; the file is for its owner alone."""
        done = run("keys", "new", "acme.example/hooks", "--out", tmp_path / "k")
        assert (done.code, stat.S_IMODE((tmp_path / "k").stat().st_mode)) == (0, 0o600)
        (tmp_path / CONFIG_NAME).write_text(done.out.partition("accept what it signs:\n")[2])
        [entry] = load_config(tmp_path).publishers
        assert entry.key == KeyFile.read(tmp_path / "k").signer().verifier_key()

    def test_json_has_the_same(self, tmp_path: Path) -> None:
        """For programs: name, file, verifier key, and whether a passphrase is needed."""
        made = run("keys", "new", "a", "--out", tmp_path / "k", "-o", "json").json
        assert made.keys() == {"name", "key_file", "verifier_key", "encrypted"}
        assert VerifierKey.parse(made["verifier_key"]).name == "a"

    @pytest.mark.parametrize("name", ["builtin", "site", "a b", "a+b", "", "ä"])
    def test_a_name_that_no_publisher_can_have_makes_no_key(self, tmp_path: Path, name: str) -> None:
        """It would be refused later, by a gateway."""
        done = run("keys", "new", name, "--out", tmp_path / "k", "-o", "json")
        assert (done.code, done.json["errors"][0]["code"]) == (2, "key.name")
        assert not (tmp_path / "k").exists()

    def test_a_key_is_never_overwritten(self, key: Path) -> None:
        """A lost key is lost."""
        before = key.read_bytes()
        assert run("keys", "new", "other", "--out", key, "-o", "json").json["errors"][0]["code"] == "key.exists"
        assert key.read_bytes() == before


class TestSign:
    def test_the_signature_is_accepted_where_the_key_is_trusted(self, tmp_path: Path, key: Path) -> None:
        """And signing again replaces it."""
        folder = write_folder(tmp_path / "h", files_of(signer=None))
        for _ in range(2):
            done = run("hook", "sign", folder, "--key", key, "-o", "json").json
            trusted = [Publisher(key=VerifierKey.parse(done["verifier_key"]))]
            assert publisher_of(read_files(folder), trusted).name == "acme.example/hooks"
        assert sorted(p.name for p in folder.iterdir()) == [
            "hook.sig", "hook.toml", "module.wasm", "parameters.schema.json",
        ]  # fmt: skip
        assert "is signed by acme.example/hooks" in run("hook", "sign", folder, "--key", key).out

    def test_what_is_no_hook_is_not_signed(self, tmp_path: Path, key: Path) -> None:
        """The first rule that is broken is named, and no file is left behind."""
        folder = write_folder(tmp_path / "h", replace(files_of(signer=None), manifest=b"name = 1"))
        done = run("hook", "sign", folder, "--key", key, "-o", "json")
        assert (done.code, done.json["errors"][0]["code"]) == (2, "hook.missing_field")
        assert not (folder / "hook.sig").exists()
        assert run("hook", "sign", tmp_path / "none", "--key", key, "-o", "json").code == 2
        assert run("hook", "sign", folder, "--key", tmp_path / "none", "-o", "json").code == 2


class TestPush:
    def test_the_folder_arrives_byte_for_byte(self, tmp_path: Path, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """In as many pieces as it takes."""
        files = files_of(module=files_of().module + bytes(600_000))
        folder = write_folder(tmp_path / "h", files)
        done = run("hook", "push", folder, "-o", "json", env=env).json
        assert (done["created"], done["hook"].keys()) == (True, KEYS)
        assert hooks.calls == [("publish", "ann", files)]
        assert "missiongate hook enable resize@1.0.0" in run("hook", "push", folder, env=env).out

    def test_it_is_put_in_force_on_request(self, tmp_path: Path, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """With order and scope as given."""
        folder = write_folder(tmp_path / "h", files_of(kind="screen"))
        hooks.view = hook_view(kind="screen")
        where = ("--order", "3", "--step-type", "http", "--step-type", "wasm", "--label", "team=red=blue")
        done = run("hook", "push", folder, "--enable", *where, "-o", "json", env=env).json
        placement = Placement(order=3, step_types=("http", "wasm"), labels={"team": "red=blue"})
        assert hooks.calls[1] == ("enable", "ann", "resize", "1.0.0", placement)
        assert done["hook"]["enabled"]

    @pytest.mark.parametrize(
        ("more", "code"),
        [(("--order", "3"), "hook.not_to_be_enabled"), (("--enable", "--label", "red"), "hook.label")],
    )
    def test_options_that_mean_nothing_are_refused(
        self, tmp_path: Path, hooks: FakeHooks, env: Mapping[str, str], more: tuple[str, ...], code: str
    ) -> None:
        """Before anything is sent."""
        folder = write_folder(tmp_path / "h", files_of())
        done = run("hook", "push", folder, *more, "-o", "json", env=env)
        assert (done.code, done.json["errors"][0]["code"], hooks.calls) == (2, code, [])

    def test_without_a_signature_nothing_is_sent(
        self, tmp_path: Path, hooks: FakeHooks, env: Mapping[str, str]
    ) -> None:
        """The command that helps is named."""
        done = run("hook", "push", write_folder(tmp_path / "h", files_of(signer=None)), env=env)
        assert (done.code, hooks.calls) == (2, [])
        assert "missiongate hook sign FOLDER --key FILE signs it" in done.err

    def test_a_refusal_is_exit_3(self, tmp_path: Path, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """With the gateway's code and words."""
        hooks.error = HookRefusedError("hook.sig: nobody", code="hook.publisher_untrusted", field="hook.sig")
        done = run("hook", "push", write_folder(tmp_path / "h", files_of()), "-o", "json", env=env)
        assert (done.code, done.json["errors"][0]["code"]) == (3, "hook.publisher_untrusted")


class TestInForce:
    def test_enable_takes_the_newest_or_the_one_that_is_named(self, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """The newest is the first of its name in the list."""
        hooks.pages = [(hook_view("other"), hook_view(version="2.0.0")), (hook_view(),)]
        assert "2.0.0" in str(self._enabled("resize", hooks, env))
        assert "1.5.0" in str(self._enabled("resize@1.5.0", hooks, env))
        assert run("hook", "enable", "none", "-o", "json", env=env).json["errors"][0]["code"] == "hook.not_found"

    def _enabled(self, name: str, hooks: FakeHooks, env: Mapping[str, str]) -> tuple[object, ...]:
        assert run("hook", "enable", name, env=env).code == 0
        return hooks.calls[-1]

    def test_disable_and_roll_back(self, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """With the version that was looked at, or with none."""
        assert run("hook", "disable", "resize", "-o", "json", env=env).json == {"name": "resize", "enabled": False}
        assert run("hook", "disable", "resize@1.0.0", env=env).out == "✓ resize is not in force any more\n"
        assert run("hook", "rollback", "resize@1.0.0", "-o", "json", env=env).json == {"name": "resize", "hook": None}
        assert [call[2:] for call in hooks.calls] == [("resize", ""), ("resize", "1.0.0"), ("resize", "1.0.0")]

    def test_a_change_in_between_is_told(self, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """Exit 2, and the command that shows what is."""
        hooks.error = ConflictError("resize 1.0.0 is not in force: 1.1.0 is", code="hook.changed")
        done = run("hook", "disable", "resize@1.0.0", env=env)
        assert done.code == 2
        assert "missiongate hook list" in done.err

    def test_the_list_shows_what_is_in_force_and_where(self, hooks: FakeHooks, env: Mapping[str, str]) -> None:
        """One line a version; a name from elsewhere moves no cursor."""
        screen = hook_view(
            "guard", kind="screen", enabled=True, order=4, step_types=("http",), labels={"team": "red\x1b[2J"}
        )
        hooks.pages = [(screen,), (hook_view(),)]
        out = run("hook", "list", env=env, width=160).out
        assert "guard" in out
        assert "enabled" in out
        assert "as number 4, for http, with team=red\\x1b[2J" in out
        assert [hook["name"] for hook in run("hook", "list", "-o", "json", env=env).json["hooks"]] == [
            "guard",
            "resize",
        ]
