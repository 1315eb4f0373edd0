"""Names and values of Rego as vetting knows them: scopes, what a name stands for, what an expression surely is."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self, TypeVar

from gateway.policy.builtins import COLLECTIONS, WHOLE
from gateway.policy.rego_ast import (
    COMPREHENSIONS,
    SCALARS,
    Node,
    ParsedModule,
    Path,
    children,
    dotted,
    split,
    variables,
)
from gateway.policy.supplied import SUPPLIED
from gateway.policy.vetting_data import Stored

# Builtins that a test may replace, with the number of their arguments; OPA checks it, regorus does not.
REPLACEABLE: Final = MappingProxyType(
    {
        "array.concat": 2,
        "array.slice": 3,
        "concat": 2,
        "contains": 2,
        "count": 1,
        "endswith": 2,
        "glob.match": 3,
        "object.get": 3,
        "object.union": 2,
        "regex.match": 2,
        "split": 2,
        "sprintf": 2,
        "startswith": 2,
    }
)


@dataclass(frozen=True, slots=True)
class Use:
    """A rule refers to `path`, at this line."""

    module: ParsedModule
    line: int
    path: Path


@dataclass(frozen=True, slots=True)
class RuleTable:
    """What names mean in one module."""

    module: ParsedModule
    kinds: Mapping[Path, str]  # of every rule of the bundle, by full path
    arities: Mapping[Path, int]  # of every function
    packages: frozenset[Path]  # of the bundle
    builtins: frozenset[str]  # that may be called
    data: Stored = Stored([])  # noqa: RUF009 - never changed
    tests: bool = False  # the module is a file of tests, in which `with` replaces the input and data

    def resolve(self, name: str) -> Path | None:
        """Return what a name that is no local variable stands for: input, data, an import or a rule beside it."""
        if name in {"input", "data"}:
            return (name,)
        if (*self.module.package, name) in self.kinds:
            return (*self.module.package, name)
        return self.module.aliases.get(name)

    def is_function(self, name: Path | None) -> bool:
        """Whether a plain name is that of a function of this module."""
        return name is not None and len(name) == 1 and self.kinds.get((*self.module.package, *name)) == "function"

    def may_stand_for(self, builtin: str, name: Path | None) -> bool:
        """Whether a test may put a function of its file in the place of a builtin: both engines then call it."""
        arguments = REPLACEABLE.get(builtin)
        if arguments is None or name is None or not self.is_function(name):
            return False
        heads = (rule.node["head"]["Func"]["args"] for rule in self.module.rules if rule.name == name[0])
        return all(len(args) == arguments and all("Var" in arg for arg in args) for args in heads)

    def holds_rules(self, path: Path) -> bool:
        """Whether `path` is a rule, lies under one, or has rules below it."""
        return self.is_package(path) or any(path[:end] in self.kinds for end in range(2, len(path) + 1))

    def is_package(self, path: Path) -> bool:
        """Whether `path` is a package of the bundle, or one lies below it."""
        return any(package[: len(path)] == path for package in self.packages)


@dataclass(slots=True)
class Scope:
    """The local variables of a query, over those of the queries around it."""

    table: RuleTable
    outer: Self | None = None
    names: dict[str, Node | None] = field(default_factory=dict)  # to what `:=` or `=` gave, where it did
    every: set[str] = field(default_factory=set)  # names that an `every` around gives
    implied: set[str] = field(default_factory=set)  # names that are bound without a declaration
    looped: set[str] = field(default_factory=set)  # names that a lookup binds, once for each element
    places: dict[str, Node] = field(default_factory=dict)  # to the one lookup (`RefBrack`) that gives it its values

    def inner(self) -> "Scope":
        """Return an empty scope inside this one."""
        return Scope(self.table, self)

    def holds(self, name: str) -> bool:
        """Whether `name` is a local variable here."""
        return name in self.names or (self.outer is not None and self.outer.holds(name))

    def declares(self, node: Node) -> bool:
        """Whether a variable is one of this very query."""
        return "Var" in node and str(node["Var"]["value"]) in self.names

    def owner(self, name: str) -> "Scope | None":
        """Return the scope that declares `name`."""
        if name in self.names:
            return self
        return None if self.outer is None else self.outer.owner(name)


_T = TypeVar("_T")
_ANSWER: Final = SUPPLIED | {"concat"}


def definite(node: Node, scope: Scope) -> bool:
    """Whether `node` cannot be undefined: local variables, scalars, comprehensions, collections and calls of those.

    Of calls only supplied builtins count: they answer, or they end the evaluation, and never are they undefined.
    """
    kind, fields = split(node)
    if kind in SCALARS or kind in COMPREHENSIONS:
        return True
    if kind == "Var":
        return scope.holds(str(fields["value"]))
    answers = kind == "Call" and ".".join(dotted(fields["fcn"]) or ()) in _ANSWER
    return (kind in {"Array", "Set", "Object"} or answers) and all(definite(child, scope) for child in children(node))


def iterates(query: Node) -> bool:
    """Whether the statements of `query` itself may hold for more than one set of values."""
    for statement in query["stmts"]:
        kind, fields = split(statement["literal"])
        if kind == "SomeIn" or (kind in {"Expr", "NotExpr"} and has_wildcard(fields["expr"])):
            return True
    return False


def has_wildcard(node: Node) -> bool:
    """Whether `node` stands for any element of something, outside comprehensions."""
    kind, fields = split(node)
    if kind == "RefBrack" and "Var" in fields["index"] and fields["index"]["Var"]["value"] == "_":
        return True
    return kind not in COMPREHENSIONS and any(has_wildcard(child) for child in children(node))


def is_of_every(node: Node, scope: Scope) -> bool:
    """Whether `node` is a name that an `every` gives."""
    owner = scope.owner(name := _name(node))
    return owner is not None and name in owner.every


def indexed_by_every(node: Node, scope: Scope) -> bool:
    """Whether something is looked up in `node` by a name that an `every` gives."""
    return _indexed(node, lambda index: is_of_every(index, scope))


def indexed_by_implied(node: Node, scope: Scope) -> bool:
    """Whether something is looked up in `node` by a name that is bound without a declaration."""

    def implied(index: Node) -> bool:
        owner = scope.owner(name := _name(index))
        return owner is not None and name in owner.implied

    return _indexed(node, implied)


def _indexed(node: Node, check: Callable[[Node], bool]) -> bool:
    kind, fields = split(node)
    if kind == "RefBrack" and check(fields["index"]):
        return True
    return kind not in COMPREHENSIONS and any(_indexed(child, check) for child in children(node))


def _name(node: Node) -> str:
    return str(node["Var"]["value"]) if "Var" in node else ""


def closes_over(node: Node, names: Collection[str]) -> bool:
    """Whether a comprehension in `node` uses one of `names`."""
    if split(node)[0] in COMPREHENSIONS:
        return not set(names).isdisjoint(variables(node))
    return any(closes_over(child, names) for child in children(node))


def has_object(node: Node) -> bool:
    """Whether an object is written in `node`, outside comprehensions and calls."""
    kind, _ = split(node)
    return kind == "Object" or (kind in {"Array", "Set"} and any(has_object(child) for child in children(node)))


def plain_reference(node: Node, scope: Scope, *, local_indices: bool) -> bool:
    """Whether `node` is definite, or a path from a name through constants (and through local variables, if asked)."""
    while (step := split(node))[0] in {"RefDot", "RefBrack"}:
        if step[0] == "RefBrack":
            kind, fields = split(step[1]["index"])
            local = kind == "Var" and local_indices and scope.holds(str(fields["value"]))
            if kind not in SCALARS and not local:
                return False
        node = step[1]["refr"]
    return "Var" in node or definite(node, scope)


def is_collection(node: Node, scope: Scope) -> bool:
    """Whether `node` is surely an array, object or set, where it is defined."""
    kind, fields = split(node)
    if kind in COMPREHENSIONS or kind in {"Array", "Object"}:
        return True
    if kind == "Call":
        return ".".join(dotted(fields["fcn"]) or ()) in COLLECTIONS
    return is_set(node, scope) or (
        kind == "Var" and named(fields, scope, is_collection, {"set": True, "object": True}, False)
    )


def is_set(node: Node, scope: Scope) -> bool:
    """Whether `node` is surely a set, where it is defined."""
    kind, fields = split(node)
    if kind in {"Set", "SetCompr", "BinExpr"}:
        return True
    if kind == "ArithExpr" and fields["op"] == "Sub":
        return any(is_set(side, scope) for side in (fields["lhs"], fields["rhs"]))
    return kind == "Var" and named(fields, scope, is_set, {"set": True}, False)


_BITS_MAX: Final = 62  # of a sum or product; regorus turns what is longer than 64 into a float


def whole_bits(node: Node, scope: Scope) -> int | None:
    """Return how many bits `node` has at most, where it is surely a whole number; None where it may be none."""
    kind, fields = split(node)
    if kind == "Number":
        return int(fields["value"]).bit_length() if isinstance(fields["value"], int) else None
    if kind == "Call":
        return WHOLE.get(".".join(dotted(fields["fcn"]) or ()))
    if kind == "ArithExpr":
        left, right = (whole_bits(side, scope) for side in (fields["lhs"], fields["rhs"]))
        if left is None or right is None:
            return None
        bits = {"Add": max(left, right) + 1, "Sub": max(left, right) + 1, "Mul": left + right}.get(fields["op"])
        return bits if bits is not None and bits <= _BITS_MAX else None
    return named(fields, scope, whole_bits, {}, None) if kind == "Var" else None


def named(fields: Node, scope: Scope, check: Callable[[Node, Scope], _T], kinds: Mapping[str, _T], no: _T) -> _T:
    """Return `check` of what a variable was given by `:=` or `=`; of a rule, what `kinds` has; `no` otherwise."""
    name = str(fields["value"])
    owner = scope.owner(name)
    if owner is None:
        path = scope.table.resolve(name)
        return kinds.get(scope.table.kinds.get(path, ""), no) if path is not None else no
    value, owner.names[name] = owner.names[name], None  # so that `x := x` ends here
    try:
        return no if value is None else check(value, owner)
    finally:
        owner.names[name] = value
