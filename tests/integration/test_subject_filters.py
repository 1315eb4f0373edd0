"""A filter of the log by a name asks who somebody is: only who may, about whom they may, and the name is not kept."""

import asyncio
import json
from pathlib import Path

from gateway.assembly import Gateway
from gateway.client import EventQuery
from tests.cli_runner import run
from tests.gateways import events_of, serving
from tests.integration.test_subjects import ANN, AUD, FAR, ROOT, asked, assert_nowhere, code_of, lines_of, peopled
from tests.subjects import names_in
from tests.worlds import mission, step

STRANGER = "stranger.canary@example.org"
FORM = json.dumps(mission(step("a", kind="transform", input=1))).encode()


async def found(gateway: Gateway, who: str, query: EventQuery) -> list[dict[str, object]]:
    """Return the events that somebody is shown."""
    return await asked(gateway, who, lambda client: [json.loads(each.line) for each in client.audit.events(query)])


async def test_who_may_not_look_people_up_cannot_by_a_filter(tmp_path: Path) -> None:
    """Neither a submitter among the events of a mission, nor anybody of another tenant, learns a pseudonym."""
    made = peopled(tmp_path)
    async with serving(made) as gateway:
        submitted = await asked(gateway, ANN, lambda client: client.submit(FORM, "one"))
        mine = submitted.mission_id
        await asked(gateway, ANN, lambda client: list(client.watch(mine)))
        await asked(gateway, AUD, lambda client: client.people.look_up_subject(ANN))
        who = {name: pseudonym for pseudonym, name in names_in(made.home).items()}
        query = EventQuery(mission_id=mine, principal=f"default/{AUD}")
        assert await code_of(gateway, ANN, lambda client: list(client.audit.events(query))) == "rpc.method_not_granted"
        own = await found(gateway, ANN, EventQuery(mission_id=mine, principal=f"default/{ANN}"))
        assert {event["actor"] for event in own} == {who[f"default/{ANN}"]}
        assert await found(gateway, FAR, EventQuery(principal=f"default/{ANN}")) == []
        told = [e for e in events_of(made) if e.event_type == "audit.read"]
        assert [e.details["filter"]["actor"] for e in told] == [who[f"default/{ANN}"], "nobody"]
        assert await found(gateway, AUD, EventQuery(principal=f"default/{ANN}"))


async def test_a_name_that_is_asked_for_is_not_in_the_log(tmp_path: Path) -> None:
    """Nor is what somebody has taken for a mission, or for a decision: also after a person was erased."""
    made = peopled(tmp_path)
    async with serving(made) as gateway:
        await code_of(gateway, ANN, lambda client: client.submit(b"{", "one"))
        await asked(gateway, ROOT, lambda client: client.people.erase_subject(ANN))
        for query in (
            EventQuery(principal=f"default/{ANN}"),
            EventQuery(principal=ANN),
            EventQuery(principal=f"other/{STRANGER}", whole_log=True),
            EventQuery(mission_id=ANN),
            EventQuery(decision_id=STRANGER),
        ):
            assert {event["event_type"] for event in await found(gateway, AUD, query)} <= {"audit.read"}
        await code_of(gateway, AUD, lambda client: list(client.audit.replay(STRANGER)))
    assert b"canary" not in lines_of(made)
    assert_nowhere(made, ANN, STRANGER)


async def test_an_export_that_was_asked_for_by_a_name_has_the_pseudonym(tmp_path: Path) -> None:
    """It is given to others, who would read in it whose the pseudonym of all its events is."""
    made, token, out = peopled(tmp_path), tmp_path / "token", tmp_path / "out"
    token.touch(mode=0o600)
    token.write_text(AUD[::-1])
    async with serving(made) as gateway:
        await code_of(gateway, ANN, lambda client: client.submit(b"{", "one"))
        asked_for = ("--principal", f"default/{ANN}", "--server", gateway.address, "--token-file", token)
        done = await asyncio.to_thread(run, "audit", "export", "--out", out, *asked_for)
    assert done.code == 0, done.err
    pseudonym = {name: each for each, name in names_in(made.home).items()}[f"default/{ANN}"]
    texts = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not [text for text in texts if ANN.encode() in text]
    assert [text for text in texts if f"actor={pseudonym}".encode() in text]
