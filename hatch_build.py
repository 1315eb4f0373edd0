"""Build hook of the package: compiles the WebAssembly modules of `wasm-hooks/` into `gateway/_hooks/`.

Every build compiles every module from source, in a few seconds, so that a stale module cannot be shipped. The bytes
depend on the sources and the compiler's version alone, not on where or when they are built.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Features that every engine of the last years has; the sandbox turns the others off (gateway/sandbox/engine.py).
CPU = "mvp+bulk_memory+bulk_memory_opt+mutable_globals+sign_ext"
EXPORTS = ("mission_abi_v1", "mission_alloc", "mission_run")
STACK_BYTES = 32 * 1024
MEMORY_BYTES = 64 * 1024  # initially: one page
COMPILE_SECONDS_MAX = 300
SHIPPED = ("hook.toml", "parameters.schema.json")  # the schema where there is one: steps have parameters
GROUPS = ("steps", "demo", "screens", "rewrites", "observers")
# `fast` is 20% larger than `small` here, and takes 40% less fuel; both leave Zig's safety checks out.
OPTIMIZE = ("-O", "fast", "-fstrip")


class ModuleBuildError(Exception):
    """A module does not compile; the message has the compiler's own words."""


class ModuleBuildHook(BuildHookInterface[Any]):
    """Runs before a wheel or an editable install is put together."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile all modules; `artifacts` of pyproject.toml takes them into the wheel, the bundle and the SDKs too.

        An editable install reads those two where they are edited, in `policies/` and `wasm-hooks/sdk/`.
        """
        root = Path(self.root)
        if version != "editable":
            build_data["force_include"]["policies"] = "gateway/_policies"
            build_data["force_include"]["wasm-hooks/sdk"] = "gateway/_sdk"
        build_hooks(root / "wasm-hooks", root / "gateway" / "_hooks")


def build_hooks(sources: Path, target: Path) -> None:
    """Fill `target` with `<group>/<name>/`, replacing what was there only once all compiled.

    Raises:
        ModuleBuildError: there are no modules, or one does not compile.
    """
    mains = sorted(main for group in GROUPS for main in sources.glob(f"{group}/*/main.zig"))
    if not mains:
        raise ModuleBuildError(f"{sources} holds no modules to compile")
    with tempfile.TemporaryDirectory(prefix="hooks-") as temporary:
        fresh = Path(temporary) / "hooks"
        cache = Path(temporary) / "cache"
        for main in mains:
            folder = fresh / main.parent.relative_to(sources)
            folder.mkdir(parents=True)
            compile_module(main, sources / "sdk" / "zig" / "mission.zig", folder / "module.wasm", cache)
            for name in SHIPPED:
                if name == SHIPPED[0] or (main.parent / name).exists():
                    shutil.copyfile(main.parent / name, folder / name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(fresh, target)


def compile_module(main: Path, sdk: Path, output: Path, cache: Path) -> None:
    """Compile one module with the Zig of the build environment.

    Raises:
        ModuleBuildError: the compiler refuses it, is missing, or takes too long.
    """
    command = [
        *(sys.executable, "-m", "ziglang", "build-exe", "-target", "wasm32-freestanding", f"-mcpu={CPU}"),
        *("-fno-entry", *(f"--export={name}" for name in EXPORTS)),
        *("--stack", str(STACK_BYTES), f"--initial-memory={MEMORY_BYTES}"),
        *("--cache-dir", str(cache / "local"), "--global-cache-dir", str(cache / "global")),
        *(f"-femit-bin={output}", *OPTIMIZE, "--dep", "mission", f"-Mroot={main}", *OPTIMIZE, f"-Mmission={sdk}"),
    ]
    what = f"{main.parent.parent.name}/{main.parent.name}"
    if importlib.util.find_spec("ziglang") is None:
        raise ModuleBuildError(f"{what} is compiled with the package ziglang, which is not installed")
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS_MAX)
    except subprocess.CalledProcessError as problem:
        raise ModuleBuildError(f"zig refuses {what} (exit {problem.returncode}):\n{problem.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        raise ModuleBuildError(f"zig took more than {COMPILE_SECONDS_MAX} seconds for {what}") from None
    output.chmod(0o644)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    build_hooks(here / "wasm-hooks", here / "gateway" / "_hooks")
