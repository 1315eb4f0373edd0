"""The author's commands, with real compilers and the real sandbox: new, build, test and bench."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.hook.compilers import build_module
from gateway.cli.hook.folder import Language
from tests.cli_runner import Ran, run
from tests.depth import IS_FUZZ, pairs, some
from tests.step_modules import SOURCES, hooks
from tests.toolchains import EXAMPLES, LANGUAGES, built_once, environment, need

KINDS = ("screen", "step", "rewrite", "observe")  # in this order, `pairs` are hooks that other tests here build, too
BUILDER = "gateway.cli.hook.authoring.build_module"


@pytest.fixture(autouse=True)
def at_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin in an empty folder, with the compilers of the checkout, which compile the same source once a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(BUILDER, built_once)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def made(language: Language, kind: str, name: str = "mine") -> Path:
    """Return the folder of a new hook."""
    need(language)
    done = run("hook", "new", name, "--language", language.value, "--kind", kind)
    assert done.code == 0, done.err
    return Path(name)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def errors(done: Ran) -> Any:
    return done.json["errors"]


@pytest.mark.parametrize(("language", "kind"), pairs(LANGUAGES, KINDS))
def test_a_new_hook_builds_and_its_cases_pass(language: Language, kind: str) -> None:
    """In each language and of each kind, at once, with the SDK in its own folder, within half of its profile."""
    folder = made(language, kind)
    built = run("hook", "build", folder, "-o", "json")
    assert built.code == 0, built.out
    assert built.json["bytes"] == (folder / "module.wasm").stat().st_size
    assert "mission_run" in built.json["exports"]
    done = run("hook", "test", folder, "--no-build", "-o", "json")
    assert done.code == 0, done.out
    assert (done.json["hook"], done.json["kind"], done.json["failed"]) == ("mine", kind, 0)
    assert done.json["passed"] >= 5
    assert all(case["fuel_used"] <= done.json["limits"]["fuel_max"] // 2 for case in done.json["cases"])


@pytest.mark.parametrize("language", some([Language.ZIG], LANGUAGES))
def test_the_bytes_do_not_depend_on_the_place(
    language: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built in another folder, with other caches, a hook has the same digest; in `make test`, with the same caches."""
    folder = made(language, "screen")
    other = tmp_path / "another folder" / "deeper"
    shutil.copytree(folder, other)
    first = run("hook", "build", folder, "-o", "json").json["sha256"]
    monkeypatch.setattr(BUILDER, build_module)
    caches = {"XDG_CACHE_HOME": str(tmp_path / "cache")} if IS_FUZZ else {}
    second = run("hook", "build", other, "-o", "json", env=caches).json["sha256"]
    assert first == second


def test_the_authors_build_is_the_packages() -> None:
    """A built-in kind, built by the author's command, has the bytes that the package ships."""
    shutil.copytree(SOURCES / "steps" / "delay", "delay")
    assert run("hook", "build", "delay", "-o", "json").json["sha256"] == hooks()["delay"].sha256


BROKEN = {
    Language.ZIG: "const x: u8 = true;\ncomptime {\n    _ = x;\n}\n",
    Language.C: "int x = y;\n",
    Language.ASSEMBLYSCRIPT: "const x: i32 = y;\n",
    Language.RUST: "static X: u8 = true;\n",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compilers_words_are_shown(language: Language) -> None:
    """Source that does not compile is exit 1, with the file's name in the compiler's own words; no module is left."""
    folder = made(language, "observe")
    with (folder / language.source).open("a") as file:
        file.write(BROKEN[language])
    done = run("hook", "build", folder)
    assert done.code == 1
    assert language.source in done.err
    assert "hook.build_failed" in done.err
    assert not (folder / "module.wasm").exists()
    if language in some([Language.ZIG], LANGUAGES):
        assert language.source in errors(run("hook", "build", folder, "-o", "json"))[0]["message"]


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (Language.ZIG, "missiongate[hooks]"),
        (Language.C, "missiongate[hooks]"),
        (Language.ASSEMBLYSCRIPT, "npm ci"),
        (Language.RUST, "rustup target add wasm32-unknown-unknown"),
    ],
)
def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, language: Language, words: str) -> None:
    """Exit 2, and the message says what to install; a compiler that was named and is none is told as such."""
    run("hook", "new", "mine", "--language", language.value)
    monkeypatch.setenv("PATH", "/nowhere")
    for variable in ("ASC", "RUSTC", "ZIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    done = run("hook", "build", "mine", "-o", "json")
    assert done.code == 2
    assert errors(done)[0]["code"] == "hook.toolchain_missing"
    assert words in errors(done)[0]["message"]
    named = run("hook", "build", "mine", "--compiler", "/nowhere/compiler", "-o", "json")
    assert "/nowhere/compiler is no program" in errors(named)[0]["message"]


def test_a_rustc_without_the_target_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of several on the PATH, the first that can make WebAssembly is taken; one alone that cannot is told as such."""
    false = tmp_path / "bin" / "rustc"
    false.parent.mkdir()
    false.write_text("#!/bin/sh\nexit 1\n")
    false.chmod(0o755)
    folder = made(Language.RUST, "observe")
    with monkeypatch.context() as changed:
        changed.setenv("PATH", f"{false.parent}:{os.environ['PATH']}")
        assert run("hook", "build", folder, "-o", "json").code == 0
    monkeypatch.setenv("PATH", str(false.parent))
    done = run("hook", "build", folder, "-o", "json")
    assert "rustc has no library for wasm32-unknown-unknown" in errors(done)[0]["message"]


def test_a_wrong_answer_is_shown_with_its_place() -> None:
    """Exit 1; the place is a JSON pointer, and both forms of output have it."""
    folder = made(Language.ZIG, "step")
    edit(folder / "main.zig", "count += 1", "count += 2")
    done = run("hook", "test", folder)
    assert done.code == 1
    assert "✗ asks for the file, then counts its lines" in done.out
    assert "round 2: /output/lines: expected 3, answered 6" in done.out
    assert "8 cases, 2 failed" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    [failed, *_] = [case for case in run("hook", "test", folder, "-o", "json").json["cases"] if not case["passed"]]
    assert failed["rounds"][1]["differences"] == ["/output/lines: expected 3, answered 6"]


def test_a_run_over_a_limit_is_a_failure_with_the_sandboxs_code() -> None:
    """A hook that never answers spends its fuel; the code is the one that a mission would see."""
    folder = made(Language.C, "observe")
    edit(folder / "main.c", "static void run(const mg_observe *observe) {", LOOPING)
    done = run("hook", "test", folder, "--case", "reports a long list")
    assert done.code == 1
    assert "[constraint.cpu_exceeded]" in done.out
    [case] = run("hook", "test", folder, "--no-build", "--case", "reports a long list", "-o", "json").json["cases"]
    assert case["rounds"][0]["code"] == "constraint.cpu_exceeded"


LOOPING = "static void run(const mg_observe *observe) {\n    for (volatile int turns = 0;; turns++) {}\n"


def test_an_answer_that_is_none_of_the_abi_fails_though_it_is_expected() -> None:
    """What a gateway would refuse is no success, whatever the case expects."""
    folder = made(Language.ZIG, "rewrite")
    edit(folder / "hook.toml", 'kind = "rewrite"', 'kind = "screen"')
    edit(folder / "hook.toml", 'at = "parameters"', 'at = "step"')
    edit(folder / "main.zig", "mission.exportRewrite(run);", EXPORTS)
    (folder / "cases.json").write_text(json.dumps([{"name": "a", "expect": {"verdict": "perhaps"}}]))
    done = run("hook", "test", folder)
    assert done.code == 1
    assert "verdict must be allow, deny or abstain" in done.out


EXPORTS = """\
_ = run;
    mission.hook.exportText(struct {
        fn answer(_: []const u8) mission.hook.Problem![]const u8 {
            return "{\\"verdict\\":\\"perhaps\\"}";
        }
    }.answer);"""


def test_a_module_without_the_abi_is_refused_as_a_gateway_would() -> None:
    """`hook build` compiles it, and says which export is missing; exit 1."""
    folder = made(Language.ZIG, "observe")
    (folder / "module.wasm").write_bytes(b"\0asm\1\0\0\0")
    done = run("hook", "test", folder, "--no-build", "-o", "json")
    assert done.code == 1
    assert errors(done)[0]["code"] == "hook.export_missing"


def test_bench_draws_the_times_and_knows_that_fuel_is_exact() -> None:
    """Quantiles rise, every run is in one bin of the histogram, and 80 columns are enough."""
    folder = made(Language.ZIG, "screen")
    done = run("hook", "bench", folder, "--runs", 30, "--case", "denies every other address", "-o", "json")
    assert done.code == 0, done.out
    [case] = done.json["cases"]
    times = [case["wall_us"][name] for name in ("p50", "p90", "p99", "max")]
    assert times == sorted(times)
    assert sum(bin_["runs"] for bin_ in case["histogram"]) == 30
    assert case["deterministic"] is True
    shown = run("hook", "bench", folder, "--no-build", "--runs", 10)
    assert shown.code == 0
    assert re.search(r"fuel +\S+ +[0-9,]+ of 4 M", shown.out)
    assert "█" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_new_changes_nothing_that_is_there() -> None:
    """A name that is taken, or is none, is exit 2, and what is there stays."""
    Path("taken").mkdir()
    done = run("hook", "new", "taken", "-l", "zig", "-o", "json")
    assert (done.code, errors(done)[0]["code"]) == (2, "hook.exists")
    assert list(Path("taken").iterdir()) == []
    for name in ("Upper", "../up", "a-b", "", "a" * 65):
        done = run("hook", "new", name, "-l", "zig", "-o", "json")
        assert (done.code, errors(done)[0]["code"]) == (2, "hook.name")
    assert [path.name for path in Path().iterdir()] == ["taken"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_folder_has_no_word_of_the_template_left(language: Language, kind: str) -> None:
    """All placeholders are filled, one source is there, and the README names what there is."""
    assert run("hook", "new", "mine", "-l", language.value, "-k", kind).code == 0
    for path in Path("mine").rglob("*"):
        if path.is_file() and "sdk" not in path.parts:
            assert not re.search(r"@[A-Z]+@", path.read_text()), path
    assert [path.name for path in Path("mine").glob("main.*")] == [language.source]
    readme = Path("mine/README.md").read_text()
    named = set(re.findall(r"^\| `([a-z._]+)/?` \|", readme, re.MULTILINE))
    assert all(Path("mine", name).exists() for name in named)
    assert ("parameters.schema.json" in named) == (kind == "step")


def test_a_hook_of_the_checkout_is_built_with_its_sdk(tmp_path: Path) -> None:
    """A folder without an SDK of its own is built with the one that came with the program."""
    shutil.copytree(EXAMPLES / "zig-csv_rows", tmp_path / "csv", ignore=shutil.ignore_patterns("module.wasm"))
    assert run("hook", "build", "csv", "-o", "json").code == 0
