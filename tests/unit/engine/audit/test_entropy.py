"""Event ids come from blocks of the kernel's entropy."""

import pytest

from engine.audit.entropy import BLOCK_BYTES, BufferedEntropy


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
