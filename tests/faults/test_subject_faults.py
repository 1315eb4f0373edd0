"""A gateway that is killed in the middle of erasing a person: wherever it was, the next start leaves nothing."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine.result import StepFailure
from gateway.errors import ConflictError, NotFoundError
from gateway.identity import Principal, actor
from gateway.missions.subject_erasure import SubjectErasure
from gateway.subjects.keys import SubjectKeys
from gateway.subjects.subjects import Name, Subjects
from tests.unit.gateway.consents import wanting
from tests.virtual_time import run
from tests.worlds import World, hang, mission, step

KEYS = SubjectKeys(bytes(32))
PERSON = Principal(subject="canary.person@example.org", tenant="acme", roles=("submitter", "approver"))
OTHER = Principal(subject="other.person@example.org", tenant="acme", roles=("submitter",))
NAME = Name(PERSON.tenant, PERSON.subject)
CALLS_MAX = 40


class KilledError(BaseException):
    """The process is gone."""


class Wire:
    """Kills at the n-th call of what it is laid around: before it is done, or after, and before anybody hears of it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left = at
        self.after = after

    def around(self, port: Any) -> Any:
        return _Wired(self, port)

    def tripped(self) -> bool:
        self.left -= 1
        return self.left == -1


class _Wired:
    def __init__(self, wire: Wire, port: Any) -> None:
        self._wire = wire
        self._port = port

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)
        if name == "append":  # answers at once, and is lost where its checkpoint is
            return method

        async def called(*args: Any, **kwargs: Any) -> Any:
            tripped = self._wire.tripped()
            if tripped and not self._wire.after:
                raise KilledError
            answer = await method(*args, **kwargs)
            if tripped:
                raise KilledError
            return answer

        return called


class Decisions:
    """Recorded decisions of people."""

    def __init__(self) -> None:
        self.erased: list[tuple[str, str]] = []

    async def erase_subject(self, tenant: str, subject: str) -> int:
        self.erased.append((tenant, subject))
        return 5


class People:
    """A world whose people are looked up in its store."""

    def __init__(self) -> None:
        self.world = World()
        self.decisions = Decisions()
        self.restart()

    def restart(self) -> None:
        """Begin as a new process would."""
        self.subjects = Subjects(self.world.store.subjects, KEYS)
        self.world.subjects = self.subjects
        self.world.open_desk()
        self.erasure = self.erasing()

    def erasing(self, wire: Wire | None = None) -> SubjectErasure:
        ports = (self.world.store.subjects, self.world.log, self.world.desk, self.decisions)
        store, log, desk, decisions = ports if wire is None else map(wire.around, ports)
        return SubjectErasure(self.subjects, store, log, desk, decisions)

    async def ran(self, principal: Principal, request_id: str, **parameters: Any) -> str:
        """Run a mission of somebody to its end, and return its id."""
        known = await self.subjects.known(principal)
        submission = await self.world.submit(mission(step("a", **parameters)), request_id, known)
        await self.world.settled()
        return str(submission.mission_id)

    def rows(self) -> str:
        """Return everything that the store holds, as text."""
        connection = self.world.store.connection
        tables = [row["name"] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = (tuple(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}"))  # noqa: S608 - its own tables
        return repr(list(rows))


def assert_erased(people: People, pseudonym: str, *, mine: str, others: str) -> None:
    """Nothing of the person is left, the log has both events in order, and others keep what is theirs."""
    assert PERSON.subject not in people.rows()
    assert OTHER.subject in people.rows()
    store = people.world.store
    assert store.missions[mine].erased_at is not None
    assert store.missions[mine].submitter == pseudonym
    assert store.missions[others].erased_at is None
    assert people.decisions.erased[-1] == (PERSON.tenant, PERSON.subject)
    told = [event.event_type for event in people.world.log.events if event.target == pseudonym]
    assert told[0] == "subject.erased"
    assert told[-1] == "subject.erasure_ended"
    kinds = people.world.log.types()
    assert kinds.index("subject.erased") < kinds.index("mission.erased")
    people.world.laws_hold()


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_anywhere_leaves_nothing_after_the_next_start(after: bool) -> None:
    """At each call of the store, of the log, of the missions' own erasure, and of the records of decisions."""

    async def killed_at(at: int) -> bool:
        people = People()
        mine, others = await people.ran(PERSON, "r1", output="x"), await people.ran(OTHER, "r2")
        pseudonym = actor(await people.subjects.known(PERSON))
        try:
            await people.erasing(Wire(at, after=after)).erase(NAME, "s-" + "a" * 26, "asked for")
        except KilledError:
            people.restart()
            begun = [row.pseudonym for row in await people.world.store.subjects.erasing()]
            await people.world.desk.recover()
            assert await people.erasure.resume() == len(begun)
            if pseudonym in people.rows() and not begun:  # killed before the intent: nothing has happened
                assert await people.subjects.find(NAME) in {pseudonym, None}
            if await people.subjects.find(NAME) is not None:
                assert people.world.log.of("subject.erased") == []
                await people.erasure.erase(NAME, "s-" + "a" * 26, "asked for")
            assert_erased(people, pseudonym, mine=mine, others=others)
            return True
        assert_erased(people, pseudonym, mine=mine, others=others)
        return False

    counts = [run(killed_at(at)) for at in range(CALLS_MAX)]
    assert counts == sorted(counts, reverse=True)
    assert 10 < sum(counts) < CALLS_MAX


def test_what_failed_is_finished_by_the_next_call_for_anybody() -> None:
    """A store that could not, and can again: nobody has to restart the gateway."""

    async def main() -> None:
        people = People()
        mine, others = await people.ran(PERSON, "r1"), await people.ran(OTHER, "r2")
        pseudonym = actor(await people.subjects.known(PERSON))
        with pytest.raises(KilledError):
            await people.erasing(Wire(5, after=False)).erase(NAME, "gateway", "")
        with pytest.raises(NotFoundError):
            await people.erasure.erase(Name("acme", "nobody"), "gateway", "")
        assert_erased(people, pseudonym, mine=mine, others=others)

    run(main())


def test_the_same_person_who_comes_again_is_somebody_new() -> None:
    """While an erasure goes on, and after it; what is submitted then is not erased with what was before."""

    async def main() -> None:
        people = People()
        await people.ran(PERSON, "r1")
        before = actor(await people.subjects.known(PERSON))
        with pytest.raises(KilledError):
            await people.erasing(Wire(5, after=False)).erase(NAME, "gateway", "")
        again = await people.ran(PERSON, "r2")
        after = actor(await people.subjects.known(PERSON))
        assert after != before
        assert await people.erasure.resume() == 1
        record = people.world.store.missions[again]
        assert (record.submitter, record.erased_at) == (PERSON.subject, None)
        assert await people.subjects.find(NAME) == after
        [admitted] = [e for e in people.world.log.of("mission.admitted") if e.target == again]
        assert admitted.actor == after

    run(main())


def test_nobody_is_erased_while_a_mission_of_theirs_runs() -> None:
    """Neither is anything recorded of it, nor begun."""

    async def main() -> None:
        people = People()
        people.world.faults.put("sandbox.run", hang)
        known = await people.subjects.known(PERSON)
        submission = await people.world.submit(mission(step("a")), "r", known)
        with pytest.raises(ConflictError) as caught:
            await people.erasure.erase(NAME, "gateway", "")
        assert caught.value.code == "subject.missions_running"
        assert people.world.log.of("subject.erased") == []
        await people.world.desk.cancel(known, submission.mission_id, "done")
        assert (await people.erasure.erase(NAME, "gateway", "")).missions == 1

    run(main())


def test_a_mission_that_comes_in_between_is_not_left_out() -> None:
    """It is admitted after the person was looked up, and before the erasure has begun: that is refused."""

    async def main() -> None:
        people = People()
        people.world.faults.put("sandbox.run", hang)
        known = await people.subjects.known(PERSON)

        class Late(_Wired):
            async def begin_erasure(self, *args: Any) -> Any:
                await people.world.submit(mission(step("a")), "late", known)
                return await people.world.store.subjects.begin_erasure(*args)

        store = Late(Wire(CALLS_MAX, after=False), people.world.store.subjects)
        world = people.world
        erasure = SubjectErasure(people.subjects, store, world.log, world.desk, people.decisions)  # type: ignore[arg-type]
        with pytest.raises(ConflictError) as caught:
            await erasure.erase(NAME, "gateway", "")
        assert caught.value.code == "subject.missions_running"
        assert world.log.of("subject.erased") == []
        [late] = world.store.missions.values()
        await world.desk.cancel(known, late.id, "done")
        assert (await people.erasure.erase(NAME, "gateway", "")).missions == 1
        assert PERSON.subject not in people.rows()

    run(main())


def test_a_damaged_mission_keeps_nobody_from_being_erased() -> None:
    """What is recorded of it does not open: it goes all the same, and holds up no other person and no start."""

    async def main() -> None:
        people = People()
        mine, others = await people.ran(PERSON, "r1"), await people.ran(OTHER, "r2")
        pseudonym = actor(await people.subjects.known(PERSON))
        people.world.store.connection.execute("UPDATE missions SET head = x'00' WHERE id = ?", (mine,))
        assert (await people.erasure.erase(NAME, "gateway", "")).missions == 1
        assert_erased(people, pseudonym, mine=mine, others=others)

    run(main())


def test_who_asks_again_hears_that_it_is_done() -> None:
    """The first call has failed in the middle: the name finds nobody any more, and the erasure was theirs."""

    async def main() -> None:
        people = People()
        await people.ran(PERSON, "r1")
        pseudonym = actor(await people.subjects.known(PERSON))
        with pytest.raises(KilledError):
            await people.erasing(Wire(5, after=False)).erase(NAME, "gateway", "")
        assert (await people.erasure.erase(NAME, "gateway", "")).pseudonym == pseudonym
        with pytest.raises(NotFoundError):
            await people.erasure.erase(NAME, "gateway", "")

    run(main())


def test_a_mission_that_is_begun_anew_meanwhile_is_waited_for() -> None:
    """It is not left out, with the name: the erasure goes on once it has ended, and holds up nobody until then."""

    async def main() -> None:
        people = People()
        mine, others = await people.ran(PERSON, "r1"), await people.ran(OTHER, "r2")
        pseudonym = actor(await people.subjects.known(PERSON))
        store = people.world.store
        await store.subjects.begin_erasure(NAME.tenant, NAME.subject, pseudonym, "gateway", "")
        await store.reopen_mission(mine)
        assert await people.erasure.resume() == 0
        with pytest.raises(NotFoundError):
            await people.erasure.erase(Name("acme", "nobody"), "gateway", "")
        with pytest.raises(ConflictError) as caught:
            await people.erasure.erase(NAME, "gateway", "")
        assert caught.value.code == "subject.missions_running"
        assert people.world.log.of("subject.erased") == []
        await store.interrupt_mission(mine, StepFailure(code="interrupted", message=""))
        assert (await people.erasure.erase(NAME, "gateway", "")).missions == 1
        assert_erased(people, pseudonym, mine=mine, others=others)

    run(main())


def test_a_name_in_a_decision_on_an_approval_goes_too() -> None:
    """The mission is another person's and stays; who has agreed to it is a pseudonym from then on."""

    async def main() -> None:
        people = People()
        await people.subjects.known(PERSON)
        people.world.policy.answers["step"] = wanting()
        known = await people.subjects.known(OTHER)
        submission = await people.world.submit(mission(step("a")), "r", known)
        approvals: tuple[Any, ...] = ()
        while not approvals:
            approvals = await people.world.desk.list_approvals(known, submission.mission_id, pending_only=True)
            if not approvals:
                await asyncio.sleep(1)
        decider = await people.subjects.known(PERSON)
        await people.world.desk.decide_approval(
            decider,
            submission.mission_id,
            approvals[0].approval_id,
            approve=True,
            digest=approvals[0].digest,
            comment="yes",
        )
        await people.world.settled()
        [decided] = people.world.log.of("approval.decided")
        assert decided.actor == actor(decider)
        await people.erasure.erase(NAME, "gateway", "")
        assert PERSON.subject not in people.rows()
        [view] = await people.world.desk.list_approvals(known, submission.mission_id, pending_only=False)
        assert view.decided_by == decided.actor

    run(main())


def test_what_is_counted_of_a_person_is_told_before_they_are_erased() -> None:
    """The log hears of their calls while somebody is behind the name, and then of those that came meanwhile."""

    async def main() -> None:
        people = People()
        await people.ran(PERSON, "r1")
        pseudonym = actor(await people.subjects.known(PERSON))
        world, told = people.world, []

        def settle(who: str) -> None:
            told.append((who, len(world.log.of("subject.erased"))))

        ports = (world.store.subjects, world.log, world.desk, people.decisions)
        await SubjectErasure(people.subjects, *ports, settle).erase(NAME, "gateway", "")  # type: ignore[arg-type]
        assert told == [(pseudonym, 0), (pseudonym, 1)]

    run(main())
