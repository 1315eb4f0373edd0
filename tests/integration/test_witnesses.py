"""A log and a real witness: litewitness, which keeps what it has cosigned in a database of its own."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import SystemRandom

import orjson
import pytest
from grpc import StatusCode

from engine.audit.checkpoint import Checkpoint, open_checkpoint
from engine.audit.errors import AuditUnwitnessedError
from engine.audit.keys import VerifierKey
from engine.audit.log import AuditLog
from engine.audit.witness import WitnessKey, cosigned_by, split_note
from engine.audit.writer import AuditLimits
from engine.clock import SystemClock
from gateway.anchoring.anchoring import Anchoring
from gateway.anchoring.sections import AnchorSection, WitnessSection
from gateway.anchoring.settings import AnchoringSettings
from gateway.client import CallError
from gateway.config import CONFIG_NAME
from gateway.folders import AUDIT_FOLDER
from tests.audit_logs import NAME, SIGNER, VKEY, append, lines
from tests.gateways import new_home, serving, submitted
from tests.litewitness import Litewitness, witness

SECONDS = 20.0  # more than enough for a witness that is there
HURRY = 0.3  # for one that is not
PATIENCE = 3.0  # of a gateway whose witness comes and goes
DELAY = {"id": "wait", "name": "wait", "step_type": "delay", "parameters": {"ms": 1}}


@pytest.fixture
def one() -> Iterator[Litewitness]:
    with witness() as made:
        made.add_log(NAME, VKEY)
        made.start()
        yield made


@asynccontextmanager
async def witnessed(
    folder: Path, *witnesses: Litewitness, seconds: float = SECONDS, anchor: str = ""
) -> AsyncIterator[tuple[AuditLog, Anchoring]]:
    """Open a log of level `witnessed`, and have it followed, as a gateway does."""
    log = AuditLog.open(
        folder,
        signer=SIGNER,
        clock=SystemClock(),
        level="witnessed",
        limits=AuditLimits(witness_seconds_max=seconds, linger_ms_max=5),
    )
    settings = AnchoringSettings(
        home=folder.parent,
        witnesses=tuple(WitnessSection(url=each.url, key=each.vkey) for each in witnesses),
        required=len(witnesses),
        waited_for=True,
        witness_seconds_max=SECONDS,
        anchors=(AnchorSection(file=anchor),) if anchor else (),
    )
    anchoring = Anchoring(log, settings, clock=SystemClock(), chance=SystemRandom().random)
    anchoring.start()
    try:
        yield log, anchoring
    finally:
        await anchoring.close(0.5)
        await log.close()


def assert_cosigned(log: AuditLog, *witnesses: Litewitness) -> None:
    """The newest checkpoint is the log's own, under the signatures of all of them."""
    note = log.witnessed()
    assert note is not None
    assert open_checkpoint(note, VerifierKey.parse(VKEY)).size == log.size
    assert set(cosigned_by(note, [WitnessKey.parse(each.vkey) for each in witnesses])) == {w.name for w in witnesses}
    assert [each.size(NAME) for each in witnesses] == [log.size] * len(witnesses)


async def test_an_event_is_acknowledged_behind_the_cosignature(tmp_path: Path, one: Litewitness) -> None:
    """Batch after batch, through a restart of the log; the file on the disk is what the witness has signed."""
    folder = tmp_path / "log"
    for _ in range(2):
        async with witnessed(folder, one) as (log, _anchoring):
            for number in range(5):
                await log.durable(append(log, number))
                assert_cosigned(log, one)
    assert (folder / "witnessed").read_bytes() == log.witnessed()


async def test_without_the_witness_nothing_is_acknowledged(tmp_path: Path, one: Litewitness) -> None:
    """It dies: events are recorded and refused. It comes back: they and the next ones are acknowledged."""
    async with witnessed(tmp_path / "log", one, seconds=HURRY) as (log, anchoring):
        await acknowledged(log, append(log, 1))
        one.stop()
        seq = append(log, 2)
        with pytest.raises(AuditUnwitnessedError) as refused:
            await log.durable(seq)
        assert refused.value.code == "audit.unwitnessed"
        (standing,) = anchoring.witnesses()
        assert standing.error in {"no connection", "the connection ended before the answer did"}
        assert standing.lag > 0
        one.start()
        await acknowledged(log, seq)
        await acknowledged(log, append(log, 3))
        assert_cosigned(log, one)
        assert anchoring.witnesses()[0].error == ""


async def test_two_of_two_have_to_be_there(tmp_path: Path, one: Litewitness) -> None:
    """Quorum 2, one dead: refused, though the other has cosigned. With both: acknowledged, with both signatures."""
    with witness("witness.example/w2") as two:
        two.add_log(NAME, VKEY)
        two.start()
        two.stop()
        async with witnessed(tmp_path / "log", one, two, seconds=HURRY) as (log, _anchoring):
            seq = append(log, 1)
            with pytest.raises(AuditUnwitnessedError):
                await log.durable(seq)
            assert one.size(NAME) == log.size
            assert log.witnessed() is None
            two.start()
            await acknowledged(log, seq)
            assert_cosigned(log, one, two)


async def test_a_witness_that_does_not_know_the_log_says_so(tmp_path: Path) -> None:
    """404, and 403 for another key of the log: nothing is acknowledged, and health says what the operator has to do."""
    with witness("witness.example/w1") as unknown, witness("witness.example/w2") as other:
        other.add_log(NAME, "example.com/gateway+5cf09e1f+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        other.start()
        unknown.add_log("example.com/another", VKEY)
        unknown.start()
        async with witnessed(tmp_path / "log", unknown, other, seconds=HURRY) as (log, anchoring):
            with pytest.raises(AuditUnwitnessedError):
                await log.durable(append(log, 1))
            errors = [standing.error for standing in anchoring.witnesses()]
        assert errors[0] == "it does not know this log (404)"
        assert errors[1] in {"it does not know the key that signs this log (403)", "it answers 500"}


@pytest.mark.parametrize("events", [0, 3, 9])
async def test_a_log_put_back_is_refused(tmp_path: Path, one: Litewitness, events: int) -> None:
    """Put back to 2 events of 5, and gone on for 0, 3 or 9: shorter, as long, longer than what was cosigned; all told.

    The copy is whole, its checkpoint and its `witnessed` fit: from the directory nobody could tell.
    """
    folder, copy = tmp_path / "log", tmp_path / "copy"
    async with witnessed(folder, one) as (log, _anchoring):
        await log.durable(append(log, 1))
    shutil.copytree(folder, copy)
    async with witnessed(folder, one) as (log, _anchoring):
        for number in range(3):
            await log.durable(append(log, number))
    shutil.rmtree(folder)
    copy.rename(folder)
    log = AuditLog.open(folder, signer=SIGNER, clock=SystemClock())
    for number in range(events):
        append(log, 100 + number)
    await log.close()
    async with witnessed(folder, one) as (log, anchoring):
        for number in range(2):
            with pytest.raises(AuditUnwitnessedError) as refused:
                await log.durable(append(log, number))
            assert refused.value.code == "audit.history_refused"
        assert anchoring.witnesses()[0].alarm
    alarms = [each for each in map(orjson.loads, lines(folder)) if each["event_type"] == "audit.witness_refused"]
    assert [(each["target"], each["details"]["known"]) for each in alarms] == [(one.name, None if events else 5)]
    assert one.size(NAME) == 5


async def acknowledged(log: AuditLog, seq: int) -> None:
    """Wait for an acknowledgement as a client does that tries again."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await log.durable(seq)
            except AuditUnwitnessedError as error:
                assert error.code == "audit.unwitnessed"  # noqa: PT017 - any other ends the test


async def test_a_gateway_is_witnessed_and_anchored(tmp_path: Path) -> None:
    """It admits nothing while its witness is gone, and again when it is back; its last checkpoint is in both places."""
    mission = orjson.dumps({"version": "1.0", "name": "waits", "steps": [DELAY]})
    made = new_home(tmp_path)
    with witness() as own:
        name = made.verifier_key.partition("+")[0]
        own.add_log(name, made.verifier_key)
        own.start()
        with (made.home / CONFIG_NAME).open("a") as config:
            config.write(
                f'[audit]\nacknowledge = "witnessed"\nwitness_seconds_max = {PATIENCE}\n'
                f'[[audit.witnesses]]\nurl = "{own.url}"\nkey = "{own.vkey}"\n[[audit.anchors]]\nfile = "anchor"\n'
            )
        async with serving(made) as gateway:
            own.stop()
            with pytest.raises(CallError) as refused:
                await submitted(gateway, made, mission, "while it is gone")
            assert (refused.value.status, refused.value.errors[0]["code"]) == (
                StatusCode.UNAVAILABLE,
                "audit.unwitnessed",
            )
            own.start()
            assert (await submitted(gateway, made, mission, "when it is back"))["state"] == "Completed"
            assert gateway.anchoring is not None
            assert gateway.anchoring.witnesses()[0].error == ""
        content = lines(made.home / AUDIT_FOLDER)
        newest = (made.home / AUDIT_FOLDER / "checkpoint").read_bytes()
        assert (made.home / "anchor").read_bytes() == newest
        assert Checkpoint.parse(split_note(newest)[0]).size == len(content) == own.size(name)
        assert orjson.loads(content[-1])["event_type"] == "gateway.stopped"
