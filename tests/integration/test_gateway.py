"""The whole gateway, real in every layer: missions over gRPC, hostile input, workers that are killed."""

import asyncio
import gzip
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.client import CallError
from gateway.demo.scenario import ACTS, stage, verify
from tests.depth import IS_FUZZ
from tests.gateways import add_hook, alive, calling, events_of, new_home, serving, submitted, until, verified
from tests.subjects import own_in
from tests.worlds import Event, laws_hold, mission

TESTS = Path(__file__).parent.parent
DAGS = sorted((TESTS / "vectors" / "dags").glob("*.json.gz"))
LARGE = 5_000  # steps, from which on a graph takes seconds


def step(step_id: str, *depends_on: str, kind: str = "transform", **parameters: Any) -> dict[str, Any]:
    """Return a step; without parameters it is a transform that does nothing."""
    return {
        "id": step_id,
        "name": step_id,
        "step_type": kind,
        "depends_on": list(depends_on),
        "parameters": parameters,
    }


async def test_the_demonstration_shows_what_it_says(tmp_path: Path) -> None:
    """Each act ends as it must, over gRPC, and the log verifies offline and keeps its laws."""
    async with stage(tmp_path) as running:
        for act in ACTS:
            outcome = await running.play(act)
            assert outcome.as_expected, (act.file, outcome)
        home = running.home
    assert verify(home).ok
    laws_hold(events_of(home))


async def test_an_effect_that_policy_denies_is_not_performed(tmp_path: Path) -> None:
    """The step policy lets the step run; the effect it asks for is denied, recorded, and never happens."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        view = await submitted(
            gateway, made, mission(step("call", kind="http", url="https://example.com/"), step("after", "call"))
        )
    error = view["result"]["step_results"]["call"]["error"]
    assert error["code"] == "effect.host_closed"
    assert view["result"]["step_results"]["after"]["status"] == "Skipped"
    kinds = [event.event_type for event in events_of(made) if event.target.endswith("/call")]
    assert kinds == ["step.allowed", "effect.refused", "step.ended"]
    verified(made)


def dag_mission(graph: dict[str, Any]) -> dict[str, Any]:
    """Return a graph as a mission of steps that do nothing."""
    parents: dict[int, list[str]] = {node: [] for node in range(graph["n"])}
    for parent, child in graph["edges"]:
        parents[child].append(f"n{parent}")
    steps = [step(f"n{node}", *sorted(set(before))) for node, before in parents.items()]
    return mission(*steps, config={"parallel_limit": 64, "timeout_seconds": 300})


def check_order(events: list[Event], graph: dict[str, Any], mission_id: str) -> None:
    """Assert from the log alone that no step was even asked about before all that it depends on had ended."""
    began, ended = {}, {}
    for event in events:
        owner, _, step_id = event.target.partition("/")
        if owner == mission_id and event.event_type == "step.allowed":
            began[step_id] = event.seq
        elif owner == mission_id and event.event_type == "step.ended":
            assert event.details["status"] == "Completed"
            ended[step_id] = event.seq
    assert len(began) == len(ended) == graph["n"]
    assert all(ended[f"n{parent}"] < began[f"n{child}"] for parent, child in graph["edges"])


async def run_dags(tmp_path: Path, graphs: list[dict[str, Any]]) -> None:
    made = new_home(tmp_path)
    views = {}
    async with serving(made) as gateway:
        for graph in graphs:
            form = dag_mission(graph)
            with calling(gateway.address, made) as client:
                preview = await asyncio.to_thread(client.plan, form)
            assert len(preview.levels) == graph["levels"]
            assert sum(map(len, preview.levels)) == graph["n"]
            views[graph["name"]] = await submitted(gateway, made, form, graph["name"])
    verified(made)
    events = events_of(made)
    laws_hold(events)
    for graph in graphs:
        view = views[graph["name"]]
        assert view["result"]["overall_status"] == "Success"
        assert view["result"]["steps_completed"] == graph["n"]
        check_order(events, graph, view["mission_id"])


def graphs_of(wanted: Callable[[int], bool]) -> list[dict[str, Any]]:
    return [graph for path in DAGS if wanted((graph := json.loads(gzip.decompress(path.read_bytes())))["n"])]


async def test_real_graphs_plan_run_and_verify(tmp_path: Path) -> None:
    """Graphs of real workflows, up to a thousand steps: planned, run in order, verified offline."""
    graphs = graphs_of(lambda n: n < LARGE)
    assert len(graphs) > 10
    await run_dags(tmp_path, graphs)


@pytest.mark.long
async def test_graphs_of_ten_thousand_steps_plan_run_and_verify(tmp_path: Path) -> None:
    """The same for the largest graphs that one mission may have; in `make test` for one of them."""
    graphs = graphs_of(lambda n: n >= LARGE)
    assert len(graphs) > 1
    await run_dags(tmp_path, graphs if IS_FUZZ else graphs[-1:])


async def test_a_killed_sandbox_worker_is_another_ones_work(tmp_path: Path) -> None:
    """Kill -9 in the middle of a step: another worker answers it, and nobody is told."""
    made = new_home(tmp_path)
    add_hook(made, "burn", iterations=400_000_000)
    async with serving(made, sandbox=1) as gateway:
        [pid] = gateway.sandbox.pids_of("site steps")
        running = asyncio.create_task(submitted(gateway, made, mission(step("burn", kind="burn"))))
        await until(lambda: cpu_ticks(pid) > 5)
        os.kill(pid, signal.SIGKILL)
        view = await running
        assert view["result"]["step_results"]["burn"]["status"] == "Completed"
        assert pid not in gateway.sandbox.pids
        assert len(gateway.sandbox.pids_of("site steps")) == 1
    verified(made)


def cpu_ticks(pid: int) -> int:
    """Return how long a process has computed, in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


async def test_a_killed_policy_worker_is_replaced(tmp_path: Path) -> None:
    """The decisions after a kill are made, by another process."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        for n in range(3):
            [pid] = gateway.policy.pids
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: not alive(pid))
            view = await submitted(gateway, made, mission(step("a")), f"r{n}")
            assert view["result"]["overall_status"] == "Success"
            assert pid not in gateway.policy.pids


async def test_nothing_of_a_gateway_is_left_when_it_stops(tmp_path: Path) -> None:
    """Workers end with the gateway that started them."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        pids = [*gateway.sandbox.pids, *gateway.policy.pids]
        assert len(pids) == 3
    assert not any(alive(pid) for pid in pids)


BOMBS = json.loads((TESTS / "adversarial" / "documents" / "bombs.json").read_text())
GOOD = mission(step("a"))
BAD: dict[str, tuple[bytes, str, str]] = {
    "malformed YAML": (b'version: "1.0"\nname: [x\nsteps: {', "document.syntax", ""),
    "malformed JSON": (b'{"version": "1.0",}', "document.syntax", ""),
    "duplicate key": (b'version: "1.0"\nname: x\nname: y\nsteps: []', "document.duplicate_key", "name"),
    "anchor": (b'version: "1.0"\nname: &x y\nsteps: []', "document.alias", ""),
    "unknown field": (
        orjson.dumps(mission({**step("a"), "frobnicate": 1})),
        "mission.unknown_field",
        "steps[0].frobnicate",
    ),
    "cycle": (orjson.dumps(mission(step("a", "b"), step("b", "a"))), "mission.cycle", "steps"),
    "10,001 steps": (orjson.dumps(mission(*(step(f"s{n}") for n in range(10_001)))), "mission.too_many_steps", "steps"),
    "5 MiB": (orjson.dumps(mission(step("a"), description="x" * 5 * 1024 * 1024)), "document.too_large", ""),
    "unknown kind": (orjson.dumps(mission(step("a", kind="shell"))), "mission.unknown_step_type", "steps[0].step_type"),
    "unclean path": (
        orjson.dumps(mission(step("a", kind="read_file", path="../../etc/passwd"))),
        "sanitize.path.",
        "steps[0].parameters.path",
    ),
    "unknown parameter": (
        orjson.dumps(mission(step("a", kind="read_file", path="x", owner="root"))),
        "schema.",
        "steps[0].parameters.owner",
    ),
}


async def test_bad_input_is_a_typed_refusal_and_the_server_serves_on(tmp_path: Path) -> None:
    """Each has its code, its field and, where there is text, its line; each is in the log; then a good one runs."""
    made = new_home(tmp_path)
    wanted = {**BAD, **{name: (text.encode(), "", "") for name, text in BOMBS.items()}}

    def send_all(address: str) -> None:
        with calling(address, made) as client:
            for name, (document, code, field) in wanted.items():
                with pytest.raises(CallError) as refused:
                    client.submit(document, name)
                error = refused.value.errors[0]
                assert refused.value.status.name == "INVALID_ARGUMENT", name
                assert error["code"].startswith(code), (name, error)
                assert error["field"].startswith(field), (name, error)
                assert error["message"], name

    async with serving(made) as gateway:
        await asyncio.to_thread(send_all, gateway.address)
        view = await submitted(gateway, made, GOOD)
        assert view["result"]["overall_status"] == "Success"
    refused = [event for event in events_of(made) if event.event_type == "mission.refused"]
    admin = own_in(made.home, "default", "admin")
    assert {event.details["request_id"] for event in refused} >= {admin.of(name) for name in set(wanted) - {"5 MiB"}}
    verified(made)


async def test_a_cycle_is_printed(tmp_path: Path) -> None:
    """The refusal shows one cycle's path, and the line where it begins."""
    made = new_home(tmp_path)
    text = json.dumps(mission(step("a", "c"), step("b", "a"), step("c", "b")), indent=1)

    def send(address: str) -> CallError:
        with calling(address, made) as client, pytest.raises(CallError) as refused:
            client.submit(text.encode(), "r")
        return refused.value

    async with serving(made) as gateway:
        error = (await asyncio.to_thread(send, gateway.address)).errors[0]
    assert "a → " in error["message"] or " → a" in error["message"]
    assert error["line"] > 1
