from collections.abc import AsyncIterator

import pytest

from gateway.workers.limits import ResourceLimits
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote
from tests.worker_calls import ENTRIES

LIMITS = ResourceLimits(address_space_bytes_max=1 << 30)


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(("tests.unit.gateway.workers.entries",))
    yield zygote
    await zygote.close()


@pytest.fixture
def echo() -> WorkerSpec:
    return WorkerSpec(entry="tests.unit.gateway.workers.entries:echo", config=b">", limits=LIMITS, calls=ENTRIES)


@pytest.fixture
def look() -> WorkerSpec:
    return WorkerSpec(entry="tests.unit.gateway.workers.entries:look", limits=LIMITS, calls=ENTRIES)


@pytest.fixture
def broken() -> WorkerSpec:
    return WorkerSpec(entry="tests.unit.gateway.workers.entries:broken", limits=LIMITS, calls=ENTRIES)
