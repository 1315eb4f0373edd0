"""gateway.v1.HookService: put a stream together within bounds, ask the registry, encode."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from gateway.errors import OverloadedError
from gateway.rpc.bad_request import bad_request, out_of_range
from gateway.rpc.hook_codec import detail_message, hook_message, placement_of
from gateway.rpc.interceptor import CALLER
from gateway.rpc.ports import HookDesk
from gateway.rpc.types import Context
from gateway.sandbox.compile import MODULE_BYTES_MAX
from gateway.sandbox.files import SCHEMA_BYTES_MAX, SIGNATURE_BYTES_MAX, HookFiles
from gateway.sandbox.manifest import MANIFEST_BYTES_MAX
from gateway.v1 import hook_pb2, hook_pb2_grpc

PUBLISHING_MAX: Final = 4  # streams at a time: each holds a module in memory
PUBLISH_SECONDS_MAX: Final = 60.0  # for the whole stream to arrive
CHUNK_BYTES_MAX: Final = 1024 * 1024
CHUNKS_MAX: Final = 8_192  # a module in pieces of 1 KiB
NAME_CHARS_MAX: Final = 64
VERSION_CHARS_MAX: Final = 32


class HookService(hook_pb2_grpc.HookServiceServicer):
    """Speaks for the registry. The caller was authenticated, and the call decided, before any method here."""

    def __init__(self, hooks: HookDesk) -> None:
        self._hooks = hooks
        self._publishing = 0

    async def PublishHook(
        self, request_iterator: AsyncIterator[hook_pb2.PublishHookRequest], _context: Context
    ) -> hook_pb2.PublishHookResponse:
        """Take a hook into the registry."""
        if self._publishing >= PUBLISHING_MAX:
            raise OverloadedError(f"{PUBLISHING_MAX} hooks are being published", code="hook.publishing")
        self._publishing += 1
        try:
            try:
                async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                    files = await _collected(request_iterator)
            except TimeoutError as error:
                raise out_of_range("", f"a hook must arrive within {PUBLISH_SECONDS_MAX:g} seconds") from error
            published = await self._hooks.publish(CALLER.get(), files)
        finally:
            self._publishing -= 1
        return hook_pb2.PublishHookResponse(hook=hook_message(published.view), created=published.created)

    async def ListHooks(self, request: hook_pb2.ListHooksRequest, _context: Context) -> hook_pb2.ListHooksResponse:
        """List the versions that the caller sees."""
        if request.page_size < 0:
            raise out_of_range("page_size", "must not be negative")
        views, token = await self._hooks.list_hooks(
            CALLER.get(), page_size=request.page_size, page_token=request.page_token
        )
        return hook_pb2.ListHooksResponse(hooks=[hook_message(view) for view in views], next_page_token=token)

    async def GetHook(self, request: hook_pb2.GetHookRequest, _context: Context) -> hook_pb2.GetHookResponse:
        """Return one version."""
        _name(request.name)
        _version(request.version, least=0)
        return detail_message(await self._hooks.get(CALLER.get(), request.name, request.version))

    async def EnableHook(self, request: hook_pb2.EnableHookRequest, _context: Context) -> hook_pb2.EnableHookResponse:
        """Put a version in force."""
        _name(request.name)
        _version(request.version, least=1)
        placement = placement_of(request.placement)
        view = await self._hooks.enable(CALLER.get(), request.name, request.version, placement)
        return hook_pb2.EnableHookResponse(hook=hook_message(view))

    async def DisableHook(
        self, request: hook_pb2.DisableHookRequest, _context: Context
    ) -> hook_pb2.DisableHookResponse:
        """Take a hook out of force."""
        _name(request.name)
        _version(request.version, least=0)
        await self._hooks.disable(CALLER.get(), request.name, request.version)
        return hook_pb2.DisableHookResponse()

    async def RollbackHook(
        self, request: hook_pb2.RollbackHookRequest, _context: Context
    ) -> hook_pb2.RollbackHookResponse:
        """Take back the last change of a name."""
        _name(request.name)
        _version(request.version, least=0)
        view = await self._hooks.rollback(CALLER.get(), request.name, request.version)
        return hook_pb2.RollbackHookResponse(hook=hook_message(view) if view is not None else None)


async def _collected(parts: AsyncIterator[hook_pb2.PublishHookRequest]) -> HookFiles:
    """Return the files of a stream; it is never read further than a hook may be long."""
    header: hook_pb2.PublishHookHeader | None = None
    module = bytearray()
    chunks = 0
    async for part in parts:
        match part.WhichOneof("part"), header:
            case "header", None:
                header = _checked(part.header)
            case "module", hook_pb2.PublishHookHeader():
                chunks += 1
                if not 1 <= len(part.module) <= CHUNK_BYTES_MAX:
                    raise out_of_range("module", f"a piece must have 1 to {CHUNK_BYTES_MAX} bytes")
                if len(module) + len(part.module) > MODULE_BYTES_MAX or chunks > CHUNKS_MAX:
                    raise out_of_range("module", f"must have at most {MODULE_BYTES_MAX} bytes in {CHUNKS_MAX} pieces")
                module += part.module
            case _:
                raise bad_request("request.malformed", "part", "send one header, then the module in pieces")
    if header is None:
        raise bad_request("request.malformed", "header", "send one header, then the module in pieces")
    return HookFiles(
        manifest=header.manifest,
        module=bytes(module),
        schema=header.schema if header.HasField("schema") else None,
        signature=header.signature or None,
    )


def _checked(header: hook_pb2.PublishHookHeader) -> hook_pb2.PublishHookHeader:
    for field, data, bytes_max in (
        ("manifest", header.manifest, MANIFEST_BYTES_MAX),
        ("schema", header.schema, SCHEMA_BYTES_MAX),
        ("signature", header.signature, SIGNATURE_BYTES_MAX),
    ):
        if len(data) > bytes_max:
            raise out_of_range(f"header.{field}", f"must have at most {bytes_max} bytes")
    return header


def _name(name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise out_of_range("name", f"must have 1 to {NAME_CHARS_MAX} printable characters")


def _version(version: str, *, least: int) -> None:
    if not least <= len(version) <= VERSION_CHARS_MAX or not version.isprintable():
        raise out_of_range("version", f"must have {least} to {VERSION_CHARS_MAX} printable characters")
