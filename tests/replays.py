"""Missions with everything, run by a real gateway, and what `audit replay` says of them."""

import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from engine.clock import SystemClock
from gateway.client import Client
from gateway.config import CONFIG_NAME
from gateway.folders import STORE_FILE
from gateway.home import NewHome
from gateway.store.master_keys import MasterKeys
from gateway.vault.master import MasterSource
from tests.cli_runner import run
from tests.gateways import add_hook, change_policy_data, new_home
from tests.hook_folders import SCHEMA
from tests.payload_keys import lend_seals, resealed
from tests.wasi_guests import guest
from tests.worlds import mission, step

TOKEN = "not-for-dependents"  # noqa: S105 - a rewrite takes it away


class Dropping(BaseHTTPRequestHandler):
    """Answers, but drops the first order of each kind without a word."""

    dropped: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/flaky" and self.path not in self.dropped:
            self.dropped.add(self.path)
            self.close_connection = True
            return
        answer = orjson.dumps({"echo": body.decode(), "token": TOKEN})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def service() -> Iterator[int]:
    """Serve on a free loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Dropping,), {"dropped": set()}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def add_guest(made: NewHome, name: str) -> None:
    """Add a hook of WASI that answers with clock and randomness."""
    folder = made.home / "hooks" / name
    folder.mkdir(parents=True)
    module = guest("c")
    pin = hashlib.sha256(module).hexdigest()
    (folder / "module.wasm").write_bytes(module)
    (folder / "parameters.schema.json").write_bytes(SCHEMA)
    (folder / "hook.toml").write_text(
        f'name = "{name}"\nversion = "1.0.0"\nabi = 1\nkind = "step"\nprofile = "patient"\neffects = []\n'
        'schema = "parameters.schema.json"\n'
    )
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[[hooks]]\npath = "hooks/{name}"\nsha256 = "{pin}"\n')


def everything_home(folder: Path, port: int) -> NewHome:
    """Make a home with site hooks of every kind, and policy that opens the service."""
    made = new_home(folder)
    add_hook(made, "spinner", iterations=10**12)
    add_guest(made, "world")
    with (made.home / CONFIG_NAME).open("a") as config:
        for entry in ("no_private_key_material", "large_output"):
            config.write(f'\n[[hooks]]\nbuiltin = "{entry}"\n')
        config.write('\n[[hooks]]\nbuiltin = "drop_output_fields"\nsettings = {fields = ["token"]}\n')

    def change(config: dict[str, Any]) -> None:
        config["networks"]["allow"] = [f"127.0.0.1:{port}"]
        config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["POST"]}
        config["profiles"]["patient"] |= {"cpu_shares": 1, "wall_ms": 20_000}  # fuel ends it, long before the wall
        rule = {"effects": ["http.request"], "hosts": ["127.0.0.1"], "kinds": ["http"], "tenants": ["default"]}
        config["secrets"] = {"TOKEN": rule}
        config["kinds"]["world"] = {"profile": "patient", "effects": [], "closed_taint": []}

    change_policy_data(made, change)
    (folder / "value").write_bytes(b"hunter2-and-more")
    kept = run("secret", "set", "TOKEN", "--from-file", folder / "value", "--home", made.home)
    assert kept.code == 0, kept.err
    return made


def everything(port: int) -> bytes:
    """Return a mission with effects, a fan-out, a part, a retry, a skipped step, a failure by fuel, and WASI."""

    def order(step_id: str, *depends_on: str, path: str = "/orders", what: str, **fields: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}{path}"
        return step(step_id, *depends_on, kind="http", url=url, method="POST", body=what, **fields)

    part = mission(
        step("inner", kind="transform", input=["$${variables.x}", "${steps.upper.output}"]), variables={"x": 1}
    )
    return orjson.dumps(
        mission(
            order("call", what="hello ${variables.who}"),
            order(
                "flaky",
                what="again",
                path="/flaky",
                headers={"authorization": "Bearer ${secrets.TOKEN}"},
                idempotent=True,
                retry={"max_attempts": 3, "base_ms": 1},
            ),
            step("keep", "call", kind="create_file", path="kept.txt", content="${steps.call.output.body.echo}"),
            step("read", "keep", kind="read_file", path="kept.txt"),
            step("upper", "read", kind="transform", input="${steps.read.output.content}", operations=[{"op": "upper"}]),
            order("each", "upper", what="${item}-${steps.upper.output}", foreach={"items": ["a", "b", "c"]}),
            step("wait", "call", kind="delay", ms=5),
            step("never", "call", kind="transform", input=1, when={"eq": ["${steps.call.output.status}", 500]}),
            step("part", "upper", kind="mission", mission=part, outputs=["inner"]),
            step("clock", kind="world"),
            step("spin", kind="spinner", continue_on_error=True),
            step("last", "spin", "clock", "never", kind="transform", input="${steps.clock.output}"),
            variables={"who": "world"},
            config={"fail_fast": False},
        )
    )


def ended(client: Client, mission_id: str) -> Any:
    """Follow a mission to its end, and return its view."""
    for _ in client.watch(mission_id):
        pass
    return client.get(mission_id).document()


def replayed(home: Path, mission_id: str, *options: object) -> tuple[int, dict[str, Any]]:
    """Return the exit code of `audit replay`, and what it says as JSON."""
    done = run("audit", "replay", mission_id, "--home", home, "-o", "json", *options)
    return done.code, done.json


def verdicts(said: dict[str, Any]) -> dict[str, str]:
    """Return by step what was said of it, its reason where it differs."""
    return {each["step_id"]: each["reason"] or each["verdict"] for each in said["steps"]}


def copied(made: NewHome, folder: Path) -> Path:
    """Return a copy of a home, to be tampered with."""
    return Path(shutil.copytree(made.home, folder / "copy", ignore=shutil.ignore_patterns("*.sock")))


def tamper(home: Path, sql: str, *values: object) -> None:
    """Change the store behind the gateway's back."""
    with closing(sqlite3.connect(home / STORE_FILE)) as connection:
        lend_seals(connection, MasterKeys.of(MasterSource(home), SystemClock()))
        done = connection.execute(resealed(sql), values)
        assert done.rowcount == 1, f"{sql} has changed {done.rowcount} rows"
        connection.commit()
