"""The table of operations, keys, schemas, and the timer."""

import logging
import math
from collections.abc import Awaitable, Callable

import jsonschema_rs
import pytest

from engine.values import JsonObject
from gateway.commitments import Commitments
from gateway.effects.described import described
from gateway.effects.keys import effect_key
from gateway.effects.performer import SECONDS_MAX, EffectRequest, Effects, EffectScope
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.effects.timer import SLEEP_MS_MAX, TimerSleep
from gateway.effects.workspace import Workspace
from gateway.errors import EffectError
from gateway.sanitizer.schema import ParameterSchema

COMMITMENTS = Commitments(bytes(32))

Perform = Callable[[str, JsonObject], Awaitable[JsonObject]]


class Scripted:
    """A performer that answers as told."""

    def __init__(
        self, answer: JsonObject | Exception, *, repeatable: bool = False, seconds_max: float = SECONDS_MAX
    ) -> None:
        self._answer = answer
        self._repeatable = repeatable
        self.seconds_max = seconds_max

    def repeatable(self, args: JsonObject) -> bool:
        del args
        return self._repeatable

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        del request, scope
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def request(op: str, args: JsonObject, timeout_seconds: float = 10.0) -> EffectRequest:
    return EffectRequest(op=op, args=args, key="k", timeout_seconds=timeout_seconds)


@pytest.fixture
def scope(workspace: Workspace) -> EffectScope:
    return EffectScope(workspace=workspace, mission_id="m1", step_id="s1")


async def test_an_unknown_operation_is_refused(perform: Perform) -> None:
    """There is no effect that is not in the table."""
    with pytest.raises(EffectError) as refused:
        await perform("process.start", {})
    assert (refused.value.code, refused.value.in_doubt) == ("effect.unknown_op", False)


async def test_a_bug_is_in_doubt_and_its_text_stays_inside(
    scope: EffectScope, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that nobody foresaw may have come after the act, and its text may hold anything."""
    effects = Effects({"x": Scripted(KeyError("secret"))})
    with caplog.at_level(logging.CRITICAL), pytest.raises(EffectError) as failed:
        await effects.perform(request("x", {}), scope)
    assert (failed.value.code, failed.value.in_doubt) == ("effect.internal", True)
    assert "secret" not in failed.value.message


def test_the_table_says_how_long_an_operation_may_take_and_whether_it_may_be_repeated() -> None:
    """Its performer answers; of an operation that is not there nobody knows, so it may not be repeated."""
    effects = Effects({"wait": Scripted({}, repeatable=True, seconds_max=math.inf), "act": Scripted({})})
    assert (effects.seconds_max("wait"), effects.repeatable("wait", {})) == (math.inf, True)
    assert (effects.seconds_max("act"), effects.repeatable("act", {})) == (SECONDS_MAX, False)
    assert (effects.seconds_max("gone"), effects.repeatable("gone", {})) == (SECONDS_MAX, False)


async def test_a_scope_that_says_little_gives_little(workspace: Workspace) -> None:
    """Nobody's roles, no digest to approve, and a wait that frees no place."""
    scope = EffectScope(workspace=workspace, mission_id="m1", step_id="s1")
    assert (scope.caller.subject, scope.caller.roles, scope.digest, scope.item) == ("", (), "", None)
    async with scope.waiting():
        pass


@pytest.mark.parametrize("repeatable", [True, False])
async def test_an_outcome_over_the_limit_is_in_doubt_unless_repeatable(scope: EffectScope, repeatable: bool) -> None:
    """It was performed, and its outcome cannot be kept: only what may be repeated may be tried again."""
    effects = Effects({"x": Scripted({"a": "b" * 100}, repeatable=repeatable)}, outcome_bytes_max=100)
    with pytest.raises(EffectError) as failed:
        await effects.perform(request("x", {}), scope)
    assert (failed.value.code, failed.value.in_doubt) == ("effect.outcome_too_large", not repeatable)


async def test_an_outcome_that_is_not_json_is_no_outcome(scope: EffectScope, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be journalled is a bug of the performer, not a result."""
    effects = Effects({"x": Scripted({"a": {1, 2}})})  # type: ignore[dict-item]
    with caplog.at_level(logging.CRITICAL), pytest.raises(EffectError) as failed:
        await effects.perform(request("x", {}), scope)
    assert failed.value.code == "effect.internal"


async def test_a_sleep_is_as_long_as_asked(scope: EffectScope) -> None:
    """The timer waits `ms`, and says what was asked for, so that a replay gets the same."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    assert await TimerSleep(sleep=sleep).perform(request("timer.sleep", {"ms": 1500}), scope) == {"slept_ms": 1500}
    assert slept == [1.5]


@pytest.mark.parametrize("ms", [-1, SLEEP_MS_MAX + 1, True, 1.5, "1", None])
async def test_a_sleep_is_bounded(perform: Perform, ms: object) -> None:
    """Only an integer from 0 to a day is a time."""
    with pytest.raises(EffectError) as refused:
        await perform("timer.sleep", {"ms": ms})  # type: ignore[dict-item]
    assert refused.value.code == "effect.arguments"


async def test_a_sleep_beyond_the_deadline_is_refused_at_once(scope: EffectScope) -> None:
    """What cannot be finished is not begun."""
    with pytest.raises(EffectError) as refused:
        await TimerSleep().perform(request("timer.sleep", {"ms": 60_000}, timeout_seconds=1.0), scope)
    assert refused.value.code == "effect.timeout"


def test_a_key_names_the_act_and_nothing_else() -> None:
    """Equal acts have equal keys, whatever the order of fields; each part of the identity changes the key."""
    args: JsonObject = {"a": 1, "b": 2}
    key = effect_key(COMMITMENTS, mission_id="m", step_id="s", effect_index=0, op="o", args=args)
    assert key == effect_key(COMMITMENTS, mission_id="m", step_id="s", effect_index=0, op="o", args={"b": 2, "a": 1})
    others = {
        effect_key(Commitments(bytes([1]) * 32), mission_id="m", step_id="s", effect_index=0, op="o", args=args),
        effect_key(COMMITMENTS, mission_id="n", step_id="s", effect_index=0, op="o", args=args),
        effect_key(COMMITMENTS, mission_id="m", step_id="t", effect_index=0, op="o", args=args),
        effect_key(COMMITMENTS, mission_id="m", step_id="s", effect_index=1, op="o", args=args),
        effect_key(COMMITMENTS, mission_id="m", step_id="s", effect_index=0, op="p", args=args),
        effect_key(COMMITMENTS, mission_id="m", step_id="s", effect_index=0, op="o", args={}),
        effect_key(COMMITMENTS, mission_id="m", step_id="s", effect_index=0, op="o", args=args, foreach_index=0),
    }
    assert len(others | {key}) == 8
    assert len(key) == 64


def test_every_operation_has_a_schema_that_the_sanitizer_takes() -> None:
    """The argument schemas compile, and refuse an argument that is not named in them."""
    assert set(ARGUMENT_SCHEMAS) == {
        "file.write",
        "file.read",
        "http.request",
        "timer.sleep",
        "approval.request",
        "mission.run",
        "command.run",
    }
    for schema in ARGUMENT_SCHEMAS.values():
        assert ParameterSchema.compile(schema).check({"surprise": 1}, field="args")


@pytest.mark.parametrize(
    ("op", "args", "valid"),
    [
        ("file.write", {"path": "a", "content": ""}, True),
        ("file.write", {"path": "a", "content_base64": "YQ=="}, True),
        ("file.write", {"path": "a"}, False),
        ("file.write", {"path": "a", "content": "", "content_base64": ""}, False),
        ("file.read", {"path": "a"}, True),
        ("file.read", {"path": ""}, False),
        ("http.request", {"url": "https://example.com/"}, True),
        ("http.request", {"url": "https://example.com/", "method": "CONNECT"}, False),
        ("http.request", {"url": "https://example.com/", "headers": {"a b": "c"}}, False),
        ("http.request", {"url": "https://example.com/", "body": "", "body_base64": ""}, False),
        ("timer.sleep", {"ms": 0}, True),
        ("timer.sleep", {"ms": -1}, False),
        ("approval.request", {"message": "m"}, True),
        ("approval.request", {"message": "m", "approvers": ["lead"], "expires_in_seconds": 1}, True),
        ("approval.request", {"message": ""}, False),
        ("approval.request", {"message": "m", "approvers": []}, False),
        ("approval.request", {"message": "m", "approvers": ["a", "a"]}, False),
        ("approval.request", {"message": "m", "expires_in_seconds": 2_592_001}, False),
        ("mission.run", {"mission": {}}, True),
        ("mission.run", {"mission": {"name": "n"}, "outputs": ["a"]}, True),
        ("mission.run", {"mission": "n"}, False),
        ("mission.run", {"mission": {}, "outputs": "a"}, False),
        ("command.run", {"argv": ["sort"]}, True),
        ("command.run", {"argv": ["sort", "-n"], "stdin": "1", "timeout_ms": 1, "output_bytes_max": 1}, True),
        ("command.run", {"argv": []}, False),
        ("command.run", {"argv": "sort -n"}, False),
        ("command.run", {"argv": ["a"] * 65}, False),
        ("command.run", {"argv": ["sort"], "stdin": "", "stdin_base64": ""}, False),
        ("command.run", {"argv": ["sort"], "shell": True}, False),
    ],
)
def test_schemas_say_what_performers_take(op: str, args: JsonObject, valid: bool) -> None:
    """A few documents on each side of the line."""
    assert jsonschema_rs.is_valid(dict(ARGUMENT_SCHEMAS[op]), args) is valid


def test_policy_sees_where_a_request_goes() -> None:
    """The effect document has host and port from the parser that connects, and the method that is meant."""
    args: JsonObject = {"url": "http://EXAMPLE.com:8080/x"}
    assert described("http.request", args) == {**args, "method": "GET", "host": "example.com", "port": 8080}
    assert described("file.read", {"path": "x"}) == {"path": "x"}
    with pytest.raises(EffectError):
        described("http.request", {"url": "ftp://example.com/"})


def test_a_guest_cannot_tell_policy_another_host() -> None:
    """`host` and `port` of the document are the parser's, whatever the arguments say."""
    seen = described("http.request", {"url": "http://evil.example/", "host": "good.example", "port": 443})
    assert (seen["host"], seen["port"]) == ("evil.example", 80)
