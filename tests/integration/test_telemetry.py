"""A whole gateway that is watched: what it shows on its second port, in traces, in its log and as statistics."""

import asyncio
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from engine.clock import SystemClock
from gateway.telemetry.logs import Logs
from gateway.v1 import mission_pb2, statistics_pb2, statistics_pb2_grpc
from tests.collector import Collector, collecting
from tests.rpc_world import World, as_, document, refused, step, world

CALLS = "missiongate_rpc_duration_seconds_count"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PAYLOADS = ("zebra-in-a-parameter", "zebra-in-a-name", "zebra-in-a-file", "zebra-in-a-token", "zebra-in-a-reason")


@dataclass
class Watched:
    """What is left of a gateway that has ended."""

    metrics: str
    early: dict[str, Any]  # /readyz while it served
    spans: list[dict[str, Any]]
    log: str
    summary: statistics_pb2.GetStatisticsResponse
    foreign: statistics_pb2.GetStatisticsResponse
    executions: list[Any]
    refusals: dict[str, str]


async def play(running: World) -> None:
    """Run what goes well and what does not, with payloads wherever a client can put one."""
    parameters, name, file, token, reason = PAYLOADS
    good = (
        step("say", parameters={"input": parameters, "operations": [{"op": "upper"}]}),
        step("keep", "create_file", parameters={"path": f"{file}.txt", "content": parameters}, depends_on=["say"]),
        step("bad", parameters={"input": parameters, "operations": [{"op": "parse_json"}]}),
    )
    body = json.loads(document(*good))
    body["name"] = name
    body["config"] = {"fail_fast": False}
    request = mission_pb2.SubmitMissionRequest(request_id=reason, document=json.dumps(body).encode())
    answer = await running.missions.SubmitMission(request, metadata=(*as_("ann"), ("traceparent", CALLER)))
    await running.watch(answer.mission_id)
    await refused(running.submit("r2", step(name, "nothing-such")))
    bearer = (("authorization", f"Bearer {token}"),)
    await refused(running.missions.GetMission(mission_pb2.GetMissionRequest(mission_id=file), metadata=bearer))
    cancel = mission_pb2.CancelMissionRequest(mission_id=name, reason=reason)
    await refused(running.missions.CancelMission(cancel, metadata=as_("ann")))
    await running.submit("r3", step("other"), who="bob")


async def fetched(address: str, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        assert answer.status == 200
        return await answer.text()


async def asked(running: World) -> tuple[Any, Any, list[Any], dict[str, str]]:
    """Ask for statistics as several people."""
    async with grpc.aio.insecure_channel(running.gateway.address) as channel:
        stub = statistics_pb2_grpc.StatisticsServiceStub(channel)
        everything = statistics_pb2.GetStatisticsRequest()
        summary = await stub.GetStatistics(everything, metadata=as_("opi"))
        foreign = await stub.GetStatistics(everything, metadata=as_("aud"))
        listed = await stub.ListExecutions(statistics_pb2.ListExecutionsRequest(), metadata=as_("vic"))
        rules = statistics_pb2.GetConstraintStatisticsRequest()
        assert (await stub.GetConstraintStatistics(rules, metadata=as_("eve"))).rules
        refusals = {}
        for who, call in (
            ("nil", stub.GetStatistics(everything, metadata=as_("nil"))),
            ("ada", stub.GetStatistics(everything, metadata=as_("ada"))),
            ("ann", stub.GetConstraintStatistics(rules, metadata=as_("ann"))),
        ):
            refusals[who] = (await refused(call)).code().name
    return summary, foreign, list(listed.executions), refusals


async def until_counted(address: str) -> None:
    """Wait until every mission has its end."""
    async with asyncio.timeout(30):
        while 'missiongate_missions{state="running"} 0.0' not in await fetched(address, "/metrics"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def watch(folder: Path) -> Watched:
    """Run a gateway, play, ask, and let it end."""
    stream = io.StringIO()
    logs = Logs(SystemClock(), "debug", "json", stream)
    try:
        async with collecting() as collector:
            async with world(folder, config=lambda config: telling(config, collector)) as running:
                await play(running)
                await until_counted(running.gateway.web_address)
                answers = await asked(running)
                metrics = await fetched(running.gateway.web_address, "/metrics")
                early = json.loads(await fetched(running.gateway.web_address, "/readyz"))
            spans = [span for body in collector.bodies for span in spans_of(body)]
    finally:
        logs.close()
    return Watched(metrics, early, spans, stream.getvalue(), *answers)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return asyncio.run(watch(tmp_path_factory.mktemp("watched")))


def telling(config: Any, collector: Collector) -> Any:
    web = config.web.model_copy(update={"listen": "127.0.0.1:0"})
    tracing = config.tracing.model_copy(update={"url": f"{collector.url}/v1/traces", "ratio": 0.0})
    return config.model_copy(update={"web": web, "tracing": tracing})


def spans_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [span for resource in body["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]


def test_metrics_tell_of_what_was_done(watched: Watched) -> None:
    """Calls by status, every stage, steps by kind, and the parts of the gateway."""
    text = watched.metrics
    for line in (
        f'{CALLS}{{code="OK",method="gateway.v1.MissionService/SubmitMission",type="unary"}} 2.0',
        f'{CALLS}{{code="UNAUTHENTICATED",method="gateway.v1.MissionService/GetMission",type="unary"}} 1.0',
        'missiongate_step_duration_seconds_count{kind="transform",status="Failed"} 1.0',
        'missiongate_step_duration_seconds_count{kind="create_file",status="Completed"} 1.0',
        'missiongate_component_serving{component="gateway"} 1.0',
        r"missiongate_audit_unsigned_events ",
    ):
        assert line in text
    stages = set(re.findall(r'missiongate_stage_duration_seconds_count{outcome="ok",stage="([a-z_]+)"}', text))
    assert stages >= {"sanitize", "mission_policy", "resolve", "step_policy", "sandbox", "effect_policy", "effects"}
    assert re.search(r'missiongate_workers_alive{workers="builtin steps"} [1-9]', text)
    assert re.search(r'missiongate_workers_alive{workers="policy"} [1-9]', text)
    assert re.search(r"missiongate_policy_cache_requests_total{result=\"miss\"} [1-9]", text)
    assert re.search(r"^process_resident_memory_bytes [1-9]", text, re.MULTILINE)
    assert watched.early["serving"] is True


def test_a_callers_trace_goes_through_all_stages(watched: Watched) -> None:
    """Of the one call that was traced, though the ratio is 0; to the collector, before the gateway had ended."""
    assert {span["traceId"] for span in watched.spans} == {CALLER[3:35]}
    by_id = {span["spanId"]: span for span in watched.spans}
    [root] = [span for span in watched.spans if span["parentSpanId"] == CALLER[36:52]]
    assert root["name"] == "gateway.v1.MissionService/SubmitMission"
    names = {span["name"] for span in watched.spans}
    assert names >= {"sanitize", "mission_policy", "mission", "step", "resolve", "sandbox", "effects"}
    for span in watched.spans:
        assert span is root or span["parentSpanId"] in by_id


def test_no_payload_is_anywhere(watched: Watched) -> None:
    """Parameters, names, files, tokens and reasons: neither in metrics, nor in traces, nor in the log."""
    assert watched.log.strip()
    for line in watched.log.splitlines():
        json.loads(line)
    for place in (watched.metrics, json.dumps(watched.spans), watched.log):
        assert [payload for payload in PAYLOADS if payload in place] == []
        assert "-token" not in place
    assert not re.search(r"\b(?:ann|bob|opi)\b", watched.metrics + json.dumps(watched.spans))


def test_statistics_are_a_tenants_own(watched: Watched) -> None:
    """By kind, with codes; another tenant's auditor sees that tenant's, and who has no role nothing."""
    assert watched.summary.missions.count == 1
    kinds = {tally.kind: dict(tally.by_status) for tally in watched.summary.steps.tallies}
    assert kinds == {"transform": {"Completed": 1, "Failed": 1}, "create_file": {"Completed": 1}}
    assert len(watched.summary.steps.errors) == 1
    assert {tally.kind: tally.count for tally in watched.foreign.steps.tallies} == {"transform": 1}
    assert {row.step_id for row in watched.executions} == {"say", "keep", "bad"}
    assert watched.refusals == dict.fromkeys(("nil", "ada", "ann"), "PERMISSION_DENIED")
