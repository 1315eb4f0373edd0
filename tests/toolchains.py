"""The author's compilers for the tests: where they lack, CI fails, and a user's machine skips and says why."""

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


@cache
def built_probe(language: Language) -> bytes:
    """Return the probe of one language, compiled once a session."""
    return build_module(probe_folder(language), language)


@cache
def built_example(name: str) -> bytes:
    """Return an example, compiled once a session."""
    folder = open_folder(EXAMPLES / name)
    if folder.language is None:
        raise LookupError(f"{name} has no source")
    return build_module(folder, folder.language)
