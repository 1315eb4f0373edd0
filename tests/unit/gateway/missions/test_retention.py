"""Retention: what ended long ago is deleted, with all that belongs to it, and the log keeps that it was there."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.errors import FaultError
from gateway.effects.workspace import Workspaces
from gateway.errors import PolicyInvalidError
from gateway.missions.retention import DAYS_DEFAULT, DAYS_MAX, LOOK_SECONDS, Retention, retention_days
from tests import virtual_time
from tests.payload_keys import KEY
from tests.worlds import ANN, World, hang, mission, step

ONE = mission(step("a"))


class Later:
    """The world's clock, some days on."""

    def __init__(self, world: World, days: float) -> None:
        self._clock, self._by = world.clock, timedelta(days=days)

    def now(self) -> datetime:
        return self._clock.now() + self._by

    def monotonic(self) -> float:
        return self._clock.monotonic()


def retention(world: World, *, days_on: float, days: int = 30) -> Retention:
    ground: Any = world.ground
    object.__setattr__(ground, "clock", Later(world, days_on))
    return Retention(ground, days=days)


class TestPruning:
    def test_what_is_older_goes_and_what_is_not_stays(self) -> None:
        """To the day; a mission that runs is never touched, however long ago it began."""

        async def main() -> None:
            world = World()
            old = (await world.run(ONE, "old")).mission_id
            world.faults.put("sandbox.run", hang)
            running = (await world.submit(ONE, "running")).mission_id
            await asyncio.sleep(1)
            assert await retention(world, days_on=29.9).prune() == 0
            kept = retention(world, days_on=30.1)
            assert await kept.prune() == 1
            await kept.sweep()
            assert set(world.store.missions) == {running}
            assert world.workspaces.removed == [old]
            [event] = world.log.of("mission.pruned")
            assert event.details == {"missions": [old], "mission_days": 30}
            assert event.seq < world.log.size

        virtual_time.run(main())

    def test_parts_go_with_the_whole(self) -> None:
        """Their records and their workspaces."""

        async def main() -> None:
            world = World()
            asks = [{"op": "mission.run", "args": {"mission": ONE}}]
            await world.run(mission(step("outer", kind="nesting", batches=[asks], output=1)))
            ids = set(world.store.missions)
            assert len(ids) == 2
            kept = retention(world, days_on=31)
            assert await kept.prune() == 1
            await kept.sweep()
            assert (world.store.missions, set(world.workspaces.removed)) == ({}, ids)

        virtual_time.run(main())

    def test_what_an_earlier_process_did_not_get_to_is_swept_at_the_start(self) -> None:
        """A workspace without its mission: killed between the store and the disk."""

        async def main() -> None:
            world = World()
            stays = (await world.run(ONE)).mission_id
            world.workspaces.create("gone", KEY)
            pruning = asyncio.create_task(retention(world, days_on=1).run())
            await asyncio.sleep(1)
            pruning.cancel()
            assert (world.workspaces.removed, list(world.store.missions)) == (["gone"], [stays])

        virtual_time.run(main())

    def test_more_than_fit_into_one_go_are_all_deleted(self) -> None:
        """However many are old."""

        async def main() -> None:
            world = World(running_max=300)
            await asyncio.gather(*(world.submit(ONE, f"r{n}") for n in range(250)))
            await world.settled()
            assert await retention(world, days_on=31).prune() == 250
            assert world.store.missions == {}
            assert len(world.log.of("mission.pruned")) == 3

        virtual_time.run(main())

    def test_the_log_is_told_first(self) -> None:
        """A log that cannot say so keeps everything where it is, and the next hour tries again."""

        async def main() -> None:
            world = World()
            await world.run(ONE)
            world.faults.put("audit.durable:mission.pruned", FaultError("dead"), 0)
            pruning = asyncio.create_task(retention(world, days_on=31).run())
            await asyncio.sleep(LOOK_SECONDS / 2)
            assert len(world.store.missions) == 1
            await asyncio.sleep(LOOK_SECONDS)
            assert world.store.missions == {}
            pruning.cancel()

        virtual_time.run(main())

    def test_a_mission_that_is_gone_is_not_found(self) -> None:
        """Nobody can watch, retry or read what was deleted."""

        async def main() -> None:
            world = World()
            gone = (await world.run(ONE)).mission_id
            await retention(world, days_on=31).prune()
            assert await world.desk.owner(gone) is None
            assert (await world.submit(ONE)).created  # its request id is free again
            await world.settled()
            assert (await world.desk.list_missions(ANN, state=None, page_size=0, page_token=""))[0][
                0
            ].mission_id != gone

        virtual_time.run(main())


class TestDays:
    @pytest.mark.parametrize(("data", "days"), [({}, DAYS_DEFAULT), ({"retention": {"mission_days": 1}}, 1)])
    def test_they_are_the_bundles(self, data: Any, days: int) -> None:
        """A bundle that says nothing keeps missions for the default time."""
        assert retention_days(data) == days

    @pytest.mark.parametrize("days", [0, -1, 1.5, True, "7", None, DAYS_MAX + 1])
    def test_what_is_no_number_of_days_is_refused(self, days: Any) -> None:
        """At load, with a code of its own: a typo must not delete anything."""
        with pytest.raises(PolicyInvalidError) as refused:
            retention_days({"retention": {"mission_days": days}})
        assert refused.value.code == "policy.retention"
        with pytest.raises(PolicyInvalidError):
            retention_days({"retention": days})


class TestWorkspaces:
    def test_one_that_goes_on_is_counted(self, tmp_path: Path) -> None:
        """Files and directories of an earlier execution take up room; a link is not followed."""
        workspaces = Workspaces.open(tmp_path)
        workspace = workspaces.create("m1", KEY)
        (workspace.path / "out").mkdir()
        (workspace.path / "out" / "a.txt").write_text("12345")
        (workspace.path / "link").symlink_to("/etc/passwd")
        workspace.close()
        again = workspaces.reopen("m1", KEY)
        assert (again.usage.entries, again.usage.bytes) == (3, 5 + len("/etc/passwd"))
        again.close()
        workspaces.reopen("never-begun", KEY).close()
        workspaces.close()

    def test_removing_one_leaves_the_others(self, tmp_path: Path) -> None:
        """Twice is as once, and what a link leads to stays."""
        workspaces = Workspaces.open(tmp_path)
        outside = tmp_path / "outside.txt"
        outside.write_text("stays")
        for name in ("m1", "m2"):
            workspace = workspaces.create(name, KEY)
            assert name in workspaces.names()
            (workspace.path / "link").symlink_to(outside)
            workspace.close()
        for _ in range(2):
            workspaces.remove("m1")
        assert not (tmp_path / "workspaces" / "m1").exists()
        assert workspaces.names() == ["m2"]
        assert (tmp_path / "workspaces" / "m2").exists()
        assert outside.read_text() == "stays"
        workspaces.close()

    @pytest.mark.parametrize("name", ["", ".", "..", "../m1", ".staging", "a/b", "m1\n"])
    def test_an_id_that_leads_elsewhere_removes_nothing(self, tmp_path: Path, name: str) -> None:
        """It is refused before the disk is touched."""
        workspaces = Workspaces.open(tmp_path)
        with pytest.raises(FaultError):
            workspaces.remove(name)
        assert (tmp_path / "workspaces" / ".staging").exists()
        workspaces.close()
