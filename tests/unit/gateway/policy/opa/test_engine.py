"""How the engine waits for an OPA to have its bundle; of answers: tests/integration/test_opa_engine.py."""

import asyncio
from typing import Any

import orjson
import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.opa.client import Answer
from gateway.policy.opa.engine import OpaPolicy
from tests.bundle_worlds import bundle_files
from tests.virtual_time import run

MINE = bundle_files(1)
ANSWER = {"allow": True, "reasons": []}


class Server:
    """Stands for `OpaServer`: has a bundle of a revision, with what the test says in it."""

    def __init__(self, revision: str, policies: dict[str, str], **data: Any) -> None:
        self.revision, self.policies, self.data = revision, policies, data
        self.asked: list[str] = []

    def claim(self, _revision: str, _digest: str) -> bool:
        return True

    def release(self, _revision: str, _digest: str) -> None:
        return None

    async def ask(self, method: str, path: str, *_body: bytes, **_bounds: Any) -> Answer:
        self.asked.append(path)
        packages = {name: text.split()[1].split(".") for name, text in self.policies.items()}
        asts = {
            name: {"package": {"path": [{"value": part} for part in ("data", *packages[name])]}} for name in packages
        }
        if path == "/v1/policies":
            listed = [{"id": name, "raw": text, "ast": asts[name]} for name, text in self.policies.items()]
            return Answer(200, orjson.dumps({"result": listed}))
        value: dict[str, Any] = {"provenance": {"bundles": {"b": {"revision": self.revision}}}}
        if method == "POST":
            value["result"] = ANSWER
        elif path.startswith("/v1/data/gateway/config?"):
            value["result"] = self.data
        return Answer(200, orjson.dumps(value))


def waited(revision: str) -> Server:
    """Wait for a minute in vain, and return whom it was waited for."""
    server: Any = Server(revision, {})
    policy = OpaPolicy(Bundle.from_files(bundle_files(1)), server, activation_seconds=60)

    async def start() -> None:
        with pytest.raises(PolicyInvalidError) as caught:
            await policy.start()
        assert caught.value.code == "policy.bundle_mismatch"

    run(start())
    found: Server = server
    return found


def test_contents_that_differ_are_not_looked_at_all_the_time() -> None:
    """Each look parses megabytes in the event loop, with every mission of the gateway waiting meanwhile."""
    assert waited("r1").asked.count("/v1/policies") < 20


def test_another_revision_is_asked_for_again_and_again() -> None:
    """That costs nothing, and an OPA that has the bundle at last is noticed at once."""
    server = waited("r0")
    assert server.asked.count("/v1/policies") == 0
    assert len(server.asked) > 1_000


def test_another_bundle_of_the_same_revision_is_found_out_later_too() -> None:
    """Whoever gives OPA its bundles can choose the name; nothing is taken from it until it has the right one again."""
    mine = MINE["rpc.rego"].decode()
    theirs = mine.replace("false", "true")

    async def tell() -> None:
        server: Any = Server("r1", {"rpc.rego": mine}, n=1)
        policy = OpaPolicy(Bundle.from_files(MINE), server)
        await policy.start()
        for policies, data, code in (
            ({"rpc.rego": theirs}, 1, "policy.bundle_mismatch"),
            ({"rpc.rego": mine}, 1, ""),
            ({"rpc.rego": mine}, 2, "policy.bundle_mismatch"),
            ({"rpc.rego": mine, "x.rego": "package gateway.x"}, 1, "policy.bundle_mismatch"),
            ({"rpc.rego": mine}, 1, ""),
        ):
            server.policies, server.data = policies, {"n": data}
            await asyncio.sleep(40)
            decision = await policy.decide("step", b"{}")
            assert [reason.code for reason in decision.reasons] == ([code] if code else [])
            assert decision.allow is not bool(code)
        await policy.close()
        asked = len(server.asked)
        await asyncio.sleep(100)
        assert len(server.asked) == asked

    run(tell())


def test_a_reload_that_is_taken_back_is_no_difference() -> None:
    """While OPA has the next bundle each answer says so; with the old one again it answers at once."""

    async def tell() -> None:
        server: Any = Server("r1", {"rpc.rego": MINE["rpc.rego"].decode()}, n=1)
        policy = OpaPolicy(Bundle.from_files(MINE), server)
        await policy.start()
        server.policies, server.revision = {}, "r2"
        await asyncio.sleep(40)
        assert (await policy.decide("step", b"{}")).reasons[0].code == "policy.bundle_mismatch"
        server.policies, server.revision = {"rpc.rego": MINE["rpc.rego"].decode()}, "r1"
        assert (await policy.decide("step", b"{}")).allow is True
        await policy.close()

    run(tell())
