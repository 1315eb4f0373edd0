#!/usr/bin/env python3
"""Compares the source that the regorus wheel is built from with what Microsoft published, file by file.

    python tools/compare_regorus.py

pip fetches the source distribution that requirements.lock pins, cargo the crates; both are held to the hashes below,
and cargo holds the crates to its registry's. Then:

1. the engine (`src/`, `build.rs`, the manifest) is compared with the crate regorus, byte for byte;
2. the allocator (`mimalloc/`, compiled in) is compared with the crates that regorus' own lock file names;
3. the binding (`bindings/python`), which no crate has, is held to the text that was read for docs/adr/0002;
4. everything else is listed: it is not compiled;
5. the bill of materials in the installed wheel is compared with the binding's lock file, and that with the crate's.

Exit code 1: something that is compiled differs. Needs pip, cargo and the wheel; it is run by hand when the pin changes.
"""

# ruff: noqa: T201, S603, S607 - a script that prints, and starts pip and cargo from the PATH

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

PACKAGE, VERSION = "gordon-to-regorus", "0.13.0"
SDIST_SHA256 = "e34bf5dddd83c939c4689823f073a38aaf908def153148dae43c2d6ad3bf5bfc"
CRATES = {  # the last two as the first one's Cargo.lock says
    "regorus": ("0.13.0", "800007e261eac92aecf7d709fd4110de132bf79651d4bd1e0137db9debd0cfe7"),
    "regorus-mimalloc": ("2.2.8", "34b3038b2227134216d7be2755783cb7e1d60910edc4345a77160b29a6921d2e"),
    "regorus-mimalloc-sys": ("2.2.6", "78345c4641456ae15f88d0929e5977c3ac4342f53acb64e4a0b97fd09c31b252"),
}
# Read line by line: calls of the crate's public interface and conversions of values; no file, network or environment
# beyond what the crate's own functions of these names do.
BINDING = {
    "bindings/python/src/lib.rs": "d66c50f3a4d053c7d467aad21415a205bb425743017249321df70bfbb924f7e4",
    "bindings/python/Cargo.toml": "e88b72005d9c30dcc92bf36f3fe031d768ed5011629a63ed9d6d695254ea2a1c",
}

Files = Mapping[str, bytes]
_COMPILED = re.compile(r"src/.*|build\.rs|Cargo\.toml")
_CARGOS_OWN = frozenset({".cargo_vcs_info.json", "Cargo.toml.orig", "Cargo.lock"})


def fetch_sdist(folder: Path) -> Files:
    """Download the source distribution."""
    pins = folder / "pins.txt"
    pins.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SDIST_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    options = ["--no-binary", PACKAGE, "--require-hashes", "--dest", str(folder), "--requirement", str(pins)]
    subprocess.run([*command, *options], check=True)
    return unpack(next(folder.glob("*.tar.gz")), SDIST_SHA256)


def fetch_crate(folder: Path, name: str) -> Files:
    """Download a crate: `cargo info` keeps it in cargo's home, which is a folder of our own."""
    version, digest = CRATES[name]
    environment = {**os.environ, "CARGO_HOME": str(folder / "cargo")}
    subprocess.run(["cargo", "info", "--quiet", f"{name}@{version}"], check=True, env=environment, capture_output=True)
    return unpack(next((folder / "cargo" / "registry" / "cache").glob(f"*/{name}-{version}.crate")), digest)


def unpack(archive: Path, digest: str) -> Files:
    """Return the files of a tar.gz below its one folder."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest:
        raise SystemExit(f"{archive.name} has the SHA-256 {found}, expected is {digest}")
    files = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if (content := tar.extractfile(member)) is not None:
                files[member.name.partition("/")[2]] = content.read()
    print(f"{archive.name}: {len(files)} files, sha256 {digest}")
    return files


def as_written(crate: Files) -> Files:
    """Return a crate's files as its authors wrote them: cargo keeps their manifest beside its own."""
    return {**{n: c for n, c in crate.items() if n not in _CARGOS_OWN}, "Cargo.toml": crate["Cargo.toml.orig"]}


def below(files: Files, folder: str, *, without: str = "\0") -> Files:
    """Return the files in a folder, named from there."""
    return {n[len(folder) :]: c for n, c in files.items() if n.startswith(folder) and not n.startswith(without)}


def differences(ours: Files, theirs: Files) -> list[str]:
    """Return a line for each file that is not the same in both."""
    lines = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            lines.append(f"only in the source distribution: {name}")
        elif name not in ours:
            lines.append(f"only in the crate: {name}")
        elif ours[name] != theirs[name]:
            lines.append(f"differs: {name}")
    return lines


def report(title: str, same: int, lines: Iterable[str]) -> int:
    """Print a finding; return how many lines it has."""
    found = list(lines)
    print(f"\n{title}: {same} files are the same" + (f", {len(found)} are not" if found else ""))
    for line in found:
        print(f"  {line}")
    return len(found)


def compared(title: str, ours: Files, theirs: Files) -> int:
    """Compare and print; return how many files are not the same."""
    lines = differences(ours, theirs)
    return report(title, sum(ours[name] == theirs.get(name) for name in ours), lines)


def locked(lock: bytes) -> set[tuple[str, str]]:
    """Return (name, version) of each package of a Cargo.lock."""
    return {(package["name"], package["version"]) for package in tomllib.loads(lock.decode())["package"]}


def shown(packages: Iterable[tuple[str, str]]) -> str:
    """Return packages as a line."""
    return ", ".join(f"{name} {version}" for name, version in sorted(packages)) or "none"


def bill_of_materials() -> set[tuple[str, str]]:
    """Return (name, version) of what the installed wheel says that it was built from."""
    installed = distribution(PACKAGE)
    if installed.version != VERSION:
        raise SystemExit(f"{PACKAGE} {installed.version} is installed, expected is {VERSION}")
    path = next(file for file in installed.files or [] if file.name.endswith(".cyclonedx.json"))
    bill: dict[str, Any] = json.loads(Path(str(installed.locate_file(path))).read_bytes())
    return {(component["name"], component["version"]) for component in bill["components"]}


def main() -> int:
    """Compare everything; return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sdist = fetch_sdist(folder)
        crate, allocator, allocator_sys = (fetch_crate(folder, crate) for crate in CRATES)

    written = as_written(crate)
    ours = {n: c for n, c in sdist.items() if _COMPILED.fullmatch(n)}
    theirs = {n: c for n, c in written.items() if _COMPILED.fullmatch(n)}
    wrong = compared("the engine, compiled", ours, theirs)
    sys_folder = "mimalloc/mimalloc-sys/"
    wrong += compared("the allocator, compiled", below(sdist, "mimalloc/", without=sys_folder), as_written(allocator))
    wrong += compared("the allocator's C, compiled", below(sdist, sys_folder), as_written(allocator_sys))
    unread = [n for n, digest in BINDING.items() if hashlib.sha256(sdist[n]).hexdigest() != digest]
    wrong += report("the binding, compiled", len(BINDING) - len(unread), [f"not as it was read: {n}" for n in unread])

    compiled = {*ours, *BINDING, *(n for n in sdist if n.startswith("mimalloc/"))}
    rest = {n: c for n, c in sdist.items() if n not in compiled}
    compared("the rest, not compiled", rest, {n: c for n, c in written.items() if n not in theirs})

    lock, upstream, bill = locked(sdist["bindings/python/Cargo.lock"]), locked(crate["Cargo.lock"]), bill_of_materials()
    print(f"\nthe wheel's bill of materials: {len(bill)} packages")
    print(f"  not in the binding's lock file: {shown(bill - lock)}")
    print(f"  not in the crate's lock file: {shown(bill - upstream)}")
    wrong += len(bill - lock)
    print("\nwhat is compiled is the same" if not wrong else f"\n{wrong} differences in what is compiled")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
