"""What the demonstration does, without a word about how it looks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from engine.audit.verify import VerificationReport, verify_log
from gateway.assembly import AUDIT_FOLDER, Gateway, running_gateway
from gateway.client import Client, Server
from gateway.config import CONFIG_NAME, load_config
from gateway.demo.service import rate_service
from gateway.home import NewHome, make_home
from gateway.sandbox.hooks import demo_hooks

_HOOKS: Final = Path(str(files("gateway"))) / "_hooks" / "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One mission of the demonstration: what it shows, and what has to come of it."""

    file: str
    shows: str
    expected: str  # overall status
    code: str | None = None  # of the failure that has to be seen


ACTS: Final = (
    Act(
        file="1-report.yaml",
        shows="An allowed chain: write a file, read it, transform it twice side by side, write the report.",
        expected="Success",
    ),
    Act(
        file="2-fetch.yaml",
        shows="A call to a local HTTP service that the policy names; the module itself has no network.",
        expected="Success",
    ),
    Act(
        file="3-denied.yaml",
        shows="A step that the policy denies, once its path is known. A denial halts the mission.",
        expected="Failed",
        code="path.protected",
    ),
    Act(
        file="4-loop.yaml",
        shows="A module that loops for ever: stopped when its allotted instructions are used up.",
        expected="Failed",
        code="constraint.cpu_exceeded",
    ),
    Act(
        file="5-hoard.yaml",
        shows="A module that grabs memory: stopped at its profile's limit.",
        expected="Failed",
        code="constraint.memory_exceeded",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running gateway with everything the acts need."""

    home: NewHome
    gateway: Gateway
    service_port: int

    async def play(self, act: Act) -> dict[str, Any]:
        """Submit the act's mission over gRPC, follow it to its end, and return its view."""
        document = (files("gateway.demo") / "missions" / act.file).read_text()
        document = document.replace("SERVICE_URL", f"http://127.0.0.1:{self.service_port}")
        return await asyncio.to_thread(self._play, document.encode(), act.file)

    def _play(self, document: bytes, request_id: str) -> dict[str, Any]:
        with Client(Server(self.gateway.address, self.home.token)) as client:
            mission_id = client.submit(document, request_id)["mission_id"]
            for _ in client.watch(mission_id):
                pass
            return client.get(mission_id)

    def files(self, mission_id: str) -> list[tuple[str, str]]:
        """Return name and text of every file in a mission's workspace."""
        root = self.home.home / "workspaces" / mission_id
        return [(str(p.relative_to(root)), p.read_text()) for p in sorted(root.rglob("*")) if p.is_file()]


def verify(home: NewHome) -> VerificationReport:
    """Verify the log that the gateway left behind, offline."""
    return verify_log(home.home / AUDIT_FOLDER, home.verifier_key)


def prepare(home: Path, service_port: int) -> NewHome:
    """Make a home whose policy allows the local service, and whose hooks include the misbehaving ones."""
    made = make_home(home, listen="127.0.0.1:0")
    data_file = home / "policies" / "data.json"
    data = json.loads(data_file.read_text())
    open_service(data, service_port)
    data_file.write_text(json.dumps(data, indent=2))
    with (home / CONFIG_NAME).open("a") as config:
        for hook in demo_hooks():
            config.write(f'\n[[hooks]]\npath = {json.dumps(str(_HOOKS / hook.name))}\nsha256 = "{hook.sha256}"\n')
    return made


def open_service(data: dict[str, Any], port: int) -> None:
    """Name the local service, and the demonstration's own hooks, in the bundle's data."""
    data["networks"]["allow"] = [f"127.0.0.1:{port}"]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Run the service and the gateway."""
    async with rate_service() as port:
        made = prepare(folder / "home", port)
        async with running_gateway(made.home, load_config(made.home)) as gateway:
            yield Stage(home=made, gateway=gateway, service_port=port)
