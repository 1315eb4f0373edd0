"""A secret's way through a real gateway to a real service that echoes it, and the places where it must never be."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.assembly import Gateway
from gateway.client import CallError
from gateway.folders import STORE_FILE
from gateway.home import NewHome
from gateway.policy.pool import WorkerPolicy
from gateway.sandbox.pool import PooledSandbox
from gateway.vault.names import HANDLE
from tests.cli_runner import run
from tests.gateways import Program, calling, change_policy_data, events_of, new_home, serving, submitted, until
from tests.opened_homes import opened_payloads
from tests.worlds import laws_hold, mission, step

VALUE = b"tok/en+42\"with&<marks>= 'and' \\slash"
FORMS = {
    "raw": VALUE,
    "base64": base64.b64encode(VALUE),
    "hex": VALUE.hex().encode(),
    "json": json.dumps(VALUE.decode())[1:-1].encode(),
}


class Echo:
    """An HTTP service that answers with what it was sent, in the form that the path names."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        body = await reader.readexactly(size)
        self.seen.append(head + body)
        await self.hold.wait()
        said = head + body
        path = head.split(b" ", 2)[1].split(b"?")[0]
        if path == b"/json":
            said = json.dumps({"request": said.decode()}).encode()
        elif path == b"/base64":
            said = base64.b64encode(said)
        elif path == b"/hex":
            said = said.hex().encode()
        elif path == b"/large":
            said = b"z" * 100_000
        elif path == b"/redirect":
            said = b""
        token = next((line[15:] for line in head.split(b"\r\n") if line[:15] == b"authorization: "), b"none")
        status = b"302 Found\r\nLocation: http://127.0.0.1:1/?t=" + token.replace(b" ", b"+") if not said else b"200 OK"
        answer = [
            b"HTTP/1.1 ",
            status,
            b"\r\nX-Token: ",
            token,
            b"\r\nContent-Length: %d" % len(said),
            b"\r\n\r\n",
            said,
        ]
        writer.write(b"".join(answer))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    try:
        yield echo
    finally:
        echo.hold.set()
        server.close()


def opened(made: NewHome, port: int, **changes: Any) -> None:
    """Open the service, and the secret TOKEN to it."""

    def change(config: dict[str, Any]) -> None:
        config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["GET", "POST"]}
        config["networks"]["allow"] = [f"127.0.0.1:{port}"]
        rule = {"effects": ["http.request"], "hosts": ["127.0.0.1"], "kinds": ["http"], "tenants": ["default"]}
        config["secrets"] = {"TOKEN": {**rule, **changes}}

    change_policy_data(made, change)


def keep(made: NewHome, value: bytes = VALUE, name: str = "TOKEN", **options: str) -> None:
    words = [word for option, text in options.items() for word in (f"--{option}", text)]
    done = run("secret", "set", name, "--from-file", _file(made, value), "--home", made.home, *words)
    assert done.code == 0, done.out
    assert VALUE.decode() not in done.out + done.err


def _file(made: NewHome, value: bytes) -> Path:
    path = made.home.parent / "value"
    path.write_bytes(value + b"\n")
    return path


def call(step_id: str, port: int, path: str = "echo", **parameters: Any) -> dict[str, Any]:
    headers = {"authorization": "Bearer ${secrets.TOKEN}"}
    return step(step_id, kind="http", **{"url": f"http://127.0.0.1:{port}/{path}", "headers": headers, **parameters})


def leaks(data: bytes) -> list[str]:
    return [name for name, form in FORMS.items() if form in data]


def leaks_below(folder: Path) -> list[str]:
    """Return where a secret is in files, and in what is sealed in them."""
    files = [(str(p), p.read_bytes()) for p in folder.rglob("*") if p.is_file()]
    payloads = [each for store in folder.rglob(STORE_FILE) for each in opened_payloads(store.parent)]
    assert payloads, "there is no store to look into"
    return [f"{where}: {found}" for where, content in (*files, *payloads) if (found := leaks(content))]


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every document that goes to a sandbox worker or to a policy worker."""
    taken: list[bytes] = []
    run_module, decide = PooledSandbox.run, WorkerPolicy.decide

    async def running(self: Any, module: str, document: bytes, *rest: Any, **named: Any) -> Any:
        taken.append(document)
        return await run_module(self, module, document, *rest, **named)

    async def deciding(self: Any, entrypoint: str, document: bytes) -> Any:
        taken.append(document)
        return await decide(self, entrypoint, document)

    monkeypatch.setattr(PooledSandbox, "run", running)
    monkeypatch.setattr(WorkerPolicy, "decide", deciding)
    return taken


async def test_a_secret_reaches_the_service_and_nobody_else(
    tmp_path: Path, documents: list[bytes], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is sent as it is; answers in four encodings, documents, home, events, output and logs do not hold it."""
    made = new_home(tmp_path)
    caplog.set_level("DEBUG", logger="gateway")
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        paths = ("echo", "json", "base64", "hex", "redirect")
        async with serving(made) as gateway:
            steps = [call(path, echo.port, path) for path in paths]
            steps.append(call("body", echo.port, "json", method="POST", body={"password": "${secrets.TOKEN}"}))
            view = await submitted(gateway, made, mission(*steps))
            watched = await _watched(gateway, made, view["mission_id"])
    results = view["result"]["step_results"]
    assert {r["status"] for r in results.values()} == {"Completed"}, results
    assert all(b"authorization: Bearer " + VALUE + b"\r\n" in request for request in echo.seen)
    [posted] = [request for request in echo.seen if request.startswith(b"POST")]
    assert json.loads(posted.partition(b"\r\n\r\n")[2]) == {"password": VALUE.decode()}
    for name in paths:
        assert results[name]["output"]["headers"]["x-token"] == "Bearer [secret:TOKEN]", name
    assert "[secret:TOKEN]" in json.dumps(results["body"]["output"])
    spoken = "".join(capfd.readouterr()) + caplog.text + json.dumps(view) + json.dumps(watched)
    (tmp_path / "value").unlink()
    assert leaks(spoken.encode()) == []
    assert leaks(b"\n".join(documents)) == []
    assert leaks_below(tmp_path) == []
    assert any(HANDLE.search(document.decode()) for document in documents)
    used = [event.details["secrets"] for event in events_of(made) if event.event_type == "effect.allowed"]
    assert used == [["TOKEN"]] * len(steps)
    laws_hold(events_of(made))


async def _watched(gateway: Gateway, made: NewHome, mission_id: str) -> list[Any]:
    def events() -> list[Any]:
        with calling(gateway.address, made) as client:
            return [event.details for event in client.watch(mission_id)]

    return await asyncio.to_thread(events)


async def test_a_handle_is_of_one_attempt_and_useless_elsewhere(tmp_path: Path) -> None:
    """A step that gives its handle out gives out a text: a later step, and a later mission, cannot use it."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port, kinds=["http", "transform"])
        keep(made)
        async with serving(made) as gateway:
            give = step("give", kind="transform", input="${secrets.TOKEN}")
            later = step(
                "later",
                "give",
                kind="http",
                url=f"http://127.0.0.1:{echo.port}/echo",
                headers={"authorization": "${steps.give.output}", "x-own": "${secrets.TOKEN}"},
            )
            view = await submitted(gateway, made, mission(give, later))
            handle = view["result"]["step_results"]["give"]["output"]
            again = await submitted(gateway, made, mission(give), "again")
            other = await submitted(
                gateway, made, mission(call("alone", echo.port, headers={"authorization": handle})), "other"
            )
    assert HANDLE.fullmatch(handle), "the output is the handle, and not what it stands for"
    assert again["result"]["step_results"]["give"]["output"] != handle
    assert view["result"]["step_results"]["later"]["error"]["code"] == "effect.secret_foreign"
    assert other["result"]["step_results"]["alone"]["error"]["code"] == "effect.secret_foreign"
    assert echo.seen == []


MISPLACED: dict[str, Callable[[int], dict[str, Any]]] = {
    "path of a url": lambda port: {"url": f"http://127.0.0.1:{port}/${{secrets.TOKEN}}"},
    "query of a url": lambda port: {"url": f"http://127.0.0.1:{port}/?t=${{secrets.TOKEN}}"},
    "name of a member": lambda _port: {"method": "POST", "body": '{"${secrets.TOKEN}": 1}'},
    "json outside of a string": lambda _port: {
        "method": "POST",
        "body": "{${secrets.TOKEN}}",
        "headers": {"content-type": "application/json"},
    },
}


async def test_a_handle_where_none_may_stand_refuses_the_effect(tmp_path: Path) -> None:
    """Before policy is asked, and as a security violation: the mission halts, and nothing is sent."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        async with serving(made) as gateway:
            for place, fields in MISPLACED.items():
                lenient = {**call("a", echo.port, **fields(echo.port)), "continue_on_error": True}
                view = await submitted(gateway, made, mission(lenient, step("b", "a", kind="transform")), place)
                assert view["result"]["step_results"]["a"]["error"]["code"] == "effect.secret_misplaced", place
                assert view["result"]["step_results"]["b"]["error"]["code"] == "mission.halted", place
    assert echo.seen == []
    refused = [event for event in events_of(made) if event.event_type == "effect.refused"]
    assert len(refused) == len(MISPLACED)
    assert not any("document" in event.details for event in refused), "policy was asked"


async def test_a_file_never_holds_a_handle_nor_a_value(tmp_path: Path) -> None:
    """The content and the path of a file are no place for a secret, whatever policy's data says."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port, kinds=["create_file"], effects=["file.write"])
        keep(made)
        async with serving(made) as gateway:
            for at, fields in enumerate(
                ({"path": "a", "content": "x ${secrets.TOKEN}"}, {"path": "${secrets.TOKEN}", "content": "x"})
            ):
                view = await submitted(gateway, made, mission(step("a", kind="create_file", **fields)), f"r{at}")
                assert view["result"]["step_results"]["a"]["error"]["code"] == "effect.secret_misplaced"
    assert not [p for p in (made.home / "workspaces").rglob("*") if p.is_file()]


async def test_what_does_not_look_like_a_handle_is_sent_as_it_is(tmp_path: Path) -> None:
    """Percent-encoded, in base64 or in halves it stands for nothing: the service gets the text."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        async with serving(made) as gateway:
            for at, text in enumerate(("%6dgsecret_", "mgsecret%5f", "bWdzZWNyZXRf")):
                headers = {"a": text + "0" * 64, "b": "mgsecret_", "c": "0" * 64}
                view = await submitted(gateway, made, mission(call("a", echo.port, headers=headers)), f"r{at}")
                assert view["result"]["step_results"]["a"]["status"] == "Completed"
                assert text.encode() in echo.seen[at]
                assert leaks(echo.seen[at]) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"hosts": ["localhost"]}, "effect.secret_closed"),
        ({"effects": []}, "effect.secret_closed"),
        ({"kinds": []}, "mission.secret_closed"),
        ({"tenants": ["other"]}, "mission.secret_closed"),
    ],
)
async def test_policy_opens_a_secret_to_effect_host_kind_and_tenant(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    """What its entry does not name is closed: at admission as far as that is known, at the effect in any case."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port, **changes)
        keep(made)
        async with serving(made) as gateway:
            said = await _code(gateway, made, mission(call("a", echo.port)))
    assert said == code
    assert echo.seen == []


async def _code(gateway: Gateway, made: NewHome, form: Any, request_id: str = "r") -> str:
    """Return the code of a mission's refusal, or of the failure of its step `a`."""
    try:
        view = await submitted(gateway, made, form, request_id)
    except CallError as error:
        return error.errors[0]["code"] if hasattr(error, "errors") else str(error)
    return view["result"]["step_results"]["a"].get("error", {}).get("code", "")


async def test_the_running_gateway_sees_changes(tmp_path: Path) -> None:
    """Set, replaced, sealed under new keys, removed: each is seen by the next step, without a restart."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        async with serving(made) as gateway:
            form = mission(call("a", echo.port))
            assert await _code(gateway, made, form, "0") == "secret.unknown"
            for at, value in enumerate((b"first-value", b"second-value")):
                keep(made, value)
                assert await _code(gateway, made, form, f"1{at}") == ""
                assert b"Bearer " + value in echo.seen[-1]
            assert run("secret", "rotate-key", "--home", made.home).code == 0
            assert await _code(gateway, made, form, "2") == ""
            assert b"Bearer second-value" in echo.seen[-1]
            assert run("secret", "remove", "TOKEN", "--home", made.home).code == 0
            assert await _code(gateway, made, form, "3") == "secret.unknown"


async def test_a_vault_that_cannot_be_believed_gives_nothing(tmp_path: Path) -> None:
    """The mission is refused with the code of what is wrong; others run on."""
    made = new_home(tmp_path)
    vault, key = made.home / "secrets" / "vault.json", made.home / "keys" / "secrets.key"
    other = (new_home(tmp_path / "other").home / "keys" / "secrets.key").read_bytes()
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        raw, sealing = vault.read_bytes(), key.read_bytes()
        changed = re.sub(rb'"generation": 1', b'"generation": 2', raw)
        damages: dict[str, tuple[Callable[[], object], str]] = {
            "truncated": (lambda: vault.write_bytes(raw[:-9]), "secret.damaged"),
            "changed": (lambda: vault.write_bytes(changed), "secret.damaged"),
            "no key": (key.unlink, "secret.key_unreadable"),
            "other key": (lambda: key.write_bytes(other), "secret.damaged"),
            "open to others": (lambda: vault.chmod(0o644), "secret.unreadable"),
        }
        async with serving(made) as gateway:
            for at, (damage, (inflict, code)) in enumerate(damages.items()):
                inflict()
                assert await _code(gateway, made, mission(call("a", echo.port)), damage) == code, damage
                assert await _code(gateway, made, mission(call("a", echo.port, headers={})), f"plain{at}") == ""
                vault.write_bytes(raw)
                vault.chmod(0o600)
                key.write_bytes(sealing)
                key.chmod(0o600)
            assert await _code(gateway, made, mission(call("a", echo.port)), "mended") == ""
    assert len(echo.seen) == len(damages) + 1


async def killed_in_the_act(made: NewHome, echo: Echo) -> str:
    """Submit a GET with a secret, kill the gateway while the service has not answered, and return the mission's id."""
    echo.hold.clear()
    program = await asyncio.to_thread(Program.start, made)
    with calling(program.address, made) as client:
        form = json.dumps(mission(call("a", echo.port))).encode()
        mission_id = (await asyncio.to_thread(client.submit, form, "r")).mission_id
        await until(lambda: len(echo.seen) == 1)
    await asyncio.to_thread(program.kill)
    echo.hold.set()
    return mission_id


async def end_of(gateway: Gateway, made: NewHome, mission_id: str) -> Any:
    """Follow a mission to its end, and return the result of its step."""

    def follow() -> Any:
        with calling(gateway.address, made) as client:
            for _ in client.watch(mission_id):
                pass
            return client.wait(mission_id).document()["step_results"]["a"]

    return await asyncio.to_thread(follow)


async def test_an_effect_with_a_secret_is_known_again_after_a_kill(tmp_path: Path) -> None:
    """A gateway that is killed between intent and outcome repeats the GET under the same key, with the secret."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        mission_id = await killed_in_the_act(made, echo)
        async with serving(made) as gateway:
            result = await end_of(gateway, made, mission_id)
    assert result["status"] == "Completed", result
    keys = {re.findall(rb"Idempotency-Key: ([0-9a-f]{64})", request)[0] for request in echo.seen}
    assert len(echo.seen) == 2
    assert len(keys) == 1, "the handle, and with it the key, must be that of the first attempt"
    assert all(VALUE in request for request in echo.seen)
    (tmp_path / "value").unlink()
    assert leaks_below(tmp_path) == []


async def test_a_restart_without_the_vault_fails_the_step_and_nothing_else(tmp_path: Path) -> None:
    """The gateway starts; the step fails closed; with the key back, a retry goes on under the same key."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        mission_id = await killed_in_the_act(made, echo)
        key = made.home / "keys" / "secrets.key"
        key.rename(tmp_path / "elsewhere")
        async with serving(made) as gateway:
            failed = await end_of(gateway, made, mission_id)
            assert len(echo.seen) == 1
            (tmp_path / "elsewhere").rename(key)
            with calling(gateway.address, made) as client:
                await asyncio.to_thread(client.retry, mission_id)
            result = await end_of(gateway, made, mission_id)
    assert failed["error"]["code"] == "secret.key_unreadable"
    assert result["status"] == "Completed", result
    assert len({re.findall(rb"Idempotency-Key: ([0-9a-f]{64})", request)[0] for request in echo.seen}) == 1
    assert len(echo.seen) == 2


def test_the_command_line_shows_names_only(tmp_path: Path) -> None:
    """A value comes from a file or a pipe, is in no output, and a list says what there is."""
    made = new_home(tmp_path)
    keep(made)
    keep(made, b"another-value", "OTHER", tenant="acme")
    listed = run("secret", "list", "--home", made.home)
    assert "TOKEN" in listed.out
    assert "acme" in listed.out
    assert leaks(listed.out.encode()) == []
    form = run("secret", "list", "--home", made.home, "-o", "json").json
    assert [(s["tenant"], s["name"]) for s in form["secrets"]] == [("acme", "OTHER"), ("default", "TOKEN")]
    short = run("secret", "set", "SHORT", "--from-file", _file(made, b"7-bytes"), "--home", made.home)
    assert short.code == 2
    assert "7-bytes" not in short.out + short.err
    piped = run("secret", "set", "PIPED", "--from-file", tmp_path, "--home", made.home)
    assert "secret.unreadable" in piped.err
    assert run("secret", "remove", "NONE", "--home", made.home).code == 2
