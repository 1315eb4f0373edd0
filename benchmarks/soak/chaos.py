"""What goes wrong meanwhile: workers are killed, bundles swapped, hooks published; and what memory does."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from pathlib import Path
from secrets import choice
from typing import Any, Final

import grpc
import grpc.aio

from benchmarks.soak.again import tried
from benchmarks.soak.world import HOOK, Served, hook_version, other_bundle
from gateway.v1 import hook_pb2, hook_pb2_grpc, policy_pb2, policy_pb2_grpc

_SAMPLE_SECONDS: Final = 1.0
_VERSIONS_MAX: Final = 95  # a registry keeps a hundred of one name
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_CHUNK_BYTES: Final = 256 * 1024


class Chaos:
    """Everything that happens to a gateway while it is at work; `done` counts it."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._metadata = (("authorization", f"Bearer {served.made.token}"),)
        self._channel = grpc.aio.insecure_channel(served.address, options=(("grpc.enable_http_proxy", 0),))
        self._hooks = hook_pb2_grpc.HookServiceStub(self._channel)
        self._policy = policy_pb2_grpc.PolicyServiceStub(self._channel)
        self._bundles: list[str] = []
        self._versions = count(1)
        self.done: Counter[str] = Counter()
        self.again: Counter[str] = Counter()  # calls that were made anew, by status
        self.resident_bytes: list[int] = []  # of the gateway itself, once a second

    async def prepare(self) -> None:
        """Publish what is changed later: a second bundle, and the first version of the hook."""
        status = await self._policy.GetPolicyStatus(policy_pb2.GetPolicyStatusRequest(), metadata=self._metadata)
        archive = other_bundle(self._served.made)
        parts = [
            policy_pb2.PublishBundleRequest(archive=archive[start : start + _CHUNK_BYTES])
            for start in range(0, len(archive), _CHUNK_BYTES)
        ]
        published = await self._policy.PublishBundle(iter(parts), metadata=self._metadata)
        self._bundles = [published.bundle.digest, status.active.digest]
        await self.publish()

    def begin(self, *, kill_seconds: float, swap_seconds: float, publish_seconds: float) -> list[asyncio.Task[None]]:
        """Begin with all of it; cancel the tasks to end it."""
        return [
            asyncio.create_task(_each(kill_seconds, self.kill)),
            asyncio.create_task(_each(swap_seconds, self.swap)),
            asyncio.create_task(_each(publish_seconds, self.publish)),
            asyncio.create_task(_each(_SAMPLE_SECONDS, self.sample)),
        ]

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def kill(self) -> None:
        """Kill one of the workers of the sandbox."""
        workers = await asyncio.to_thread(sandbox_workers, self._served.pid)
        if workers:
            with suppress(ProcessLookupError):
                os.kill(choice(workers), signal.SIGKILL)
                self.done["workers killed"] += 1

    async def swap(self) -> None:
        """Put the other bundle in force."""
        self._bundles.reverse()
        request = policy_pb2.ActivateBundleRequest(bundle=self._bundles[0])
        await tried(lambda: self._policy.ActivateBundle(request, metadata=self._metadata), self.again)
        self.done["bundles swapped"] += 1

    async def publish(self) -> None:
        """Publish the next version of the hook, and put it in force."""
        number = next(self._versions)
        if number > _VERSIONS_MAX:
            return
        files = hook_version(number)
        header = hook_pb2.PublishHookHeader(
            manifest=files.manifest, schema=files.schema, signature=files.signature or b""
        )
        parts = [hook_pb2.PublishHookRequest(header=header), hook_pb2.PublishHookRequest(module=files.module)]
        await tried(lambda: self._hooks.PublishHook(iter(parts), metadata=self._metadata), self.again)
        request = hook_pb2.EnableHookRequest(name=HOOK, version=f"0.0.{number}")
        await tried(lambda: self._hooks.EnableHook(request, metadata=self._metadata), self.again)
        self.done["hooks published"] += 1

    async def sample(self) -> None:
        """Note how much memory the gateway has."""
        self.resident_bytes.append(_resident_bytes(self._served.pid))


async def _each(seconds: float, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await what()


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def sandbox_workers(gateway: int) -> list[int]:
    """Return the processes that run modules: the zygote's children that have no Rego engine in them."""
    return [worker for zygote in _children(gateway) for worker in _children(zygote) if not _decides(worker)]


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _decides(pid: int) -> bool:
    try:
        return "regorus" in Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return True
