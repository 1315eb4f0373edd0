"""Delivery to a collector: as OPA does it, at least once, in order, and within a bound that is told of when reached."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from engine.clock import SystemClock
from engine.errors import FaultError
from gateway.decisions import drops as dropping
from gateway.decisions import shipper as shipping
from gateway.decisions.drops import Drops
from gateway.decisions.opening import DecisionRecords
from gateway.errors import ConfigurationError
from tests.collector import Collector, collecting
from tests.decision_records import Answers, Events, Home, eventually
from tests.policy_documents import step

DROPPED = "policy.decision_log_dropped"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that nobody waits."""
    monkeypatch.setattr(shipping.Shipper.__init__, "__kwdefaults__", _defaults(look_seconds=0.01))


def _defaults(**changes: Any) -> dict[str, Any]:
    return {**(shipping.Shipper.__init__.__kwdefaults__ or {}), **changes}


async def decide(records: DecisionRecords, count: int) -> list[str]:
    policy = records.around(Answers())
    return [(await policy.decide("step", step("transform", {"n": n}))).id for n in range(count)]


@asynccontextmanager
async def shipping_to(home: Home, collector: Collector, **settings: Any) -> AsyncIterator[DecisionRecords]:
    async with home.open(log_url=collector.url, **settings) as records:
        yield records


def waiting(home: Home) -> int:
    with closing(sqlite3.connect(home.database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
        return int(count)


async def test_events_are_posted_as_opa_posts_them(home: Home) -> None:
    """POST <url>/logs of a gzipped JSON array, with the token; what was taken leaves the outbox."""
    token = home.path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    async with collecting() as collector, shipping_to(home, collector, log_token_file=token) as records:
        ids = await decide(records, 5)
        await eventually(lambda: len(collector.events) >= 5)
        await eventually(lambda: waiting(home) == 0)
        await eventually(lambda: records.shipper is not None and records.shipper.delivered == 5)
        assert records.shipper is not None
        assert records.shipper.failing == ""
    assert collector.ids == ids
    (first, *_) = collector.requests
    assert first[":path"] == "/logs"
    assert first["content-type"] == "application/json"
    assert first["content-encoding"] == "gzip"
    assert first["authorization"] == "Bearer s3cret"
    assert home.audit.told == []


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 429, 500, 503])
async def test_what_is_not_taken_is_sent_again(home: Home, status: int) -> None:
    """Whatever the collector says but 2xx; order is kept and a redirect is not followed."""
    refusals = [status] * 3
    collecting_late = collecting(answer=lambda _: refusals.pop() if refusals else 204)
    async with collecting_late as collector, shipping_to(home, collector) as records:
        ids = await decide(records, 3)
        await eventually(lambda: len(collector.events) >= 3)
        assert len(collector.requests) >= 4
        assert {request[":path"] for request in collector.requests} == {"/logs"}
    assert collector.ids == ids


async def test_a_dead_collector_and_a_restart_lose_nothing(home: Home) -> None:
    """Events wait on the disk, sealed, until a later start finds somebody who takes them."""
    async with home.open(log_url="http://127.0.0.1:9") as records:
        ids = await decide(records, 20)
        await records.recorder.settled()
        assert records.shipper is not None
        await eventually(lambda: records.shipper is not None and records.shipper.failing)
    assert waiting(home) == 20
    async with collecting() as collector, shipping_to(home, collector) as records:
        ids += await decide(records, 1)
        await eventually(lambda: len(collector.events) >= 21)
    assert collector.ids == ids


async def test_a_stop_between_the_answer_and_the_deletion_repeats(home: Home) -> None:
    """At least once: the collector has it, the gateway does not know, and sends it again."""
    async with collecting(hold=asyncio.Event()) as collector:
        async with shipping_to(home, collector) as records:
            ids = await decide(records, 3)
            await eventually(lambda: collector.requests)
        assert collector.hold is not None
        collector.hold.set()
        async with shipping_to(home, collector):
            await eventually(lambda: waiting(home) == 0)
    assert set(collector.ids) == set(ids)
    assert collector.ids[-3:] == ids


@pytest.mark.parametrize(
    "garbage", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200\x00 OK\r\n\r\n", b"HTTP/1.1 99999 X\r\n\r\n"]
)
async def test_a_collector_that_answers_garbage_has_taken_nothing(home: Home, garbage: bytes) -> None:
    """It is asked again, and the events stay."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with home.open(log_url=f"http://127.0.0.1:{port}") as records:
            await decide(records, 2)
            await eventually(lambda: asked >= 2)
            assert records.shipper is not None
            await eventually(lambda: records.shipper is not None and records.shipper.failing)
            assert records.shipper.delivered == 0
    assert waiting(home) == 2


async def test_a_collector_that_never_answers_holds_nobody_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has a limit, decisions go on meanwhile, and the gateway stops at once."""
    monkeypatch.setattr(shipping.Shipper.__init__, "__kwdefaults__", _defaults(timeout_seconds=0.1))
    async with collecting(hold=asyncio.Event()) as collector:
        async with shipping_to(home, collector) as records:
            await decide(records, 50)
            await eventually(lambda: len(collector.requests) >= 2)
            assert records.shipper is not None
            assert "Timeout" in records.shipper.failing
        assert collector.hold is not None
        collector.hold.set()
    assert waiting(home) == 50


async def test_pages_are_bounded_and_shrink_where_they_are_too_large(home: Home) -> None:
    """413 is answered with less; an event that is too large alone is dropped, and that is told."""
    async with home.open(log_url="http://127.0.0.1:9") as records:
        ids = await decide(records, 9)
        (lost,) = await decide(records, 1)
        ids += await decide(records, 3)
    collecting_little = collecting(answer=lambda events: 413 if len(events) > 2 or lost in ids_of(events) else 200)
    async with collecting_little as collector, shipping_to(home, collector) as records:
        await eventually(lambda: waiting(home) == 0)
        assert records.drops.dropped == 1
    assert collector.ids == ids
    assert max(collector.sizes) == 13
    assert home.audit.told == [(DROPPED, {"events": 1, "total": 1})]


def ids_of(events: list[Any]) -> list[str]:
    return [event["decision_id"] for event in events]


async def test_the_outbox_is_bounded_and_what_is_dropped_is_told(
    home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first at once, the rest when the gateway stops at the latest; the records have them still."""
    monkeypatch.setattr(dropping, "TELL_SECONDS", 3_600.0)
    async with home.open(log_url="http://127.0.0.1:9", outbox_bytes_max=2_000) as records:
        await decide(records, 13)
        await records.recorder.settled()
        kept = waiting(home)
        assert 1 <= kept <= 5
        first = list(home.audit.told)
        await decide(records, 4)
        await records.recorder.settled()
    assert waiting(home) == kept
    assert [event for event, _ in first] == [DROPPED]
    assert sum(details["events"] for _, details in home.audit.told) == 17 - kept
    assert home.audit.told[-1][1]["total"] == 17 - kept
    assert "has lost" in caplog.text
    assert len(home.opened()) == 17


async def test_room_comes_back_with_delivery(home: Home) -> None:
    """What was delivered takes no room any more."""
    async with collecting() as collector, shipping_to(home, collector, outbox_bytes_max=3_000) as records:
        for _ in range(6):
            await decide(records, 2)
            await records.recorder.settled()
            await eventually(lambda: waiting(home) == 0)
        assert records.drops.dropped == 0
    assert len(collector.events) == 12


async def test_an_event_that_was_damaged_is_counted(home: Home) -> None:
    """It cannot be sent, it stops nothing behind it, and it is told."""
    async with home.open(log_url="http://127.0.0.1:9") as records:
        ids = await decide(records, 3)
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE outbox SET sealed = zeroblob(50) WHERE id = ?", (ids[0],))
        connection.commit()
    async with collecting() as collector, shipping_to(home, collector):
        await eventually(lambda: waiting(home) == 0)
    assert collector.ids == ids[1:]
    assert home.audit.told == [(DROPPED, {"events": 1, "total": 1})]


async def test_a_token_that_cannot_be_read_is_told_at_the_start(home: Home) -> None:
    """Missing, or open to others."""
    token = home.path / "token"
    for _ in range(2):
        with pytest.raises(ConfigurationError) as refused:
            async with home.open(log_url="http://127.0.0.1:9", log_token_file=token):
                pass
        assert refused.value.code == "config.decision_log"
        token.write_text("s3cret")
        token.chmod(0o644)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://collector.example", False),
        ("http://10.0.0.1:8080/x", False),
        ("http://127.0.0.1.example", False),
        ("http://[::", False),
        ("https://collector.example", True),
        ("http://localhost:9", True),
        ("http://[::1]:9", True),
    ],
)
async def test_a_token_crosses_no_network_in_the_clear(home: Home, url: str, *, taken: bool) -> None:
    """As with bundles: it is sent over TLS, or to this machine."""
    token = home.path / "token"
    token.write_text("s3cret")
    token.chmod(0o600)
    async with home.open() as records:
        ledger = records.recorder._ledger
        shipper = shipping.Shipper(records.recorder, ledger, records.drops, url, SystemClock(), token_file=token)
        if taken:
            async with shipper:
                assert shipper.failing == ""
        else:
            with pytest.raises(ConfigurationError) as refused:
                await shipper.__aenter__()
            assert refused.value.code == "config.decision_log"


@pytest.mark.parametrize(
    "url",
    ["", "collector", "ftp://c", "file:///etc", "http://", "http:///x", "http://c?x=1", "http://u:p@c", "http://c d"],
)
async def test_an_url_that_is_none_is_told_at_the_start(home: Home, url: str) -> None:
    """Also one with a password in it: that would be told wherever the URL is."""
    async with home.open() as records:
        shipper = shipping.Shipper(records.recorder, records.recorder._ledger, records.drops, url, SystemClock())
        with pytest.raises(ConfigurationError) as refused:
            await shipper.__aenter__()
    assert refused.value.code == "config.decision_log"


async def test_a_bug_in_a_delivery_is_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ends the delivery for good."""
    real, broken = shipping.Shipper._post, [True]

    async def post(*arguments: Any) -> int:
        if broken:
            broken.clear()
            raise RuntimeError("a bug")
        return await real(*arguments)

    monkeypatch.setattr(shipping.Shipper, "_post", post)
    async with collecting() as collector, shipping_to(home, collector) as records:
        ids = await decide(records, 1)
        await eventually(lambda: collector.events)
    assert collector.ids == ids


def test_drops_are_told_at_most_once_a_minute() -> None:
    """The first at once; what the audit log refuses is told the next time."""
    now = 100.0

    class Clock(SystemClock):
        def monotonic(self) -> float:
            return now

    audit = Events()
    told = Drops(audit, Clock())
    for events in (0, 2, 3, 4):
        told.count(events)
    assert audit.told == [(DROPPED, {"events": 2, "total": 2})]
    now += 61
    audit.fault = FaultError("full")
    told.count(0)
    audit.fault = None
    now += 61
    told.count(1)
    told.tell()
    assert audit.told[1:] == [(DROPPED, {"events": 8, "total": 10})]
