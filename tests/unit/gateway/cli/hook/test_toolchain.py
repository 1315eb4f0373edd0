"""How compilers are run: bounded, without a shell, and their words kept."""

import sys
from pathlib import Path

import pytest

from gateway.cli.hook import toolchain
from gateway.cli.hook.toolchain import OUTPUT_BYTES_MAX, compile_with
from gateway.errors import ConfigurationError, HookRefusedError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_success_says_nothing(tmp_path: Path) -> None:
    """A compiler that warns and ends well is no failure; it runs in the folder that it is given."""
    compile_with(python("open('made', 'w'); print('a warning')"), where=tmp_path)
    assert (tmp_path / "made").exists()


def test_what_it_says_is_kept_up_to_a_bound(tmp_path: Path) -> None:
    """Both streams, in order, and no more than a person reads."""
    code = (
        "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('x' * 99999); exit(3)"
    )
    with pytest.raises(HookRefusedError) as caught:
        compile_with(python(code), where=tmp_path)
    assert caught.value.code == "hook.build_failed"
    assert caught.value.message.startswith("one\ntwo\nxxx")
    assert len(caught.value.message) <= OUTPUT_BYTES_MAX


def test_silence_is_told_with_the_exit_code(tmp_path: Path) -> None:
    """A compiler that dies without a word leaves its number."""
    with pytest.raises(HookRefusedError, match="ended with 7"):
        compile_with(python("raise SystemExit(7)"), where=tmp_path)


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit it is killed, and the author is told."""
    monkeypatch.setattr(toolchain, "COMPILE_SECONDS_MAX", 0.2)
    with pytest.raises(ConfigurationError) as caught:
        compile_with(python("import time; time.sleep(60)"), where=tmp_path)
    assert caught.value.code == "hook.toolchain_stuck"


def test_one_that_cannot_be_started_is_told_as_missing(tmp_path: Path) -> None:
    """A file that is no program, or none at all."""
    with pytest.raises(ConfigurationError) as caught:
        compile_with([str(tmp_path / "none")], where=tmp_path)
    assert caught.value.code == "hook.toolchain_missing"


def test_it_reads_no_input(tmp_path: Path) -> None:
    """A compiler that asks gets the end of the file, and not the author's terminal."""
    compile_with(python("import sys; open('read', 'w').write(repr(sys.stdin.read()))"), where=tmp_path)
    assert (tmp_path / "read").read_text() == "''"
