"""The gRPC server as clients meet it: a real server and real channels, in front of a fake desk."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from engine.errors import Violation
from engine.result import StepFailure, StepResult, StepState
from engine.values import JsonObject
from gateway.errors import ConfigurationError, PolicyDeniedError, Reason, SanitizationError, StoreError
from gateway.identity import ANONYMOUS, Principal
from gateway.rpc.listeners import Listening
from gateway.rpc.opened import STREAM_OPENED
from gateway.rpc.server import RpcServer
from gateway.v1 import audit_pb2, mission_pb2
from tests.fakes import (
    DIGEST,
    MOMENT,
    FakeAudit,
    FakeDesk,
    FakeGate,
    approval,
    ended,
    event,
    note_of,
    step_result,
    view,
)
from tests.rpc_calls import answers, refused, until
from tests.rpc_server import ANN, AS_ANN, AS_BOB, Served, details, everything, serving

GET = mission_pb2.GetMissionRequest(mission_id="m-1")
WATCH = mission_pb2.WatchMissionRequest(mission_id="m-1")
SUBMIT = mission_pb2.SubmitMissionRequest(request_id="r", document=b"{}")
DEFAULT_METADATA_LIMIT = 8 * 1024


def decision(**changes: Any) -> mission_pb2.DecideApprovalRequest:
    """Return a yes to the approval `a-1`, and what of it is to be another."""
    fields = {"mission_id": "m-1", "approval_id": "a-1", "verdict": mission_pb2.APPROVAL_VERDICT_APPROVE}
    return mission_pb2.DecideApprovalRequest(**{**fields, "digest": DIGEST, **changes})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(FakeDesk(missions={"m-1": view(), "m-2": view("m-2", tenant="other")})) as out:
        yield out


# --- what a client learns of what went wrong ---


@pytest.mark.parametrize("fault", [ValueError("secret"), RuntimeError("secret"), KeyError("secret"), OSError("secret")])
async def test_no_text_of_a_bug_reaches_a_client(
    served: Served, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is INTERNAL with a reference; its text is in the log under that reference only."""
    served.desk.fault = fault
    for call in (
        served.missions.GetMission(GET, metadata=AS_ANN),
        served.missions.SubmitMission(SUBMIT, metadata=AS_ANN),
        served.missions.WatchMission(WATCH, metadata=AS_ANN),
    ):
        error = await refused(call)
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in everything(error)
        assert type(fault).__name__ not in everything(error)
        assert details(error)[2].code == "internal"
        reference = (error.details() or "").rpartition(" ")[2]
        assert reference in caplog.text
    assert "secret" in caplog.text


async def test_a_bug_after_the_first_message_of_a_stream_tells_no_more() -> None:
    """The messages before it arrive; then INTERNAL, without the exception's text."""
    desk = FakeDesk(missions={"m-1": view()}, events=[event(0), event(1), event(2)], fault_after=2)
    async with serving(desk) as served:
        seen: list[Any] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers(served.missions.WatchMission(WATCH, metadata=AS_ANN), seen)
        assert [answer.event.index for answer in seen] == [0, 1]
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in everything(caught.value)


async def test_a_bug_in_the_gate_or_the_lookup_tells_nothing(served: Served) -> None:
    """What stands in front of the service is wrapped like the service."""

    def broken(*_: object) -> None:
        raise ValueError("secret of the gate")

    served.gate.verdict = broken
    error = await refused(served.missions.GetMission(GET, metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in everything(error)


async def test_a_faults_code_is_told_and_its_text_is_not(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A fault may name paths of the gateway: clients get UNAVAILABLE, the stable code and a reference."""
    served.desk.fault = StoreError("/srv/secret/missions.db: disk I/O error", code="store.full")
    error = await refused(served.missions.GetMission(GET, metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details(error)[2].code == "store.full"
    assert details(error)[0].reason == "STORE_FULL"
    assert "secret" not in everything(error)
    assert "/srv/secret" in caplog.text


async def test_a_refusal_carries_every_violation_with_its_place(served: Served) -> None:
    """ErrorInfo, BadRequest and ErrorDetail say the same, each in its way."""
    violation = Violation(code="mission.cycle", message="a → b → a", field="steps[1].depends_on", line=7, column=3)
    served.desk.fault = SanitizationError([violation])
    error = await refused(served.missions.SubmitMission(SUBMIT, metadata=AS_ANN))
    info, bad, detail = details(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.domain, info.reason) == ("missiongate", "MISSION_CYCLE")
    assert [(v.field, v.description, v.reason) for v in bad.field_violations] == [
        ("steps[1].depends_on", "line 7: a → b → a", "MISSION_CYCLE")
    ]
    assert [(v.code, v.line, v.column) for v in detail.violations] == [("mission.cycle", 7, 3)]
    assert not detail.omitted


@pytest.mark.parametrize(
    "fault",
    [
        SanitizationError(
            [Violation(code="path.dots", message="é" * 4_000, field=f"steps[{i}].{'x' * 900}") for i in range(64)]
        ),
        SanitizationError([Violation(code="path.dots", message="m" * 300, field=f"steps[{i}]") for i in range(64)]),
        PolicyDeniedError([Reason("p" * 256, "\N{GRINNING FACE}" * 8_192, "r" * 256) for _ in range(64)]),
        PolicyDeniedError([Reason("path.protected", "no", "data.rule") for _ in range(64)]),
    ],
    ids=["huge violations", "many violations", "huge reasons", "many reasons"],
)
async def test_an_error_fits_into_trailing_metadata(served: Served, fault: Exception) -> None:
    """However much went wrong, a client with the usual limit of 8 KiB gets our status, and the number left out."""
    served.desk.fault = fault
    options = (("grpc.max_metadata_size", DEFAULT_METADATA_LIMIT), ("grpc.absolute_max_metadata_size", 8 * 1024))
    async with grpc.aio.insecure_channel(served.server.address, options=options) as channel:
        error = await refused(
            Served(served.server, served.desk, served.gate, served.audit, channel, served.held).missions.GetMission(
                GET, metadata=AS_ANN
            )
        )
    detail = details(error)[2]
    assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
    assert len(detail.violations) + len(detail.reasons) >= 1
    assert len(detail.violations) + len(detail.reasons) + detail.omitted == 64


# --- who calls ---


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "Bearer "),),
        (("authorization", "ann-token"),),
        (("authorization", "Basic ann-token"),),
        (("authorization", "Bearer ann-token"), ("authorization", "Bearer ann-token")),
        (("authorization", "Bearer " + "a" * 5_000),),
    ],
)
async def test_who_is_not_known_gets_nowhere(served: Served, metadata: tuple[tuple[str, str], ...]) -> None:
    """Without one accepted token, no gate is asked, no desk called, no request parsed."""
    for call in (
        served.missions.GetMission(GET, metadata=metadata),
        served.missions.WatchMission(WATCH, metadata=metadata),
        served.log.GetCheckpoint(audit_pb2.GetCheckpointRequest(), metadata=metadata),
    ):
        assert (await refused(call)).code() is grpc.StatusCode.UNAUTHENTICATED
    assert served.gate.asked == []
    assert served.desk.callers == []


async def test_loopback_callers_are_let_in_without_a_token_only_where_the_operator_says_so() -> None:
    """With the flag, a caller without a token is the anonymous principal; a wrong token is still refused."""
    async with serving(FakeDesk(missions={"m-1": view()}), anonymous=True) as served:
        await served.missions.GetMission(GET)
        assert served.desk.callers == [ANONYMOUS]
        error = await refused(served.missions.GetMission(GET, metadata=(("authorization", "Bearer wrong"),)))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_callers_principal_is_their_own_call_by_call(served: Served) -> None:
    """Calls side by side on one channel do not see each other's caller."""
    await asyncio.gather(
        *(served.missions.ListMissions(mission_pb2.ListMissionsRequest(), metadata=m) for m in (AS_ANN, AS_BOB) * 20)
    )
    assert sorted(p.subject for p in served.desk.callers) == ["ann"] * 20 + ["bob"] * 20


async def test_the_gate_hears_of_every_call_what_it_is_about(served: Served) -> None:
    """Service, method, and owner of the mission; of a foreign mission only the id that the caller sent."""
    await served.missions.GetMission(GET, metadata=AS_ANN)
    await refused(served.missions.GetMission(mission_pb2.GetMissionRequest(mission_id="m-2"), metadata=AS_ANN))
    assert served.gate.asked == [
        (
            ANN,
            "gateway.v1.MissionService",
            "GetMission",
            {"mission_id": "m-1", "tenant": "default", "submitter": "ann", "submitter_roles": ["submitter"]},
        ),
        (ANN, "gateway.v1.MissionService", "GetMission", {"mission_id": "m-2"}),
    ]


async def test_a_call_that_the_gate_refuses_does_not_run(served: Served) -> None:
    """PERMISSION_DENIED with the reasons, in unary and streaming calls; the desk hears nothing."""

    def no(_principal: Principal, _service: str, _method: str, _resource: JsonObject) -> None:
        raise PolicyDeniedError(
            [Reason("rpc.method_not_granted", "none of your roles lists it", "data.gateway.rpc.deny")]
        )

    served.gate.verdict = no
    for call in (
        served.missions.GetMission(GET, metadata=AS_ANN),
        served.missions.WatchMission(WATCH, metadata=AS_ANN),
        served.log.ReadEvents(audit_pb2.ReadEventsRequest(), metadata=AS_ANN),
    ):
        error = await refused(call)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert [r.code for r in details(error)[2].reasons] == ["rpc.method_not_granted"]
    assert served.desk.callers == []


class ChangingGate(FakeGate):
    """Another bundle decides from the second message of a stream on: it is asked for at the start and by each."""

    looks = 0

    @property
    def bundle(self) -> str:  # type: ignore[override] - of the fake it is a field
        self.looks += 1
        return "sha256:first" if self.looks < 3 else "sha256:second"

    @bundle.setter
    def bundle(self, _: str) -> None:
        """Take what the field would have."""


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_a_stream_does_not_outlive_the_bundle_that_allowed_it(is_allowed: bool) -> None:
    """Under another bundle it is decided again, before anything more is sent: it ends there, or it goes on."""
    gate = ChangingGate()

    def decide(_principal: Principal, _service: str, _method: str, _resource: JsonObject) -> None:
        if len(gate.asked) > 1 and not is_allowed:
            raise PolicyDeniedError([Reason("rpc.method_not_granted", "no longer", "data.gateway.rpc.deny")])

    gate.verdict = decide
    lines = [b"%d" % number * 100_000 for number in range(10, 40)]  # in several messages
    got: list[bytes] = []
    code = grpc.StatusCode.OK
    async with serving(gate=gate, audit=FakeAudit(lines=lines)) as served:
        call = served.log.ReadEvents(audit_pb2.ReadEventsRequest(), metadata=AS_ANN)
        try:
            async for message in call:
                got += message.lines
        except grpc.aio.AioRpcError as error:
            code = error.code()
    assert code is (grpc.StatusCode.OK if is_allowed else grpc.StatusCode.PERMISSION_DENIED)
    assert len(gate.asked) == 2
    assert got == (lines if is_allowed else lines[: len(got)])
    assert is_allowed or 0 < len(got) < len(lines) / 2


FOREIGN = [
    "GetMission", "WatchMission", "CancelMission", "PauseMission", "ResumeMission", "RetryMission", "ListApprovals",
    "DecideApproval", "WatchResults",
]  # fmt: skip


@pytest.mark.parametrize("method", FOREIGN)
async def test_a_foreign_mission_and_a_missing_one_are_the_same(served: Served, method: str) -> None:
    """Status, text and details do not differ, though the desk's own texts do; only the sent id is echoed anywhere."""

    def request(mission_id: str) -> Any:
        if method == "DecideApproval":
            return decision(mission_id=mission_id)
        return getattr(mission_pb2, f"{method}Request")(mission_id=mission_id)

    foreign, missing = [
        await refused(getattr(served.missions, method)(request(mission_id), metadata=AS_ANN))
        for mission_id in ("m-2", "m-3")
    ]
    assert foreign.code() is missing.code() is grpc.StatusCode.NOT_FOUND
    assert foreign.details() == missing.details()
    assert list(foreign.trailing_metadata() or ()) == list(missing.trailing_metadata() or ())


# --- requests ---


async def test_an_unknown_method_is_unimplemented(served: Served) -> None:
    """Of a known and of an unknown service."""
    for path in ("/gateway.v1.MissionService/Nope", "/nope.Service/Nope"):
        error = await refused(served.channel.unary_unary(path)(b"", metadata=AS_ANN))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_bytes_that_are_no_message_are_refused_in_our_words(served: Served) -> None:
    """INVALID_ARGUMENT, code request.malformed, and none of protobuf's text; a stranger reaches no parser."""
    call = served.channel.unary_unary("/gateway.v1.MissionService/GetMission")
    error = await refused(call(b"\xff\xff\xff", metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)[2].violations[0].code == "request.malformed"
    assert "DecodeError" not in everything(error)
    assert (await refused(call(b"\xff\xff\xff"))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_mission_message_over_the_documents_limit_is_our_own_error(served: Served) -> None:
    """5 MiB as a Mission message: document.too_large, as for a document, and the server goes on."""
    mission = mission_pb2.Mission(version="1.0", name="big", description="x" * (5 * 1024 * 1024))
    request = mission_pb2.SubmitMissionRequest(request_id="r", mission=mission)
    error = await refused(served.missions.SubmitMission(request, metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)[2].violations[0].code == "document.too_large"
    assert not details(error)[2].malformed
    await served.missions.GetMission(GET, metadata=AS_ANN)


async def test_a_message_over_8_mib_is_resource_exhausted(served: Served) -> None:
    """The transport refuses it before it is in memory as a message, and the server goes on."""
    request = mission_pb2.SubmitMissionRequest(request_id="r", document=b"x" * (8 * 1024 * 1024 + 1))
    error = await refused(served.missions.SubmitMission(request, metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert served.desk.forms == []
    await served.missions.GetMission(GET, metadata=AS_ANN)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (mission_pb2.SubmitMissionRequest(document=b"{}"), "request_id"),
        (mission_pb2.SubmitMissionRequest(request_id="x" * 129, document=b"{}"), "request_id"),
        (mission_pb2.SubmitMissionRequest(request_id="a\x1b[2J", document=b"{}"), "request_id"),
        (mission_pb2.SubmitMissionRequest(request_id="r"), "mission"),
        (mission_pb2.GetMissionRequest(mission_id="x" * 129), "mission_id"),
        (mission_pb2.GetMissionRequest(mission_id="a\nb"), "mission_id"),
        (mission_pb2.ListMissionsRequest(page_size=-1), "page_size"),
        (mission_pb2.ListMissionsRequest(state=99), "state"),
        (mission_pb2.CancelMissionRequest(mission_id="m-1", reason="x" * 1_001), "reason"),
        (mission_pb2.CancelMissionRequest(mission_id="m-1", reason="\x00"), "reason"),
        (mission_pb2.PauseMissionRequest(mission_id="m-1", reason="x" * 1_001), "reason"),
        (mission_pb2.PauseMissionRequest(mission_id="m-1", reason="\x1b"), "reason"),
        (mission_pb2.ListApprovalsRequest(mission_id="x" * 129), "mission_id"),
        (decision(approval_id=""), "approval_id"),
        (decision(approval_id="x" * 129), "approval_id"),
        (decision(digest=""), "digest"),
        (decision(digest="x" * 129), "digest"),
        (decision(comment="x" * 1_001), "comment"),
        (decision(verdict=mission_pb2.APPROVAL_VERDICT_UNSPECIFIED), "verdict"),
        (decision(verdict=77), "verdict"),
    ],
)
async def test_a_request_out_of_its_bounds_is_refused_by_field(served: Served, request_: Any, field: str) -> None:
    """INVALID_ARGUMENT naming the field, before the desk hears of it."""
    method = getattr(served.missions, type(request_).__name__.removesuffix("Request"))
    error = await refused(method(request_, metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)[1].field_violations[0].field == field
    assert served.desk.callers == []


async def test_a_watch_from_a_negative_index_is_refused(served: Served) -> None:
    """Streams check their bounds as well."""
    request = mission_pb2.WatchMissionRequest(mission_id="m-1", from_index=-1)
    assert (await refused(served.missions.WatchMission(request, metadata=AS_ANN))).code() is (
        grpc.StatusCode.INVALID_ARGUMENT
    )


# --- watching ---


async def test_a_stream_says_that_it_is_open_before_anything_has_come_of_it() -> None:
    """A watcher of a quiet mission knows that it was let in; one that was not is told by the status alone."""
    desk = FakeDesk(missions={"m-1": view()}, idle=True)
    async with serving(desk) as served:
        call = served.missions.WatchMission(WATCH, metadata=AS_ANN)
        assert tuple(await call.initial_metadata()) == STREAM_OPENED
        call.cancel()
        stranger = served.missions.WatchMission(WATCH)
        assert tuple(await stranger.initial_metadata()) == ()
        assert (await refused(stranger)).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_resumed_watch_yields_exactly_the_missing_events() -> None:
    """From every index on: the events from there, in order, nothing twice."""
    desk = FakeDesk(missions={"m-1": view()}, events=[event(i) for i in range(5)])
    async with serving(desk) as served:
        for start in range(6):
            request = mission_pb2.WatchMissionRequest(mission_id="m-1", from_index=start)
            seen = [a.event.index async for a in served.missions.WatchMission(request, metadata=AS_ANN)]
            assert seen == list(range(start, 5))


async def test_a_slow_watcher_stops_the_producer_instead_of_filling_memory() -> None:
    """Flow control reaches the desk: of 20,000 large events, only what fits the windows is ever asked for."""
    desk = FakeDesk(missions={"m-1": view()}, events=[event(i, text="x" * 10_000) for i in range(20_000)])
    async with serving(desk) as served:
        call = served.missions.WatchMission(WATCH, metadata=AS_ANN)
        await call.read()
        await asyncio.sleep(0.5)
        assert desk.produced < 2_000
        call.cancel()


async def test_a_watcher_that_goes_leaves_nothing_behind() -> None:
    """The desk's generator is closed when the client cancels, without the garbage collector's help."""
    desk = FakeDesk(missions={"m-1": view()}, events=[event(0)], idle=True)
    async with serving(desk) as served:
        gc.disable()
        try:
            calls = [served.missions.WatchMission(WATCH, metadata=AS_ANN) for _ in range(20)]
            for call in calls:
                await call.read()
            assert desk.watchers == 20
            for call in calls:
                call.cancel()
            await until(lambda: desk.watchers == 0)
        finally:
            gc.enable()


# --- control ---


async def test_control_reaches_the_desk_with_all_that_it_was_told(served: Served) -> None:
    """Reason, repeat_in_doubt; the answer is the mission as it is then, with pause, run and parent."""
    desk, missions = served.desk, served.missions
    desk.missions["m-1"] = view(parent_id="m-0")
    paused = (
        await missions.PauseMission(
            mission_pb2.PauseMissionRequest(mission_id="m-1", reason="let us see"), metadata=AS_ANN
        )
    ).mission
    assert (paused.paused, paused.run, paused.parent_id, desk.asked) == (True, 1, "m-0", ["let us see"])
    resumed = await missions.ResumeMission(mission_pb2.ResumeMissionRequest(mission_id="m-1"), metadata=AS_ANN)
    assert not resumed.mission.paused
    for repeat in (False, True):
        request = mission_pb2.RetryMissionRequest(mission_id="m-1", repeat_in_doubt=repeat)
        retried = await missions.RetryMission(request, metadata=AS_ANN)
        assert desk.asked[-1] == f"repeat_in_doubt {repeat}"
    assert retried.mission.run == 3


async def test_a_mission_comes_with_its_document_where_that_is_asked_for(served: Served) -> None:
    """As canonical JSON: sorted names, no white space; without the flag there are no bytes."""
    served.desk.missions["m-1"] = view(mission={"version": "1.0", "name": "é", "steps": [2**53 + 1]})
    wanted = mission_pb2.GetMissionRequest(mission_id="m-1", include_mission=True)
    answer = await served.missions.GetMission(wanted, metadata=AS_ANN)
    assert answer.mission.mission == '{"name":"é","steps":[9007199254740993],"version":"1.0"}'.encode()
    assert (await served.missions.GetMission(GET, metadata=AS_ANN)).mission.mission == b""


async def test_approvals_travel_whole(served: Served) -> None:
    """Every field, an item 0 told from no item; pending ones, one mission's, or all."""
    decided = {"state": "denied", "decided_at": MOMENT, "decided_by": "bob", "comment": "nö"}
    served.desk.approvals = [approval(item=0), approval("a-2", **decided), approval("a-3", "m-2")]

    async def listed(**fields: Any) -> list[mission_pb2.Approval]:
        request = mission_pb2.ListApprovalsRequest(**fields)
        return list((await served.missions.ListApprovals(request, metadata=AS_ANN)).approvals)

    first, second = await listed(mission_id="m-1")
    assert (first.HasField("item"), first.item, first.state) == (True, 0, mission_pb2.APPROVAL_STATE_PENDING)
    assert (first.digest, first.message, list(first.approvers)) == (DIGEST, "Publish draft.txt?", ["approver"])
    assert (second.HasField("item"), second.state) == (False, mission_pb2.APPROVAL_STATE_DENIED)
    assert (second.decided_by, second.comment, second.HasField("decided_at")) == ("bob", "nö", True)
    assert [a.approval_id for a in await listed(pending_only=True)] == ["a-1", "a-3"]
    assert len(await listed()) == 3


async def test_more_approvals_than_one_answer_holds_are_counted(served: Served) -> None:
    """The oldest come, and how many others there are."""
    served.desk.approvals = [approval(f"a-{i}") for i in range(1_010)]
    answer = await served.missions.ListApprovals(mission_pb2.ListApprovalsRequest(), metadata=AS_ANN)
    assert [a.approval_id for a in answer.approvals] == [f"a-{i}" for i in range(1_000)]
    assert answer.omitted == 10


@pytest.mark.parametrize(("verdict", "state"), [("APPROVE", "APPROVED"), ("DENY", "DENIED")])
async def test_a_decision_is_what_was_said(served: Served, verdict: str, state: str) -> None:
    """Yes is yes and no is no; the desk gets digest and comment."""
    served.desk.approvals = [approval()]
    said = decision(verdict=mission_pb2.ApprovalVerdict.Value(f"APPROVAL_VERDICT_{verdict}"), comment="as I say")
    answer = (await served.missions.DecideApproval(said, metadata=AS_ANN)).approval
    assert mission_pb2.ApprovalState.Name(answer.state) == f"APPROVAL_STATE_{state}"
    assert (answer.decided_by, answer.comment) == ("ann", "as I say")
    served.desk.approvals = [approval(digest="sha256:" + "e" * 64)]
    error = await refused(served.missions.DecideApproval(said, metadata=AS_ANN))
    assert (error.code(), details(error)[2].code) == (grpc.StatusCode.FAILED_PRECONDITION, "approval.digest_mismatch")


async def test_results_stream_from_any_offset(served: Served) -> None:
    """In their order, with attempts, outputs as JSON and failures; a negative offset is refused."""
    failure = StepFailure(code="step.x", message="m")
    served.desk.results_ = [
        StepResult(step_id="b", status=StepState.COMPLETED, output=[1], duration_ms=1, timestamp=MOMENT, attempts=3),
        StepResult(step_id="a", status=StepState.FAILED, error=failure, duration_ms=1, timestamp=MOMENT, attempts=1),
    ]

    async def seen(offset: int) -> list[mission_pb2.StepResult]:
        request = mission_pb2.WatchResultsRequest(mission_id="m-1", offset=offset)
        return [answer.result async for answer in served.missions.WatchResults(request, metadata=AS_ANN)]

    first, second = await seen(0)
    assert (first.step_id, first.output, first.attempts) == ("b", b"[1]", 3)
    assert (second.step_id, second.error.code, second.status) == ("a", "step.x", mission_pb2.STEP_STATE_FAILED)
    assert [result.step_id for result in await seen(1)] == ["a"]
    assert await seen(2) == []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await seen(-1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_whoever_stops_reading_results_leaves_nothing_behind(served: Served) -> None:
    """A follower that goes ends the desk's generator."""
    served.desk.results_, served.desk.idle = [], True
    request = mission_pb2.WatchResultsRequest(mission_id="m-1", follow=True)
    call = served.missions.WatchResults(request, metadata=AS_ANN)
    reading = asyncio.ensure_future(call.read())
    await until(lambda: served.desk.watchers == 1)
    call.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert call.cancelled()
    await until(lambda: served.desk.watchers == 0)
    assert served.desk.watchers == 0


# --- the audit log ---


async def test_events_stream_byte_for_byte_in_bounded_messages() -> None:
    """Lines keep their bytes and their order; no message is over a megabyte; 0 means all, past any count's limit."""
    lines = [b"%d " % i + b"x" * 3_000 for i in range(2_000)]
    async with serving(audit=FakeAudit(lines=lines)) as served:
        seen: list[bytes] = []
        async for answer in served.log.ReadEvents(audit_pb2.ReadEventsRequest(start=10), metadata=AS_ANN):
            assert answer.first_seq == 10 + len(seen)
            assert answer.ByteSize() < 1024 * 1024
            seen += answer.lines
        assert seen == lines[10:]


@pytest.mark.parametrize(("start", "count"), [(-1, 0), (0, -1), (0, 100_001)])
async def test_a_range_out_of_bounds_is_refused(start: int, count: int) -> None:
    """Instead of being bent into one."""
    async with serving() as served:
        request = audit_pb2.ReadEventsRequest(start=start, count=count)
        assert (await refused(served.log.ReadEvents(request, metadata=AS_ANN))).code() is (
            grpc.StatusCode.INVALID_ARGUMENT
        )


async def test_a_reader_that_goes_stops_the_reading() -> None:
    """A cancelled ReadEvents takes no further lines than those under way."""
    audit = FakeAudit(lines=[b"x" * 3_000] * 50_000)
    async with serving(audit=audit) as served:
        call = served.log.ReadEvents(audit_pb2.ReadEventsRequest(), metadata=AS_ANN)
        await call.read()
        call.cancel()
        await asyncio.sleep(0.3)
        taken = audit.taken
        await asyncio.sleep(0.3)
        assert audit.taken == taken < 50_000


async def test_checkpoint_and_keys_are_served(served: Served) -> None:
    """What a verifier elsewhere needs."""
    note = await served.log.GetCheckpoint(audit_pb2.GetCheckpointRequest(), metadata=AS_ANN)
    keys = await served.log.GetVerifierKeys(audit_pb2.GetVerifierKeysRequest(), metadata=AS_ANN)
    assert note.checkpoint == note_of(0)
    assert note.witnessed == b""
    assert list(keys.verifier_keys) == ["log+01+key"]


# --- health, reflection, life ---


async def test_strangers_may_ask_whether_the_gateway_is_well(served: Served) -> None:
    """Check and Watch answer without a token, since a balancer has none; the gate is asked as for any call."""
    health = health_pb2_grpc.HealthStub(served.channel)
    for service in ("", "gateway.v1.MissionService", "gateway.v1.AuditService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await served.server.not_serving()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    assert {(p, s) for p, s, _, _ in served.gate.asked} == {(ANONYMOUS, "grpc.health.v1.Health")}


async def test_reflection_needs_a_caller_and_describes_every_service(served: Served) -> None:
    """A client that knows nothing finds services, methods and messages; a stranger finds nothing."""
    names, methods = await asyncio.to_thread(_reflect, served.server.address)
    assert {"gateway.v1.MissionService", "gateway.v1.AuditService", "grpc.health.v1.Health"} <= names
    assert methods == {method.name for method in mission_pb2.DESCRIPTOR.services_by_name["MissionService"].methods}
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    assert (await refused(stub.ServerReflectionInfo(iter([request])))).code() is grpc.StatusCode.UNAUTHENTICATED


def _reflect(address: str) -> tuple[set[str], set[str]]:
    """Do what grpcurl does: list, then describe."""

    class WithToken(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
            return continuation(details._replace(metadata=AS_ANN), requests)

    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, WithToken()))
        service = DescriptorPool(database).FindServiceByName("gateway.v1.MissionService")
        return set(database.get_services()), {method.name for method in service.methods}


async def test_reflection_refuses_nonsense_in_our_words(served: Served) -> None:
    """Bytes that are no message, in the middle of a stream of requests, end it with request.malformed."""
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    error = await refused(served.channel.stream_stream(path)(iter([b"\xff\xff"]), metadata=AS_ANN))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)[2].violations[0].code == "request.malformed"


async def test_an_address_in_use_is_a_configuration_error(served: Served, tmp_path: Path) -> None:
    """A second gateway on the port does not quietly share it."""
    second = RpcServer(served.server._ports, Listening(address=served.server.address, home=tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        await second.start()
    assert caught.value.code == "config.listen"
    await second.stop(0)


async def test_a_graceful_stop_lets_calls_end_and_takes_no_new_ones() -> None:
    """A call under way gets its answer; one that comes later does not reach the desk."""
    desk = FakeDesk(block=asyncio.Event())
    async with serving(desk) as served:
        under_way = asyncio.ensure_future(_submit(served))
        await until(lambda: bool(desk.forms))
        stopping = asyncio.create_task(served.server.stop(5))
        await asyncio.sleep(0.1)
        assert (await refused(served.missions.GetMission(GET, metadata=AS_ANN))).code() is grpc.StatusCode.UNAVAILABLE
        assert desk.block is not None
        desk.block.set()
        assert (await under_way).mission_id == "m-r"
        await stopping


async def _submit(served: Served) -> mission_pb2.SubmitMissionResponse:
    return await served.missions.SubmitMission(SUBMIT, metadata=AS_ANN)


async def test_a_result_travels_whole(served: Served) -> None:
    """Every documented field of a result, outputs as JSON, failures with code and text; also a large one."""
    failure = {"code": "step.path_closed", "message": "closed"}
    steps = (step_result("a", output=[1, 2**60, "é"]), step_result("b", "Failed", output=None, error=failure))
    served.desk.missions["m-9"] = ended("m-9", *steps, status="Partial")
    answer = await served.missions.GetMission(mission_pb2.GetMissionRequest(mission_id="m-9"), metadata=AS_ANN)
    result = answer.mission.result
    assert result.overall_status == mission_pb2.OVERALL_STATUS_PARTIAL
    assert result.step_results["a"].output == '[1,1152921504606846976,"é"]'.encode()
    assert not result.step_results["a"].HasField("error")
    assert result.step_results["b"].error.code == "step.path_closed"
    assert (result.steps_completed, result.steps_failed, result.audit_summary.events_logged) == (1, 1, 7)
    served.desk.missions["m-1"] = ended("m-1", *(step_result(f"s{i}") for i in range(10_000)))
    large = (await served.missions.GetMission(GET, metadata=AS_ANN)).mission
    assert len(large.result.step_results) == 10_000
