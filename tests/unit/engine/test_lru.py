import pytest

from engine.lru import LruCache


def test_what_was_used_longest_ago_goes_first() -> None:
    """To be asked for is to be used."""
    cache: LruCache[str, int] = LruCache(2, 100)
    cache.put("a", 1, 1)
    cache.put("b", 2, 1)
    assert cache.get("a") == 1
    cache.put("c", 3, 1)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert (cache.hits, cache.misses, len(cache), cache.cost) == (3, 1, 2, 2)


def test_the_cost_of_all_has_a_maximum() -> None:
    """One that is dear pushes out as many as it must, and no more."""
    cache: LruCache[str, int] = LruCache(10, 10)
    for key in "abcd":
        cache.put(key, 0, 2)
    cache.put("dear", 1, 6)
    assert [cache.get(key) for key in "abcd"] == [None, None, 0, 0]
    assert cache.cost == 10


def test_what_costs_more_than_everything_may_is_not_kept() -> None:
    """It pushes nothing out, and what its key had is stale."""
    cache: LruCache[str, int] = LruCache(10, 10)
    cache.put("a", 1, 10)
    cache.put("b", 2, 11)
    assert cache.get("a") == 1
    cache.put("a", 3, 11)
    assert cache.get("a") is None
    assert (cache.cost, len(cache)) == (0, 0)


def test_a_value_is_replaced_with_its_cost() -> None:
    """The same key twice is one entry."""
    cache: LruCache[str, int] = LruCache(10, 10)
    cache.put("a", 1, 9)
    cache.put("a", 2, 3)
    assert (cache.get("a"), cache.cost, len(cache)) == (2, 3, 1)


@pytest.mark.parametrize(("entries_max", "cost_max"), [(0, 1), (1, -1)])
def test_a_cache_without_room_is_refused(entries_max: int, cost_max: int) -> None:
    """It would forget everything, and nobody would notice."""
    with pytest.raises(ValueError, match="at least"):
        LruCache(entries_max, cost_max)


def test_a_negative_cost_is_refused() -> None:
    """It would make room that is not there."""
    with pytest.raises(ValueError, match="at least 0"):
        LruCache[str, int](1, 1).put("a", 1, -1)


def test_everything_can_be_let_go() -> None:
    """Nothing is kept and nothing costs; what was counted stays counted."""
    cache: LruCache[str, int] = LruCache(2, 10)
    cache.put("a", 1, 4)
    cache.get("a")
    cache.clear()
    assert (len(cache), cache.cost, cache.hits, cache.get("a")) == (0, 0, 1, None)


def test_what_was_kept_first_goes_first_where_use_does_not_count() -> None:
    """A value that is asked for all the time leaves in its turn."""
    cache: LruCache[str, int] = LruCache(2, 10, by_use=False)
    cache.put("a", 1, 1)
    cache.put("b", 2, 1)
    assert cache.get("a") == 1
    cache.put("c", 3, 1)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (None, 2, 3)


def test_some_can_be_let_go() -> None:
    """Those that are named, with what they cost; the others stay in their order."""
    cache: LruCache[str, int] = LruCache(10, 10)
    for number, key in enumerate("abcd"):
        cache.put(key, number, 2)
    assert cache.drop(lambda key, value: key == "a" or value == 2) == 2
    assert (list(cache._entries), cache.cost) == (["b", "d"], 4)
    assert cache.drop(lambda _key, _value: False) == 0
