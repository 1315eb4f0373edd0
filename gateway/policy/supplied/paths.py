"""Parts of documents by path: `json.filter` and `json.remove`.

Source: OPA v1/topdown/json.go; v1/ast/term.go `filterObject`. Paths are strings (`a/b~1c`) or arrays of strings.
"""

from typing import TypeAlias

from gateway.policy.supplied.operands import OperandError, Value, items, mapping, string

_Tree: TypeAlias = dict[str, "_Tree | None"]  # None: all that is there


def keep(value: Value, paths: Value) -> dict[str, Value]:
    """`json.filter(object, paths)`."""
    kept = _kept(mapping(value), _tree(paths))
    return mapping(kept)


def remove(value: Value, paths: Value) -> dict[str, Value]:
    """`json.remove(object, paths)`; what follows a removed element of an array moves up."""
    return mapping(_rest(mapping(value), _tree(paths)))


def _tree(paths: Value) -> _Tree:
    root: _Tree = {}
    for path in items(paths):
        segments = _segments(path)
        node: _Tree | None = root
        for segment in segments[:-1]:
            node = None if node is None else node.setdefault(segment, {})
        if segments and node is not None:
            node[segments[-1]] = None
    return root


def _segments(path: Value) -> list[str]:
    if type(path) is list:
        return [string(segment) for segment in path]
    text = string(path)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.lstrip("/").split("/")] if text else []


def _kept(value: Value, tree: _Tree) -> Value:
    if type(value) is dict:
        parts = {key: (one, tree[key]) for key, one in mapping(value).items() if key in tree}
        return {key: one if below is None else _kept(one, below) for key, (one, below) in parts.items()}
    if type(value) is list:
        found = [(one, tree[str(place)]) for place, one in enumerate(value) if str(place) in tree]
        return [one if below is None else _kept(one, below) for one, below in found]
    if type(value) is set:
        raise OperandError("a set under a path")
    return value


def _rest(value: Value, tree: _Tree) -> Value:
    if type(value) is dict:
        left = {key: (one, tree.get(key, {})) for key, one in mapping(value).items()}
        return {key: _rest(one, below) for key, (one, below) in left.items() if below is not None}
    if type(value) is list:
        rest = [(one, tree.get(str(place), {})) for place, one in enumerate(value)]
        return [_rest(one, below) for one, below in rest if below is not None]
    if type(value) is set:
        raise OperandError("a set under a path")
    return value
