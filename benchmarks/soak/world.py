"""The gateway under test: a home with rules and a signed hook, and `missiongate serve` as a program of its own."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wasmtime import wat2wasm

from engine.audit.keys import Ed25519Signer
from gateway.config import CONFIG_NAME
from gateway.home import NewHome, make_home
from gateway.policy.bundle import CONFIG_ROOT
from gateway.policy.bundle_files import read_folder, write_archive
from gateway.sandbox.files import HookFiles
from gateway.sandbox.signature import sign_hook

HOOK: Final = "stamp"
_SCHEMA: Final = b'{"type":"object","additionalProperties":false}'
_PUBLISHER: Final = Ed25519Signer.generate("soak.example/hooks")
_START_SECONDS_MAX: Final = 60.0
_STOP_SECONDS_MAX: Final = 120.0
_LINE_BYTES_MAX: Final = 1024 * 1024
# Says its version, so that one that was replaced can be told from the one that took its place.
_MODULE: Final = """(module (memory (export "memory") 2)
  (data (i32.const 16) "{text}")
  (func (export "mission_abi_v1"))
  (func (export "mission_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "mission_run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const {size}))))"""


def hook_version(number: int) -> HookFiles:
    """Return version `0.0.number` of the hook, signed."""
    answer = f'{{"output":{{"version":{number}}}}}'
    module = bytes(wat2wasm(_MODULE.format(text=answer.replace('"', '\\"'), size=len(answer))))
    manifest = (
        f'name = "{HOOK}"\nversion = "0.0.{number}"\nabi = 1\nkind = "step"\nprofile = "semantic"\neffects = []\n'
        'schema = "parameters.schema.json"\n'
    ).encode()
    files = HookFiles(manifest=manifest, module=module, schema=_SCHEMA)
    return HookFiles(manifest=manifest, module=module, schema=_SCHEMA, signature=sign_hook(files, _PUBLISHER))


def make_world(folder: Path, port: int, missions: int) -> NewHome:
    """Make a home whose policy knows the hook and the service on `port`, and has room for so many missions at once."""
    made = make_home(folder / "home", listen="127.0.0.1:0")
    config = made.home / CONFIG_NAME
    room = f"\n[limits]\nmissions_running_max = {missions}\n"
    config.write_text(f'{config.read_text()}{room}\n[[publishers]]\nkey = "{_PUBLISHER.verifier_key()}"\n')
    path = made.home / "policies" / "data.json"
    data = json.loads(path.read_text())
    _open(_site(data), port)
    path.write_text(json.dumps(data))
    return made


def other_bundle(made: NewHome) -> bytes:
    """Return an archive of the home's rules with a difference that no mission of ours meets."""
    files = dict(read_folder(made.home / "policies"))
    data = json.loads(files["data.json"])
    _site(data)["timer"]["sleep_ms_max"] = 1_800_000
    return write_archive({**files, "data.json": json.dumps(data).encode()})


def _site(data: dict[str, Any]) -> dict[str, Any]:
    for key in CONFIG_ROOT:
        data = data[key]
    return data


def _open(config: dict[str, Any], port: int) -> None:
    config["networks"]["allow"] = [f"127.0.0.1:{port}"]
    config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["POST"]}
    config["kinds"][HOOK] = {"profile": "semantic", "effects": [], "closed_taint": []}
    config["quotas"] |= {"runs": 1_000_000_000, "cpu_ms": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that serves, as a process."""

    made: NewHome
    address: str
    pid: int


@asynccontextmanager
async def served(made: NewHome) -> AsyncIterator[Served]:
    """Run `missiongate serve`, and stop it as an operator would.

    Raises:
        RuntimeError: it does not start, or does not stop.
    """
    command = (sys.executable, "-m", "gateway", "serve", "--home", str(made.home), "--output", "json")
    with (made.home / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=log, limit=_LINE_BYTES_MAX
        )
    try:
        async with asyncio.timeout(_START_SECONDS_MAX):
            line = await process.stdout.readline() if process.stdout is not None else b""
        if not line:
            raise RuntimeError((made.home / "serve.log").read_text())
        yield Served(made, json.loads(line)["address"], process.pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(_STOP_SECONDS_MAX):
                await process.wait()
