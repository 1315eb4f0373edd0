"""People in a real gateway: no name in the log, pseudonyms that last, and erasures after which the log verifies."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.assembly import Gateway
from gateway.client import CallError, Client, Server, Subject
from gateway.config import CONFIG_NAME
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome
from gateway.subjects.subjects import PSEUDONYM
from tests.cli_runner import run
from tests.gateways import events_of, new_home, serving, verified
from tests.subjects import commitments_in, names_in
from tests.worlds import Event, laws_hold, mission, step

T = TypeVar("T")

ANN = "ann.canary@example.org"  # submits
BO = "bo.canary@example.org"  # approves
AUD = "aud.canary@example.org"  # reads the log
FAR = "far.canary@example.org"  # reads that of another tenant
ROOT = "root.canary@example.org"  # may do everything
PEOPLE = {
    ANN: ("default", "submitter"),
    BO: ("default", "approver"),
    AUD: ("default", "auditor"),
    FAR: ("other", "admin"),
    ROOT: ("default", "admin"),
}
SALARY = "salary canary 4711"
STEPS = [
    step("plain", kind="transform", input=SALARY),
    step("ask", "plain", kind="approval", message=f"May {ANN} know the {SALARY}?"),
    step("file", "ask", kind="create_file", path="out.txt", content=f"{ANN} has {SALARY}"),
    step("closed", "file", kind="create_file", path=f"protected/{ANN}", content="x", continue_on_error=True),
]
FORM = json.dumps(mission(*STEPS, config={"fail_fast": False}, variables={"who": ANN})).encode()


def peopled(folder: Path) -> NewHome:
    """Make a home of these people; the token of each is the name, spelled backwards."""
    made = new_home(folder)
    with (made.home / CONFIG_NAME).open("a") as file:
        for who, (tenant, role) in PEOPLE.items():
            digest = hashlib.sha256(who[::-1].encode()).hexdigest()
            file.write(
                f'\n[[tokens]]\nsubject = "{who}"\ntenant = "{tenant}"\nroles = ["{role}"]\nsha256 = "{digest}"\n'
            )
    return made


async def asked(gateway: Gateway, who: str, call: Callable[[Client], T]) -> T:
    """Return what a call of somebody comes to."""

    def calling() -> T:
        with Client(Server(gateway.address, who[::-1])) as client:
            return call(client)

    return await asyncio.to_thread(calling)


async def code_of(gateway: Gateway, who: str, call: Callable[[Client], Any]) -> str:
    """Return with which code a call is refused."""
    with pytest.raises(CallError) as refused:
        await asked(gateway, who, call)
    return refused.value.code


async def ran(gateway: Gateway, request_id: str) -> str:
    """Let ann submit a mission and bo agree to it; return its id, once it has ended."""
    submitted = await asked(gateway, ANN, lambda client: client.submit(FORM, request_id))
    mission_id = submitted.mission_id
    await asked(gateway, ANN, lambda client: next(e for e in client.watch(mission_id) if e.kind == "step.waiting"))

    def decide(client: Client) -> None:
        [approval] = client.list_approvals(mission_id).approvals
        client.decide_approval(
            mission_id, approval.approval_id, approve=True, digest=approval.digest, comment=f"{BO} trusts {ANN}"
        )

    await asked(gateway, BO, decide)
    await asked(gateway, ANN, lambda client: list(client.watch(mission_id)))
    return mission_id


async def everything(gateway: Gateway) -> list[str]:
    """Let every kind of event happen that speaks of people, and return the missions that have ended."""
    missions = [await ran(gateway, f"{ANN}/{number}") for number in range(2)]
    slow = json.dumps(mission(step("slow", kind="delay", ms=60_000))).encode()
    stopped = (await asked(gateway, ANN, lambda client: client.submit(slow, "slow"))).mission_id
    await asked(gateway, ROOT, lambda client: client.pause(stopped, f"{ANN} has lunch"))
    await asked(gateway, ROOT, lambda client: client.resume(stopped))
    await asked(gateway, ROOT, lambda client: client.cancel(stopped, f"{ANN} is ill"))
    await code_of(gateway, ANN, lambda client: client.submit(f"{ANN}: [".encode(), f"bad {ANN}"))
    await code_of(gateway, ANN, lambda client: client.cancel(missions[0], ANN))
    await code_of(gateway, BO, lambda client: client.cancel(ANN, BO))
    replayed = await asked(gateway, AUD, lambda client: [each.verdict for each in client.audit.replay(missions[0])])
    assert replayed == ["same"] * 3 + ["not_reproducible"]
    return [*missions, stopped]


def lines_of(made: NewHome) -> bytes:
    """Return every byte of the log."""
    return b"".join(path.read_bytes() for path in (made.home / AUDIT_FOLDER).rglob("*") if path.is_file())


def files_of(made: NewHome) -> Iterator[tuple[Path, bytes]]:
    """Yield every file of a home but its configuration, which is the operator's own."""
    for path in made.home.rglob("*"):
        if path.is_file() and path.name != CONFIG_NAME:
            yield path, path.read_bytes()


def assert_nowhere(made: NewHome, *texts: str) -> None:
    """No file has any of these, as it is or in base64's or JSON's clothes."""
    for path, content in files_of(made):
        for text in texts:
            assert text.encode() not in content, f"{text} is in {path}"


def ended(events: list[Event], mission_id: str, step_id: str) -> Any:
    [found] = [e for e in events if e.event_type == "step.ended" and e.target == f"{mission_id}/{step_id}"]
    return found.details


async def test_people_in_the_log_and_out_of_it(tmp_path: Path) -> None:
    """One gateway, three times: everything happens; everybody is found again; then two are erased."""
    made = peopled(tmp_path)
    async with serving(made) as gateway:
        missions = await everything(gateway)
    events = events_of(made)
    laws_hold(events)
    assert not [text for text in (*PEOPLE, SALARY, "canary") if text.encode() in lines_of(made)]
    who = {name: pseudonym for pseudonym, name in names_in(made.home).items()}
    assert_the_log_says_who(events, who, missions)
    assert_values_are_committed_to(made, events, missions)
    async with serving(made) as gateway:
        await assert_lookups(gateway, who)
        assert await code_of(gateway, ANN, lambda client: client.submit(b"{", "again")) == "document.syntax"
        assert events_of(made)[-1].actor == who[f"default/{ANN}"]  # as before the restart
        erased = await asked(gateway, ROOT, lambda client: client.people.erase_subject(ANN, "", "asked for"))
        assert (erased.pseudonym, erased.missions) == (who[f"default/{ANN}"], 3)
        assert erased.decisions > 0
        await asked(gateway, ROOT, lambda client: client.people.erase_subject(BO, "default", ""))
        await assert_erased(gateway, made, who, missions)
    laws_hold(events_of(made))
    assert_nowhere(made, ANN, BO, SALARY)
    assert verified(made).ok
    assert names_in(made.home)[events_of(made)[-2].actor] == f"default/{ANN}"  # who came again, as somebody new
    done = await asyncio.to_thread(run, "audit", "replay", missions[0], "--home", made.home, "-o", "json")
    assert (done.code, done.json["not_reproducible"], done.json["same"]) == (0, 1, 0)


def assert_the_log_says_who(events: list[Event], who: dict[str, str], missions: list[str]) -> None:
    """Each act has its person, by one pseudonym for all of them."""
    ann, bo, aud = (who[f"default/{name}"] for name in (ANN, BO, AUD))
    by = {(e.event_type, e.target): e.actor for e in events}
    assert by["mission.admitted", missions[0]] == by["mission.admitted", missions[1]] == ann
    assert by["approval.decided", f"{missions[0]}/ask"] == bo
    assert by["audit.replayed", missions[0]] == aud
    assert {e.actor for e in events if e.event_type == "rpc.denied"} == {bo}
    assert {e.actor for e in events} <= {*who.values(), "anonymous", "gateway", "audit"}


def assert_values_are_committed_to(made: NewHome, events: list[Event], missions: list[str]) -> None:
    """Equal values of two missions have different commitments, each of which its mission's key makes again."""
    first, second = (ended(events, each, "plain")["output"] for each in missions[:2])
    assert first != second
    assert first == commitments_in(made.home, missions[0]).of(SALARY)
    assert second == commitments_in(made.home, missions[1]).of(SALARY)


async def assert_lookups(gateway: Gateway, who: dict[str, str]) -> None:
    """Both ways, for who may; each is recorded; nobody of another tenant is there."""
    ann = who[f"default/{ANN}"]
    found = Subject(pseudonym=ann, tenant="default", subject=ANN)
    assert await asked(gateway, AUD, lambda client: client.people.look_up_pseudonym(ann)) == found
    assert await asked(gateway, AUD, lambda client: client.people.look_up_subject(ANN, "")) == found
    assert (
        await code_of(gateway, AUD, lambda client: client.people.look_up_subject("nobody", "")) == "subject.not_found"
    )
    assert await code_of(gateway, FAR, lambda client: client.people.look_up_pseudonym(ann)) == "subject.not_found"
    assert (
        await code_of(gateway, FAR, lambda client: client.people.look_up_subject(ANN, "default")) == "subject.not_found"
    )
    assert (
        await code_of(gateway, FAR, lambda client: client.people.erase_subject(ANN, "default", ""))
        == "subject.not_found"
    )
    refused = await code_of(gateway, ANN, lambda client: client.people.look_up_pseudonym(ann))
    assert refused == "rpc.method_not_granted"
    assert (
        await code_of(gateway, AUD, lambda client: client.people.erase_subject(ANN, "", "")) == "rpc.method_not_granted"
    )


async def assert_erased(gateway: Gateway, made: NewHome, who: dict[str, str], missions: list[str]) -> None:
    """Nobody stands behind the pseudonym, the missions are empty, and the name comes again as somebody new."""
    ann = who[f"default/{ANN}"]
    assert ann not in names_in(made.home)
    assert await code_of(gateway, AUD, lambda client: client.people.look_up_pseudonym(ann)) == "subject.not_found"
    assert await code_of(gateway, ROOT, lambda client: client.people.erase_subject(ANN, "", "")) == "subject.not_found"
    told = [e for e in events_of(made) if e.target == ann]
    looked_up = [e.details["asked"] for e in told if e.event_type == "subject.looked_up"]
    assert looked_up == ["pseudonym", "name"]
    assert [e.event_type for e in told if e.event_type != "subject.looked_up"] == [
        "subject.erased",
        "subject.erasure_ended",
    ]
    for mission_id in missions:
        view = await asked(gateway, AUD, lambda client, mission_id=mission_id: client.get(mission_id))
        assert (view.name, view.submitter) == ("", ann)
        assert view.erased_at is not None
    assert await code_of(gateway, ANN, lambda client: client.submit(b"{", "new")) == "document.syntax"
    again = events_of(made)[-1].actor
    assert PSEUDONYM.fullmatch(again)
    assert again != ann
