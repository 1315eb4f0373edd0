"""A real gateway behind a server of bundles: what an attacker or an outage does to it, and what its log says."""

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.assembly import Gateway
from gateway.client import CallError
from gateway.config import CONFIG_NAME
from gateway.errors import BundleSourceError, PolicyInvalidError
from gateway.home import NewHome
from gateway.policy.bundle import CONFIG_ROOT
from gateway.policy.bundle_files import read_folder, write_archive
from gateway.policy.bundle_parts import with_manifest
from gateway.policy.signatures import sign
from tests.bundle_keys import pair
from tests.gateways import events_of, new_home, serving, submitted, verified
from tests.worlds import mission


@dataclass
class Server:
    """A server of one file, with ETags; None is nobody there."""

    content: bytes | None = None
    address: str = ""
    asked: int = 0
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        if self.content is not None:
            etag = b'"%x"' % hash(self.content)
            if b"If-None-Match: " + etag in request:
                writer.write(b"HTTP/1.1 304 Not Modified\r\nETag: " + etag + b"\r\n\r\n")
            else:
                head = b"HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (etag, len(self.content)) + self.content)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def bundle_server(content: bytes) -> Any:
    server = Server(content)
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def bundle(made: NewHome, sequence: int | None, *, closed: bool, key: bytes | None = pair("ES256")[0]) -> bytes:
    """Return the home's bundle with a number, with the folder `out/` closed or not, and signed."""
    files = read_folder(made.home / "policies")
    data = json.loads(files["data.json"])
    config = data
    for part in CONFIG_ROOT:
        config = config[part]
    config["files"]["write"]["closed_prefixes"] = ["out/"] if closed else []
    files["data.json"] = json.dumps(data).encode()
    files = with_manifest(files, revision=f"v{sequence}", sequence=sequence)
    if key is not None:
        files[".signatures.json"] = sign(files, key, key_id="team", scope="prod")
    return write_archive(files)


def follow(made: NewHome, server: Server, **more: Any) -> None:
    """Let the home take its bundles from the server."""
    (made.home / "keys" / "team.pub").write_bytes(pair("ES256")[1])
    path = made.home / CONFIG_NAME
    options = "".join(f"{name} = {json.dumps(value)}\n" for name, value in {"poll_seconds": 1, **more}.items())
    key = '[[policy.bundles.keys]]\nid = "team"\nalgorithm = "ES256"\nfile = "keys/team.pub"\nscope = "prod"\n'
    text = path.read_text().replace('source = "policies"', f'source = "http://{server.address}/b.tar.gz"')
    path.write_text(f"{text}\n[policy.bundles]\n{options}\n{key}")


async def writes(gateway: Gateway, made: NewHome, name: str) -> str:
    """Run a mission that writes to `out/`; return how it ended."""
    step = {"id": "a", "name": "a", "step_type": "create_file", "parameters": {"path": "out/x", "content": "text"}}
    view = await submitted(gateway, made, {**mission(step), "name": name}, request_id=name)
    error = view["result"]["step_results"]["a"].get("error")
    return str(error["code"] if error else view["result"]["overall_status"])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - it is the server's and the gateway's doing
            await asyncio.sleep(0.05)


def policy_events(made: NewHome) -> list[tuple[str, Any]]:
    """Return (type, what matters) of each event about bundles."""
    out = []
    for event in events_of(made):
        if event.event_type.startswith("policy.bundle_"):
            details = event.details
            out.append(
                (event.event_type.removeprefix("policy.bundle_"), details.get("code") or details.get("sequence"))
            )
    return out


async def test_a_gateway_follows_a_server_and_nobody_in_its_place(tmp_path: Path) -> None:
    """A newer bundle decides the next step; unsigned, foreign, cut, replayed ones do not; nor does an outage."""
    made = new_home(tmp_path)
    async with bundle_server(bundle(made, 1, closed=False)) as server:
        follow(made, server)
        async with serving(made) as gateway:
            assert await writes(gateway, made, "open") == "Success"
            server.content = bundle(made, 2, closed=True)
            await until(lambda: gateway.bundle.revision == "v2")
            assert await writes(gateway, made, "closed") == "step.path_closed"
            attacks = [
                bundle(made, 3, closed=False, key=None),
                bundle(made, 3, closed=False, key=pair("ES256", 1)[0]),
                bundle(made, 3, closed=False)[:-100],
                bundle(made, 1, closed=False),
                bundle(made, 2, closed=False),
            ]
            for attack in attacks:
                server.content, seen = attack, server.asked
                await until(lambda seen=seen: server.asked >= seen + 2)  # asked again, and refused again
            server.content, seen = None, server.asked
            await until(lambda: server.asked >= seen + 2)
            assert await writes(gateway, made, "still closed") == "step.path_closed"
    verified(made)
    codes = [what for kind, what in policy_events(made) if kind == "refused"]
    assert codes == [
        "policy.unsigned",
        "policy.bad_signature",
        "policy.bad_archive",
        "policy.older_revision",
        "policy.older_revision",
    ]
    assert [what for kind, what in policy_events(made) if kind == "activated"] == [1, 2]


async def test_a_restart_without_its_server_goes_on_as_it_stopped(tmp_path: Path) -> None:
    """The last good bundle decides; past the limit of its age, nothing is let through until the server is back."""
    made = new_home(tmp_path)
    async with bundle_server(bundle(made, 1, closed=False)) as server:
        follow(made, server, stale_seconds_max=86_400, on_stale="deny")
        async with serving(made) as gateway:
            assert await writes(gateway, made, "first") == "Success"
        good, server.content = server.content, None
        async with serving(made) as gateway:
            assert gateway.bundle.revision == "v1"
            assert await writes(gateway, made, "a day has not passed") == "Success"
        (made.home / "policy" / "confirmed").write_text("2026-01-01T00:00:00.000000Z")  # as if it had been long ago
        async with serving(made) as gateway:
            with pytest.raises(CallError, match="confirmed"):
                await writes(gateway, made, "stale")
            await until(lambda: stale_events(gateway) == [True])
            server.content = good
            await until(lambda: stale_events(gateway) == [True, False])
            assert await writes(gateway, made, "fresh") == "Success"
    verified(made)


def stale_events(gateway: Gateway) -> list[bool]:
    """Return what a gateway at work has said of its source, as far as it is under a checkpoint."""
    events = [json.loads(line) for line in gateway.audit.read(0, gateway.audit.size)]
    return [event["details"]["stale"] for event in events if event["event_type"] == "policy.bundle_stale"]


@pytest.mark.parametrize("content", [None, b"garbage"])
async def test_the_first_start_needs_a_good_bundle(tmp_path: Path, content: bytes | None) -> None:
    """Nothing is made up where nothing was ever had; what was started is stopped again."""
    made = new_home(tmp_path)
    async with bundle_server(b"") as server:
        server.content = content
        follow(made, server)
        with pytest.raises((BundleSourceError, PolicyInvalidError)):
            async with serving(made):
                raise AssertionError
    shutil.rmtree(made.home / "policy")
