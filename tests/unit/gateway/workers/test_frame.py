import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import WorkerError
from gateway.workers.frame import NOTE_BYTES_MAX, FrameReader, frame, note


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 64))
def test_frames_survive_any_cut(payloads: list[bytes], step: int) -> None:
    """However the stream is cut into reads, the same frames come out in order."""
    stream = b"".join(frame(payload) for payload in payloads)
    reader, seen = FrameReader(), []
    for start in range(0, len(stream), step):
        seen += reader.feed(stream[start : start + step])
    assert seen == payloads


def test_a_frame_over_the_limit_is_refused_before_its_body_comes() -> None:
    """The header alone is enough to refuse: nobody buffers what will not be accepted."""
    with pytest.raises(WorkerError) as caught:
        FrameReader(10).feed(frame(b"x" * 11)[:4])
    assert caught.value.code == "worker.protocol"


def test_a_note_is_kept_apart_from_answers() -> None:
    """Last words are no answer: they are read, cut to size, and end the stream."""
    reader = FrameReader()
    assert reader.feed(frame(b"answer") + note("y" * 1000) + frame(b"after")) == [b"answer"]
    assert reader.note == "y" * NOTE_BYTES_MAX
