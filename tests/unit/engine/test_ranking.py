import pytest

from engine.ranking import Ranking


def test_the_lowest_rank_comes_first_and_of_equals_the_first_come() -> None:
    """Ranks are compared as tuples; keys never are."""
    ranking: Ranking[object] = Ranking()
    first, second, third = object(), object(), object()
    ranking.put(third, 1, 0)
    ranking.put(first, 0, 5)
    ranking.put(second, 0, 5)
    assert [ranking.pop() for _ in range(3)] == [first, second, third]
    with pytest.raises(IndexError):
        ranking.pop()


def test_a_key_is_moved_or_withdrawn() -> None:
    """Only its last rank counts, and who was withdrawn does not come up."""
    ranking: Ranking[str] = Ranking()
    for key in "abc":
        ranking.put(key, 1)
    ranking.put("c", 0)
    ranking.discard("a")
    ranking.discard("z")
    assert "a" not in ranking
    assert "c" in ranking
    assert len(ranking) == 2
    assert [ranking.pop(), ranking.pop()] == ["c", "b"]


def test_memory_follows_the_keys_that_are_there() -> None:
    """A key that is moved a thousand times leaves no thousand entries behind."""
    ranking: Ranking[str] = Ranking()
    for turn in range(1_000):
        ranking.put("a", turn)
        ranking.put("b", -turn)
    assert len(ranking._heap) < 50
    ranking.discard("a")
    assert ranking.pop() == "b"
