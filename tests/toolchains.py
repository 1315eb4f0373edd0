"""The author's compilers for the tests: where they lack, CI fails, and a user's machine skips and says why."""

import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest

from gateway.cli.hook.compilers import build_module
from gateway.cli.hook.folder import HookFolder, Language, open_folder
from gateway.cli.hook.toolchain import find_compiler
from gateway.errors import ConfigurationError
from gateway.sandbox.files import MODULE_NAME
from tests.made_once import made_once

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "wasm-hooks" / "examples"
PROBE = ROOT / "tests" / "sdk_probe"
LANGUAGES = tuple(Language)
_ASC = ROOT / ".tools" / "assemblyscript" / "node_modules" / "assemblyscript" / "bin" / "asc.js"


def environment() -> dict[str, str]:
    """Return the variables that name compilers which tools/install_toolchains.sh has put into the checkout."""
    return {} if "ASC" in os.environ or not _ASC.is_file() else {"ASC": str(_ASC)}


def need(language: Language) -> None:
    """Skip the test where the language's compiler is not installed; in CI, fail it."""
    try:
        find_compiler(probe_folder(language), language, None)
    except ConfigurationError as error:
        reason = f"{error.message} (tools/install_toolchains.sh installs it)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@cache
def probe_folder(language: Language) -> HookFolder:
    """Return a folder with the probe of one language."""
    folder = Path(tempfile.mkdtemp(prefix=f"probe-{language.value}-"))
    for name in ("hook.toml", language.source):
        shutil.copyfile(PROBE / name, folder / name)
    return open_folder(folder)


def built_once(folder: HookFolder, language: Language, chosen: Path | None = None) -> bytes:
    """As `build_module`, but once a run for each source, SDK and compiler: the bytes depend on those alone.

    That they do is a test of its own in tests/integration/test_hook_authoring.py, which really compiles.
    """
    compiler = find_compiler(folder, language, chosen)
    parts = (language, *compiler.command, _digest(folder.path), _digest(folder.sdk))
    return made_once("\n".join(parts), lambda: build_module(folder, language, chosen))


def _digest(folder: Path) -> str:
    """Return the digest of all files in a folder, and their names, but for a module that was built there."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MODULE_NAME:
            data = path.read_bytes()
            found.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def built_probe(language: Language) -> bytes:
    """Return the probe of one language, compiled once a run."""
    return built_once(probe_folder(language), language)


def built_example(name: str) -> bytes:
    """Return an example, compiled once a run."""
    folder = open_folder(EXAMPLES / name)
    if folder.language is None:
        raise LookupError(f"{name} has no source")
    return built_once(folder, folder.language)
