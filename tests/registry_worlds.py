"""Homes that trust a publisher, and what a publisher and an administrator do over gRPC."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.assembly import Gateway
from gateway.client import CallError, Client, PublishedHook, Server
from gateway.config import CONFIG_NAME
from gateway.home import NewHome
from gateway.sandbox.files import HookFiles
from tests.gateways import change_policy_data, new_home
from tests.hook_folders import ACME, OTHER

STEP_KINDS = ("resize", "acting", "stamp")
_T = TypeVar("_T")


def trusting_home(folder: Path) -> NewHome:
    """Make a home with two publishers, whose policy knows the step kinds that they are about to ship."""
    made = new_home(folder)
    with (made.home / CONFIG_NAME).open("a") as config:
        for signer in (ACME, OTHER):
            config.write(f'\n[[publishers]]\nkey = "{signer.verifier_key()}"\n')
        for role in ("publisher", "submitter", "viewer"):
            digest = hashlib.sha256(f"{role}-token".encode()).hexdigest()
            config.write(f'\n[[tokens]]\nsubject = "{role}"\nroles = ["{role}"]\nsha256 = "{digest}"\n')

    def allow(config: dict[str, Any]) -> None:
        for name in STEP_KINDS:
            effects = ["timer.sleep"] if name == "acting" else []
            config["kinds"][name] = {"profile": "wasm", "effects": effects, "closed_taint": []}

    change_policy_data(made, allow)
    return made


async def asked(gateway: Gateway, token: str, call: Callable[[Client], _T]) -> _T:
    """Return what a call over gRPC returns, made in a thread as a command would."""

    def work() -> _T:
        with Client(Server(gateway.address, token or None)) as client:
            return call(client)

    return await asyncio.to_thread(work)


async def refusal(gateway: Gateway, token: str, call: Callable[[Client], object]) -> str:
    """Return the code with which a call over gRPC is refused."""
    try:
        await asked(gateway, token, call)
    except CallError as error:
        return error.code
    raise AssertionError("the call was not refused")


def publishing(files: HookFiles) -> Callable[[Client], PublishedHook]:
    """Return the call that publishes a hook."""
    signature = files.signature or b""
    return lambda client: client.hooks.publish(files.manifest, files.module, schema=files.schema, signature=signature)


async def published(gateway: Gateway, made: NewHome, files: HookFiles) -> dict[str, Any]:
    return (await asked(gateway, made.token, publishing(files))).document()


async def enabled(gateway: Gateway, made: NewHome, name: str, version: str, **place: Any) -> dict[str, Any]:
    return (await asked(gateway, made.token, lambda c: c.hooks.enable(name, version, **place))).document()


def mission_of(*kinds: str, count: int = 1) -> dict[str, Any]:
    """Return a mission with so many steps of each kind."""
    steps = [
        {"id": f"{kind}{n}", "name": kind, "step_type": kind, "parameters": {}} for kind in kinds for n in range(count)
    ]
    return {"version": "1.0", "name": "m", "steps": steps}


def outputs(view: dict[str, Any]) -> list[Any]:
    """Return the outputs of a mission that went well, by step."""
    assert view["result"]["overall_status"] == "Success", view["result"]
    return [result["output"] for _, result in sorted(view["result"]["step_results"].items())]
