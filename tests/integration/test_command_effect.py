"""Commands in a real gateway, with real programs: from the policy data to the audit log."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.client import CallError
from gateway.effects.commands.proc import descendants
from tests.commands import need_kernel, program, python
from tests.gateways import (
    Program,
    alive,
    calling,
    change_policy_data,
    events_of,
    new_home,
    serve_fails,
    serving,
    submitted,
    until,
    verified,
)
from tests.worlds import mission

GIT_CORE = os.path.realpath(
    subprocess.run(["git", "--exec-path"], capture_output=True, check=False, text=True).stdout.strip()
    or "/usr/lib/git-core"
)
SORT = {"options": {"-n": {}, "-r": {}, "-k": {"value": "[0-9]+(,[0-9]+)?"}}, "rest": "[a-z]+[.]txt", "stdin": True}


def step(step_id: str, *depends_on: str, kind: str = "command", **parameters: Any) -> dict[str, Any]:
    return {
        "id": step_id,
        "name": step_id,
        "step_type": kind,
        "depends_on": list(depends_on),
        "parameters": parameters,
    }


def commanding(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return a mission of the level that runs programs."""
    return mission(*steps, config={"security_level": "relaxed"})


def opening(**commands: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of policy data that opens commands."""
    return lambda config: config["commands"].update(commands)


async def outcome_of(tmp_path: Path, *steps: dict[str, Any], **commands: Any) -> tuple[Any, list[Any]]:
    """Run a mission in a gateway that opens `commands`; return its results by step, and the events."""
    need_kernel()
    made = new_home(tmp_path)
    change_policy_data(made, opening(**commands))
    async with serving(made) as gateway:
        view = await submitted(gateway, made, commanding(*steps))
    verified(made)
    return view["result"]["step_results"], events_of(made)


async def test_files_in_a_command_files_out(tmp_path: Path) -> None:
    """What earlier steps wrote a command reads, and what it prints later steps get; the log has intent and end."""
    results, events = await outcome_of(
        tmp_path,
        step("write", kind="create_file", path="in.txt", content="10\n9\n2\n"),
        step("sort", "write", argv=["sort", "-n", "in.txt"]),
        step("again", "sort", argv=["sort", "-rn"], stdin="${steps.sort.output.stdout}"),
        step("one", "sort", argv=["sort", "-r", "-n"], stdin="${steps.sort.output.stdout}"),
        sort=program("sort", **{**SORT, "options": {**SORT["options"], "-rn": {}}}),
    )
    assert results["sort"]["output"]["stdout"] == "2\n9\n10\n"
    assert results["again"]["output"]["stdout"] == results["one"]["output"]["stdout"] == "10\n9\n2\n"
    of_sort = [event.event_type for event in events if event.target.endswith("/sort")]
    assert of_sort == ["step.allowed", "effect.allowed", "effect.intended", "effect.performed", "step.ended"]


REFUSED = {
    ("sort", "--compress-program=sh"): "effect.command_refused",
    ("sort", "-o", "out.txt"): "effect.command_refused",
    ("sort", "../x.txt"): "effect.command_refused",
    ("grep", "a"): "effect.command_closed",
}


async def test_what_is_not_declared_is_refused_by_its_layer(tmp_path: Path) -> None:
    """A name by policy, an argument by its entry, a character by the sanitizer: the mission halts, nothing ran."""
    need_kernel()
    made = new_home(tmp_path)
    change_policy_data(made, opening(sort=program("sort", **SORT)))

    def trying(*argv: str) -> dict[str, Any]:
        return commanding(step("run", argv=list(argv)), step("after", "run", kind="transform"))

    async with serving(made) as gateway:
        with pytest.raises(CallError, match="holds a character outside") as caught:
            await submitted(gateway, made, trying("sort", "$(id)"))
        assert caught.value.errors[0]["code"] == "sanitize.argv.characters"
        found = {argv: await submitted(gateway, made, trying(*argv), " ".join(argv)) for argv in REFUSED}
    results = {argv: view["result"]["step_results"] for argv, view in found.items()}
    assert {argv: result["run"]["error"]["code"] for argv, result in results.items()} == REFUSED
    assert {result["after"]["status"] for result in results.values()} == {"Skipped"}
    assert "effect.performed" not in [event.event_type for event in events_of(made)]


async def test_an_exit_status_fails_unless_told(tmp_path: Path) -> None:
    """A search that finds nothing ends with 1: a failure by default, an output where the step asks for it."""
    results, _ = await outcome_of(
        tmp_path,
        step("told", argv=["grep", "-c", "x"], stdin="a\n", fail_on_exit=False),
        step("untold", "told", argv=["grep", "-c", "x"], stdin="a\n"),
        grep=program("grep", options={"-c": {}}, positionals=["[a-z]+"], stdin=True),
    )
    assert results["told"]["output"]["exit_code"] == 1
    assert results["told"]["output"]["stdout"] == "0\n"
    assert results["untold"]["error"]["code"] == "command.exit"


async def test_data_of_the_network_reaches_no_command(tmp_path: Path) -> None:
    """By default: neither as an argument, nor through a file."""
    need_kernel()
    made = new_home(tmp_path)
    change_policy_data(made, opening(sort=program("sort", **SORT)))
    async with serving(made) as gateway:
        for wanted in ("${steps.get.output.body}", "in.txt"):
            document = commanding(
                step("get", kind="http", url="https://example.com/"),
                step("keep", "get", kind="create_file", path="in.txt", content="${steps.get.output.body}"),
                step("run", "get", argv=["sort", wanted]),
            )

            def plan(document: Any = document) -> Any:
                with calling(gateway.address, made) as client:
                    return client.plan(document).document()

            preview = await asyncio.to_thread(plan)
            said = json.dumps(preview)
            assert "network" in said
            assert "taint" in said


async def test_an_archive_and_a_repository(tmp_path: Path) -> None:
    """Both tar and git work as they are: they unpack, commit, and read their history."""
    git = program(
        "git",
        fixed=[
            "-c",
            "user.name=n",
            "-c",
            "user.email=n@example.org",
            "-c",
            "gc.auto=0",
            "-c",
            "core.hooksPath=/dev/null",
        ],
        options={"-q": {}, "-A": {}, "-m": {"value": "[a-z]+"}, "--format": {"value": "%?[a-z]+"}, "--oneline": {}},
        positionals=["init|add|commit|log|status"],
        reads=["/usr/share/git-core", "/etc/gitconfig"],
        executes=[GIT_CORE],
        limits={"processes_max": 8},
    )
    tar = program(
        "tar",
        options={"-cf": {"value": "[a-z]+[.]tar"}, "-xf": {"value": "[a-z]+[.]tar"}, "--no-same-owner": {}},
        rest="[a-z]+",
    )
    results, _ = await outcome_of(
        tmp_path,
        step("write", kind="create_file", path="notes", content="n"),
        step("init", "write", argv=["git", "init", "-q"]),
        step("add", "init", argv=["git", "add", "-A"]),
        step("commit", "add", argv=["git", "commit", "-q", "-m", "first"]),
        step("log", "commit", argv=["git", "log", "--oneline"]),
        step("pack", "log", argv=["tar", "-cf", "all.tar", "notes"]),
        step("unpack", "pack", argv=["tar", "-xf", "all.tar", "--no-same-owner"]),
        git=git,
        tar=tar,
    )
    assert {name: result["status"] for name, result in results.items()} == dict.fromkeys(results, "Completed"), results
    assert results["log"]["output"]["stdout"].endswith(" first\n")


async def test_a_gateway_that_is_killed_leaves_no_command(tmp_path: Path) -> None:
    """Its end reaches every process of every command; at the next start the effect is in doubt, and not repeated."""
    need_kernel()
    made = new_home(tmp_path)
    change_policy_data(made, opening(long=python(processes_max=4, wall_ms=55_000)))
    script = "import os, time\nos.fork()\nopen('begun', 'w').close()\ntime.sleep(600)\n"
    running = await asyncio.to_thread(Program.start, made)

    def submit() -> str:
        with calling(running.address, made) as client:
            return client.submit(commanding(step("run", argv=["long"], stdin=script)), "r").mission_id

    try:
        mission_id = await asyncio.to_thread(submit)
        begun = made.home / "workspaces" / mission_id / "begun"
        await until(begun.exists)
        family = list(descendants(running.process.pid))
        os.kill(running.process.pid, signal.SIGKILL)
        await until(lambda: not any(map(alive, family)))
    finally:
        running.kill()
    async with serving(made) as gateway:

        def follow() -> Any:
            with calling(gateway.address, made) as client:
                for _ in client.watch(mission_id):
                    pass
                return client.get(mission_id).document()

        view = await asyncio.to_thread(follow)
    assert view["result"]["step_results"]["run"]["error"]["code"] == "effect.in_doubt"


def test_a_gateway_does_not_start_with_an_entry_that_it_does_not_understand(tmp_path: Path) -> None:
    """The error names the entry; a typing error must not open less, or more, than was meant."""
    made = new_home(tmp_path)
    change_policy_data(made, opening(sort={"executable": "sort"}))
    code, errors = serve_fails(made)
    assert (code, errors[0]["code"]) == (2, "policy.command_invalid")
    assert "commands.sort.executable" in errors[0]["message"]


async def test_commands_need_a_kernel_that_can_hold_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an entry, a gateway on an older kernel does not start; without one it does."""
    monkeypatch.setattr("gateway.effects.commands.kernel.landlock.abi", lambda: 5)
    made = new_home(tmp_path)
    change_policy_data(made, opening(sort={"executable": "/usr/bin/sort"}))
    with pytest.raises(Exception, match="Landlock ABI 6") as refused:
        async with serving(made):
            raise AssertionError("it started")
    assert getattr(refused.value, "code", "") == "config.kernel"
