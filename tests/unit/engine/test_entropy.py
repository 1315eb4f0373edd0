"""Random bytes of the kernel, drawn a block at a time."""

import pytest

from engine import entropy as module
from engine.entropy import BLOCK_BYTES, BufferedEntropy


def test_no_byte_is_handed_out_twice() -> None:
    """A hundred thousand ids, across many blocks, are all of the asked length and all different."""
    entropy = BufferedEntropy()
    ids = [entropy(16) for _ in range(100_000)]
    assert {len(each) for each in ids} == {16}
    assert len(set(ids)) == len(ids)


def test_a_draw_that_does_not_fit_the_rest_of_a_block_begins_a_new_one() -> None:
    """Sizes that do not divide a block get whole draws too."""
    entropy = BufferedEntropy()
    assert [len(entropy(count)) for count in (BLOCK_BYTES - 1, 2, BLOCK_BYTES, 0, 7)] == [
        BLOCK_BYTES - 1,
        2,
        BLOCK_BYTES,
        0,
        7,
    ]


@pytest.mark.parametrize("count", [-1, BLOCK_BYTES + 1])
def test_more_than_a_block_is_refused(count: int) -> None:
    """A caller that asks for more must not get less."""
    with pytest.raises(ValueError, match="at a time"):
        BufferedEntropy()(count)


@pytest.mark.parametrize("size", [1, 10, 12, BLOCK_BYTES])
def test_each_byte_of_a_block_is_given_once_and_in_full(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Nothing overlaps, nothing is short, also where a block ends in the middle."""
    fetched: list[int] = []

    def urandom(count: int) -> bytes:
        fetched.append(count)
        return bytes((len(fetched) * 7 + at) % 251 for at in range(count))

    monkeypatch.setattr(module.os, "urandom", urandom)
    entropy = BufferedEntropy()
    taken = [entropy(size) for _ in range(2 * BLOCK_BYTES // size + 3)]
    assert {len(each) for each in taken} == {size}
    each_time = BLOCK_BYTES // size
    assert len(fetched) == -(-len(taken) // each_time)
    first = bytes((7 + at) % 251 for at in range(BLOCK_BYTES))
    assert b"".join(taken[:each_time]) == first[: each_time * size]
