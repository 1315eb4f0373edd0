"""Arrays, objects and graphs: what regorus lacks or answers otherwise.

Source: OPA v1/topdown/object.go, subset.go, json.go, reachable.go. Objects in sets do not reach a supplied builtin.
"""

from gateway.policy.supplied.operands import ITEMS_MAX, OperandError, Value, array, items, mapping, place, string


def union_n(values: Value) -> dict[str, Value]:
    """`object.union_n(objects)`: the last wins; objects in one place are united, unless something else lay between."""
    out: dict[str, Value] = {}
    for value in array(values):
        out = _united(out, mapping(value))
    return out


def _united(left: dict[Value, Value], right: dict[Value, Value]) -> dict[Value, Value]:
    out = dict(left)
    for key, value in right.items():
        before = out.get(key)
        out[key] = _united(before, value) if type(before) is dict and type(value) is dict else value
    return out


def reachable(graph: Value, initial: Value) -> set[str]:
    """`graph.reachable(graph, initial)`, of nodes that are strings."""
    edges = mapping(graph)
    queue = items(initial)
    reached: set[str] = set()
    while queue:
        node = string(queue.pop())
        if node in reached or node not in edges:
            continue
        reached.add(node)
        if type(edges[node]) in {list, set}:
            queue.extend(edges[node])
        if len(queue) > ITEMS_MAX:
            raise OperandError(f"over {ITEMS_MAX} edges")
    return reached


def slice_of(value: Value, start: Value, stop: Value) -> list[Value]:
    """`array.slice(xs, start, stop)`; bounds outside of the array are moved to its ends."""
    elements, first, last = array(value), place(start), place(stop)
    return elements[max(first, 0) : max(last, 0)]


def flatten(value: Value) -> list[Value]:
    """`array.flatten(xs)`, by one level."""
    out: list[Value] = []
    for one in array(value):
        out += one if type(one) is list else [one]
    return out


def subset(whole_value: Value, part: Value) -> bool:
    """`object.subset(super, sub)`: of objects at every depth, of arrays in one piece, of sets, of a set in an array."""
    kinds = (type(whole_value), type(part))
    if kinds == (list, set):
        return _meets(whole_value, {string(one) for one in part})
    if kinds not in {(dict, dict), (list, list), (set, set)}:
        raise OperandError("both arguments of object.subset must be of the same type, or array and set")
    return _covers(whole_value, part)


def _meets(elements: list[Value], wanted: set[str]) -> bool:
    """OPA counts elements that are in the set, one that comes twice as two; an empty array meets nothing."""
    unmatched = len(wanted)
    for one in elements:
        unmatched -= type(one) is str and one in wanted
        if unmatched == 0:
            return True
    return False


def _covers(left: Value, right: Value) -> bool:
    if type(left) is dict and type(right) is dict:
        return mapping(left) is left and all(
            key in left and (_same(left[key], one) or _covers(left[key], one)) for key, one in mapping(right).items()
        )
    if type(left) is set and type(right) is set:
        return {string(one) for one in right} <= {string(one) for one in left}
    if type(left) is list and type(right) is list:
        return _contains_piece(left, right)
    return False


def _contains_piece(left: list[Value], right: list[Value]) -> bool:
    return any(
        all(_same(a, b) for a, b in zip(left[start:], right, strict=False))
        for start in range(len(left) - len(right) + 1)
    )


def _same(left: Value, right: Value) -> bool:
    """Whether two values are equal in Rego, where true is not 1."""
    if type(left) is bool or type(right) is bool:
        return left is right
    if type(left) is dict and type(right) is dict:
        return left.keys() == right.keys() and all(_same(one, right[key]) for key, one in mapping(left).items())
    if type(left) is list and type(right) is list:
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
