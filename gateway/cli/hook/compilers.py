"""How each language's compiler is told to make a hook: no imports, the ABI's exports, one page of memory, no date.

The bytes depend on the source, the SDK and the compiler's version; not on where or when they are built.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.cli.hook.folder import HookFolder, Language, read_file
from gateway.cli.hook.toolchain import RUST_TARGET, Compiler, compile_with, find_compiler
from gateway.errors import ConfigurationError
from gateway.sandbox.compile import MODULE_BYTES_MAX

STACK_BYTES: Final = 32 * 1024
MEMORY_BYTES: Final = 64 * 1024  # initially: one page
EXPORTS: Final = ("mission_abi_v1", "mission_alloc", "mission_run")
# Features that every engine of the last years has; the sandbox turns the others off.
CPU: Final = "mvp+bulk_memory+bulk_memory_opt+mutable_globals+sign_ext"
_ZIG_OPTIMIZE: Final = ("-O", "fast", "-fstrip")
_C_FLAGS: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror=implicit-function-declaration")
_RUST_FLAGS: Final = (
    *("--edition", "2021", "--target", RUST_TARGET, "-C", "opt-level=3", "-C", "panic=abort"),
    *("-C", "codegen-units=1", "-C", "target-feature=+bulk-memory", "-C", "metadata=hook"),
)
_ASC_FLAGS: Final = (
    *("-O3", "--noAssert", "--use", "abort=", "--exportStart", "_initialize", "--initialMemory", "1"),
    "--noColors",
)


def build_module(folder: HookFolder, language: Language, chosen: Path | None = None) -> bytes:
    """Compile a hook's source, and return the module; nothing in the folder changes.

    Args:
        folder: the hook.
        language: what its source is written in.
        chosen: the compiler to use, else the one that is found.

    Raises:
        HookRefusedError: `hook.build_failed`, the compiler refuses the source.
        ConfigurationError: the compiler or the SDK is not there, or it takes too long.
    """
    compiler = find_compiler(folder, language, chosen)
    if not folder.sdk.is_dir():
        raise ConfigurationError(f"{folder.sdk}: the SDKs are not there", code="hook.sdk_missing")
    with tempfile.TemporaryDirectory(prefix="missiongate-build-") as temporary:
        output = Path(temporary) / "module.wasm"
        _BUILDERS[language](compiler, folder, output)
        return read_file(output, MODULE_BYTES_MAX)


def _zig(compiler: Compiler, folder: HookFolder, output: Path) -> None:
    root = folder.path / Language.ZIG.source
    compile_with([*_zig_command(compiler, output), *_zig_modules(root, folder.sdk)], where=output.parent)


def _c(compiler: Compiler, folder: HookFolder, output: Path) -> None:
    """Compile C beside the root of its SDK, which is in Zig; Zig's package is a compiler of C, too."""
    sources = [str(path) for path in sorted(folder.path.glob("*.c"))]
    c_files = ["-I", str(folder.sdk / "c"), "-cflags", *_C_FLAGS, "--", *sources]
    modules = _zig_modules(folder.sdk / "c" / "missiongate.zig", folder.sdk)
    compile_with([*_zig_command(compiler, output), *c_files, *modules], where=output.parent)


def _zig_command(compiler: Compiler, output: Path) -> list[str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "missiongate" / "zig"
    return [
        *(*compiler.command, "build-exe", "-target", "wasm32-freestanding", f"-mcpu={CPU}", "-fno-entry"),
        *(f"--export={name}" for name in EXPORTS),
        *("--stack", str(STACK_BYTES), f"--initial-memory={MEMORY_BYTES}"),
        *("--cache-dir", str(cache / "local"), "--global-cache-dir", str(cache / "global")),
        f"-femit-bin={output}",
    ]


def _zig_modules(root: Path, sdk: Path) -> list[str]:
    mission = sdk / "zig" / "mission.zig"
    return [*_ZIG_OPTIMIZE, "--dep", "mission", f"-Mroot={root}", *_ZIG_OPTIMIZE, f"-Mmission={mission}"]


def _assemblyscript(compiler: Compiler, folder: HookFolder, output: Path) -> None:
    sdk = folder.sdk / "assemblyscript"
    # The compiler names files by their way from the working directory: that has to be the same everywhere.
    work = output.parent / "work"
    work.mkdir()
    (work / "hook").symlink_to(folder.path, target_is_directory=True)
    (work / "sdk").symlink_to(sdk, target_is_directory=True)
    packages = ["--path", "hook/node_modules"] if (folder.path / "node_modules").is_dir() else []
    command = [
        *(*compiler.command, f"hook/{Language.ASSEMBLYSCRIPT.source}", "sdk/entry.ts", *packages),
        *("--path", "sdk", "--runtime", "sdk/runtime", *_ASC_FLAGS, "--outFile", "../module.wasm"),
    ]
    compile_with(command, where=work)


def _rust(compiler: Compiler, folder: HookFolder, output: Path) -> None:
    sdk = folder.sdk / "rust"
    library = output.parent / "libmissiongate.rlib"
    common = [
        *(*compiler.command, *_RUST_FLAGS, "--color", "never"),
        *("--remap-path-prefix", f"{sdk}=sdk", "--remap-path-prefix", f"{folder.path}=hook"),
    ]
    sdk_command = [
        *(*common, "--crate-type", "rlib", "--crate-name", "missiongate", "--cap-lints", "allow"),
        *(str(sdk / "src" / "lib.rs"), "-o", str(library)),
    ]
    compile_with(sdk_command, where=output.parent)
    hook_command = [
        *(*common, "--crate-type", "cdylib", "--crate-name", "hook", "-C", "lto=fat", "-C", "strip=symbols"),
        *("-C", f"link-arg=-zstack-size={STACK_BYTES}", "--extern", f"missiongate={library}"),
        *(str(folder.path / Language.RUST.source), "-o", str(output)),
    ]
    compile_with(hook_command, where=output.parent)


_BUILDERS: Final[dict[Language, Callable[[Compiler, HookFolder, Path], None]]] = {
    Language.ZIG: _zig,
    Language.C: _c,
    Language.ASSEMBLYSCRIPT: _assemblyscript,
    Language.RUST: _rust,
}
