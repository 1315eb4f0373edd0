"""Traces: which are sampled, what is inside of what, and what is dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.spans import Tracer, parsed
from gateway.watch import Position
from tests.telemetry import START, Counting, HandClock

HERE = Position(bytes.fromhex("0af7651916cd43dd8448eb211c80319c"), bytes.fromhex("b7ad6b7169203331"), sampled=True)


def tracer(ratio: float = 1.0, queue_max: int = 8) -> tuple[Tracer, HandClock]:
    clock = HandClock()
    return Tracer(clock, Counting(), ratio=ratio, queue_max=queue_max), clock


def test_the_header_of_the_specification_is_read_and_written() -> None:
    """The example of W3C Trace Context, 3.2.3, sampled and not."""
    assert parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") == HERE
    assert HERE.traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    other = parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    assert other is not None
    assert not other.sampled


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
    ],
)
def test_what_is_no_header_begins_a_new_trace(header: str) -> None:
    """W3C Trace Context, 3.2.2: each rule that a caller may break."""
    assert parsed(header) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """W3C Trace Context, 3.2.4: there may be more behind the four fields."""
    assert parsed("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings") == HERE


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading(header: str) -> None:
    """Whatever a caller sends is a position that writes itself the same way, or none."""
    found = parsed(header)
    assert found is None or found.traceparent[3:52] == header[3:52]


def test_a_span_has_its_place_and_its_time() -> None:
    """Parent and child share a trace; lengths are of the clock that only grows."""
    under, clock = tracer()
    outer, span = under.begin("outer", None)
    inner, child = under.begin("inner", outer, attributes={"a": "b"})
    assert span is not None
    assert child is not None
    clock.seconds = 1.5
    under.end(child, "step.failed")
    clock.seconds = 2.0
    under.end(span)
    first, second = under.take(9)
    assert (first.position, first.parent, first.failed) == (inner, outer.span_id, "step.failed")
    assert (second.position, second.parent, second.failed) == (outer, None, "")
    assert inner.trace_id == outer.trace_id
    assert first.end_ns - first.start_ns == 1_500_000_000
    assert first.start_ns == int(START.timestamp()) * 1_000_000_000


def test_of_what_is_not_sampled_there_is_no_span() -> None:
    """Neither with a ratio of 0, nor inside of a trace that its caller does not sample; the place is told."""
    under, _ = tracer(ratio=0.0)
    place, span = under.begin("outer", None)
    assert (span, place.sampled) == (None, False)
    quiet = Position(HERE.trace_id, HERE.span_id, sampled=False)
    assert under.begin("inner", quiet) == (quiet, None)
    assert under.waiting == 0


def test_a_caller_that_samples_is_followed_whatever_the_ratio() -> None:
    """The parent decides: a trace has no holes."""
    under, _ = tracer(ratio=0.0)
    place, span = under.begin("inner", HERE)
    assert span is not None
    assert place.trace_id == HERE.trace_id


@given(st.floats(0, 1), st.binary(min_size=16, max_size=16).filter(any))
def test_the_ratio_is_of_the_random_part_of_the_id(ratio: float, trace_id: bytes) -> None:
    """Every gateway with the same ratio samples the same traces."""
    ids = iter([b"\1" * 8, trace_id])
    place, _ = Tracer(HandClock(), lambda _: next(ids), ratio=ratio).begin("x", None)
    assert place.sampled is (int.from_bytes(trace_id[-7:]) < round(ratio * 256**7))


def test_the_ratio_can_change() -> None:
    """For what begins from then on."""
    under, _ = tracer(ratio=0.0)
    assert under.begin("before", None)[1] is None
    under.adopt(1.0)
    assert under.begin("after", None)[1] is not None


def test_the_queue_has_a_maximum() -> None:
    """The oldest go, and are counted."""
    under, _ = tracer(queue_max=2)
    for name in ("a", "b", "c"):
        _, span = under.begin(name, None)
        assert span is not None
        under.end(span)
    assert [span.name for span in under.take(9)] == ["b", "c"]
    assert (under.dropped, under.ended, under.waiting) == (1, 3, 0)
