"""Laws of redaction: what a pointer leads to survives nowhere, and nothing else is touched."""

import asyncio
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.redaction import MASK, Redaction, check_pointers
from tests.placed import observer, rewrite
from tests.virtual_time import run
from tests.worlds import ANN, YES, World, mission, step

MARK = "hunter2"  # stands for what nobody is to see
NAMES = st.sampled_from(["a", "b", "ssn", "a/b", "~", "*", "", "0", "1"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", "y"])
HIDDEN = st.sampled_from([MARK, [MARK], {"deep": MARK, MARK: 1}])
VALUES = st.recursive(
    LEAVES | HIDDEN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=16,
)
TOKENS = st.sampled_from(["a", "b", "ssn", "a~1b", "~0", "*", "", "0", "1", "2", "none"])
POINTERS = st.lists(st.lists(TOKENS, max_size=4).map(lambda tokens: "/".join(["/output", *tokens])), max_size=6)


def escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def marked(value: Any, at: str) -> list[str]:
    """Return a pointer to each outermost place whose whole value is one of `HIDDEN`."""
    if MARK in orjson.dumps(value).decode() and (
        not isinstance(value, dict | list) or value in ([MARK], {"deep": MARK, MARK: 1})
    ):
        return [at]
    if isinstance(value, dict):
        return [found for name, member in value.items() for found in marked(member, f"{at}/{escaped(name)}")]
    if isinstance(value, list):
        return [found for index, element in enumerate(value) for found in marked(element, f"{at}/{index}")]
    return []


def looked_up(value: Any, pointer: str) -> list[Any]:
    """Return what a pointer leads to, `*` being everything of a level: RFC 6901, written the plain way."""
    found = [value]
    for raw in pointer.split("/")[2:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        below: list[Any] = []
        for each in found:
            if isinstance(each, dict):
                below += each.values() if part == "*" else [each[part]] if part in each else []
            elif isinstance(each, list):
                if part == "*":
                    below += each
                elif part.isdecimal() and str(int(part)) == part and int(part) < len(each):
                    below.append(each[int(part)])
        found = below
    return found


def unmasked(value: Any, redacted: Any) -> bool:
    """Whether two values are the same but for places that hold the mask."""
    if redacted == MASK:
        return True
    if isinstance(value, dict) and isinstance(redacted, dict):
        return list(value) == list(redacted) and all(unmasked(value[name], redacted[name]) for name in value)
    if isinstance(value, list) and isinstance(redacted, list):
        return len(value) == len(redacted) and all(map(unmasked, value, redacted))
    return bool(value == redacted)


@given(VALUES, POINTERS)
def test_each_pointer_leads_to_the_mask(value: Any, pointers: list[str]) -> None:
    """And to nothing else; the rest is as it was, and so is what was given."""
    check_pointers(pointers, "output")
    before = orjson.dumps(value)
    redacted, count = Redaction.of(pointers).apply(value)
    for pointer in pointers:
        assert all(found == MASK for found in looked_up(redacted, pointer))
    assert unmasked(value, redacted)
    assert orjson.dumps(value) == before
    assert (count == 0) == (redacted == value)


@given(VALUES, POINTERS, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(value: Any, pointers: list[str], chance: Any) -> None:
    """Twice is as once, and a list is a set."""
    redaction = Redaction.of(pointers)
    once, count = redaction.apply(value)
    assert redaction.apply(once) == (once, 0)
    shuffled = [*pointers, *pointers]
    chance.shuffle(shuffled)
    assert Redaction.of(shuffled) == redaction
    assert Redaction.of(shuffled).apply(value) == (once, count)


@given(VALUES, POINTERS, POINTERS)
def test_more_pointers_never_show_more(value: Any, pointers: list[str], more: list[str]) -> None:
    """What one list masks, a longer one masks as well."""
    few, _ = Redaction.of(pointers).apply(value)
    many, _ = Redaction.of([*pointers, *more]).apply(value)
    assert unmasked(few, many)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@settings(max_examples=40, deadline=None)
def test_what_is_masked_is_nowhere(value: dict[str, Any]) -> None:
    """Not in the store, the log, the stream of events, a hook, a later step, or what readers are shown.

    The same of an output and of an effect's outcome, which a module puts out again wherever it likes.
    """
    pointers = marked(value, "")
    world = World(placed=(observer("o", "output"), observer("s", "step"), rewrite("r", "output")))
    world.sandbox.hooks |= {
        "o@1.0.0": lambda _: {},
        "s@1.0.0": lambda _: {},
        "r@1.0.0": lambda asked: {"output": asked["output"]},
    }
    world.policy.answers["step"] = lambda asked: (
        YES if asked["step"]["id"] != "brings" else _redacting("/output", pointers)
    )
    world.policy.answers["effect"] = _redacting("/outcome", pointers)

    async def perform(request: Any, _scope: Any) -> Any:
        world.performer.performed.append(request)
        return value

    world.performer.perform = perform  # type: ignore[method-assign]
    told = world.sandbox.answer

    def answer(asked: Any) -> Any:
        if asked["step"]["id"] == "brings":
            return {"output": value}
        if asked["step"]["id"] == "acts" and asked["journal"]:
            return {"output": {"copied": asked["journal"]}}
        return told(asked)

    world.sandbox.answer = answer
    act = {"op": "http.request", "args": {"url": "https://example.org/", "method": "GET"}}
    form = mission(
        step("brings"),
        step("echoes", "brings", output="${steps.brings.output}"),
        step("acts", kind="acting", batches=[[act]]),
    )

    async def tell() -> list[Any]:
        view = await world.run(form)
        await world.observers.close(5)
        seen = [event.document() async for event in await _watch(world, view.mission_id)]
        return [view.document(), seen, [asked for _, asked in world.policy.asked]]

    shown = run(tell())
    world.laws_hold()
    rows = [
        [dict(row) for row in world.store.connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - our own names
        for table in ("missions", "mission_documents", "step_results", "mission_events", "effects", "approvals")
    ]
    everywhere = repr(
        [shown, rows, world.log.events, world.sandbox.hook_runs, [asked for _, asked, _ in world.sandbox.runs]]
    )
    assert MARK not in everywhere
    counted = [event.details["count"] for event in world.log.of("step.output_redacted")]
    _, expected = Redaction.of("/output" + pointer for pointer in pointers).apply(value)
    assert counted == ([expected] if pointers else [])


def _redacting(root: str, pointers: list[str]) -> Any:
    return type(YES)(allow=True, bundle=YES.bundle, redact=tuple(root + pointer for pointer in pointers))


async def _watch(world: World, mission_id: str) -> Any:
    await asyncio.sleep(0)
    return world.desk.watch(ANN, mission_id, 0)
