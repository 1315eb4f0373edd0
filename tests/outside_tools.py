"""Tools that know nothing of this software and verify its log: openssl, and programs with Go's and Google's packages.

Where one lacks, CI fails, and a user's machine skips and says why.
"""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from engine.audit.bundle_readme import GO_PROGRAM

MODULE = Path(__file__).resolve().parent / "outside"


def need(tool: str, why: str) -> str:
    """Return the path of a program; without it skip the test, and in CI fail it."""
    found = shutil.which(tool)
    if found is None:
        reason = f"needs {tool}, {why}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@cache
def _built() -> Path:
    """Build tests/outside, and the program of a bundle's README with the versions pinned there; once a session."""
    folder = Path(tempfile.mkdtemp(prefix="audit-outside-"))
    module = Path(shutil.copytree(MODULE, folder / "module"))
    (module / "bundlecheck").mkdir()
    (module / "bundlecheck" / "main.go").write_text(GO_PROGRAM)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        ["go", "build", "-o", f"{folder}/", "./..."],
        cwd=module,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-4_000:])
    return folder


def go_program(name: str) -> Path:
    """Return the path of `logcheck` or `bundlecheck`."""
    need("go", "version 1.26, to build the programs of tests/outside")
    return _built() / name


def run(*words: object, cwd: Path | None = None) -> tuple[bool, str]:
    """Run a program; return whether it was content, and what it said."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, check=False, text=True)
    return done.returncode == 0, done.stdout + done.stderr
