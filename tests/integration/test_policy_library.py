"""The recipes of docs/policy-library.md: each is loaded as it stands there, and decides what it says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.effects.commands.data import commands_from
from gateway.effects.limits import limit_table
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy.vetting import Module
from gateway.policy_data.sections import check_policy_data
from gateway.rules import bundled_policies
from gateway.security_levels import security_levels
from tests.policy_documents import TIME

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy-library.md").read_text()
RECIPES = {
    heading: json.loads("{" + block + "}")
    for heading, block in re.findall(
        r"^### ([^\n]+)\n(?:(?!^#).)*?^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
    )
}


def merged(base: Any, part: Any) -> Any:
    """Return `base` with `part` merged in, as the page says: objects are merged, all else takes the place."""
    if not isinstance(base, Mapping) or not isinstance(part, Mapping):
        return part
    return {**base, **{key: merged(base.get(key), value) for key, value in part.items()}}


def bundle_with(part: Any, *extra: Module) -> Bundle:
    """Return the default bundle with a recipe in its data, held to all that the gateway holds it to at load."""
    default = Bundle.load(bundled_policies())
    data = merged(default.document, {"gateway": {"config": part}})
    manifest = {"revision": "recipe", "roots": list(default.roots), "rego_version": 1}
    bundle = Bundle.build(manifest=manifest, data=data, modules=[*default.modules, *extra])
    check_policy_data(bundle.data)
    commands_from(bundle.data)
    security_levels(bundle.data)
    limit_table(bundle.data)
    return bundle


def time(minute: str, weekday: str) -> dict[str, Any]:
    """Return the minute of a document."""
    return {**TIME, "rfc3339": minute, "weekday": weekday}


MONDAY_NOON = time("2026-11-30T12:00:00Z", "monday")
MONDAY_NIGHT = time("2026-11-30T23:00:00Z", "monday")
SUNDAY = time("2026-11-29T12:00:00Z", "sunday")
CHRISTMAS = time("2026-12-25T09:30:00Z", "friday")


@dataclass(frozen=True, kw_only=True)
class Who:
    """A caller, and when and with which labels they call."""

    subject: str = "ann"
    tenant: str = "red"
    roles: tuple[str, ...] = ("submitter",)
    labels: Mapping[str, str] = field(default_factory=dict)
    now: Mapping[str, Any] = field(default_factory=lambda: MONDAY_NOON)
    taint: tuple[str, ...] = ()

    def document(self, **parts: Any) -> bytes:
        principal = {"subject": self.subject, "tenant": self.tenant, "roles": self.roles, "anonymous": False}
        return orjson.dumps({"version": 1, "principal": principal, **parts, "time": self.now})

    def calls(self, method: str, **resource: Any) -> tuple[Entrypoint, bytes]:
        rpc = {"service": "gateway.v1.MissionService", "method": method}
        return "rpc", self.document(rpc=rpc, resource=resource)

    def submits(
        self, *kinds: str, steps: int = 1, parallel: int = 4, level: str = "balanced"
    ) -> tuple[Entrypoint, bytes]:
        config = {"parallel_limit": parallel}
        mission = {"name": "m", "labels": self.labels, "config": config, "security_level": level, "runs": steps}
        planned = [
            {"id": f"s{i}", "step_type": kinds[i % len(kinds)], "profile": None, "secrets": [], "taint": self.taint}
            for i in range(steps)
        ]
        return "mission", self.document(mission={**mission, "steps": planned})

    def runs(self, kind: str, **parameters: Any) -> tuple[Entrypoint, bytes]:
        return "step", self.document(**self._step(kind), parameters=parameters)

    def asks(self, kind: str, op: str, **args: Any) -> tuple[Entrypoint, bytes]:
        effect = {"op": op, "index": 0, "args": args, "secrets": []}
        return "effect", self.document(**self._step(kind), parameters={}, effect=effect)

    def gets(self, host: str, method: str = "GET", port: int = 443) -> tuple[Entrypoint, bytes]:
        return self.asks("http", "http.request", method=method, host=host, port=port)

    def writes(self, path: str) -> tuple[Entrypoint, bytes]:
        return self.asks("create_file", "file.write", path=path, content="", mode="create")

    def executes(self, command: str) -> tuple[Entrypoint, bytes]:
        return self.asks("command", "command.run", argv=[command], command=command)

    def _step(self, kind: str) -> dict[str, Any]:
        mission = {"id": "m1", "name": "m", "labels": self.labels, "security_level": "balanced"}
        step = {"id": "a", "name": "a", "step_type": kind, "profile": "wasm", "attempt": 1, "secrets": []}
        return {"mission": mission, "step": step, "taint": self.taint}


OF_BOB = {"mission_id": "m1", "tenant": "red", "submitter": "bob", "submitter_roles": ["submitter", "team_orders"]}
ASKED = OF_BOB | {"approved_by": ["eve"]}
ANN, BLUE = Who(), Who(tenant="blue")
APPROVER = Who(roles=("approver",))
CONTRACTOR = Who(roles=("contractor",))
CLOSED = "effect.capability_missing"

SAYS: dict[str, list[tuple[tuple[Entrypoint, bytes], str]]] = {  # what is asked, and the code of the denial, or ""
    "A change freeze": [
        (Who(now=CHRISTMAS).submits("create_file", "transform"), "mission.closed_now"),
        (Who(now=CHRISTMAS).submits("read_file", "transform"), ""),
        (Who(now=CHRISTMAS).writes("out/x"), ""),
        (ANN.submits("create_file"), ""),
        (Who(now=time("2027-01-04T05:59:00Z", "monday")).submits("create_file"), "mission.closed_now"),
        (Who(now=time("2027-01-04T06:00:00Z", "monday")).submits("create_file"), ""),
    ],
    "Office hours for contractors": [
        (CONTRACTOR.calls("GetMission"), ""),
        (CONTRACTOR.submits("read_file"), ""),
        (CONTRACTOR.submits("http"), "mission.kind_not_granted"),
        (Who(roles=("contractor",), now=MONDAY_NIGHT).calls("GetMission"), "rpc.closed_now"),
        (Who(roles=("contractor",), now=SUNDAY).submits("read_file"), "mission.closed_now"),
        (Who(roles=("contractor",), now=SUNDAY).runs("transform"), "step.closed_now"),
        (Who(roles=("contractor",), now=SUNDAY).asks("read_file", "file.read", path="a"), "effect.closed_now"),
        (Who(now=SUNDAY).calls("GetMission"), ""),
        (Who(roles=("submitter", "contractor"), now=SUNDAY).calls("GetMission"), "rpc.closed_now"),
    ],
    "A nightly job": [
        (ANN.executes("reindex"), "effect.closed_now"),
        (Who(now=MONDAY_NIGHT).executes("reindex"), ""),
        (Who(now=time("2026-12-01T04:59:00Z", "tuesday")).executes("reindex"), ""),
        (Who(now=time("2026-12-01T05:00:00Z", "tuesday")).executes("reindex"), "effect.closed_now"),
        (ANN.writes("out/x"), ""),
    ],
    "A tenant with two hosts": [
        (ANN.gets("api.example.com"), ""),
        (ANN.gets("api.example.com", "POST"), ""),
        (ANN.gets("files.example.com"), ""),
        (ANN.gets("files.example.com", "PUT"), CLOSED),
        (ANN.gets("mirror.example.net"), ""),
        (BLUE.gets("mirror.example.net"), ""),
        (BLUE.gets("api.example.com"), CLOSED),
        (ANN.gets("example.com"), "effect.host_closed"),
        (ANN.gets("api.example.com", port=80), "effect.port_closed"),
    ],
    "A folder for each kind of work": [
        (ANN.writes("out/x"), ""),
        (BLUE.writes("out/a/b"), ""),
        (ANN.writes("x"), CLOSED),
        (Who(labels={"purpose": "reports"}).writes("reports/q4"), ""),
        (Who(labels={"purpose": "reports"}, tenant="blue").writes("reports/q4"), CLOSED),
        (ANN.writes("reports/q4"), CLOSED),
        (ANN.writes("outside"), CLOSED),
    ],
    "A command for a few people": [
        (ANN.executes("sort"), ""),
        (ANN.executes("deploy"), CLOSED),
        (Who(roles=("submitter", "deployer")).executes("deploy"), ""),
        (Who(subject="ci").executes("deploy"), ""),
        (Who(subject="ci", tenant="blue").executes("deploy"), CLOSED),
        (Who(roles=("submitter", "deployer")).executes("tar"), "effect.command_closed"),
    ],
    "Four eyes": [
        (APPROVER.calls("DecideApproval", **ASKED), ""),
        (Who(roles=("approver", "submitter")).calls("DecideApproval", **ASKED), "rpc.approver_excluded"),
        (Who(roles=("approver", "team_orders")).calls("DecideApproval", **ASKED), "rpc.approver_shares_role"),
        (Who(roles=("approver", "team_payments")).calls("DecideApproval", **ASKED), ""),
        (Who(roles=("approver", "submitter")).calls("GetMission", **OF_BOB), ""),
    ],
    "Two people agree": [
        (APPROVER.calls("DecideApproval", **ASKED), ""),
        (Who(subject="eve", roles=("approver",)).calls("DecideApproval", **ASKED), "rpc.approver_repeated"),
    ],
    "No network data into commands, no files out": [
        (Who(taint=("network",), roles=("admin",)).submits("command"), "mission.taint"),
        (Who(taint=("workspace",), roles=("admin",)).submits("command"), ""),
        (Who(taint=("workspace",)).submits("http"), "mission.taint"),
        (Who(taint=("command",)).gets("example.com"), "effect.taint"),
        (Who(taint=("client", "network")).submits("http"), ""),
    ],
    "Small missions for one tenant": [
        (Who(tenant="trial").submits("transform", steps=20), ""),
        (Who(tenant="trial").submits("transform", steps=21), "mission.limit"),
        (Who(tenant="trial").submits("transform", parallel=5), "mission.limit"),
        (ANN.submits("transform", steps=21, parallel=5), ""),
    ],
    "Strict missions only": [
        (ANN.submits("read_file", level="strict"), ""),
        (ANN.submits("read_file"), "mission.level_not_granted"),
        (Who(roles=("admin",)).submits("read_file"), ""),
    ],
}


def test_every_recipe_is_tested() -> None:
    """A recipe without a case would be a promise."""
    assert list(RECIPES) == list(SAYS)


@pytest.mark.parametrize("heading", RECIPES)
async def test_a_recipe_does_what_it_says(heading: str) -> None:
    """Loaded as it stands on the page: what it opens and closes, each denial by its code."""
    engine = RegorusEngine(bundle_with(RECIPES[heading]))
    for i, ((entrypoint, document), code) in enumerate(SAYS[heading]):
        decision = await engine.decide(entrypoint, document)
        codes = {reason.code for reason in decision.reasons}
        assert (decision.allow, code in codes or not codes) == (code == "", True), (i, decision)


@pytest.mark.parametrize("heading", RECIPES)
async def test_without_the_recipe_something_is_decided_otherwise(heading: str) -> None:
    """No recipe describes the default bundle."""
    engine = RegorusEngine(Bundle.load(bundled_policies()))
    answers = [(await engine.decide(*asked)).allow for asked, _ in SAYS[heading]]
    assert answers != [code == "" for _, code in SAYS[heading]]


def test_limits_of_a_tenant_reach_its_effects() -> None:
    """The second line of the recipe is the host's: what a write of that tenant may be."""
    table = limit_table(bundle_with(RECIPES["Small missions for one tenant"]).data)
    assert table.of("create_file", ["submitter"], "trial").file_write_bytes_max == 65_536
    assert table.of("create_file", ["submitter"], "red") == table.default


async def test_the_rule_that_takes_from_the_library_is_vetted_and_holds() -> None:
    """The Rego of the page, in a bundle, as its reader would put it there."""
    [source] = re.findall(r"^```rego\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    hosts = {"hosts": {name: {"ports": [443], "methods": ["GET", "PUT"]} for name in ("a.example.org", "example.com")}}
    engine = RegorusEngine(bundle_with({"http": hosts}, Module("gateway/effect/uploads.rego", source)))
    asked = {"a.example.org": "effect.upload_closed", "example.com": ""}
    for host, code in asked.items():
        decision = await engine.decide(*ANN.gets(host, "PUT"))
        assert [reason.code for reason in decision.reasons] == ([code] if code else [])
        assert (await engine.decide(*ANN.gets(host))).allow is True
