"""Finds and runs the author's compilers: the one place of the package, beside the workers' zygote, that runs programs.

It belongs to the command line of a plugin author's own machine; nothing of a gateway that serves imports it. Programs
get a list of arguments and no shell, a time limit, and room for so much output as a person reads.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.cli.hook.folder import HookFolder, Language
from gateway.errors import ConfigurationError, HookRefusedError

COMPILE_SECONDS_MAX: Final = 300
OUTPUT_BYTES_MAX: Final = 16 * 1024
RUST_TARGET: Final = "wasm32-unknown-unknown"
_ASC: Final = Path("node_modules", "assemblyscript", "bin", "asc.js")
_ASK_SECONDS_MAX: Final = 30
COMPILER_VARIABLE: Final = {
    Language.ZIG: "ZIG",
    Language.C: "ZIG",
    Language.ASSEMBLYSCRIPT: "ASC",
    Language.RUST: "RUSTC",
}
_INSTALL: Final = {
    Language.ZIG: "pip install 'missiongate[hooks]' brings the Zig that hooks in Zig and C are compiled with",
    Language.C: "pip install 'missiongate[hooks]' brings the Zig that hooks in Zig and C are compiled with",
    Language.ASSEMBLYSCRIPT: "npm ci in the hook's folder installs asc; it runs on Node.js 20 or newer",
    Language.RUST: f"rustup target add {RUST_TARGET}, or on Debian: apt install rustc libstd-rust-dev-wasm32 lld",
}


@dataclass(frozen=True, slots=True)
class Compiler:
    """How to begin a command line."""

    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """What to call it."""
        return " ".join(Path(part).name if "/" in part else part for part in self.command)


def find_compiler(folder: HookFolder, language: Language, chosen: Path | None) -> Compiler:
    """Return the compiler of a language: the one chosen, else of the variable, else what is installed.

    Raises:
        ConfigurationError: `hook.toolchain_missing`, there is none that can make WebAssembly; the message says what to
            install.
    """
    variable = os.environ.get(COMPILER_VARIABLE[language])
    if named := str(chosen) if chosen is not None else variable:
        found = shutil.which(named)
        if found is None:
            raise _missing(language, f"{named} is no program")
        return Compiler((found,))
    match language:
        case Language.ZIG | Language.C:
            if importlib.util.find_spec("ziglang") is None:
                raise _missing(language, "the package ziglang is not installed")
            return Compiler((sys.executable, "-m", "ziglang"))
        case Language.ASSEMBLYSCRIPT:
            return _asc(folder.path)
        case Language.RUST:
            return _rustc()


def _asc(folder: Path) -> Compiler:
    node = shutil.which("node")
    if node is None:
        raise _missing(Language.ASSEMBLYSCRIPT, "node is not on the PATH")
    for place in (folder, *folder.parents):
        if (place / _ASC).is_file():
            return Compiler((node, str(place / _ASC)))
    if found := shutil.which("asc"):
        return Compiler((found,))
    raise _missing(Language.ASSEMBLYSCRIPT, "the AssemblyScript compiler is in no node_modules here, nor on the PATH")


def _rustc() -> Compiler:
    """Return the first rustc of the PATH that has the library of the target: a machine may have several."""
    seen = 0
    for rustc in _on_path("rustc"):
        seen += 1
        library = _answer([rustc, "--print", "target-libdir", "--target", RUST_TARGET])
        if library and any(Path(library).glob("libcore-*.rlib")):
            return Compiler((rustc,))
    why = f"rustc has no library for {RUST_TARGET}" if seen else "rustc is not on the PATH"
    raise _missing(Language.RUST, why)


def _on_path(program: str) -> Iterator[str]:
    for folder in dict.fromkeys(os.get_exec_path()):
        if found := shutil.which(program, path=folder):
            yield found


def _missing(language: Language, why: str) -> ConfigurationError:
    variable = COMPILER_VARIABLE[language]
    message = f"{why}; {_INSTALL[language]}; --compiler or {variable} names another"
    return ConfigurationError(message, code="hook.toolchain_missing")


def _answer(command: Sequence[str]) -> str | None:
    """Return the one line that a compiler says of itself, or None."""
    try:
        run = subprocess.run(command, capture_output=True, check=True, timeout=_ASK_SECONDS_MAX)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout[:OUTPUT_BYTES_MAX].decode("utf-8", "replace").strip()


def compile_with(command: Sequence[str], *, where: Path) -> None:
    """Run one command of a compiler in the folder `where`.

    Raises:
        HookRefusedError: `hook.build_failed`, the compiler refuses the source; the message is its own words.
        ConfigurationError: `hook.toolchain_missing`, it cannot be started; `hook.toolchain_stuck`, it takes too long.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as said:
        try:
            run = subprocess.run(
                command,
                check=False,
                cwd=where,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=COMPILE_SECONDS_MAX,
            )
        except OSError as error:
            raise ConfigurationError(f"{name}: {error.strerror}", code="hook.toolchain_missing") from error
        except subprocess.TimeoutExpired as error:
            message = f"{name} took more than {COMPILE_SECONDS_MAX} seconds"
            raise ConfigurationError(message, code="hook.toolchain_stuck") from error
        said.seek(0)
        words = said.read(OUTPUT_BYTES_MAX).decode("utf-8", "replace").strip()
    if run.returncode != 0:
        raise HookRefusedError(words or f"{name} ended with {run.returncode}", code="hook.build_failed")
