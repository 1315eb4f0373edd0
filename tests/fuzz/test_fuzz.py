"""Whatever strangers send to a parser: a value, or the error that it documents."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.depth import times
from tests.fuzz.corpus import FOLDER, corpus
from tests.fuzz.targets import BYTES_MAX, TARGETS, assert_survives

EXAMPLES = times(40, 1_000)  # of each target; `python -m tests.fuzz` goes on from there
TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\r\n",
    b"{" * 200,
    b"[" * 200,
    b'"',
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-0",
    b"9" * 400,
    b"${",
    b"}",
    b"%2e%2e%2f",
    b"&a *a",
    b"!!python/object:",
    b"null",
    b"true",
    "\u202e\ufeff\u2028".encode(),
    b"\xe2\x80\x94 ",
)


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    """A target that begins from nothing finds nothing."""
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(TARGETS)
    assert all(corpus(name) for name in TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_breaks_nothing(name: str) -> None:
    """What is saved, findings of old included."""
    for case in corpus(name):
        assert_survives(name, case.data)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_comes_out_but_typed_errors(name: str) -> None:
    """Saved inputs, cut, spliced and spoilt, and bytes that follow from nothing."""

    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(_spoilt([case.data for case in corpus(name)]))
    def check(data: bytes) -> None:
        assert_survives(name, data)

    check()


def _spoilt(saved: list[bytes]) -> st.SearchStrategy[bytes]:
    """Yield saved inputs with some places changed."""
    places = st.integers(0, 2_000)
    piece = st.binary(max_size=8) | st.sampled_from(TOKENS) | st.sampled_from(saved).map(lambda data: data[:200])
    edits = st.lists(st.tuples(places, st.integers(0, 12), piece, st.integers(1, 3)), max_size=5)
    return st.builds(_edited, st.sampled_from(saved) | st.binary(max_size=300), edits)


def _edited(data: bytes, edits: list[tuple[int, int, bytes, int]]) -> bytes:
    for place, gone, piece, repeated in edits:
        at = place % (len(data) + 1)
        data = data[:at] + piece * repeated + data[at + gone :]
    return data[:BYTES_MAX]
