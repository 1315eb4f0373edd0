import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.anchoring.anchoring import Anchoring
from gateway.anchoring.witnesses import Witnesses
from gateway.audit_config import AuditConfig
from tests.anchored import MemoryLog
from tests.cosigning import Cosigner
from tests.virtual_time import LoopClock

NOBODY = [{"url": "http://127.0.0.1:1", "key": Cosigner("w1").key.vkey()}]


@asynccontextmanager
async def anchored(home: Path, log: MemoryLog, **fields: Any) -> AsyncIterator[Anchoring]:
    settings = AuditConfig.model_validate(fields).anchoring(home)
    assert settings is not None
    anchoring = Anchoring(log, settings, clock=LoopClock(), chance=lambda: 1.0)
    anchoring.start()
    try:
        yield anchoring
    finally:
        await anchoring.close(0.05)
        assert len(asyncio.all_tasks()) == 1


async def test_a_stop_is_bounded_whatever_is_gone(tmp_path: Path) -> None:
    """A witness that is not there and a place that is not: the stop ends, and says nothing was taken."""
    log = MemoryLog(size=3)
    async with anchored(tmp_path, log, witnesses=NOBODY, anchors=[{"file": "missing/anchor"}]) as anchoring:
        while not (anchoring.witnesses()[0].error and anchoring.anchors()[0].error):  # noqa: ASYNC110 - both are tried
            await asyncio.sleep(0.005)
    assert anchoring.witnesses()[0].error == "no connection"
    assert anchoring.anchors()[0].error == "cannot be written: No such file or directory"
    assert (anchoring.witnessed, log.accepted, log.refused) == (0, [], [])


async def test_the_last_checkpoint_is_brought_out(tmp_path: Path) -> None:
    """What came within the interval goes out at the stop."""
    log = MemoryLog(size=3)
    async with anchored(tmp_path, log, anchors=[{"file": "anchor", "seconds": 3600.0}]) as anchoring:
        while not anchoring.anchors()[0].size:  # noqa: ASYNC110 - the first one is out
            await asyncio.sleep(0.005)
        log.grow()
    assert (tmp_path / "anchor").read_bytes() == log.checkpoint()
    assert anchoring.anchors()[0].lag == 0
    assert anchoring.witnesses() == ()


async def test_a_bug_is_told_and_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Following ends by an exception: that is a critical message, and the anchor goes on."""

    async def broken(_: Witnesses) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Witnesses, "run", broken)
    log = MemoryLog(size=3)
    with caplog.at_level(logging.CRITICAL):
        async with anchored(tmp_path, log, witnesses=NOBODY, anchors=[{"file": "anchor"}]) as anchoring:
            while not anchoring.anchors()[0].size:  # noqa: ASYNC110 - it goes on
                await asyncio.sleep(0.005)
    assert [record.message for record in caplog.records] == [
        "witnesses of the audit log ended by a bug, and no checkpoint gets there"
    ]
