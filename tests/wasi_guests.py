"""Hooks that real toolchains made for WASI, compiled once a session from `tests/guests`."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.made_once import made_once

SOURCES = Path(__file__).resolve().parent / "guests"
_BUILD_SECONDS_MAX = 300
_STACK_BYTES = 65_536  # Zig's own default of 16 MiB is more than a worker has


@cache
def guest(language: str) -> bytes:
    """Return the module of a language, built once a run; skip where its toolchain is missing, and fail there in CI."""
    return made_once(f"guest {language}", lambda: _built(language))


def _built(language: str) -> bytes:
    with TemporaryDirectory(prefix="guest-") as temporary:
        output = Path(temporary) / "module.wasm"
        command, folder, environment = _BUILDS[language](output)
        if shutil.which(command[0]) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"needs {command[0]}")
            pytest.skip(f"needs {command[0]}")
        cache_folders = {"ZIG_LOCAL_CACHE_DIR": temporary, "ZIG_GLOBAL_CACHE_DIR": _global_cache()}
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **cache_folders, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_SECONDS_MAX,
        )
        if done.returncode != 0:
            pytest.fail(f"{' '.join(command)}: {done.stderr}")
        return output.read_bytes()


def _global_cache() -> str:
    """Return where Zig keeps what it compiled of its C library, which takes half a minute."""
    return os.environ.get("ZIG_GLOBAL_CACHE_DIR") or str(Path.home() / ".cache" / "zig")


def _c(output: Path) -> tuple[list[str], Path, dict[str, str]]:
    stack = f"-Wl,-z,stack-size={_STACK_BYTES}"
    options = ["-target", "wasm32-wasi", "-mexec-model=reactor", "-O2", "-s", stack, "-lm"]
    return [sys.executable, "-m", "ziglang", "cc", *options, "-o", str(output), "world.c"], SOURCES, {}


def _zig(output: Path) -> tuple[list[str], Path, dict[str, str]]:
    options = ["-target", "wasm32-wasi", "-fno-entry", "-rdynamic", "--stack", str(_STACK_BYTES), "-O", "small"]
    name = f"-femit-bin={output}"
    return [sys.executable, "-m", "ziglang", "build-exe", *options, "-fstrip", name, "world.zig"], SOURCES, {}


def _go(output: Path) -> tuple[list[str], Path, dict[str, str]]:
    command = ["go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", str(output), "."]
    return command, SOURCES / "go", {"GOOS": "wasip1", "GOARCH": "wasm"}


_BUILDS = {"c": _c, "zig": _zig, "go": _go}
