"""Hostile publishers at a real server: floods, giants, wrong orders, stolen names."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.rpc import hook_service
from gateway.rpc.hook_service import CHUNK_BYTES_MAX, CHUNKS_MAX
from gateway.sandbox.compile import MODULE_BYTES_MAX
from gateway.sandbox.files import SCHEMA_BYTES_MAX, SIGNATURE_BYTES_MAX, HookFiles
from gateway.sandbox.manifest import MANIFEST_BYTES_MAX
from gateway.v1 import hook_pb2, hook_pb2_grpc
from tests.gateways import events_of, serving
from tests.hook_folders import ACME, OTHER, STRANGER, files_of, manifest_of, signed
from tests.registry_worlds import published, publishing, refusal, trusting_home
from tests.rpc_server import AS_ANN, Served, details
from tests.rpc_server import serving as serving_fakes
from tests.subjects import names_in

HEADER = hook_pb2.PublishHookRequest(header=hook_pb2.PublishHookHeader(manifest=b"m", schema=b"s", signature=b"n"))


def piece(data: bytes) -> hook_pb2.PublishHookRequest:
    return hook_pb2.PublishHookRequest(module=data)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving_fakes() as out:
        yield out


async def code_of(served: Served, parts: Sequence[hook_pb2.PublishHookRequest] | Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.registry.PublishHook(parts, metadata=AS_ANN)
    return details(caught.value)[2].code


async def test_a_stream_becomes_the_files_that_were_sent(served: Served) -> None:
    """However it is cut; a schema that is empty is not one that is not there."""
    cut = [HEADER, *(piece(bytes([n])) for n in range(100))]
    await served.registry.PublishHook(iter(cut), metadata=AS_ANN)
    bare = hook_pb2.PublishHookRequest(header=hook_pb2.PublishHookHeader(manifest=b"m"))
    await served.registry.PublishHook(iter([bare, piece(b"x")]), metadata=AS_ANN)
    first, second = (call[2] for call in served.hooks.calls)
    assert first == HookFiles(manifest=b"m", schema=b"s", signature=b"n", module=bytes(range(100)))
    assert (second.schema, second.signature) == (None, None)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [piece(b"x")],
        [piece(b"x"), HEADER],
        [HEADER, HEADER],
        [HEADER, piece(b"x"), HEADER],
        [HEADER, hook_pb2.PublishHookRequest()],
    ],
    ids=["nothing", "no header", "header last", "two headers", "a header between", "neither"],
)
async def test_another_order_is_refused(served: Served, parts: list[hook_pb2.PublishHookRequest]) -> None:
    """One header first, then pieces: nothing replaces what was sent before."""
    assert await code_of(served, iter(parts)) == "request.malformed"
    assert served.hooks.calls == []


@pytest.mark.parametrize(
    ("field", "size"),
    [("manifest", MANIFEST_BYTES_MAX), ("schema", SCHEMA_BYTES_MAX), ("signature", SIGNATURE_BYTES_MAX)],
)
async def test_a_giant_header_is_refused(served: Served, field: str, size: int) -> None:
    """Each part has the bound of its file."""
    header = hook_pb2.PublishHookHeader(**{field: b"x" * (size + 1)})
    assert await code_of(served, iter([hook_pb2.PublishHookRequest(header=header)])) == "request.out_of_range"


async def test_a_flood_is_not_read_to_its_end(served: Served) -> None:
    """Too much, too many pieces, empty ones, giant ones: the call ends while the client still sends.

    The client is the blocking one, as the command line's: where a call ends while a piece is under way, that of
    `grpc.aio` may report the piece that it could not send, and not the answer that it has.
    """
    sent = 0

    def flood(data: bytes, count: int) -> Iterator[hook_pb2.PublishHookRequest]:
        nonlocal sent
        yield HEADER
        for _ in range(count):
            sent += 1
            yield piece(data)

    def refusal_of(data: bytes, count: int) -> str:
        with grpc.insecure_channel(served.server.address) as channel, pytest.raises(grpc.RpcError) as caught:
            hook_pb2_grpc.HookServiceStub(channel).PublishHook(flood(data, count), metadata=AS_ANN)
        assert isinstance(caught.value, grpc.Call)
        return details(caught.value)[2].code

    for data, count in (
        (b"x" * CHUNK_BYTES_MAX, 10_000),
        (b"x", CHUNKS_MAX * 100),
        (b"", 100_000),
        (b"x" * (CHUNK_BYTES_MAX + 1), 10_000),
    ):
        sent = 0
        assert await asyncio.to_thread(refusal_of, data, count) == "request.out_of_range"
        assert sent < count
    assert served.hooks.calls == []
    assert MODULE_BYTES_MAX % CHUNK_BYTES_MAX == 0


async def test_streams_that_never_end_are_few_and_are_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens a stream and says nothing holds a place for a while, and no more than there are places."""
    monkeypatch.setattr(hook_service, "PUBLISH_SECONDS_MAX", 0.3)
    calls = [served.registry.PublishHook(metadata=AS_ANN) for _ in range(hook_service.PUBLISHING_MAX)]
    for call in calls:
        await call.write(HEADER)
    assert await _refused_at_last(served) == "hook.publishing"
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert details(caught.value)[2].code == "request.out_of_range"
    await served.registry.PublishHook(iter([HEADER]), metadata=AS_ANN)


async def _refused_at_last(served: Served) -> str:
    """Publish until that is refused, which it is once the streams before have begun; return the code."""
    while True:
        try:
            await served.registry.PublishHook(iter([HEADER]), metadata=AS_ANN)
        except grpc.aio.AioRpcError as error:
            return details(error)[2].code


async def test_nobody_streams_before_the_call_is_decided() -> None:
    """A stranger's module is not even read."""
    async with serving_fakes() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.registry.PublishHook(iter([HEADER, piece(b"x")]))
        assert details(caught.value)[2].code == "auth.unauthenticated"
        assert (served.hooks.calls, served.gate.asked) == ([], [])


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "../hook"])
async def test_a_name_in_a_request_is_bounded(served: Served, name: str) -> None:
    """What cannot be a name is a refusal, or goes to the registry as a name that nothing has; never to a path."""
    request = hook_pb2.GetHookRequest(name=name)
    if name == "../hook":
        await served.registry.GetHook(request, metadata=AS_ANN)
        assert served.hooks.calls == [("get", name, "")]
        return
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.registry.GetHook(request, metadata=AS_ANN)
    assert details(caught.value)[2].code == "request.out_of_range"


@pytest.mark.parametrize(
    "placement",
    [
        {"order": -1_000_001},
        {"order": 1_000_001},
        {"step_types": ["Resize"]},
        {"step_types": ["a", "a"]},
        {"step_types": [f"a{n}" for n in range(65)]},
        {"labels": {f"a{n}": "x" for n in range(17)}},
        {"labels": {"a": "x" * 257}},
        {"labels": {"a\n": "x"}},
        {"labels": {"a": ""}},
    ],
)
async def test_a_place_is_bounded(served: Served, placement: dict[str, Any]) -> None:
    """Order, step types and labels have bounds and forms."""
    request = hook_pb2.EnableHookRequest(name="resize", version="1.0.0", placement=hook_pb2.HookPlacement(**placement))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.registry.EnableHook(request, metadata=AS_ANN)
    assert details(caught.value)[2].code == "hook.placement"


def swapped(files: HookFiles, signature_of: HookFiles) -> HookFiles:
    return replace(files, signature=signature_of.signature)


REFUSED = [
    ("another version's signature", swapped(files_of(version="2.0.0"), files_of()), "hook.signature_version"),
    ("another name's signature", swapped(files_of("stamp"), files_of()), "hook.signature_name"),
    ("another's module", replace(files_of(version="2.0.0"), module=files_of().module), "hook.signature_module"),
    ("a stranger", files_of(version="2.0.0", signer=STRANGER), "hook.publisher_untrusted"),
    ("nobody", files_of(version="2.0.0", signer=None), "hook.unsigned"),
    ("somebody else's name", files_of(version="2.0.0", signer=OTHER), "hook.name_taken"),
    ("another kind", files_of(version="2.0.0", kind="screen"), "hook.kind_changed"),
    ("a path as schema", signed(HookFiles(manifest=manifest_of("stamp").replace(
        b"parameters.schema.json", b"parameters.json"), module=files_of().module, schema=b"{"), ACME),
     "hook.schema_syntax"),
    ("no module", signed(replace(files_of(version="2.0.0"), module=b""), ACME), "hook.magic"),
    ("text for a module", signed(replace(files_of(version="2.0.0"), module=b"(module)"), ACME), "hook.magic"),
    ("no schema", signed(replace(files_of(version="2.0.0"), schema=None), ACME), "hook.schema_missing"),
    ("a schema too many", signed(replace(files_of("guard", kind="screen"), schema=b"{}"), ACME), "hook.schema_missing"),
    ("an effect of nobody", files_of("stamp", effects='"disk.format"'), "hook.unknown_effect"),
    ("a profile of nobody", files_of("stamp", profile="unbounded"), "hook.unknown_profile"),
]  # fmt: skip


async def test_a_hostile_publisher_gets_nowhere_and_the_log_has_it(tmp_path: Path) -> None:
    """Each trick has its code, none leaves a trace in the registry, and every one is an event with its publisher."""
    made = trusting_home(tmp_path)
    async with serving(made, sandbox=1) as gateway:
        await published(gateway, made, files_of())
        for name, files, code in REFUSED:
            found = await refusal(gateway, "publisher-token", publishing(files))
            assert (name, found) == (name, code)
        path = files_of().manifest.replace(b"parameters.schema.json", b"../../etc/passwd")
        unsigned = replace(files_of(), manifest=path)
        assert await refusal(gateway, "publisher-token", publishing(unsigned)) == "hook.bad_value"
        unicode_name = replace(files_of(), manifest=files_of().manifest.replace(b"resize", "rеsize".encode()))  # noqa: RUF001
        assert await refusal(gateway, "publisher-token", publishing(unicode_name)) == "hook.bad_value"
        hooks = await gateway.registry.views()
        assert [view.key for view in hooks if view.publisher != "builtin"] == ["resize@1.0.0"]
    events = [event for event in events_of(made) if event.event_type == "hook.publish_refused"]
    assert [event.details["code"] for event in events] == [*(code for _, _, code in REFUSED), *["hook.bad_value"] * 2]
    assert {names_in(made.home)[event.actor] for event in events} == {"default/publisher"}
    assert [event.target for event in events[-2:]] == ["hook", "hook"]
