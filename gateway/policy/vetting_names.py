"""Names and values of Rego as vetting knows them: scopes, what a name stands for, what an expression surely is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self, TypeAlias

from gateway.policy.builtins import COLLECTIONS
from gateway.policy.rego_ast import COMPREHENSIONS, SCALARS, Node, ParsedModule, Path, children, dotted, split

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
    packages: frozenset[Path]  # of the bundle
    builtins: frozenset[str]  # that may be called
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
    names: dict[str, Node | None] = field(default_factory=dict)  # to what `:=` gave, where it did

    def inner(self) -> "Scope":
        """Return an empty scope inside this one."""
        return Scope(self.table, self)

    def holds(self, name: str) -> bool:
        """Whether `name` is a local variable here."""
        return name in self.names or (self.outer is not None and self.outer.holds(name))

    def owner(self, name: str) -> "Scope | None":
        """Return the scope that declares `name`."""
        if name in self.names:
            return self
        return None if self.outer is None else self.outer.owner(name)


_Check: TypeAlias = Callable[[Node, Scope], bool]


def definite(node: Node, scope: Scope) -> bool:
    """Whether `node` cannot be undefined: local variables, scalars, comprehensions, collections of those."""
    kind, fields = split(node)
    if kind in SCALARS or kind in COMPREHENSIONS:
        return True
    if kind == "Var":
        return scope.holds(str(fields["value"]))
    return kind in {"Array", "Set", "Object"} and all(definite(child, scope) for child in children(node))


def settled(node: Node, scope: Scope) -> bool:
    """Whether `node` is definite, or formats what is definite: a builtin that answers or fails, never nothing."""
    kind, fields = split(node)
    if kind == "Call" and ".".join(dotted(fields["fcn"]) or ()) in {"sprintf", "concat", "format_int"}:
        return all(settled(param, scope) for param in fields["params"])
    if kind in {"Array", "Set", "Object"}:
        return all(settled(child, scope) for child in children(node))
    return definite(node, scope)


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
    return is_set(node, scope) or (kind == "Var" and _named(fields, scope, is_collection, {"set", "object"}))


def is_set(node: Node, scope: Scope) -> bool:
    """Whether `node` is surely a set, where it is defined."""
    kind, fields = split(node)
    if kind in {"Set", "SetCompr", "BinExpr"}:
        return True
    if kind == "ArithExpr" and fields["op"] == "Sub":
        return any(is_set(side, scope) for side in (fields["lhs"], fields["rhs"]))
    return kind == "Var" and _named(fields, scope, is_set, {"set"})


def is_whole(node: Node, scope: Scope) -> bool:
    """Whether `node` is surely a whole number: a literal, a count, or sums, differences and products of those."""
    kind, fields = split(node)
    if kind == "Number":
        return isinstance(fields["value"], int)
    if kind == "Call":
        return dotted(fields["fcn"]) == ("count",)
    if kind == "ArithExpr":
        sides = (fields["lhs"], fields["rhs"])
        return fields["op"] in {"Add", "Sub", "Mul"} and all(is_whole(side, scope) for side in sides)
    return kind == "Var" and _named(fields, scope, is_whole, set())


def _named(fields: Node, scope: Scope, check: _Check, kinds: set[str]) -> bool:
    """Whether a variable was given such a value by `:=`, or names a rule of one of `kinds`."""
    name = str(fields["value"])
    owner = scope.owner(name)
    if owner is None:
        path = scope.table.resolve(name)
        return path is not None and scope.table.kinds.get(path) in kinds
    value, owner.names[name] = owner.names[name], None  # so that `x := x` ends here
    try:
        return value is not None and check(value, owner)
    finally:
        owner.names[name] = value
