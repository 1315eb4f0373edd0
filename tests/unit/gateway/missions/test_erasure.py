"""Erasure: what the gateway keeps of a mission goes, in an order that a crash cannot turn around."""

import asyncio
from typing import Any

import pytest

from engine.errors import EngineError, FaultError
from engine.result import MissionState
from gateway.errors import ConflictError, ErasedError, NotFoundError
from gateway.identity import Principal, actor
from gateway.missions.erasure import ERASED
from gateway.replay.outcome import Reason, Verdict
from tests import virtual_time
from tests.replay_worlds import replay
from tests.subjects import known
from tests.worlds import ANN, World, hang, mission, step

ONE = mission(step("a", output={"said": "canary"}))
PAT = known(Principal(subject="pat", tenant=ANN.tenant, roles=("privacy",)))


async def all_of(iterator: Any) -> list[Any]:
    return [each async for each in iterator]


async def refusal(call: Any) -> str:
    with pytest.raises(EngineError) as refused:
        await call
    return refused.value.code


class TestErasing:
    def test_what_it_held_is_gone_and_that_it_was_there_is_not(self) -> None:
        """The log has the intent, with pointers, under a checkpoint, before anything is erased."""

        async def main() -> None:
            world = World()
            mission_id = (await world.run(ONE)).mission_id
            decided = world.log.of("mission.admitted")[0].details.get("decision_id")
            remove, told = world.workspaces.remove, []

            def removing(name: str) -> None:
                told.append([e.event_type for e in world.log.events[: world.log.size] if e.target == name])
                remove(name)

            world.workspaces.remove = removing  # type: ignore[method-assign]
            erased = await world.desk.erase(PAT, mission_id, "asked for")
            assert (erased.mission_id, erased.missions) == (mission_id, 1)
            [intent], [ended] = world.log.of("mission.erased"), world.log.of("mission.erasure_ended")
            assert intent.details == {"erased": list(ERASED), "reason": "asked for"}
            assert intent.actor == actor(PAT)
            assert (ended.target, ended.details["missions"]) == (mission_id, 1)
            assert "mission.erased" in told[0]
            assert "mission.erasure_ended" not in told[0]
            assert world.workspaces.removed == [mission_id]
            assert world.decisions.erased == [(frozenset({mission_id}), frozenset({decided} - {None}))]
            world.laws_hold()

        virtual_time.run(main())

    def test_every_reader_is_told_that_it_was_erased(self) -> None:
        """The mission itself is listed, with times and counts."""

        async def main() -> None:
            world = World()
            before = await world.run(ONE)
            mission_id = before.mission_id
            erased = await world.desk.erase(PAT, mission_id, "")
            view = await world.desk.get(ANN, mission_id)
            assert (view.erased_at, view.state) == (erased.erased_at, MissionState.COMPLETED)
            assert (view.name, view.digest, view.created_at) == ("", "", before.created_at)
            assert view.result is not None
            assert (view.result["steps_completed"], view.result["step_results"]) == (1, {})
            [listed], _ = await world.desk.list_missions(ANN, state=None, page_size=0, page_token="")
            assert listed.erased_at == erased.erased_at
            assert await refusal(world.desk.get(ANN, mission_id, document=True)) == "mission.erased"
            assert await refusal(all_of(world.desk.watch(ANN, mission_id, 0))) == "mission.erased"
            results = world.desk.results(ANN, mission_id, offset=0, follow=False)
            assert await refusal(all_of(results)) == "mission.erased"
            assert await refusal(world.desk.retry(ANN, mission_id, repeat_in_doubt=False)) == "mission.erased"
            assert await world.desk.list_approvals(ANN, mission_id, pending_only=False) == ()
            [said] = await replay(world, mission_id)
            assert (said.step_id, said.verdict, said.reason) == ("", Verdict.NOT_REPRODUCIBLE, Reason.ERASED)

        virtual_time.run(main())

    def test_one_that_failed_is_not_begun_anew(self) -> None:
        """A retry finds nothing, says so, and leaves it as it is."""

        async def main() -> None:
            world = World()
            failing = mission(step("a", error={"code": "x", "message": "canary"}))
            mission_id = (await world.run(failing)).mission_id
            await world.desk.erase(PAT, mission_id, "")
            assert await refusal(world.desk.retry(ANN, mission_id, repeat_in_doubt=False)) == "mission.erased"
            assert world.log.of("mission.retried") == []
            view = await world.desk.get(ANN, mission_id)
            assert view.result is not None
            assert "canary" not in str(view.document())

        virtual_time.run(main())

    def test_what_runs_is_not_erased(self) -> None:
        """Nor what another tenant has; nothing is told to the log then."""

        async def main() -> None:
            world = World()
            world.faults.put("sandbox.run", hang)
            mission_id = (await world.submit(ONE)).mission_id
            await asyncio.sleep(1)
            stranger = known(Principal(subject="s", tenant="other", roles=("privacy",)))
            assert await refusal(world.desk.erase(stranger, mission_id, "")) == "mission.not_found"
            assert await refusal(world.desk.erase(PAT, mission_id, "r" * 1_001)) == "mission.bad_reason"
            assert await refusal(world.desk.erase(PAT, mission_id, "")) == "mission.not_ended"
            assert world.log.of("mission.erased") == []
            await world.desk.cancel(ANN, mission_id, "")
            await world.desk.erase(PAT, mission_id, "")

        virtual_time.run(main())

    def test_parts_go_with_their_whole(self) -> None:
        """And not without it."""

        async def main() -> None:
            world = World()
            inner = mission(step("i", output="canary"))
            asks = [{"op": "mission.run", "args": {"mission": inner}}]
            form = mission(step("sub", kind="nesting", batches=[asks], output=1))
            whole = (await world.run(form)).mission_id
            [part] = set(world.store.missions) - {whole}
            assert await refusal(world.desk.erase(PAT, part, "")) == "mission.part"
            assert (await world.desk.erase(PAT, whole, "")).missions == 2
            assert await refusal(world.desk.get(ANN, part, document=True)) == "mission.erased"
            assert {e.target: e.details.get("with") for e in world.log.of("mission.erased")} == {
                whole: None,
                part: whole,
            }
            assert world.workspaces.removed == [whole, part]

        virtual_time.run(main())


class TestCrashes:
    @pytest.mark.parametrize(
        ("point", "told"),
        [
            ("audit.append:mission.erased", 1),  # the second time
            ("audit.durable:mission.erased", 2),
            ("workspace", 1),
            ("decisions", 1),
            ("audit.append:mission.erasure_ended", 1),
        ],
    )
    def test_the_next_start_ends_it(self, point: str, told: int) -> None:
        """Wherever it stopped: the log has the intent, and everything is gone, once."""

        async def main() -> None:
            world = World()
            mission_id = (await world.run(ONE)).mission_id

            def broken(*_: object) -> None:
                raise FaultError("killed")

            remove, erase = world.workspaces.remove, world.decisions.erase
            if point == "workspace":
                world.workspaces.remove = broken  # type: ignore[method-assign]
            elif point == "decisions":
                world.decisions.erase = broken  # type: ignore[method-assign,assignment]
            else:
                world.faults.put(point, FaultError("killed"))
            with pytest.raises(FaultError):
                await world.desk.erase(PAT, mission_id, "asked for")
            world.faults.plan.clear()
            world.workspaces.remove, world.decisions.erase = remove, erase  # type: ignore[method-assign]
            world.open_desk()
            await world.desk.recover()
            intents = world.log.of("mission.erased")
            assert len(intents) == told
            assert {(e.actor, e.details["reason"]) for e in intents} == {(actor(PAT), "asked for")}
            assert len([e for e in world.log.of("mission.erasure_ended") if e.seq < world.log.size]) == 1
            assert await refusal(world.desk.get(ANN, mission_id, document=True)) == "mission.erased"
            assert world.workspaces.removed[-1] == mission_id
            assert await world.store.erasures.unfinished() == ()
            assert (await world.desk.erase(PAT, mission_id, "again")).missions == 1
            assert len(world.log.of("mission.erased")) == told

        virtual_time.run(main())

    def test_a_second_call_ends_what_the_first_could_not(self) -> None:
        """Without a restart."""

        async def main() -> None:
            world = World()
            mission_id = (await world.run(ONE)).mission_id
            world.faults.put("audit.append:mission.erasure_ended", FaultError("full"))
            with pytest.raises(FaultError):
                await world.desk.erase(PAT, mission_id, "")
            world.faults.plan.clear()
            assert (await world.desk.erase(PAT, mission_id, "")).mission_id == mission_id
            assert await world.store.erasures.unfinished() == ()

        virtual_time.run(main())

    def test_a_caller_who_hangs_up_stops_nothing(self) -> None:
        """It is erased to its end."""

        async def main() -> None:
            world = World()
            mission_id = (await world.run(ONE)).mission_id
            call = asyncio.create_task(world.desk.erase(PAT, mission_id, ""))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await world.desk.close(0.0)
            assert await world.store.erasures.unfinished() == ()
            assert [e.target for e in world.log.of("mission.erasure_ended")] == [mission_id]

        virtual_time.run(main())


def test_the_errors_are_refusals() -> None:
    """A client is told them word by word, and may not try again."""
    assert ErasedError("x").code == "mission.erased"
    assert not issubclass(ErasedError, NotFoundError | ConflictError)
