"""Large contents through a whole gateway: as references for guest, policy and journal, as bytes for the world."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateways import change_policy_data, new_home, serving, submitted
from tests.integration.test_secrets import VALUE, call, echoing, keep, leaks_below, opened
from tests.opened_homes import blobs_of
from tests.worlds import mission, step


async def test_a_large_body_goes_round_as_a_reference(tmp_path: Path) -> None:
    """Downloaded, written to a file, read and sent on: the service gets the bytes, everybody else the reference."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        async with serving(made) as gateway:
            blobs = made.home / "workspaces" / ".blobs"
            url = f"http://127.0.0.1:{echo.port}/echo"
            body = {"pad": "x" * 90_000}
            first = step("first", kind="http", url=url, method="POST", body=body)
            write = step("write", "first", kind="create_file", path="big", content="${steps.first.output.body}")
            read = step("read", "write", kind="read_file", path="big")
            send = step("send", "read", kind="http", url=url, method="POST", body="${steps.read.output.content}")
            view = await submitted(gateway, made, mission(first, write, read, send))
            results = view["result"]["step_results"]
            assert {r["status"] for r in results.values()} == {"Completed"}, results
            reference = results["first"]["output"]["body"]
            other = await submitted(
                gateway, made, mission(step("a", kind="create_file", path="x", content=reference)), "other"
            )
            inner = mission(step("a", kind="create_file", path="x", content=reference))
            nested = await submitted(gateway, made, mission(step("sub", kind="mission", mission=inner)), "nested")
    assert results["read"]["output"]["content"] == reference
    file = made.home / "workspaces" / view["mission_id"] / "big"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == reference["$blob"].removeprefix("sha256:")
    assert echo.seen[0] == file.read_bytes()
    assert echo.seen[1].partition(b"\r\n\r\n")[2] == file.read_bytes()
    assert len(list((blobs / view["mission_id"]).iterdir())) == 2  # the last answer is another content
    assert other["result"]["step_results"]["a"]["error"]["code"] == "effect.blob_unknown"
    error = nested["result"]["step_results"]["sub"]["error"]
    assert error["code"] == "effect.mission_failed"
    assert len(json.dumps(view)) < 5_000


async def test_a_secret_is_masked_before_its_answer_is_a_blob(tmp_path: Path) -> None:
    """What the service echoes in a large body is in no blob, in none of the forms that are looked for."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        keep(made)
        (tmp_path / "value").unlink()
        async with serving(made) as gateway:
            body = {"token": "${secrets.TOKEN}", "pad": "x" * 400_000}
            steps = [call(path, echo.port, path, method="POST", body=body) for path in ("echo", "json", "hex")]
            view = await submitted(gateway, made, mission(*steps))
    results = view["result"]["step_results"]
    assert all("$blob" in result["output"]["body"] for result in results.values()), results
    assert all(VALUE in request for request in echo.seen)
    assert leaks_below(tmp_path) == []
    kept = blobs_of(made.home)
    assert len(kept) == 3
    assert sum(b"[secret:TOKEN]" in content for content in kept) == 3


@pytest.mark.parametrize(
    ("limits", "code", "name"),
    [
        ({"default": {"blob_bytes_max": 70_000}}, "effect.response_too_large", "blob_bytes_max"),
        ({"roles": {"admin": {"blobs_bytes_max": 70_000}}}, "effect.blobs_full", "blobs_bytes_max"),
        ({"kinds": {"http": {"blobs_max": 0}}}, "effect.blobs_full", "blobs_max"),
    ],
)
async def test_policys_data_bounds_blobs(tmp_path: Path, limits: dict[str, Any], code: str, name: str) -> None:
    """By default, by kind and by role of the submitter; the failure names the limit."""
    made = new_home(tmp_path)
    async with echoing() as echo:
        opened(made, echo.port)
        change_policy_data(made, lambda config: config.update(limits=limits))
        async with serving(made) as gateway:
            view = await submitted(gateway, made, mission(call("a", echo.port, "large", headers={})))
    error = view["result"]["step_results"]["a"]["error"]
    assert name in error["message"], error
    assert error["code"] == code
