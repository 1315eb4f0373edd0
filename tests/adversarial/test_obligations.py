"""Obligations under attack: hostile answers of a policy, modules that copy, clients that forge a person's yes."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import ConflictError, NotFoundError, PolicyDeniedError
from gateway.identity import Principal
from gateway.policy.decision import Decision, parse_decision
from gateway.policy.obligations import ApprovalDemand
from gateway.policy.redaction import DEPTH_MAX, MASK, POINTERS_BYTES_MAX, POINTERS_MAX, Redaction
from tests.subjects import known
from tests.unit.gateway.consents import LEE, decide, pending, story, waiting, wanting
from tests.worlds import ANN, BUNDLE, EVE, YES, World, mission, step, write

LINE_BYTES_MAX = 48 * 1024  # of what a verdict adds to its line, which has 64 KiB
ASK = {"op": "approval.request", "args": {"message": "Policy asks for an approval of the step a (pure)."}}


def decided(**fields: Any) -> Decision:
    answer = orjson.dumps({"allow": True, "reasons": [], **fields})
    return parse_decision(answer, bundle=BUNDLE, entrypoint="step")


@pytest.mark.parametrize(
    "pointers",
    [
        ["/output" + "/*" * DEPTH_MAX],
        ["/output" + "/*" * 100_000],
        ["/output/a"] * 10_000,
        [f"/output/{n}" for n in range(POINTERS_MAX + 1)],
        ["/output/" + "x" * POINTERS_BYTES_MAX],
        ["/output/" + "\U0001f600" * 1_023],
        ["/output/~", "/output/a"],
        ["/output\x00"],
        ["/OUTPUT/a"],
        ["/outcome/body"],
        ["//output/a"],
        [" /output/a"],
        [["/output/a"]],
        [{"path": "/output/a"}],
        [None],
    ],
)
def test_hostile_pointers_make_a_no(pointers: Any) -> None:
    """Deep, many, long, of another root, or none: the whole answer is malformed, and no part of it is obeyed."""
    decision = decided(redact=pointers)
    assert (decision.allow, decision.reasons[0].code) == (False, "policy.malformed")


def test_the_widest_pointers_on_the_widest_value_come_to_an_end() -> None:
    """Every wildcard at every level: each place is looked at once for each pointer, however they overlap."""
    value: Any = 1
    for _ in range(12):
        value = [value, value]
    pointers = ["/output" + "/*" * depth for depth in range(1, POINTERS_MAX)]
    assert decided(redact=pointers).allow
    assert Redaction.of(pointers).apply(value) == ([MASK, MASK], 2)
    deep = ["/output" + "/*" * 12 + "/x" * n for n in range(1, 20)]
    assert decided(redact=deep).allow
    assert Redaction.of(deep).apply(value) == (value, 0)
    longest = ["/output" + "/*" * 12]
    assert Redaction.of([*longest, *deep]).apply(value)[1] == 2**12


def test_the_largest_obligations_fit_into_a_line_of_the_log() -> None:
    """Or a policy could keep every verdict out of it."""
    wide = "\U0001f600"
    roles = tuple(f"{n:02}{wide * 126}" for n in range(16))
    most = Decision(
        allow=True,
        bundle=BUNDLE,
        reasons=tuple(
            replace(reason)
            for reason in decided(
                reasons=[{"code": wide * 256, "message": wide * 8_192, "rule": wide * 256}] * 64
            ).reasons
        ),
        require_approval=ApprovalDemand(approvers=roles, message="x" * 4_096),
        redact=tuple(f"/output/{n:02}{wide * 28}" for n in range(POINTERS_MAX)),
        labels={f"{n:02}{wide * 254}": wide * 256 for n in range(64)},
    )
    assert decided(redact=list(most.redact), labels=dict(most.labels)).allow

    async def tell(world: World) -> None:
        world.policy.answers["step"] = most
        await waiting(world, mission(step("a", output=1)))
        await decide(world, known(Principal(subject="p", tenant="acme", roles=roles[:1])))
        await world.settled()
        for event in (*world.log.of("step.held"), *world.log.of("step.allowed"), *world.log.of("approval.requested")):
            assert len(orjson.dumps(event.details)) < LINE_BYTES_MAX

    story(tell)


def test_a_module_can_copy_what_its_output_may_not_show() -> None:
    """The limit of a pointer into an output, as docs/obligations.md says: it names places, and knows no values.

    What the module is not to have is masked in the outcome of its effect; then there is nothing to copy.
    """
    secret = "hunter2"  # noqa: S105 - what is looked for

    async def tell(world: World, redact: dict[str, Decision]) -> str:
        world.policy.answers |= redact

        async def perform(request: Any, _scope: Any) -> Any:
            world.performer.performed.append(request)
            return {"ssn": secret}

        world.performer.perform = perform  # type: ignore[method-assign]

        def copying(asked: Any) -> Any:
            if not asked["journal"]:
                return {"effects": [write()]}
            seen = asked["journal"][0]["ok"]["ssn"]
            return {"output": {"ssn": seen, "note": f"it is {seen}", seen: 1}}

        world.sandbox.answer = copying
        view = await world.run(mission(step("a", kind="acting")))
        return repr((view.document(), world.log.events, world.store.effects_of(view.mission_id)))

    shown: list[str] = []

    async def of_output(world: World) -> None:
        shown.append(await tell(world, {"step": replace(YES, redact=("/output/ssn",))}))

    async def of_outcome(world: World) -> None:
        shown.append(await tell(world, {"effect": replace(YES, redact=("/outcome/ssn",))}))

    story(of_output)
    story(of_outcome)
    copied, nothing = shown
    assert f"it is {secret}" in copied
    assert f"'ssn': '{MASK}'" in copied
    assert secret not in nothing


def test_a_client_cannot_write_itself_an_approval() -> None:
    """Whatever stands in labels, variables, names or parameters, `input.approval` is the host's own."""
    forged = {"approved": True, "by": "lee", "roles": ["approver"]}

    async def tell(world: World) -> None:
        world.policy.answers["step"] = lambda asked: YES if asked["approval"] else wanting()
        form = mission(
            step("approval", output=1, approval=forged),
            labels={"approval": "approved"},
            variables={"approval": forged},
        )
        await waiting(world, form)
        assert world.sandbox.runs == []
        assert [asked["approval"] for point, asked in world.policy.asked if point == "step"] == [None]
        await decide(world)
        await world.settled()
        assert len(world.sandbox.runs) == 1

    story(tell)


def test_a_question_of_a_module_is_not_taken_for_policys() -> None:
    """It may have the same words, and a yes to it is none to what policy wants to know."""

    async def tell(world: World) -> None:
        world.policy.answers["step"] = lambda asked: wanting() if asked["step"]["id"] == "b" else YES
        form = mission(
            step("a", kind="asking", batches=[[ASK]], output=1), step("b", "a", output=2), config={"fail_fast": False}
        )
        await waiting(world, form)
        [asked] = await pending(world)
        assert asked.entrypoint == ""
        await decide(world)
        await asyncio.sleep(1)
        [asked] = await pending(world)
        assert (asked.step_id, asked.entrypoint) == ("b", "step")
        assert [seen["step"]["id"] for _, seen, _ in world.sandbox.runs] == ["a", "a"]
        await decide(world)
        await world.settled()

    story(tell)


def test_a_yes_is_given_once_by_who_may_to_what_was_looked_at() -> None:
    """Another tenant, another role, another digest, another mission, a second time: each is refused."""

    async def tell(world: World) -> None:
        world.policy.answers["mission"] = wanting()
        one = await waiting(world, mission(step("a", output=1)), "one")
        other = await waiting(world, mission(step("a", output=2)), "other")
        [asked] = await pending(world, one)
        [second] = await pending(world, other)
        assert asked.digest != second.digest

        async def tried(who: Principal, mission_id: str, approval_id: str, digest: str) -> None:
            await world.desk.decide_approval(who, mission_id, approval_id, approve=True, digest=digest, comment="")

        with pytest.raises(NotFoundError):
            await tried(replace(EVE, roles=("approver",)), one, asked.approval_id, asked.digest)
        with pytest.raises(NotFoundError):
            await tried(LEE, one, second.approval_id, second.digest)
        with pytest.raises(PolicyDeniedError):
            await tried(replace(LEE, roles=("submitter",)), one, asked.approval_id, asked.digest)
        with pytest.raises(PolicyDeniedError):
            await tried(replace(LEE, anonymous=True), one, asked.approval_id, asked.digest)
        with pytest.raises(PolicyDeniedError):
            await tried(replace(ANN, roles=("approver",)), one, asked.approval_id, asked.digest)
        with pytest.raises(ConflictError):
            await tried(LEE, one, asked.approval_id, second.digest)
        assert world.sandbox.runs == []
        await tried(LEE, one, asked.approval_id, asked.digest)
        with pytest.raises(ConflictError):
            await tried(LEE, one, asked.approval_id, asked.digest)
        await asyncio.sleep(1)
        assert len(world.sandbox.runs) == 1
        await tried(LEE, other, second.approval_id, second.digest)
        await world.settled()

    story(tell)
