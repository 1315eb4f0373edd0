"""How the engine waits for an OPA to have its bundle; of answers: tests/integration/test_opa_engine.py."""

from typing import Any

import orjson
import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.opa.client import Answer
from gateway.policy.opa.engine import OpaPolicy
from tests.bundle_worlds import bundle_files
from tests.virtual_time import run


class Server:
    """Stands for `OpaServer`: has a bundle of a revision, and other policies than ours."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.asked: list[str] = []

    def claim(self, _revision: str, _digest: str) -> bool:
        return True

    def release(self, _revision: str, _digest: str) -> None:
        return None

    async def ask(self, _method: str, path: str, **_bounds: Any) -> Answer:
        self.asked.append(path)
        bundles = {"b": {"revision": self.revision}}
        value = {"result": []} if path == "/v1/policies" else {"provenance": {"bundles": bundles}}
        return Answer(200, orjson.dumps(value))


def waited(revision: str) -> Server:
    """Wait for a minute in vain, and return whom it was waited for."""
    server: Any = Server(revision)
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
