"""`audit replay` on the home of a real gateway: the same for what was recorded, and the reason for what was changed."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from engine.audit.verify import VerificationReport
from gateway.config import load_config
from gateway.folders import AUDIT_FOLDER, STORE_FILE
from gateway.home import NewHome
from gateway.replay import replays
from gateway.replay.home import HomeFiles, replaying
from gateway.replay.log import read_trace
from gateway.replay.outcome import Reason, Verdict
from gateway.replay.trace import MissionTrace
from gateway.sandbox.hooks import builtin_hooks
from gateway.sandbox.port import RunReport
from gateway.sandbox.version import EngineVersion
from gateway.v1 import audit_pb2
from tests.cli_runner import run
from tests.depth import IS_FUZZ
from tests.gateways import Program, calling, events_of, verified
from tests.replays import copied, ended, everything, everything_home, replayed, service, tamper, verdicts
from tests.rpc_world import as_, refused, world
from tests.rpc_world import step as rpc_step
from tests.subjects import names_in
from tests.unit.gateway.sandbox.modules import answering

PAUSES = (0.05, 0.15, 0.4) if IS_FUZZ else (0.15,)  # before each kill, in seconds


@dataclass(frozen=True)
class Recorded:
    """A home with a mission that has ended."""

    made: NewHome
    mission_id: str
    part_id: str
    view: Any


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Run the mission with everything once."""
    with service() as port:
        made = everything_home(tmp_path_factory.mktemp("replay"), port)
        program = Program.start(made)
        with calling(program.address, made) as client:
            mission_id = client.submit(everything(port), "r").mission_id
            view = ended(client, mission_id)
        assert program.terminate() == 0
        verified(made)
        part_id = view["result"]["step_results"]["part"]["output"]["mission_id"]
        yield Recorded(made, mission_id, part_id, view)


def test_everything_comes_out_the_same(recorded: Recorded) -> None:
    """Effects, files, items, a part, a retry, rewrites, spent fuel, and a module of WASI with clock and chance."""
    results = recorded.view["result"]["step_results"]
    assert results["spin"]["error"]["code"] == "constraint.cpu_exceeded"
    assert results["flaky"]["attempts"] == 2
    assert "token" not in results["call"]["output"]["body"]
    code, said = replayed(recorded.made.home, recorded.mission_id)
    assert said["differs"] == said["not_reproducible"] == 0, said
    assert (code, set(verdicts(said))) == (0, set(results))
    code, said = replayed(recorded.made.home, recorded.part_id)
    assert (code, verdicts(said)) == (0, {"inner": "same"})


def test_it_says_so_for_people_too(recorded: Recorded) -> None:
    """One line a step and a summary; `--step` asks for some, and for one that there is not is an error."""
    done = run("audit", "replay", recorded.mission_id, "--home", recorded.made.home, "--step", "spin", "--step", "call")
    assert done.code == 0
    assert done.out == "✓ call  2 runs\n✓ spin  1 run\n✓ 2 steps: 2 the same, 0 different, 0 not reproducible\n"
    done = run("audit", "replay", recorded.mission_id, "--home", recorded.made.home, "--step", "nobody", "-o", "json")
    assert (done.code, done.json["errors"][0]["code"]) == (2, "step.not_found")
    done = run("audit", "replay", "no-such-mission", "--home", recorded.made.home, "-o", "json")
    assert (done.code, done.json["errors"][0]["code"]) == (2, "mission.not_found")


def test_it_runs_beside_the_gateway(recorded: Recorded, tmp_path: Path) -> None:
    """On the files of a home whose gateway serves: nothing is locked."""
    home = copied(recorded.made, tmp_path)
    program = Program.start(replace(recorded.made, home=home))
    code, said = replayed(home, recorded.mission_id, "--step", "call")
    assert program.terminate() == 0
    assert (code, verdicts(said)) == (0, {"call": "same"})


@pytest.mark.parametrize(
    ("sql", "values", "found"),
    [
        pytest.param(
            "UPDATE step_results SET output = ? WHERE step_id = 'read' AND mission_id = ?",
            (b'{"path":"kept.txt","bytes":11,"sha256":"x","content":"hello w0rld"}',),
            {"read": "output", "upper": "input"},  # `upper` was given the old one
            id="output",
        ),
        pytest.param(
            "UPDATE step_results SET output = ? WHERE step_id = 'last' AND mission_id = ?",
            (b"{}",),
            {"last": "output"},
            id="last output",
        ),
        pytest.param(
            "UPDATE step_results SET status = 'Completed', error_code = NULL, error_message = NULL"
            " WHERE step_id = 'spin' AND mission_id = ?",
            (),
            {"spin": "output"},
            id="status",
        ),
        pytest.param(
            "UPDATE effects SET entry = ? WHERE step_id = 'wait' AND idx = 0 AND mission_id = ?",
            (b'{"ok":{"slept_ms":6}}',),
            {"wait": "journal"},
            id="journal",
        ),
        pytest.param(
            "DELETE FROM effects WHERE step_id = 'each' AND item = 1 AND mission_id = ?",
            (),
            {"each": "journal"},
            id="journal of an item",
        ),
        pytest.param(
            "UPDATE mission_documents SET document = sealed(mission_id, replace("
            "opened(mission_id, document, 'mission_documents.document'), '\"ms\":5', '\"ms\":6'),"
            " 'mission_documents.document')"
            " WHERE mission_id = ?",
            (),
            {"": "input", "wait": "input"},
            id="document",
        ),
        pytest.param(
            "UPDATE mission_documents SET document = sealed(mission_id, replace("
            "opened(mission_id, document, 'mission_documents.document'), '\"world\"}', '\"w0rld\"}'),"
            " 'mission_documents.document')"
            " WHERE mission_id = ?",
            (),
            {"": "input", "call": "input"},
            id="variables",
        ),
    ],
)
def test_what_was_changed_is_named(
    recorded: Recorded, tmp_path: Path, sql: str, values: tuple[Any, ...], found: dict[str, str]
) -> None:
    """In the store, after the fact: exactly the steps that it concerns differ, for the reason that it is."""
    home = copied(recorded.made, tmp_path)
    tamper(home, sql, *values, recorded.mission_id)
    code, said = replayed(home, recorded.mission_id)
    assert code == 1
    assert {step: why for step, why in verdicts(said).items() if why != "same"} == found, said


def test_a_changed_output_is_named_where_it_is_used(recorded: Recorded, tmp_path: Path) -> None:
    """The step that was given it says whose it is."""
    home = copied(recorded.made, tmp_path)
    tamper(home, "UPDATE step_results SET output = ? WHERE step_id = 'read' AND mission_id = ?",
           b'{"content":"x"}', recorded.mission_id)  # fmt: skip
    _, said = replayed(home, recorded.mission_id, "--step", "upper")
    assert "the store's output of read is not the one that the log names" in said["steps"][0]["message"]
    shown = run("audit", "replay", recorded.mission_id, "--home", home, "--step", "upper", width=200)
    assert (shown.code, "✗ upper" in shown.out) == (1, True)


def sha256_of(made: NewHome, name: str) -> str:
    """Return the module of a hook that was in force."""
    [pins] = [e.details["hooks"] for e in events_of(made) if e.event_type == "gateway.started"]
    return str(pins[name])


@pytest.mark.parametrize("change", ["flipped", "replaced", "gone"])
def test_a_module_that_is_not_the_one_is_not_run(recorded: Recorded, tmp_path: Path, change: str) -> None:
    """Whatever stands in its place, a newer version too: the digest in the log says that it is another."""
    home = copied(recorded.made, tmp_path)
    sha256 = sha256_of(recorded.made, "transform")
    if change == "gone":
        tamper(home, "DELETE FROM hook_modules WHERE sha256 = ?", sha256)
    else:
        module = next(hook.module for hook in builtin_hooks() if hook.name == "transform")
        other = module[:-1] + bytes([module[-1] ^ 1]) if change == "flipped" else answering('{"output":1}')
        tamper(home, "UPDATE hook_modules SET bytes = ? WHERE sha256 = ?", other, sha256)
    code, said = replayed(home, recorded.mission_id)
    assert code == 1
    differing = {step: why for step, why in verdicts(said).items() if why != "same"}
    assert differing == {"upper": "module", "last": "module"}, said
    assert {each["recorded"] for each in said["steps"] if each["reason"] == "module"} == {sha256}


def test_a_rewrite_that_is_another_is_named(recorded: Recorded, tmp_path: Path) -> None:
    """Settings of hooks are kept and compared as modules are."""
    home = copied(recorded.made, tmp_path)
    settings = b'{"fields":["token"]}'
    tamper(home, "UPDATE hook_modules SET bytes = ? WHERE sha256 = ?", b'{"fields":["echo"]}',
           hashlib.sha256(settings).hexdigest())  # fmt: skip
    _, said = replayed(home, recorded.mission_id, "--step", "call", "--step", "spin")
    assert verdicts(said) == {"call": "input", "spin": "same"}


def test_handles_of_secrets_are_made_again(recorded: Recorded, tmp_path: Path) -> None:
    """From the key of the vault, also after its rotation; without the secret, nothing is known."""
    home = copied(recorded.made, tmp_path)
    assert run("secret", "rotate-key", "--home", home).code == 0
    _, said = replayed(home, recorded.mission_id, "--step", "flaky")
    assert verdicts(said) == {"flaky": "same"}
    assert run("secret", "remove", "TOKEN", "--home", home).code == 0
    code, said = replayed(home, recorded.mission_id, "--step", "flaky")
    assert (code, verdicts(said)) == (0, {"flaky": "not_reproducible"})
    assert "the vault does not answer: there is no secret TOKEN" in said["steps"][0]["message"]


def test_a_log_that_was_changed_is_not_believed(recorded: Recorded, tmp_path: Path) -> None:
    """Nothing is replayed: the verification says which event is bad."""
    home = copied(recorded.made, tmp_path)
    [segment] = (home / "audit" / "segments").iterdir()
    raw = segment.read_bytes()
    at = raw.index(b'"fuel_max":')
    segment.write_bytes(raw[: at + 11] + bytes([raw[at + 11] ^ 1]) + raw[at + 12 :])
    code, said = replayed(home, recorded.mission_id)
    assert (code, said["ok"], said["code"]) == (1, False, "event.bad")
    assert "steps" not in said
    done = run("audit", "replay", recorded.mission_id, "--home", home)
    assert (done.code, "event.bad" in done.out) == (1, True)


async def test_another_engine_explains_another_output(recorded: Recorded) -> None:
    """Where the output differs and so does the version, the version is what is told; where it is the same, nothing."""
    made = recorded.made
    report, trace = read_trace(made.home / AUDIT_FOLDER, made.verifier_key, recorded.mission_id)
    assert report.ok
    key = load_config(made.home).secrets.source(made.home)
    files = HomeFiles(store=made.home / STORE_FILE, log=made.home / AUDIT_FOLDER, verifier_key="", vault=key)

    class Other:
        """Says something else than the module `world` would."""

        async def run(self, *_: Any) -> RunReport:
            return RunReport(b'{"output":"other"}', fuel_used=1, memory_bytes=1, wall_us=1)

    newer = EngineVersion("99.0.0", 1)
    async with replaying(files) as replayer:
        same = [o async for o in replace(replayer, engine=newer).replay(trace, ["clock"])]
        other = [o async for o in replace(replayer, engine=newer, modules=Other()).replay(trace, ["clock"])]
        ours = [o async for o in replace(replayer, modules=Other()).replay(trace, ["clock"])]
    assert same[0].verdict is Verdict.SAME
    assert (other[0].reason, ours[0].reason) == (Reason.ENGINE, Reason.OUTPUT)
    assert "this is wasmtime 99.0.0, ABI 1" in other[0].message


@pytest.mark.long
def test_after_a_kill_and_a_recovery_it_is_the_same(tmp_path: Path) -> None:
    """Killed in the middle: what ran is replayed from its last attempt, and what is lost is said."""
    with service() as port:
        made = everything_home(tmp_path, port)
        program = Program.start(made)
        with calling(program.address, made) as client:
            mission_id = client.submit(everything(port), "r").mission_id
        for pause in PAUSES:
            time.sleep(pause)
            program.kill()
            program = Program.start(made)
        with calling(program.address, made) as client:
            view = ended(client, mission_id)
        assert program.terminate() == 0
    assert view["ended_at"] is not None
    code, said = replayed(made.home, mission_id)
    assert (code, said["differs"]) == (0, 0), said
    lost = [each for each in said["steps"] if each["verdict"] == "not_reproducible"]
    told = ("lost", "effect.in_doubt", "never ran", "killed", "does not say")
    assert all(any(word in each["message"] for word in told) for each in lost), lost


async def test_a_gateway_replays_for_auditors_of_the_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over gRPC: roles open it, another tenant's mission does not exist, one runs at a time, and the log has it."""
    reading, read_on = threading.Event(), threading.Event()

    def read_in_time(log: Path, key: str, mission_id: str) -> tuple[VerificationReport, MissionTrace]:
        reading.set()
        assert read_on.wait(60)
        return read_trace(log, key, mission_id)

    monkeypatch.setattr(replays, "read_trace", read_in_time)
    async with world(tmp_path) as w:
        answer = await w.submit("r", rpc_step("a", parameters={"input": 1}), rpc_step("b", parameters={"input": 2}))
        await w.watch(answer.mission_id)
        request = audit_pb2.ReplayMissionRequest(mission_id=answer.mission_id)

        async def replayed_for(who: str) -> list[tuple[str, int]]:
            call = w.log.ReplayMission(request, metadata=as_(who))
            return [(each.step.step_id, each.step.verdict) async for each in call]

        first = asyncio.create_task(replayed_for("eve"))
        assert await asyncio.to_thread(reading.wait, 60)
        busy = await refused(replayed_for("eve"))
        assert (busy.code(), "one at a time" in busy.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        read_on.set()
        assert await first == [("a", audit_pb2.REPLAY_VERDICT_SAME), ("b", audit_pb2.REPLAY_VERDICT_SAME)]
        assert (await refused(replayed_for("ann"))).code() is grpc.StatusCode.PERMISSION_DENIED
        assert (await refused(replayed_for("aud"))).code() is grpc.StatusCode.NOT_FOUND
        [told] = await w.events("audit.replayed")
        assert (names_in(w.home)[told["actor"]], told["target"]) == ("default/eve", answer.mission_id)
        assert told["details"] == {"same": 2, "differs": 0, "not_reproducible": 0, "steps_named": 0, "complete": True}
        done = await asyncio.to_thread(
            run,
            *("audit", "replay", answer.mission_id, "--server", w.gateway.address, "--step", "b", "-o", "json"),
            env={"MISSIONGATE_TOKEN": "eve-token"},
        )
        assert (done.code, verdicts(done.json)) == (0, {"b": "same"})

        reading.clear()
        read_on.clear()
        call = w.log.ReplayMission(request, metadata=as_("eve"))
        assert await asyncio.to_thread(reading.wait, 60)
        call.cancel()
        while len(told := await w.events("audit.replayed")) < 3:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.05)
        read_on.set()
        assert [each["details"]["complete"] for each in told] == [True, True, False]
