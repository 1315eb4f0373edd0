"""Approvals in the store: one for each effect, one end for each."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import ConflictError, NotFoundError, StoreError
from gateway.missions.ports import ApprovalStore, ChildStore
from gateway.store.approval_records import ApprovalState, NewApproval
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import START, TickingClock, approval, mission


async def test_the_store_is_what_approvals_and_sub_missions_ask_for(store: Store) -> None:
    """It has every method of both ports, with their types."""
    approvals: ApprovalStore = store
    children: ChildStore = store
    await store.create_mission(mission("m"))
    assert (await approvals.get_mission("m")).root_id == "m"
    assert await children.children("m") == ()


@pytest.mark.parametrize("item", [None, 0, 7])
async def test_a_request_is_read_back(store: Store, item: int | None) -> None:
    """Everything that was asked is there, pending; of a fan-out with its item."""
    await store.create_mission(mission("m"))
    asked = approval("a", "m", item=item, message="Ship it, Jürgen?")
    record = await store.create_approval(asked)
    assert {name: getattr(record, name) for name in NewApproval.__slots__} == {
        name: getattr(asked, name) for name in NewApproval.__slots__
    }
    assert (record.state, record.decided_at, record.decided_by, record.comment) == (
        ApprovalState.PENDING,
        None,
        None,
        "",
    )
    assert await store.get_approval("a") == record


async def test_asking_twice_finds_the_first(tmp_path: Path) -> None:
    """By its effect key, after a restart, and also once it was decided: an answer is not asked for again."""
    store = Store.open(tmp_path / "s.db", clock=TickingClock(), masters=MASTERS)
    await store.create_mission(mission("m"))
    asked = approval("a", "m")
    records = await asyncio.gather(*(store.create_approval(replace(asked, id=f"a{n}")) for n in range(20)))
    assert {r.id for r in records} == {"a0"}
    decided = await store.decide_approval("a0", ApprovalState.DENIED, "bob", "no")
    await store.close()
    store = Store.open(tmp_path / "s.db", clock=TickingClock(), masters=MASTERS)
    assert await store.create_approval(replace(asked, id="b", digest="sha256:other")) == decided
    assert await store.list_approvals("t", None, pending_only=False) == (decided,)
    await store.close()


async def test_who_has_approved_something_else_of_a_mission_is_known(store: Store) -> None:
    """Of the whole tree, each once, yeses only; neither this approval itself, nor what an earlier run asked for it."""
    await store.create_mission(mission("m"))
    await store.create_mission(replace(mission("part"), parent_id="m", root_id="m", depth=1, request_id=None))
    await store.create_mission(replace(mission("other"), request_id="other"))
    asked = {"a": "m", "b": "m", "c": "part", "d": "m", "e": "other"}
    for name, of in asked.items():
        await store.create_approval(replace(approval(name, of), effect_key=f"key-{name}"))
    await store.create_approval(replace(approval("a2", "m"), effect_key="key-a/2"))
    assert await store.approved_by("a") == ()
    for name, by in {"a": "ann", "b": "bob", "c": "cy", "e": "eve"}.items():
        await store.decide_approval(name, ApprovalState.APPROVED, by, "")
    await store.decide_approval("d", ApprovalState.DENIED, "dan", "")
    assert await store.approved_by("a") == ("bob", "cy")
    assert await store.approved_by("c") == ("ann", "bob")
    assert await store.approved_by("a2") == ("bob", "cy")
    assert await store.approved_by("e") == ()
    assert await store.approved_by("nothing") == ()


async def test_two_yeses_side_by_side_are_not_both_taken(store: Store) -> None:
    """Policy was told for each that nobody had approved: whoever was one of two at once decides again."""
    await store.create_mission(mission("m"))
    for name in ("a", "b"):
        await store.create_approval(replace(approval(name, "m"), effect_key=f"key-{name}"))
    decide = store.decide_approval
    answers = await asyncio.gather(
        *(decide(name, ApprovalState.APPROVED, "ann", "", seen=()) for name in ("a", "b")), return_exceptions=True
    )
    assert [each.code for each in answers if isinstance(each, ConflictError)] == ["approval.raced"]
    pending = await store.list_approvals("t", "m", pending_only=True)
    assert len(pending) == 1
    assert (await decide(pending[0].id, ApprovalState.APPROVED, "bob", "", seen=())).decided_by == "bob"


async def test_what_policy_saw_is_taken(store: Store) -> None:
    """A second yes of one who had been named to policy; and a no, which is never too much."""
    await store.create_mission(mission("m"))
    for name in ("a", "b", "c"):
        await store.create_approval(replace(approval(name, "m"), effect_key=f"key-{name}"))
    await store.decide_approval("a", ApprovalState.APPROVED, "ann", "", seen=())
    assert (await store.decide_approval("b", ApprovalState.APPROVED, "ann", "", seen=("ann",))).decided_by == "ann"
    assert (await store.decide_approval("c", ApprovalState.DENIED, "ann", "", seen=())).decided_by == "ann"


async def test_an_approval_is_decided_once(store: Store) -> None:
    """Of many who decide at once one is heard, at the store's time, and the others are told that it is too late."""
    await store.create_mission(mission("m"))
    before = await store.create_approval(approval("a", "m"))
    ways = [(ApprovalState.APPROVED, "bob"), (ApprovalState.DENIED, "lea"), (ApprovalState.EXPIRED, None)] * 5
    answers = await asyncio.gather(
        *(store.decide_approval("a", state, by, f"{state}") for state, by in ways), return_exceptions=True
    )
    decided = replace(
        before,
        state=ApprovalState.APPROVED,
        decided_at=START + timedelta(seconds=2),
        decided_by="bob",
        comment="approved",
    )
    assert answers[0] == await store.get_approval("a") == decided
    assert {getattr(a, "code", None) for a in answers[1:]} == {"approval.decided"}
    assert all(isinstance(a, ConflictError) for a in answers[1:])


@pytest.mark.parametrize(
    ("state", "by"),
    [
        (ApprovalState.PENDING, None),
        (ApprovalState.APPROVED, None),
        (ApprovalState.DENIED, None),
        (ApprovalState.EXPIRED, "bob"),
        (ApprovalState.WITHDRAWN, "bob"),
    ],
)
async def test_an_end_says_who_ended_it(store: Store, state: ApprovalState, by: str | None) -> None:
    """Nobody's yes is none, and what nobody decided has no name: such a record is refused, and it stays pending."""
    await store.create_mission(mission("m"))
    await store.create_approval(approval("a", "m"))
    with pytest.raises(StoreError) as refused:
        await store.decide_approval("a", state, by, "")
    assert refused.value.code == "store.constraint"
    assert (await store.get_approval("a")).state is ApprovalState.PENDING


async def test_an_unknown_approval_is_not_found(store: Store) -> None:
    """Neither read nor decided."""
    for asked in (store.get_approval("no"), store.decide_approval("no", ApprovalState.DENIED, "bob", "")):
        with pytest.raises(NotFoundError) as refused:
            await asked
        assert refused.value.code == "approval.not_found"


async def test_lists_belong_to_a_tenant(store: Store) -> None:
    """Oldest first; of one mission or all; another tenant's mission shows nothing; decided ones can be left out."""
    for name, tenant in (("m", "t"), ("n", "t"), ("o", "u")):
        await store.create_mission(mission(name, tenant=tenant))
    for name, of in (("z", "m"), ("y", "n"), ("x", "m"), ("w", "o")):
        await store.create_approval(approval(name, of))
    await store.decide_approval("z", ApprovalState.WITHDRAWN, None, "")

    async def listed(tenant: str, mission_id: str | None, *, pending: bool = False) -> list[str]:
        return [r.id for r in await store.list_approvals(tenant, mission_id, pending_only=pending)]

    assert await listed("t", None) == ["z", "y", "x"]
    assert await listed("t", None, pending=True) == ["y", "x"]
    assert await listed("t", "m") == ["z", "x"]
    assert await listed("t", "m", pending=True) == ["x"]
    assert await listed("u", None) == ["w"]
    assert await listed("u", "m") == await listed("t", "o") == []


async def test_a_list_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, the newest are shown."""
    monkeypatch.setattr("gateway.store.approvals.APPROVALS_MAX", 2)
    await store.create_mission(mission("m"))
    for name in "abc":
        await store.create_approval(approval(name, "m"))
    assert [r.id for r in await store.list_approvals("t", "m", pending_only=True)] == ["b", "c"]


async def test_whoever_decided_is_kept_with_the_roles_of_then(tmp_path: Path) -> None:
    """And what policy was asked about when it wanted the approval; both outlast the process."""
    store = Store.open(tmp_path / "s.db", clock=TickingClock(), masters=MASTERS)
    await store.create_mission(mission("m"))
    await store.create_approval(replace(approval("a", "m"), entrypoint="mission", step_id=""))
    await store.decide_approval("a", ApprovalState.APPROVED, "bob", "", roles=("lead", "approver"))
    await store.close()
    store = Store.open(tmp_path / "s.db", clock=TickingClock(), masters=MASTERS)
    record = await store.get_approval("a")
    assert (record.entrypoint, record.step_id, record.decided_roles) == ("mission", "", ("lead", "approver"))
    with pytest.raises(StoreError):
        await store.create_approval(replace(approval("b", "m"), entrypoint="rpc", effect_key="other"))
    await store.close()
