"""Request forgery: targets of the corpus, tried against the effect itself, without the sanitizer in front of it."""

import json
import ssl
from ipaddress import ip_address
from pathlib import Path

import httpcore
import pytest

from gateway.addresses import PUBLIC_ONLY, Address
from gateway.effects.http import HttpLimits, HttpRequest
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.effects.workspace import Workspaces
from gateway.errors import EffectError
from tests.payload_keys import KEY

CORPUS = Path(__file__).parent / "corpora/attack_ssrf.jsonl"
TARGETS = [json.loads(line)["value"] for line in CORPUS.read_text().splitlines()]


class InwardResolver:
    """Every name is an attacker's, and leads to the own machine or its metadata service."""

    def __init__(self, address: str) -> None:
        self._address = ip_address(address)

    async def resolve(self, host: str, port: int, *, timeout_seconds: float) -> tuple[Address, ...]:
        del host, port, timeout_seconds
        return (self._address,)


@pytest.mark.parametrize("inward", ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"])
async def test_no_target_of_the_corpus_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inward: str
) -> None:
    """Each is refused by its spelling or its address, and no socket is opened for any."""
    opened: list[str] = []

    async def connect_tcp(_: object, host: str, port: int, **__: object) -> httpcore.AsyncNetworkStream:
        opened.append(f"{host}:{port}")
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    performer = HttpRequest(PUBLIC_ONLY, InwardResolver(inward), context, HttpLimits())
    workspaces = Workspaces.open(tmp_path)
    scope = EffectScope(workspace=workspaces.create("m1", KEY), mission_id="m1", step_id="s1")
    assert len(TARGETS) > 50
    for target in TARGETS:
        request = EffectRequest(op="http.request", args={"url": target}, key="k", timeout_seconds=5.0)
        with pytest.raises(EffectError) as refused:
            await performer.perform(request, scope)
        assert refused.value.code in {"effect.address_refused", "effect.url_refused", "effect.arguments"}, target
    assert opened == []
    scope.workspace.close()
    workspaces.close()
