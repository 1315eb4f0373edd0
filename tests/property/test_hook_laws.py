"""Laws of screens, rewrites and observers: answers are understood exactly or not at all, and only take away."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SandboxError
from gateway.policy.decision import Decision
from gateway.sandbox.abi import StepFault
from gateway.sandbox.abi_hooks import NARROW_NAMES, ScreenVerdict, decode_observer, decode_rewrite, decode_screen
from gateway.sandbox.profile import profiles_from
from tests.placed import screen
from tests.virtual_time import run
from tests.worlds import BUNDLE, World, mission, step

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CODE = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z][a-z0-9_]{0,8})?", fullmatch=True)
REASON = st.fixed_dictionaries({"code": CODE, "message": st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)})
NARROW = st.dictionaries(st.sampled_from(sorted(NARROW_NAMES)), st.integers(1, 2**53))
VERDICT = st.fixed_dictionaries(
    {"verdict": st.sampled_from(["allow", "deny", "abstain"])},
    optional={"reasons": st.lists(REASON, max_size=3), "narrow": NARROW},
)
NEARLY = st.dictionaries(
    st.sampled_from(["verdict", "reasons", "narrow", "error", "allow"]), JSON | VERDICT, max_size=3
)


@given(VERDICT)
def test_a_verdict_is_read_as_it_was_written(answer: dict[str, Any]) -> None:
    """Word, reasons and limits arrive as they are, whatever their order."""
    read = decode_screen(orjson.dumps(answer))
    assert isinstance(read, ScreenVerdict)
    assert read.word == answer["verdict"]
    assert [{"code": r.code, "message": r.message} for r in read.reasons] == answer.get("reasons", [])
    assert read.narrow == answer.get("narrow", {})


@given(JSON | NEARLY)
def test_other_json_is_refused(answer: Any) -> None:
    """Whatever is read as a verdict has a word that is one, and no other field; nothing else raises or passes."""
    try:
        read = decode_screen(orjson.dumps(answer))
    except SandboxError as refused:
        assert refused.code == "sandbox.output_invalid"  # noqa: PT017 - both endings are right
        return
    if isinstance(read, StepFault):
        assert set(answer) == {"error"}
    else:
        assert set(answer) <= {"verdict", "reasons", "narrow"}
        assert answer["verdict"] == read.word


@given(st.binary(max_size=200))
def test_no_bytes_are_a_bug(data: bytes) -> None:
    """Any bytes at all are an answer or `sandbox.output_invalid`; an observer's are read without raising."""
    for decode in (
        decode_screen,
        lambda raw: decode_rewrite(raw, "parameters"),
        lambda raw: decode_rewrite(raw, "output"),
    ):
        try:
            decode(data)
        except SandboxError as refused:
            assert refused.code == "sandbox.output_invalid"  # noqa: PT017 - both endings are right
    decode_observer(data)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON, max_size=4))
def test_a_rewritten_value_is_read_as_it_was_written(value: dict[str, Any]) -> None:
    """Both places; numbers keep their kind."""
    assert decode_rewrite(orjson.dumps({"parameters": value}), "parameters") == (value,)
    assert decode_rewrite(orjson.dumps({"output": value}), "output") == (value,)


ANSWERS = st.lists(VERDICT | JSON | st.just({"error": {"code": "c", "message": "m"}}), min_size=1, max_size=4)


@given(says_yes=st.booleans(), at_mission=ANSWERS, at_step=ANSWERS, limits=NARROW, is_open=st.booleans())
def test_screens_only_take_away(*, says_yes: bool, at_mission: Any, at_step: Any, limits: Any, is_open: bool) -> None:
    """Policy's no stays a no, any screen's deny is one, and what a run gets is within what policy gives it."""
    wasm = profiles_from({})["wasm"]
    hooks = {
        f"{at[0]}{n}": (at, answer)
        for at, answers in (("mission", at_mission), ("step", at_step))
        for n, answer in enumerate(answers)
    }
    on_violation = "open" if is_open else "closed"
    world = World(placed=tuple(screen(name, at, on_violation=on_violation) for name, (at, _) in hooks.items()))
    world.sandbox.hooks = {f"{name}@1.0.0": lambda _, answer=answer: answer for name, (_, answer) in hooks.items()}
    world.policy.answers["step"] = Decision(allow=says_yes, bundle=BUNDLE, constraints=limits)

    async def main() -> None:
        try:
            await world.run(mission(step("a")))
        except Exception:  # noqa: BLE001 - a mission screen has said no
            assert [kind for kind in world.log.types() if kind != "hook.failed_open"] == ["mission.refused"]
        world.laws_hold()

    run(main())
    answers = [answer for _, answer in hooks.values()]
    denied = any(
        isinstance(answer, dict) and answer.get("verdict") == "deny" and understood(answer) for answer in answers
    )
    failed = any(not understood(answer) for answer in answers)
    if world.sandbox.runs:
        assert says_yes
        assert not denied
        assert is_open or not failed
        [(_, _, constraints)] = world.sandbox.runs
        expected = wasm.narrow_by(limits)
        for answer in answers:
            if understood(answer):
                expected = expected.narrow_by(answer.get("narrow", {}))
        assert constraints == expected
    else:
        assert not says_yes or denied or (failed and not is_open)


def understood(answer: Any) -> bool:
    """Return whether an answer is a verdict."""
    try:
        return isinstance(decode_screen(orjson.dumps(answer)), ScreenVerdict)
    except SandboxError:
        return False
