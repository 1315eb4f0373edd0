"""HookService: what is sent, and what comes back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.client.call import Call, Turning, call, chunks, nothing, upload
from gateway.client.hooks import Hook, HookDetails, HookPage, PublishedHook
from gateway.client.methods import DriverT, Group, Method, Pages
from gateway.v1 import hook_pb2

_SECONDS: Final = 120.0  # a module is compiled, and workers are started
_CHUNK_BYTES: Final = 256 * 1024
_PAGE_SIZE: Final = 200  # as many as a gateway gives


def publish(
    manifest: bytes, module: bytes, *, schema: bytes | None = None, signature: bytes = b""
) -> Call[PublishedHook]:
    """Publish a signed hook, as its files are; the same once more changes nothing."""
    header = hook_pb2.PublishHookHeader(manifest=manifest, schema=schema, signature=signature)

    def parts() -> Iterator[hook_pb2.PublishHookRequest]:
        yield hook_pb2.PublishHookRequest(header=header)
        for chunk in chunks(module, _CHUNK_BYTES):
            yield hook_pb2.PublishHookRequest(module=chunk)

    return upload(_path("PublishHook"), parts, hook_pb2.PublishHookResponse, PublishedHook.of, seconds=_SECONDS)


def list_hooks(page_size: int = 0, page_token: str = "") -> Call[HookPage]:
    """Return some versions of hooks, by name, the newest publication of a name first."""
    request = hook_pb2.ListHooksRequest(page_size=page_size, page_token=page_token)
    return call(_path("ListHooks"), request, hook_pb2.ListHooksResponse, HookPage.of)


def all_hooks() -> Turning[Hook]:
    """Yield every version of every hook, by name, the newest publication of a name first."""
    return lambda token: list_hooks(_PAGE_SIZE, token)


def get(name: str, version: str = "") -> Call[HookDetails]:
    """Return a version; without one, that in force, or else the newest."""
    request = hook_pb2.GetHookRequest(name=name, version=version)
    return call(_path("GetHook"), request, hook_pb2.GetHookResponse, HookDetails.of)


def enable(
    name: str,
    version: str,
    *,
    order: int = 0,
    step_types: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Call[Hook]:
    """Put a version in force, in the place of the one that is. Not repeated: a rollback would count it."""
    placement = hook_pb2.HookPlacement(order=order, step_types=step_types, labels=labels)
    request = hook_pb2.EnableHookRequest(name=name, version=version, placement=placement)
    return call(
        _path("EnableHook"),
        request,
        hook_pb2.EnableHookResponse,
        lambda it: Hook.of(it.hook),
        repeats=False,
        seconds=_SECONDS,
    )


def disable(name: str, version: str = "") -> Call[None]:
    """Take a hook out of force; with a version, only that one. Not repeated."""
    request = hook_pb2.DisableHookRequest(name=name, version=version)
    return call(_path("DisableHook"), request, hook_pb2.DisableHookResponse, nothing, repeats=False, seconds=_SECONDS)


def rollback(name: str, version: str = "") -> Call[Hook | None]:
    """Take back the last change of a name; return what is in force then, if anything. Not repeated."""
    request = hook_pb2.RollbackHookRequest(name=name, version=version)
    return call(
        _path("RollbackHook"), request, hook_pb2.RollbackHookResponse, _in_force, repeats=False, seconds=_SECONDS
    )


class HookMethods(Group[DriverT]):
    """Hooks of the registry."""

    publish = Method(publish)
    list_hooks = Method(list_hooks)
    all_hooks = Pages(all_hooks)
    get = Method(get)
    enable = Method(enable)
    disable = Method(disable)
    rollback = Method(rollback)


def _path(method: str) -> str:
    return f"/gateway.v1.HookService/{method}"


def _in_force(answer: hook_pb2.RollbackHookResponse) -> Hook | None:
    return Hook.of(answer.hook) if answer.HasField("hook") else None
