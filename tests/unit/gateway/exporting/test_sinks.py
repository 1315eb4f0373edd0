"""Where exports go: a file whose lines are on the disk, and a collector over HTTP that fails in every way."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from gateway.delivery.collector import Collector as Client
from gateway.delivery.collector import Names
from gateway.delivery.pump import NotTakenError
from gateway.errors import ConfigurationError
from gateway.exporting.sinks import FileSink, HttpSink, TooLargeError
from tests.certificates import Authority
from tests.collector import Collector, collecting
from tests.decision_records import eventually
from tests.exports import MemoryLog, cursor_file, export
from tests.virtual_time import EPOCH

NAMES = Names(section="audit.exports: siem", code="config.audit_export")
EVENTS = [b'{"n":0}', b'{"n":1}']


def client(url: str, **options: Any) -> Client:
    return Client(url, NAMES, SystemClock(), **options)


@asynccontextmanager
async def sink_for(collector: Collector, form: Any = "ndjson", **options: Any) -> AsyncIterator[HttpSink]:
    sink = HttpSink(client(f"{collector.url}/intake", **options), form)
    try:
        yield sink
    finally:
        await sink.close()


def token(folder: Path) -> Path:
    path = folder / "token"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(("form", "content_type"), [("ndjson", "application/x-ndjson"), ("json", "application/json")])
async def test_a_request_is_gzipped_and_has_the_token(tmp_path: Path, form: str, content_type: str) -> None:
    """As lines or as an array, to the very URL that is configured."""
    async with collecting() as collector, sink_for(collector, form, token_file=token(tmp_path)) as sink:
        await sink.deliver(EVENTS)
        await sink.deliver(EVENTS[:1])
    assert collector.events == [{"n": 0}, {"n": 1}, {"n": 0}]
    first = collector.requests[0]
    assert (first[":path"], first["content-type"], first["content-encoding"]) == ("/intake", content_type, "gzip")
    assert first["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("status", [302, 307, 400, 401, 404, 429, 500, 503])
async def test_anything_but_2xx_has_not_taken_it(status: int) -> None:
    """Nor is a redirect followed; what the collector says of the next try is passed on."""
    async with collecting(answer=lambda _: status, retry_after="7") as collector, sink_for(collector) as sink:
        with pytest.raises(NotTakenError, match=str(status)) as refused:
            await sink.deliver(EVENTS)
        assert refused.value.retry_after_seconds == 7.0
    assert len(collector.requests) == 1


async def test_too_much_at_once_is_told_apart() -> None:
    """413 asks for less."""
    async with collecting(answer=lambda _: 413) as collector, sink_for(collector) as sink:
        with pytest.raises(TooLargeError):
            await sink.deliver(EVENTS)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("9" * 99, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    """RFC 9110, 10.2.3; what is neither counts as not said."""

    class Then:
        def now(self) -> Any:
            return EPOCH

        def monotonic(self) -> float:
            return 0.0

    assert Client("http://x/y", NAMES, Then())._wait(header) == seconds


async def test_a_collector_that_hangs_or_is_gone_is_an_error() -> None:
    """A request has a limit; the next one makes a new connection."""
    hold = asyncio.Event()
    async with collecting(hold=hold) as collector, sink_for(collector, timeout_seconds=0.05) as sink:
        with pytest.raises(TimeoutError):
            await sink.deliver(EVENTS)
        hold.set()
        await eventually(lambda: collector.events)
        await sink.deliver(EVENTS)
    gone = HttpSink(client("http://127.0.0.1:9/"), "ndjson")
    with pytest.raises(OSError, match="127"):
        await gone.deliver(EVENTS)


async def test_tls_believes_the_authority_that_is_configured(tmp_path: Path) -> None:
    """And no other."""
    certificate, key = Authority(tmp_path).issue("siem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with collecting(tls=context) as collector:
        async with sink_for(collector, ca_file=tmp_path / "ca.crt") as sink:
            await sink.deliver(EVENTS)
        async with sink_for(collector) as sink:
            with pytest.raises(OSError, match="certificate"):
                await sink.deliver(EVENTS)
    assert len(collector.events) == 2


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://c/", "http://", "http://u:p@c/", "http://c/?token=1", "https://c/#x", "http://c d/"]
)
def test_a_url_that_is_none_is_told_at_the_start(url: str) -> None:
    """Also one with a secret in it: that would be told wherever the URL is."""
    with pytest.raises(ConfigurationError, match=r"audit\.exports: siem") as refused:
        client(url).check()
    assert refused.value.code == "config.audit_export"


def test_a_token_is_private_one_word_and_not_sent_in_the_clear(tmp_path: Path) -> None:
    """Nor are authorities taken from a file that has none."""
    path = token(tmp_path)
    client("http://localhost:1/", token_file=path).check()
    bad: list[dict[str, Any]] = [{"ca_file": path}, {"ca_file": tmp_path / "none"}, {"token_file": tmp_path / "none"}]
    for options in bad:
        with pytest.raises(ConfigurationError):
            client("https://collector.example/", **options).check()
    with pytest.raises(ConfigurationError, match="not otherwise"):
        client("http://collector.example/", token_file=path).check()
    for content in ("", "two words", "esc\x1b"):
        path.write_text(content)
        with pytest.raises(ConfigurationError, match="one token"):
            client("https://collector.example/", token_file=path).check()
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod"):
        client("https://collector.example/", token_file=path).check()


async def test_lines_are_synced_before_a_delivery_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor may move then: a power cut takes neither."""
    calls: list[str] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append("synced"), real(fd))[1])
    sink = FileSink(tmp_path / "events.ndjson")
    await sink.deliver(EVENTS)
    assert calls == ["synced"]
    await sink.close()
    assert (tmp_path / "events.ndjson").read_bytes() == b'{"n":0}\n{"n":1}\n'


async def test_a_file_is_not_closed_under_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that was cut off may still write, in its thread: its descriptor is not given to anybody else."""
    sink = FileSink(tmp_path / "events.ndjson")
    entered, go = asyncio.Event(), asyncio.Event()
    loop, real, closed = asyncio.get_running_loop(), sink._file.append, []

    def append(lines: Any) -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        assert not closed
        real(lines)

    monkeypatch.setattr(sink._file, "append", append)
    monkeypatch.setattr(sink._file, "close", lambda: closed.append(True))
    delivering = asyncio.create_task(sink.deliver(EVENTS))
    await entered.wait()
    delivering.cancel()
    closing = asyncio.create_task(sink.close())
    await asyncio.sleep(0)
    assert not closed
    go.set()
    await closing
    assert closed
    assert (tmp_path / "events.ndjson").read_bytes().count(b"\n") == 2


async def test_an_export_survives_a_collector_that_fails_in_every_way(tmp_path: Path) -> None:
    """500, 429 with a wait, 413 and a good answer, one after the other: everything arrives, in order."""
    script = [500, 429, 413, 503]
    log = MemoryLog(9)
    async with collecting(answer=lambda _: script.pop(0) if script else 200, retry_after="0") as collector:
        made = export(log, HttpSink(client(f"{collector.url}/"), "ndjson"), tmp_path)
        made.start()
        await eventually(lambda: made.next_seq == 9)
        await made.close(1.0)
    assert [event["metadata"]["sequence"] for event in collector.events] == list(range(9))
    cursor = cursor_file(tmp_path).read()
    assert cursor is not None
    assert cursor.hash == orjson.loads(log.lines[8])["hash"]
