"""Nothing is half there: each error has a status, each method a home and a role, each step kind all that it needs."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import engine
import gateway
from engine.errors import EngineError, FaultError, RefusalError
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.events import EventType
from gateway.rpc.audit_service import AuditService
from gateway.rpc.call_kinds import METHODS as KINDS_OF_METHODS
from gateway.rpc.errors import STATUSES
from gateway.rpc.hook_service import HookService
from gateway.rpc.mission_service import MissionService
from gateway.rpc.policy_service import PolicyService
from gateway.rpc.privacy_service import PrivacyService
from gateway.rpc.statistics_service import StatisticsService
from gateway.sandbox.hooks import builtin_hooks
from gateway.v1 import audit_pb2, hook_pb2, mission_pb2, policy_pb2, privacy_pb2, statistics_pb2
from tests.cli_runner import run

ROOT = Path(__file__).resolve().parent.parent
CONFIG = json.loads((ROOT / "policies/data.json").read_text())["gateway"]["config"]
IMPLEMENTED = {
    "gateway.v1.MissionService": MissionService,
    "gateway.v1.AuditService": AuditService,
    "gateway.v1.HookService": HookService,
    "gateway.v1.PolicyService": PolicyService,
    "gateway.v1.PrivacyService": PrivacyService,
    "gateway.v1.StatisticsService": StatisticsService,
}
# What changes the rules for all missions is the administrator's, until a site's own policy says otherwise.
ADMIN_ONLY = {("gateway.v1.HookService", method) for method in ("EnableHook", "DisableHook", "RollbackHook")}
METHODS = [
    (service.full_name, method.name)
    for file in (
        mission_pb2.DESCRIPTOR,
        audit_pb2.DESCRIPTOR,
        hook_pb2.DESCRIPTOR,
        policy_pb2.DESCRIPTOR,
        privacy_pb2.DESCRIPTOR,
        statistics_pb2.DESCRIPTOR,
    )
    for service in file.services_by_name.values()
    for method in service.methods
]
HOOKS = builtin_hooks()
KINDS = [hook.name for hook in HOOKS]


def error_classes() -> Iterator[type[EngineError]]:
    """Yield every class of the tree, after every module of both packages has been imported."""
    for package in (engine, gateway):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    waiting = [EngineError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.split(".")[0] in {"engine", "gateway"}:
            yield kind
            waiting += kind.__subclasses__()


def test_every_error_has_a_status() -> None:
    """A row of its own, or of a class above it that is not one of the roots: a new leaf cannot be forgotten."""
    roots = {EngineError, RefusalError, FaultError, Exception, BaseException, object}
    rootless = [
        kind.__name__
        for kind in error_classes()
        if kind not in STATUSES and not STATUSES.keys() & (set(kind.__mro__) - roots)
    ]
    assert rootless == []


def test_every_error_is_in_the_drawn_tree() -> None:
    """The docstrings that draw the tree name every class of their module."""
    for kind in error_classes():
        drawn = importlib.import_module(kind.__module__).__doc__ or ""
        if kind.__module__.endswith(".errors") and kind.__module__ != "gateway.rpc.errors":
            assert re.search(rf"\b{kind.__name__}\b", drawn), f"{kind.__module__} does not draw {kind.__name__}"


@pytest.mark.parametrize(("service", "method"), METHODS)
def test_every_method_is_implemented_and_opened_by_a_role(service: str, method: str) -> None:
    """By our own code, not by the stub that says UNIMPLEMENTED; and for somebody else than the administrator.

    The exceptions are listed, and are open to nobody else: a role that gains one has to be named here.
    """
    assert method in vars(IMPLEMENTED[service])

    def lists(methods: dict[str, list[str]]) -> bool:
        return bool({method, "*"} & set(methods.get(service, ())))

    others = [
        name
        for name, role in CONFIG["roles"].items()
        if name != "admin" and (lists(role["methods"]) or lists(role["own_methods"]))
    ]
    assert bool(others) is ((service, method) not in ADMIN_ONLY)


def test_every_method_is_of_a_kind_to_the_limits() -> None:
    """Which bucket a call is taken from, and when it gives way, is decided for each, and for nothing else."""
    assert set(KINDS_OF_METHODS) == set(METHODS)


def test_roles_open_no_method_that_is_not_there() -> None:
    """A name that is mistyped, or whose method has gone, opens nothing and is told."""
    for role in CONFIG["roles"].values():
        for service, methods in {**role["methods"], **role["own_methods"]}.items():
            if service in IMPLEMENTED:
                assert {(service, m) for m in methods if m != "*"} <= set(METHODS)


def test_the_step_kinds_are_the_eight() -> None:
    """What the build has put into the package."""
    assert sorted(KINDS) == ["approval", "command", "create_file", "delay", "http", "mission", "read_file", "transform"]


@pytest.mark.parametrize("hook", HOOKS, ids=KINDS)
def test_every_step_kind_has_all_that_it_needs(hook: Any) -> None:
    """Module, closed schema, known effects, a profile, policy data, a row and a section of the documents, a test."""
    assert hook.module.startswith(b"\0asm")
    assert hook.schema["additionalProperties"] is False
    assert set(hook.effects) <= set(ARGUMENT_SCHEMAS)
    assert hook.profile in CONFIG["profiles"]
    assert sorted(CONFIG["kinds"][hook.name]["effects"]) == sorted(hook.effects)
    assert any(hook.name in role["kinds"] for role in CONFIG["roles"].values())
    document = (ROOT / "docs/step-kinds.md").read_text()
    assert f"| `{hook.name}` |" in document
    assert f"\n## {hook.name}\n" in document
    assert any(f'"{hook.name}"' in path.read_text() for path in (ROOT / "tests").rglob("test_step_modules.py"))


def test_every_event_is_described() -> None:
    """docs/audit-format.md has each that the gateway writes, and no other."""
    table = (ROOT / "docs/audit-format.md").read_text().partition("\n## 10. ")[2].partition("\n## ")[0]
    rows = [row.partition(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    described = [name for row in rows for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row)]
    assert sorted(described) == sorted(EventType)


EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_mission(path: Path) -> None:
    """It gets through the sanitizer; whether policy opens its hosts is for the site to say."""
    done = run("plan", path, "-o", "json")
    assert done.json.get("levels"), done.out


def test_every_step_kind_is_in_an_example() -> None:
    """So that a reader can copy one."""
    used = {step["step_type"] for path in EXAMPLES for step in yaml.safe_load(path.read_text())["steps"]}
    assert used == set(KINDS)
