"""Random bytes that are fetched many at a time."""

import pytest

from gateway.vault import chance
from gateway.vault.chance import FETCHED_BYTES, Chance


@pytest.mark.parametrize("size", [1, 10, 12, 4_096, FETCHED_BYTES])
def test_each_byte_is_given_once_and_in_full(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Nothing overlaps, nothing is short, also where what was fetched ends in the middle."""
    fetched: list[bytes] = []

    def urandom(count: int) -> bytes:
        fetched.append(len(fetched).to_bytes(1) * count)
        return bytes((len(fetched) * 7 + at) % 251 for at in range(count))

    monkeypatch.setattr(chance.os, "urandom", urandom)
    source = Chance()
    taken = [source.take(size) for _ in range(2 * FETCHED_BYTES // size + 3)]
    assert {len(each) for each in taken} == {size}
    each_time = FETCHED_BYTES // size
    assert len(fetched) == -(-len(taken) // each_time)
    first = bytes((7 + at) % 251 for at in range(FETCHED_BYTES))
    assert b"".join(taken[:each_time]) == first[: each_time * size]


def test_nothing_repeats() -> None:
    """Of the real one: ten thousand nonces are ten thousand."""
    source = Chance()
    assert len({source.take(12) for _ in range(10_000)}) == 10_000
