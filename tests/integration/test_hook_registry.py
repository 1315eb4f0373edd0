"""The registry in a real gateway: published, put in force, replaced and rolled back while missions run."""

import asyncio
from pathlib import Path

import orjson
import pytest

from gateway.assembly import Gateway
from gateway.client import CallError
from gateway.home import NewHome
from gateway.registry.views import page_of
from gateway.sandbox.signature import BUILTIN
from tests.depth import times
from tests.gateways import events_of, serving, submitted, until, verified
from tests.hook_folders import ACME, OTHER, STRANGER, files_of
from tests.registry_modules import sleeping
from tests.registry_worlds import asked, enabled, mission_of, outputs, published, publishing, refusal, trusting_home
from tests.subjects import names_in


@pytest.fixture
def made(tmp_path: Path) -> NewHome:
    return trusting_home(tmp_path)


async def said(gateway: Gateway, made: NewHome, request_id: str, count: int = 1) -> list[str]:
    view = await submitted(gateway, made, mission_of("resize", count=count), request_id)
    return [output["said"] for output in outputs(view)]


async def test_a_hook_is_published_enabled_replaced_and_rolled_back_in_one_run(made: NewHome) -> None:
    """Each change is seen by the next mission, and the log has each, with who did it and which module it is."""
    async with serving(made, sandbox=1) as gateway:
        assert (await published(gateway, made, files_of()))["created"]
        assert "resize" not in gateway.registry.current.kinds
        await enabled(gateway, made, "resize", "1.0.0")
        assert await said(gateway, made, "a") == ["1.0.0"]
        await published(gateway, made, files_of(version="1.1.0"))
        assert await said(gateway, made, "b") == ["1.0.0"]
        await enabled(gateway, made, "resize", "1.1.0")
        assert await said(gateway, made, "c") == ["1.1.0"]
        assert (await asked(gateway, made.token, lambda c: c.hooks.rollback("resize"))).version == "1.0.0"
        assert await said(gateway, made, "d") == ["1.0.0"]
        detail = await asked(gateway, made.token, lambda c: c.hooks.get("resize"))
        assert [(each.version, each.undone_at is None) for each in detail.history] == [
            ("1.1.0", False),
            ("1.0.0", True),
        ]
    verified(made)
    changes = [e for e in events_of(made) if e.event_type.startswith("hook.")]
    assert [(e.event_type, e.target, e.details.get("version"), e.details.get("before")) for e in changes] == [
        ("hook.published", "resize@1.0.0", "1.0.0", None),
        ("hook.enabled", "resize", "1.0.0", None),
        ("hook.published", "resize@1.1.0", "1.1.0", None),
        ("hook.enabled", "resize", "1.1.0", "1.0.0"),
        ("hook.rolled_back", "resize", "1.0.0", "1.1.0"),
    ]
    assert {names_in(made.home)[e.actor] for e in changes} == {"default/admin"}


async def test_versions_change_under_running_missions_and_none_fails(made: NewHome) -> None:
    """Changes while a dozen missions of many steps run: each step is answered by one version or the other."""
    steps = times(50, 150)
    async with serving(made, sandbox=1) as gateway:
        for version in ("1.0.0", "1.1.0"):
            await published(gateway, made, files_of(version=version))
        await enabled(gateway, made, "resize", "1.0.0")
        missions = [asyncio.create_task(said(gateway, made, f"r{n}", count=steps)) for n in range(12)]
        for _ in range(times(2, 4)):
            await enabled(gateway, made, "resize", "1.1.0")
            await asked(gateway, made.token, lambda c: c.hooks.rollback("resize"))
            await enabled(gateway, made, "resize", "1.0.0")
        heard = [version for mission in await asyncio.gather(*missions) for version in mission]
        assert len(heard) == 12 * steps
        assert set(heard) <= {"1.0.0", "1.1.0"}
        builtin, acme = (gateway.sandbox.pids_of(f"{name} steps") for name in (BUILTIN, f"publisher:{ACME.name}"))
        assert (len(builtin), len(acme)) == (1, 1)
        assert sorted(gateway.sandbox.pids) == sorted((*builtin, *acme))  # of the sets before nothing is left
    verified(made)
    announced: set[object] = set()
    for event in events_of(made):
        announced |= set(event.details["hooks"].values()) if event.event_type == "gateway.started" else set()
        announced |= {event.details["sha256"]} if event.event_type in {"hook.enabled", "hook.rolled_back"} else set()
        assert event.event_type != "step.allowed" or event.details["module"] in announced


async def test_a_restart_keeps_what_is_in_force(made: NewHome) -> None:
    """Enabled, disabled and rolled back stay so, and `gateway.started` names what is in force."""
    async with serving(made, sandbox=1) as gateway:
        for name, version in (("resize", "1.0.0"), ("resize", "1.1.0"), ("stamp", "1.0.0")):
            await published(gateway, made, files_of(name, version))
            await enabled(gateway, made, name, version)
        await asked(gateway, made.token, lambda c: c.hooks.rollback("resize"))
        await asked(gateway, made.token, lambda c: c.hooks.disable("stamp"))
    async with serving(made, sandbox=1) as gateway:
        assert await said(gateway, made, "after") == ["1.0.0"]
        assert "stamp" not in gateway.registry.current.kinds
        assert (await asked(gateway, made.token, lambda c: c.hooks.rollback("stamp"))).version == "1.0.0"
        [pin] = [hook.sha256 for hook in gateway.hooks if hook.name == "resize"]
    last = [e for e in events_of(made) if e.event_type == "gateway.started"][-1]
    assert last.details["hooks"]["resize"] == pin
    assert "stamp" not in last.details["hooks"]


async def test_a_step_that_waits_goes_on_with_the_module_that_it_began_with(made: NewHome) -> None:
    """It began with one version, sleeps through the change to the next, and ends with its own."""
    async with serving(made, sandbox=1) as gateway:
        for version in ("1.0.0", "1.1.0"):
            files = files_of("acting", version, module=sleeping(1_500, version), effects='"timer.sleep"')
            await published(gateway, made, files)
        await enabled(gateway, made, "acting", "1.0.0")
        running = asyncio.create_task(submitted(gateway, made, mission_of("acting"), "waits"))
        await until(lambda: any(e.event_type == "effect.intended" for e in events_of(made)))
        await enabled(gateway, made, "acting", "1.1.0")
        assert len(gateway.sandbox.pids) == 2  # the built-in hooks', and the new version's: nothing waits in a process
        assert outputs(await running) == [{"said": "1.0.0"}]
        assert outputs(await submitted(gateway, made, mission_of("acting"), "next")) == [{"said": "1.1.0"}]


async def test_a_step_whose_kind_was_disabled_meanwhile_fails_with_a_code(made: NewHome) -> None:
    """The mission was admitted; what begins later does not run, and the log says why."""
    async with serving(made, sandbox=1) as gateway:
        await published(gateway, made, files_of())
        await enabled(gateway, made, "resize", "1.0.0")
        delay = {"id": "a", "name": "a", "step_type": "delay", "parameters": {"ms": 700}}
        after = {"id": "b", "name": "b", "step_type": "resize", "depends_on": ["a"], "parameters": {}}
        form = {"version": "1.0", "name": "m", "steps": [delay, after]}
        running = asyncio.create_task(submitted(gateway, made, form))
        await until(lambda: any(e.event_type == "effect.intended" for e in events_of(made)))
        await asked(gateway, made.token, lambda c: c.hooks.disable("resize"))
        view = await running
        assert view["result"]["step_results"]["b"]["error"]["code"] == "hook.disabled"
        form = orjson.dumps(mission_of("resize"))
        assert await refusal(gateway, made.token, lambda c: c.plan(form)) == "mission.unknown_step_type"
    [refused] = [e for e in events_of(made) if e.event_type == "step.refused"]
    assert refused.details["code"] == "hook.disabled"


async def test_a_mission_of_an_earlier_process_ends_where_its_hook_is_gone(made: NewHome) -> None:
    """It is admitted anew against the hooks that are in force then, and told which step has no kind any more."""
    delay = {"id": "a", "name": "a", "step_type": "delay", "parameters": {"ms": 60_000}}
    after = {"id": "b", "name": "b", "step_type": "resize", "depends_on": ["a"], "parameters": {}}
    form = orjson.dumps({"version": "1.0", "name": "m", "steps": [delay, after]})
    async with serving(made, drain_seconds=0.1, sandbox=1) as gateway:
        await published(gateway, made, files_of())
        await enabled(gateway, made, "resize", "1.0.0")
        mission_id = (await asked(gateway, made.token, lambda c: c.submit(form, "r"))).mission_id
        await until(lambda: any(e.event_type == "effect.intended" for e in events_of(made)))
        await asked(gateway, made.token, lambda c: c.hooks.disable("resize"))
    async with serving(made, sandbox=1) as gateway:
        assert gateway.recovered.interrupted == (mission_id,)
        view = (await asked(gateway, made.token, lambda c: c.get(mission_id))).document()
        assert view["result"]["error"]["code"] == "mission.unknown_step_type"
    [interrupted] = [e for e in events_of(made) if e.event_type == "mission.interrupted"]
    assert interrupted.details["code"] == "mission.unknown_step_type"


async def test_each_publisher_has_workers_of_its_own(made: NewHome) -> None:
    """Two publishers, a screen and an observer beside a step, built-in hooks: no process has the modules of two."""
    async with serving(made, sandbox=1) as gateway:
        await published(gateway, made, files_of())
        await published(gateway, made, files_of("stamp", signer=OTHER))
        await published(gateway, made, files_of("watch", kind="observe"))
        await published(gateway, made, files_of("guard", kind="screen"))
        await enabled(gateway, made, "resize", "1.0.0")
        await enabled(gateway, made, "stamp", "1.0.0")
        await enabled(gateway, made, "watch", "1.0.0", order=3, step_types=["resize"], labels={"team": "red"})
        await enabled(gateway, made, "guard", "1.0.0")
        acme, other = f"publisher:{ACME.name}", f"publisher:{OTHER.name}"
        classes = (f"{BUILTIN} steps", f"{acme} steps", f"{other} steps", f"{acme} screens", f"{acme} observers")
        pids = [gateway.sandbox.pids_of(name) for name in classes]
        assert [len(each) for each in pids] == [1, 1, 1, 1, 1]
        assert len({pid for each in pids for pid in each}) == 5
        [_, placed] = gateway.registry.current.placed
        assert (placed.order, placed.step_types, placed.labels) == (3, frozenset({"resize"}), {"team": "red"})


async def test_only_who_may_changes_hooks(made: NewHome) -> None:
    """A publisher publishes and enables nothing, everybody else not even that; the log has each denial."""
    async with serving(made, sandbox=1) as gateway:
        calls = {
            "PublishHook": publishing(files_of()),
            "EnableHook": lambda c: c.hooks.enable("resize", "1.0.0"),
            "DisableHook": lambda c: c.hooks.disable("resize"),
            "RollbackHook": lambda c: c.hooks.rollback("resize"),
        }
        for role in ("submitter", "viewer"):
            for call in calls.values():
                assert await refusal(gateway, f"{role}-token", call) == "rpc.method_not_granted"
        assert (await asked(gateway, "publisher-token", calls.pop("PublishHook"))).created
        for call in calls.values():
            assert await refusal(gateway, "publisher-token", call) == "rpc.method_not_granted"
        assert await refusal(gateway, "", publishing(files_of())) == "auth.unauthenticated"
    denied = [e.target for e in events_of(made) if e.event_type == "rpc.denied"]
    assert denied.count("gateway.v1.HookService/PublishHook") == 2


async def test_the_list_is_whole_in_pages(made: NewHome) -> None:
    """What the package brings is there too; names in order, the newest publication of each first."""
    async with serving(made, sandbox=1) as gateway:
        for version in ("2.0.0", "1.0.0", "1.5.0"):
            await published(gateway, made, files_of(version=version))
        hooks = await asked(gateway, made.token, lambda c: [hook.document() for hook in c.hooks.all_hooks()])
        names = [hook["name"] for hook in hooks]
        assert names == sorted(names)
        assert [hook["version"] for hook in hooks if hook["name"] == "resize"] == ["1.5.0", "1.0.0", "2.0.0"]
        assert {hook["publisher"] for hook in hooks} == {BUILTIN, ACME.name}
        views = await gateway.registry.views()
        first, token = page_of(views, 4, "")
        rest, end = page_of(views, 200, token)
        assert ([v.key for v in first + rest], end) == ([f"{h['name']}@{h['version']}" for h in hooks], "")
        assert await asked(gateway, made.token, lambda c: c.hooks.get("resize"))


async def test_what_the_package_brings_is_not_changed_over_grpc(made: NewHome) -> None:
    """Neither disabled, rolled back nor replaced by a publisher who takes its name, in either spelling."""
    async with serving(made, sandbox=1) as gateway:
        for call in (
            lambda c: c.hooks.disable("http"),
            lambda c: c.hooks.rollback("http"),
            lambda c: c.hooks.enable("http", "1.0.0"),
        ):
            assert await refusal(gateway, made.token, call) == "hook.not_published"
        assert await refusal(gateway, made.token, publishing(files_of("http"))) == "hook.name_taken"
        for name in ("create__file", "create_file_", "read__file"):
            files = files_of(name)
            assert await refusal(gateway, made.token, publishing(files)) == "hook.duplicate"


async def test_a_publisher_that_is_not_trusted_any_more_stops_the_start(made: NewHome) -> None:
    """To go on without a screen would be to let everything through, so the gateway says which hook it is."""
    async with serving(made, sandbox=1) as gateway:
        await published(gateway, made, files_of("guard", kind="screen"))
        await enabled(gateway, made, "guard", "1.0.0")
    config = made.home / "missiongate.toml"
    config.write_text(config.read_text().replace(ACME.verifier_key(), STRANGER.verifier_key()))
    with pytest.raises(Exception, match=r"hook guard, which is enabled: hook\.sig") as caught:
        async with serving(made, sandbox=1):
            pass
    assert caught.value.code == "hook.publisher_untrusted"


async def test_publishing_the_same_again_is_no_error_and_another_is(made: NewHome) -> None:
    """A version is what it is; a repeated call gets the first one's answer."""
    async with serving(made, sandbox=1) as gateway:
        first = await published(gateway, made, files_of())
        again = await published(gateway, made, files_of())
        assert (first["created"], again["created"]) == (True, False)
        assert first["hook"] == again["hook"]
        with pytest.raises(CallError) as caught:
            await published(gateway, made, files_of(module=files_of(version="9.9.9").module))
        assert (caught.value.errors[0]["code"], caught.value.status.name) == (
            "hook.version_exists",
            "FAILED_PRECONDITION",
        )
