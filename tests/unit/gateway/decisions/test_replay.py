"""Replay of decisions: each that would change is named, and each that cannot be compared as well."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from gateway.decisions.records import Recorded, Unreadable
from gateway.decisions.replay import Change, ChangeKind, Summary, replay
from gateway.errors import Reason
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision, denied
from gateway.policy.obligations import ApprovalDemand
from gateway.policy.regorus_engine import RegorusEngine
from gateway.rules import bundled_policies
from tests.decision_records import DIGEST, NO, YES, Answers, Home
from tests.policy_documents import effect, rpc, step

CANDIDATE = "sha256:" + "c" * 64
DOCUMENT = step("create_file", {"path": "out/x"})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


async def replayed(home: Home, candidate: Answers | RegorusEngine) -> tuple[list[Change], Summary]:
    summary = Summary()
    changes = [change async for change in replay(home.read(), candidate, summary)]
    return changes, summary


async def recorded(home: Home, *answers: Decision) -> None:
    async with home.open() as records:
        for answer in answers:
            await records.around(Answers(lambda _, answer=answer: answer)).decide("step", DOCUMENT)


async def change(home: Home, before: Decision, after: Decision) -> tuple[ChangeKind | None, Summary]:
    await recorded(home, before)
    changes, summary = await replayed(home, Answers(lambda _: replace(after, bundle=CANDIDATE)))
    return (changes[0].kind if changes else None), summary


CLOSED = Reason("step.path_closed", "path: closed", "data.gateway.step.deny")
OTHER = Reason("step.other", "other", "data.gateway.step.deny")
TWO = replace(NO, reasons=(CLOSED, OTHER))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (YES, YES, None),
        (NO, NO, None),
        (TWO, replace(NO, reasons=(OTHER, CLOSED)), None),
        (YES, NO, ChangeKind.DENIED),
        (NO, YES, ChangeKind.ALLOWED),
        (NO, TWO, ChangeKind.REASONS),
        (NO, replace(NO, reasons=(replace(CLOSED, message="another"),)), ChangeKind.REASONS),
        (YES, replace(YES, constraints={"fuel_max": 5}), ChangeKind.OBLIGATIONS),
        (YES, replace(YES, profile="fast"), ChangeKind.OBLIGATIONS),
        (YES, replace(YES, require_approval=ApprovalDemand()), ChangeKind.OBLIGATIONS),
        (YES, replace(YES, labels={"a": "b"}), ChangeKind.OBLIGATIONS),
        (YES, replace(YES, redact=("/output/a",)), ChangeKind.OBLIGATIONS),
        (denied("policy.bundle_mismatch", "no", bundle=DIGEST), YES, ChangeKind.NOT_COMPARABLE),
        (replace(YES, labels={"a": "1", "b": "2"}), replace(YES, labels={"b": "2", "a": "1"}), None),
        (YES, denied("policy.timeout", "late", bundle=DIGEST), ChangeKind.DENIED),
        (denied("policy.timeout", "late", bundle=DIGEST), YES, ChangeKind.NOT_COMPARABLE),
        (denied("policy.timeout", "late", bundle=DIGEST), NO, ChangeKind.NOT_COMPARABLE),
        (denied("policy.stale", "old", bundle=DIGEST), YES, ChangeKind.NOT_COMPARABLE),
        (denied("policy.undefined", "none", bundle=DIGEST), YES, ChangeKind.ALLOWED),
        (denied("policy.malformed", "none", bundle=DIGEST), NO, ChangeKind.REASONS),
    ],
)
async def test_each_kind_of_change_has_a_name(
    home: Home, before: Decision, after: Decision, kind: ChangeKind | None
) -> None:
    """What weighs most is told: yes and no, then obligations, then reasons; the order of reasons means nothing."""
    found, summary = await change(home, before, after)
    assert found is kind
    assert (summary.asked, summary.same) == (1, 0 if kind else 1)
    assert summary.clean is (kind in {None, ChangeKind.NOT_COMPARABLE})
    assert summary.document()[kind.value if kind else "same"] == 1


async def test_a_change_says_what_it_is_about(home: Home) -> None:
    """Who, mission, step, effect; and both answers."""
    async with home.open() as records:
        policy = records.around(Answers())
        told = await policy.decide("effect", effect("create_file", "file.write", {"path": "out/x"}))
        await policy.decide("rpc", rpc("gateway.v1.MissionService", "GetMission", mission_id="m9", tenant="red"))
        await policy.decide("step", b"no JSON")
    changes, summary = await replayed(home, Answers(lambda _: replace(NO, bundle=CANDIDATE)))
    first, second, third = changes
    assert (first.what, first.who, first.mission_id) == ("nightly / A / file.write", "red/ann", "m1")
    assert (second.what, second.mission_id) == ("gateway.v1.MissionService/GetMission", "m9")
    assert (third.what, third.who) == ("", "")
    document = first.document_of()
    assert (document["kind"], document["decision_id"], document["entrypoint"]) == ("denied", told.id, "effect")
    assert document["before"] == YES.document()
    assert document["after"] == replace(NO, bundle=CANDIDATE).document()
    assert orjson.loads(orjson.dumps(document)) == document
    assert (summary.changed, summary.clean) == (3, False)


async def test_what_does_not_open_is_told(home: Home) -> None:
    """It is no change, and the replay is not clean."""
    await recorded(home, *[YES] * 3)
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE decisions SET answer = zeroblob(40) WHERE seq = 2")
        connection.commit()
    changes, summary = await replayed(home, Answers())
    assert [each.kind for each in changes] == [ChangeKind.UNREADABLE]
    assert changes[0].why
    assert (summary.asked, summary.same, summary.changed, summary.clean) == (3, 2, 0, False)


async def test_the_order_is_that_of_the_records(home: Home) -> None:
    """However many there are, and although many are asked at once."""
    async with home.open() as records:
        policy = records.around(Answers())
        told = [(await policy.decide("step", step("transform", {"n": n}))).id for n in range(450)]
    engine = Answers(lambda document: NO if orjson.loads(document)["parameters"]["n"] % 2 else YES)
    changes, summary = await replayed(home, engine)
    assert [each.decision_id for each in changes] == told[1::2]
    assert (summary.asked, summary.same, summary.counts) == (450, 225, {ChangeKind.DENIED: 225})


async def test_the_bundle_that_decided_changes_nothing(home: Home) -> None:
    """And one that closes a folder denies what was written there: the same documents, the candidate's own reasons."""
    bundle = Bundle.load(bundled_policies())
    questions = (
        ("step", step("create_file", {"path": "out/x", "content": "text"})),
        ("step", step("create_file", {"path": "protected/x", "content": "text"})),
        ("effect", effect("create_file", "file.write", {"path": "out/x", "content": "", "mode": "create"})),
        ("rpc", rpc("gateway.v1.MissionService", "SubmitMission")),
    )
    async with home.open() as records:
        policy = records.around(RegorusEngine(bundle))
        for entrypoint, document in questions:
            await policy.decide(entrypoint, document)  # type: ignore[arg-type]
    changes, summary = await replayed(home, RegorusEngine(bundle))
    assert (changes, summary.same) == ([], 4)
    data = orjson.loads(orjson.dumps(bundle.document))
    data["gateway"]["config"]["files"]["write"]["closed_prefixes"] = ["out/"]
    closed = Bundle.build(
        manifest={"revision": "c", "roots": list(bundle.roots)}, data=data, modules=list(bundle.modules)
    )
    changes, summary = await replayed(home, RegorusEngine(closed))
    assert {each.kind for each in changes} == {ChangeKind.DENIED, ChangeKind.ALLOWED}
    assert summary.same == 1


async def test_one_who_is_cancelled_leaves_no_reader_behind(home: Home) -> None:
    """The file may be closed when the replay has ended, whichever way."""
    began, finish, ended = threading.Event(), threading.Event(), []

    def records() -> Iterator[Recorded | Unreadable]:
        began.set()
        finish.wait()
        ended.append(True)
        yield from home.read()

    async def all_of_them() -> list[Change]:
        return [each async for each in replay(records(), Answers(), Summary())]

    task = asyncio.create_task(all_of_them())
    await asyncio.to_thread(began.wait)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    await recorded(home, YES)
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
