"""What the demonstration does, without a word about how it looks."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from engine.audit.verify import VerificationReport, verify_log
from engine.clock import SystemClock
from gateway.assembly import Gateway, running_gateway
from gateway.client import CallError, Client, Server
from gateway.config import CONFIG_NAME, Config, load_config
from gateway.demo.service import rate_service
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome, make_home
from gateway.sandbox.hooks import demo_hooks
from gateway.vault.keeper import Keeper
from gateway.vault.master import MasterSource
from gateway.workers.isolation import Layer

_TOKEN_BYTES: Final = 32
_TENANT: Final = "default"
_SECRET: Final = "RATES_KEY"  # noqa: S105 - its name
_SCREEN: Final = "no_private_key_material"
_HOOKS: Final = Path(str(files("gateway"))) / "_hooks" / "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One mission of the demonstration: what it shows, and what has to come of it."""

    file: str
    shows: str
    expected: str  # overall status, or "Refused" where no mission comes of it
    code: str | None = None  # of the failure or refusal that has to be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an act."""

    act: Act
    name: str
    status: str
    step_results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refusals: Sequence[Mapping[str, Any]] = ()
    files: Sequence[tuple[str, str]] = ()  # name and text of each file that the mission left

    @property
    def as_expected(self) -> bool:
        """Whether the gateway did what the demonstration says it does."""
        failures = [step["error"] for step in self.step_results.values() if "error" in step]
        codes = {error["code"] for error in (*failures, *self.refusals)}
        return self.status == self.act.expected and (self.act.code is None or self.act.code in codes)


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
        file="3-refused.yaml",
        shows="A path that leaves the workspace, hidden by an encoding: the sanitizer refuses the whole mission.",
        expected="Refused",
        code="sanitize.path.traversal",
    ),
    Act(
        file="4-denied.yaml",
        shows="A path that is known only once the first step has run: the policy sees it then, and denies the step.",
        expected="Failed",
        code="step.path_closed",
    ),
    Act(
        file="5-loop.yaml",
        shows="A module that loops for ever: stopped when its allotted instructions are used up.",
        expected="Failed",
        code="constraint.cpu_exceeded",
    ),
    Act(
        file="6-hoard.yaml",
        shows="A module that grabs memory: stopped at its profile's limit.",
        expected="Failed",
        code="constraint.memory_exceeded",
    ),
    Act(
        file="7-approval.yaml",
        shows="A file for each region, two at a time; a step whose condition does not hold; and a question, which "
        "somebody else has to answer: the submitter may not.",
        expected="Success",
    ),
    Act(
        file="8-secret.yaml",
        shows="A key that no module, no log and no answer ever holds: the host puts it in, and takes it out again.",
        expected="Success",
    ),
    Act(
        file="9-screened.yaml",
        shows="A rule of the site's own, in WebAssembly: a screen finds a private key, and denies the step.",
        expected="Failed",
        code="screen.no_private_key_material.found",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running gateway with everything the acts need."""

    home: NewHome
    gateway: Gateway
    service_port: int
    reviewer_token: str

    async def play(self, act: Act) -> Outcome:
        """Submit the act's mission over gRPC and follow it to its end."""
        document = (files("gateway.demo") / "missions" / act.file).read_text()
        return await asyncio.to_thread(
            self._play, act, document.replace("SERVICE_URL", f"http://127.0.0.1:{self.service_port}")
        )

    def _play(self, act: Act, document: str) -> Outcome:
        name = document.partition("\nname: ")[2].partition("\n")[0]
        with Client(Server(self.gateway.address, self.home.token)) as client:
            try:
                mission_id = client.submit(document, act.file).mission_id
            except CallError as refusal:
                return Outcome(act=act, name=name, status="Refused", refusals=refusal.errors)
            for event in client.watch(mission_id):
                if event.kind == "step.waiting":
                    self._approve(mission_id, event.details)
            result = client.wait(mission_id).document()
        return Outcome(
            act=act,
            name=name,
            status=result["overall_status"],
            step_results=result["step_results"],
            files=self._files(mission_id),
        )

    def _approve(self, mission_id: str, asked: Mapping[str, Any]) -> None:
        """Answer as the second person, with the digest of what is asked."""
        with Client(Server(self.gateway.address, self.reviewer_token)) as client:
            client.decide_approval(
                mission_id, asked["approval_id"], approve=True, digest=asked["digest"], comment="the prices are right"
            )

    def _files(self, mission_id: str) -> list[tuple[str, str]]:
        root = self.home.home / "workspaces" / mission_id
        return [(str(p.relative_to(root)), p.read_text()) for p in sorted(root.rglob("*")) if p.is_file()]


def verify(home: NewHome) -> VerificationReport:
    """Verify the log that the gateway left behind, offline."""
    return verify_log(home.home / AUDIT_FOLDER, home.verifier_key)


def prepare(home: Path, service_port: int, reviewer_token: str = "") -> NewHome:
    """Make a home whose policy allows the local service, and whose hooks include the misbehaving ones.

    It keeps a secret for the service, and screens every step. With a token for a reviewer it knows a second person,
    who approves.
    """
    made = make_home(home, listen="127.0.0.1:0")
    data_file = home / "policies" / "data.json"
    data = json.loads(data_file.read_text())
    open_service(data, service_port)
    data["gateway"]["config"]["secrets"][_SECRET] = {
        "effects": ["http.request"],
        "hosts": ["127.0.0.1"],
        "kinds": ["http"],
        "tenants": [_TENANT],
    }
    Keeper(MasterSource(home, None), SystemClock()).set(_TENANT, _SECRET, bytearray(secrets.token_hex(16).encode()))
    data_file.write_text(json.dumps(data, indent=2))
    with (home / CONFIG_NAME).open("a") as config:
        if reviewer_token:
            digest = hashlib.sha256(reviewer_token.encode()).hexdigest()
            config.write(f'\n[[tokens]]\nsubject = "reviewer"\nroles = ["approver"]\nsha256 = "{digest}"\n')
        for hook in demo_hooks():
            config.write(f'\n[[hooks]]\npath = {json.dumps(str(_HOOKS / hook.name))}\nsha256 = "{hook.sha256}"\n')
        config.write(f'\n[[hooks]]\nbuiltin = "{_SCREEN}"\n')
    return made


def open_service(data: dict[str, Any], port: int) -> None:
    """Name the local service, and the demonstration's own hooks, in the bundle's data."""
    config = data["gateway"]["config"]
    config["networks"]["allow"] = [f"127.0.0.1:{port}"]  # where a connection may go
    config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["GET"]}  # what may be asked there
    for hook in demo_hooks():
        config["kinds"][hook.name] = {"profile": hook.profile, "effects": [], "closed_taint": []}


def _anywhere(config: Config) -> Config:
    """Return the configuration of a gateway that runs on any kernel, with what isolation there is."""
    workers = config.workers.model_copy(update={"accept_without": [str(layer) for layer in Layer]})
    return config.model_copy(update={"workers": workers})


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Run the service and the gateway."""
    async with rate_service() as port:
        reviewer_token = secrets.token_urlsafe(_TOKEN_BYTES)
        made = prepare(folder / "home", port, reviewer_token)
        async with running_gateway(made.home, _anywhere(load_config(made.home))) as gateway:
            yield Stage(home=made, gateway=gateway, service_port=port, reviewer_token=reviewer_token)
