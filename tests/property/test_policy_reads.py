"""The law of what a policy reads: documents that agree on it have one answer, so that a kept one is a fresh one."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.cache import CachedPolicy
from gateway.policy.evaluator import Evaluator
from gateway.policy.reads import Reads
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy.vetting import Module
from tests.rego_generator import DATA, Policy, document

POLICIES = Path(__file__).resolve().parents[2] / "policies"
MISSIONS, AUDIT, HOOKS = "gateway.v1.MissionService", "gateway.v1.AuditService", "gateway.v1.HookService"
SUBJECTS, TENANTS = st.sampled_from(["ann", "bob"]), st.sampled_from(["default", "other"])
ROLES = st.lists(st.sampled_from(["submitter", "approver", "admin", "auditor", "viewer", "nobody"]), max_size=3)


def _site(**config: Any) -> RegorusEngine:
    bundle = Bundle.load(POLICIES)
    data = orjson.loads(orjson.dumps(bundle.document))
    data["gateway"]["config"] |= config
    made = Bundle.build(manifest={"roots": ["gateway"]}, data=data, modules=list(bundle.modules))
    READS[made.digest] = made.rpc_reads
    return RegorusEngine(made)


READS: dict[str, Reads] = {}
APPROVALS: Mapping[str, Any] = {"approvers": ["approver"], "expires_seconds_max": 60}
ENGINES = [
    _site(),
    _site(
        windows={"night": {"from": "22:00", "to": "06:00"}},
        closings=[{"name": "n", "at": ["rpc"], "message": "m", "roles": ["submitter"], "closed_in": ["night"]}],
    ),
    _site(approvals={**APPROVALS, "separation": {"exclusive_roles": ["submitter"], "distinct_approvers": True}}),
]

PRINCIPALS = st.fixed_dictionaries({"subject": SUBJECTS, "tenant": TENANTS, "roles": ROLES, "anonymous": st.booleans()})
CALLS = st.sampled_from(
    [
        {"service": MISSIONS, "method": "GetMission"},
        {"service": MISSIONS, "method": "CancelMission"},
        {"service": MISSIONS, "method": "DecideApproval"},
        {"service": AUDIT, "method": "QueryEvents"},
        {"service": HOOKS, "method": "EnableHook"},
    ]
)
RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "mission_id": st.sampled_from(["m1", "m2", "m3"]),
        "tenant": TENANTS,
        "submitter": SUBJECTS,
        "submitter_roles": ROLES,
        "approved_by": st.lists(SUBJECTS, max_size=2),
        "audit_scope": st.sampled_from(["mission", "tenant", "log"]),
    },
)
TIMES = st.sampled_from(
    [
        {"rfc3339": "2026-11-26T23:35:00Z", "weekday": "thursday", "minute_of_day": 1415, "unix_seconds": 1795736100},
        {"rfc3339": "2026-11-26T12:00:00Z", "weekday": "thursday", "minute_of_day": 720, "unix_seconds": 1795694400},
    ]
)
DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just(1), "principal": PRINCIPALS, "rpc": CALLS, "resource": RESOURCES, "time": TIMES}
)


@given(st.sampled_from(ENGINES), st.lists(DOCUMENTS, min_size=2, max_size=12))
def test_a_kept_answer_about_a_call_is_a_fresh_one(engine: RegorusEngine, asked: list[dict[str, Any]]) -> None:
    """The same people, methods, missions and minutes in all combinations, by bundles with and without restrictions."""

    async def check() -> None:
        cached = CachedPolicy(engine, entries_max=100, deterministic=True, rpc_reads=READS[engine.digest])
        for each in asked:
            raw = orjson.dumps(each)
            assert await cached.decide("rpc", raw) == await engine.decide("rpc", raw)

    asyncio.run(check())


@given(st.integers(0, 10_000), st.integers(0, 50), st.integers(0, 50))
def test_what_is_not_read_changes_nothing(seed: int, one: int, other: int) -> None:
    """Random policies: a document with anything else in the place of what is not read has the same answer."""
    made = Policy(seed, "gateway.rpc")
    if not made.rules:
        return
    text = f"{made.text}\ndecision := [{', '.join(made.rules)}]\n"
    try:
        bundle = Bundle.build(manifest={"roots": ["gateway", "gen"]}, data=DATA, modules=[Module("p.rego", text)])
    except PolicyInvalidError:
        return
    reads = bundle.rpc_reads
    first = document(one)
    evaluator = Evaluator(bundle.sources, bundle.document)
    answers = [
        evaluator.evaluate("rpc", orjson.dumps(each)) for each in (first, agreeing(document(other), first, reads))
    ]
    assert answers[0] == answers[1], (text, first, reads)


def agreeing(document: dict[str, Any], other: dict[str, Any], reads: Reads) -> dict[str, Any]:
    """Return a document that agrees with another on what is read, and on nothing else if it can."""
    if () in reads:
        return other
    for *above, last in reads:
        place, theirs = document, other
        for key in above:
            theirs = theirs.get(key) if isinstance(theirs, dict) else None
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        if isinstance(theirs, dict) and last in theirs:
            place[last] = theirs[last]
        else:
            place.pop(last, None)
    return document
