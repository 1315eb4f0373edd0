"""Laws of the cache, against a list that is searched from its end."""

from hypothesis import given
from hypothesis import strategies as st

from engine.lru import LruCache

KEYS = st.integers(0, 5)
ACTS = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 12)), max_size=60)


@given(st.integers(1, 5), st.integers(0, 20), ACTS)
def test_it_is_a_bounded_list_in_order_of_use(
    entries_max: int, cost_max: int, acts: list[tuple[int, int | None]]
) -> None:
    """What is kept, in which order it goes, what it costs and what was found: all as in the model, at every moment."""
    cache: LruCache[int, int] = LruCache(entries_max, cost_max)
    model: list[tuple[int, int, int]] = []  # key, value, cost; the one used last at the end
    hits = 0
    asked = 0
    for turn, (key, cost) in enumerate(acts):
        found = next((entry for entry in model if entry[0] == key), None)
        model = [entry for entry in model if entry[0] != key]
        if cost is None:
            asked += 1
            hits += found is not None
            assert cache.get(key) == (found and found[1])
            model += [found] if found else []
        else:
            cache.put(key, turn, cost)
            if cost <= cost_max:
                model.append((key, turn, cost))
            while len(model) > entries_max or sum(entry[2] for entry in model) > cost_max:
                model.pop(0)
        assert list(cache._entries) == [entry[0] for entry in model]
        assert (len(cache), cache.cost) == (len(model), sum(entry[2] for entry in model))
        assert (cache.hits, cache.hits + cache.misses) == (hits, asked)
        assert len(cache) <= entries_max
        assert cache.cost <= cost_max
