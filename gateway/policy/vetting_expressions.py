"""The checks of vetting on expressions: literals, references, calls and operators."""

from collections.abc import Callable
from typing import Final

from gateway.errors import PolicyInvalidError
from gateway.policy.builtin_types import operands
from gateway.policy.builtins import ARITY, why_refused
from gateway.policy.patterns import format_fault, glob_fault, regex_fault
from gateway.policy.rego_ast import COMPREHENSIONS, EXPRESSIONS, SCALARS, Node, Path, children, dotted, line_of, split
from gateway.policy.vetting_binding import WILDCARD
from gateway.policy.vetting_data import Computed, Step
from gateway.policy.vetting_names import (
    RuleTable,
    Scope,
    Use,
    closes_over,
    definite,
    is_collection,
    is_of_every,
    is_set,
    whole_bits,
)
from gateway.policy.vetting_types import can_meet, elements_of, in_words, types_of

INTEGER_MAX: Final = 2**53
_STRINGS: Final = frozenset({"String", "RawString"})
_REGEX_OPERAND: Final = {  # which operand is the pattern
    "regex.find_all_string_submatch_n": 0,
    "regex.find_n": 0,
    "regex.is_valid": 0,
    "regex.match": 0,
    "regex.replace": 1,
}


_REGEX_COUNTS: Final = frozenset({"regex.find_all_string_submatch_n", "regex.find_n"})  # the third operand is a number
_OPERATORS: Final = frozenset({"BinExpr", "BoolExpr", "ArithExpr", "AssignExpr", "Membership"})


def _literal(node: Node) -> str | None:
    kind, fields = split(node)
    return str(fields["value"]) if kind in _STRINGS else None


def _has_union(node: Node) -> bool:
    kind, fields = split(node)
    if kind == "BinExpr" and fields["op"] == "Union":
        return True
    return kind in _OPERATORS and any(_has_union(child) for child in children(node))


def _has_comprehension(node: Node) -> bool:
    return split(node)[0] in COMPREHENSIONS or any(_has_comprehension(child) for child in children(node))


class ExpressionCheck:
    """Checks the expressions of one rule; `uses` is what they refer to.

    `query` checks the body of a comprehension: statements are the business of `vetting_rules`.
    """

    def __init__(self, table: RuleTable, query: Callable[[Node, Scope], None]) -> None:
        self._table = table
        self._module = table.module
        self._query = query
        self.uses: list[Use] = []

    def check(self, node: Node, scope: Scope) -> None:
        """Check an expression and all below it."""
        kind, fields = split(node)
        if kind not in EXPRESSIONS:
            raise self._refuse(fields, "syntax", f"{kind} is not known to vetting")
        if kind in COMPREHENSIONS:
            inner = scope.inner()
            self._query(fields["query"], inner)
            for name in ("term", "key", "value"):
                if name in fields:
                    self.check(fields[name], inner)
                    self.check_closure(fields[name], inner)
            if kind == "SetCompr" and is_set(fields["term"], inner):
                raise self._refuse(
                    fields, "order", "a set of sets: OPA and regorus order sets differently; write a set of arrays"
                )
            return
        self._one(kind, fields, scope)
        self.operands(node, scope)

    def check_equal(self, left: Node, right: Node, scope: Scope) -> None:
        """OPA does not load a comparison of what can never be equal, nor some with a comprehension in an array."""
        for side in (left, right):
            if split(side)[0] in {"Array", "Object"} and any(_has_comprehension(child) for child in children(side)):
                message = "a comprehension in an array or object beside `=` or `==`: name it first, `ys := [y | …]`"
                raise self._refuse(side, "unification", message)
        types = types_of(left, scope), types_of(right, scope)
        if not can_meet(*types):
            message = f"{in_words(types[0])} and {in_words(types[1])} are never equal: compare things of one type"
            raise self._refuse(left, "type", message)

    def check_closure(self, node: Node, scope: Scope) -> None:
        """OPA does not load a comprehension in a head or term over what its own query binds without a declaration."""
        if closes_over(node, scope.implied):
            message = (
                "a comprehension here uses a name that nobody declared: name its value in the body, `ys := [y | …]`"
            )
            raise self._refuse(node, "undeclared", message)

    def operands(self, node: Node, scope: Scope) -> None:
        """Check what is below an expression, and that it may stand here at all, but not its own rule."""
        kind, fields = split(node)
        if kind == "Membership":
            self._membership(fields, scope)
        if kind == "Object":
            self._object(fields, scope)
        elif kind in {"RefDot", "RefBrack"}:
            self._use(node, scope)
            head = node
            while (step := split(head))[0] in {"RefDot", "RefBrack"}:
                if step[0] == "RefBrack":
                    self._index(step[1]["index"], scope)
                head = step[1]["refr"]
            if "Var" in head:
                self._resolve(head["Var"], scope)
            else:
                self.check(head, scope)
        else:
            for child in children(node):
                self.check(child, scope)

    def _membership(self, fields: Node, scope: Scope) -> None:
        """OPA's rule index looks at the constants of such a collection only (1.22.0), so the engines differ."""
        kind, collection = split(fields["collection"])
        elements = elements_of(fields["collection"], scope)
        if not can_meet(types_of(fields["value"], scope), elements):
            message = f"nothing among {in_words(elements)} is this: compare things of one type"
            raise self._refuse(fields, "type", message)
        if (
            kind in {"Array", "Set"}
            and len({"constant" if split(i)[0] in SCALARS else "" for i in collection["items"]}) > 1
        ):
            message = (
                "`in` over constants and other values together: OPA overlooks the others. Write `some y in […]; x == y`"
            )
            raise self._refuse(fields, "in_mixed", message)

    def _index(self, index: Node, scope: Scope) -> None:
        if "Var" in index and index["Var"]["value"] == "_":
            return  # any element; inside `not` it is not definite
        if is_of_every(index, scope) and not scope.declares(index):
            message = (
                "a lookup by a name of `every` in a comprehension: regorus goes through all elements instead. "
                "Name it first, in the body of `every`: `k := x`"
            )
            raise self._refuse(index, "every_name", message)
        self.check(index, scope)

    def _object(self, fields: Node, scope: Scope) -> None:
        for _, key, value in fields["fields"]:
            self.check(key, scope)
            self.check(value, scope)

    def _one(self, kind: str, fields: Node, scope: Scope) -> None:
        """The rule of each kind of expression that has one."""
        if kind == "Var":
            self._variable(fields, scope)
        elif kind == "Number":
            self._number(fields)
        elif kind == "Call":
            self._call(fields, scope)
        elif kind == "ArithExpr":
            self._arithmetic(fields, scope, {kind: fields})
        elif kind in {"Array", "Set", "Object"} and any(_has_union(child) for child in children({kind: fields})):
            message = (
                "`|` behind an operator in an array, set or object is a union and begins no comprehension: "
                "name the value in the body, `v := x + 1`, or the union first, `u := a | b`"
            )
            raise self._refuse(fields, "union", message)
        elif kind == "AssignExpr":
            raise self._refuse(fields, "unification", "`:=` and `=` stand alone in a statement")
        elif kind == "Set" and any(is_set(item, scope) for item in fields["items"]):
            raise self._refuse(
                fields,
                "order",
                "a set in a set: OPA and regorus order sets among other values differently; write an array in it",
            )
        elif kind == "BoolExpr" and fields["op"] not in {"Eq", "Ne"}:
            if any(
                is_set(side, scope) or types_of(side, scope) in {"o", "t"} for side in (fields["lhs"], fields["rhs"])
            ):
                raise self._refuse(
                    fields,
                    "order",
                    "objects and sets are ordered differently by OPA and regorus: compare a field, or a count",
                )
        elif kind == "BoolExpr" and fields["op"] == "Eq":
            self.check_equal(fields["lhs"], fields["rhs"], scope)
        elif kind == "UnaryExpr" and ("Number" not in fields["expr"] or "(" in self._module.slice(fields["span"])):
            raise self._refuse(fields, "arithmetic", "a minus sign stands before a number only")
        elif kind == "Membership" and not definite(fields["collection"], scope):
            raise self._refuse(
                fields,
                "in_value",
                "`in` as a value, over a collection that may be undefined: OPA answers undefined, regorus false. "
                "Use it as a statement, or name the collection first",
            )

    def _variable(self, fields: Node, scope: Scope) -> None:
        path = self._resolve(fields, scope)
        if path is not None and path[0] == "data":
            self._reaches(path, path=path, node=fields)

    def _resolve(self, fields: Node, scope: Scope) -> Path | None:
        """Return what a name stands for, None for a local variable; every other name is a refusal."""
        name = str(fields["value"])
        if scope.holds(name):
            return None
        path = self._table.resolve(name)
        if path is None:
            message = f"{name} is not declared: use `some {name} in …` or `{name} := …`"
            raise self._refuse(fields, "undeclared", message)
        return path

    def _use(self, node: Node, scope: Scope) -> None:
        """Record what a reference reaches, as far as it is constant."""
        path: list[str] = []
        steps: list[Step] = []
        while (step := split(node))[0] in {"RefDot", "RefBrack"}:
            if step[0] == "RefDot":
                path.append(str(step[1]["field"][1]))
            elif "String" in step[1]["index"]:
                path.append(str(step[1]["index"]["String"]["value"]))
            else:
                path.clear()  # what follows an index that is computed is not known
            steps.append(path[-1] if path else self._step(step[1]["index"], scope))
            node = step[1]["refr"]
        if "Var" not in node or scope.holds(str(node["Var"]["value"])):
            return
        head = self._table.resolve(str(node["Var"]["value"]))
        if head is not None and head[0] == "data":
            self._reaches((*head, *reversed(path)), path=head, node=node)
            if fault := self._table.data.fault([*head[1:], *reversed(steps)]):
                message = f"a lookup in {fault}: name what is looked into first, `xs := data.a.xs`, then `xs[x]`"
                raise self._refuse(node, "data_lookup", message)

    def _step(self, index: Node, scope: Scope) -> Step:
        """Return an index that is no text as a step of `vetting_data`."""
        if "Number" in index and isinstance(index["Number"]["value"], int):
            return int(index["Number"]["value"])
        name = str(index["Var"]["value"]) if "Var" in index else ""
        owner = scope.owner(name)
        binder = owner.places.get(name) if owner is not None else None
        if name == WILDCARD or (binder is not None and binder["index"] is index):
            return Computed.ANY
        if owner is not None and binder is not None and self._is_array(binder["refr"], owner):
            return Computed.PLACE
        return Computed.PLACE if types_of(index, scope) == "n" else Computed.VALUE

    def _is_array(self, node: Node, scope: Scope) -> bool:
        """Whether a path of texts leads to an array of data.json."""
        path = dotted(node)
        head = self._table.resolve(path[0]) if path is not None and not scope.holds(path[0]) else None
        return (
            path is not None
            and head is not None
            and head[0] == "data"
            and self._table.data.is_array((*head, *path[1:])[1:])
        )

    def _reaches(self, target: Path, *, path: Path, node: Node) -> None:
        """Refuse a reference that passes through a package as a value.

        regorus evaluates the whole package for it, and then no longer knows the package's imports in its functions:
        `lib.table[x]` through an import made `config` in a function of lib undefined. Calls are resolved otherwise.
        """
        if path not in {target, ("data",)} and self._table.is_package(path):
            full = ".".join(target)
            raise self._refuse(node, "package_reference", f"name a rule of another package in full: {full}")
        if self._table.is_package(target):
            message = f"{'.'.join(target)} is a package; name a rule of it in full"
            raise self._refuse(node, "package_reference", message)
        self.uses.append(Use(self._module, line_of(node), target))

    def _number(self, fields: Node) -> None:
        span = fields["span"]
        text, value = self._module.slice(span), fields["value"]
        fraction = isinstance(value, float) or "." in text
        if abs(value) > INTEGER_MAX or "e" in text.lower() or (fraction and text != repr(value)) or text.endswith(".0"):
            message = f"{text}: write a number of at most 2^53, in its shortest form and without an exponent"
            raise self._refuse(fields, "number", message)

    def _call(self, fields: Node, scope: Scope) -> None:
        path = dotted(fields["fcn"])
        if path is None:
            raise self._refuse(fields, "call", "a function is called by its plain name")
        head = self._table.resolve(path[0])
        full = (*head, *path[1:]) if head is not None else None
        if full is not None and self._table.kinds.get(full) == "function":
            if len(fields["params"]) != self._table.arities[full]:
                message = f"{'.'.join(path)} takes {self._table.arities[full]} operands; name its result with `:=`"
                raise self._refuse(fields, "arity", message)
            self.uses.append(Use(self._module, line_of(fields), full))
            return
        name = ".".join(path)
        if name not in self._table.builtins:
            raise self._refuse(fields, "builtin", f"{name} may not be called: {why_refused(name)}")
        params = fields["params"]
        for place, (param, wanted) in enumerate(zip(params, operands(name), strict=False), 1):
            if not can_meet(found := types_of(param, scope), wanted):
                message = f"operand {place} of {name} is {in_words(found)}, and has to be {in_words(wanted)}"
                raise self._refuse(fields, "type", message)
        if len(params) != ARITY.get(name, len(params)):
            message = f"{name} takes {ARITY[name]} operands; name its result with `:=` instead of one more operand"
            raise self._refuse(fields, "arity", message)
        if name == "count" and not is_collection(params[0], scope):
            message = (
                "count of what may be a string (OPA counts characters, regorus UTF-16 units): "
                "count a comprehension, `count([x | some x in xs])`"
            )
            raise self._refuse(fields, "count", message)
        if name in _REGEX_OPERAND:
            self._regex(fields, name)
        elif name == "glob.match" and (text := _literal(params[0])) is not None and (fault := glob_fault(text)):
            raise self._refuse(fields, "pattern", f"glob.match: {fault}")
        elif name == "sprintf":
            self._format(fields)

    def _regex(self, fields: Node, name: str) -> None:
        params = fields["params"]
        if name in _REGEX_COUNTS and split(params[2])[0] not in {"Number", "UnaryExpr"}:
            message = f"how many {name} finds is a number, written out: of one over 2^53 the engines think differently"
            raise self._refuse(fields, "pattern", message)
        pattern = _literal(params[_REGEX_OPERAND[name]])
        if pattern is None:
            message = (
                f"the pattern of {name} is a literal, so that it can be compared with OPA: "
                "write it into the rule, or use glob.match, which takes patterns from data"
            )
            raise self._refuse(fields, "pattern", message)
        if fault := regex_fault(pattern):
            message = f"{name}: OPA and regorus may read this pattern differently: {fault}; write [0-9] for \\d"
            raise self._refuse(fields, "pattern", message)

    def _format(self, fields: Node) -> None:
        text, (kind, values) = _literal(fields["params"][0]), split(fields["params"][1])
        if text is not None and kind == "Array" and (fault := format_fault(text, len(values["items"]))):
            raise self._refuse(fields, "sprintf", f"sprintf: {fault}")

    def _arithmetic(self, fields: Node, scope: Scope, node: Node) -> None:
        sides = (fields["lhs"], fields["rhs"])
        if fields["op"] == "Sub" and any(is_set(side, scope) for side in sides):
            return
        if whole_bits(node, scope) is None:
            function = {"Add": "plus", "Sub": "minus", "Mul": "mul", "Div": "div", "Mod": "rem"}[fields["op"]]
            message = (
                "arithmetic over counts and whole numbers only: OPA computes fractions exactly, regorus in floats. "
                f"Write `{function}(x, y)`, which takes whole numbers and fails on others, or `floor(x)` of an operand"
            )
            raise self._refuse(fields, "arithmetic", message)

    def _refuse(self, node: Node, rule: str, message: str) -> PolicyInvalidError:
        return self._module.refuse(node, f"policy.{rule}", message)
