"""The checks of vetting on one rule: what each expression may be, and what it refers to.

Everything here is about one question: may an operand be undefined, and do both engines then say the same? OPA
evaluates the operands of a call before the statement that holds it; regorus inside it. So `not f(input.x)` is
undefined in OPA and true in regorus when `input.x` is missing. Operands that cannot be undefined are *definite*:
local variables, scalars, comprehensions, and arrays, objects and sets of those.
"""

from gateway.errors import PolicyInvalidError
from gateway.policy.rego_ast import SCALARS, Node, Rule, children, dotted, split, variables
from gateway.policy.vetting_binding import WILDCARD, bind, output_operand
from gateway.policy.vetting_expressions import ExpressionCheck
from gateway.policy.vetting_names import (
    RuleTable,
    Scope,
    Use,
    definite,
    has_object,
    has_wildcard,
    indexed_by_every,
    indexed_by_implied,
    is_of_every,
    iterates,
    plain_reference,
)


def vet_rule(table: RuleTable, rule: Rule) -> list[Use]:
    """Check one rule; return what it refers to.

    Raises:
        PolicyInvalidError: with the code and line of the first thing found.
    """
    return _RuleCheck(table).rule(rule)


def _given(literal: Node) -> set[str]:
    """Return the variables from which a statement makes those that it declares."""
    kind, fields = split(literal)
    if kind == "SomeIn":
        return set(variables(fields["collection"]))
    if kind == "Expr" and "AssignExpr" in fields["expr"]:
        return set(variables(fields["expr"]["AssignExpr"]["rhs"]))
    return set()


class _RuleCheck:
    """One walk over one rule."""

    def __init__(self, table: RuleTable) -> None:
        self._table = table
        self._module = table.module
        self._expressions = ExpressionCheck(table, self._query)

    # Rules, bodies, queries

    def rule(self, rule: Rule) -> list[Use]:
        node = rule.node
        if rule.default:
            scope = self._arguments(node["args"])
            self._expressions.check(node["value"], scope)
            return self._expressions.uses
        variant, head = split(node["head"])
        scope = self._arguments(head["args"] if variant == "Func" else [])
        for i, body in enumerate(node["bodies"]):
            if i > 0 and not body["is_else"]:
                raise self._refuse(body, "rule_head", "write a second rule of the same name, not a second body")
            self._body(head if i == 0 else {}, body, scope, alone=len(node["bodies"]) == 1)
        if not node["bodies"]:
            self._body(head, None, scope, alone=True)
        return self._expressions.uses

    def _arguments(self, args: list[Node]) -> Scope:
        scope = Scope(self._table)
        for arg in args:
            kind, fields = split(arg)
            if kind == "Var":
                if fields["value"] in scope.names:
                    message = (
                        f"two arguments are named {fields['value']}: OPA compares them, regorus takes the last one"
                    )
                    raise self._refuse(fields, "pattern", message)
                self._declare(scope, arg, None)
            elif kind not in SCALARS:
                message = "an argument is a name or a scalar; regorus matches object patterns that OPA does not"
                raise self._refuse(fields, "pattern", message)
        return scope

    def _body(self, head: Node, body: Node | None, outer: Scope, *, alone: bool) -> None:
        """Check one body with its part of the head; `alone`: no `else` follows or goes before."""
        scope = outer.inner()
        if body is not None:
            self._query(body["query"], scope)
        refr = head.get("refr", {})
        keys = [refr["RefBrack"]["index"]] if "RefBrack" in refr else []
        if keys and split(keys[0])[0] in {"Number", "UnaryExpr"}:
            message = (
                "a number as the key of a rule, which OPA does not find by 1.0: write a text, or `p[k] := … if k := 1`"
            )
            raise self._refuse(keys[0], "rule_head", message)
        keys += [head["key"]] if head.get("key") is not None else []
        for assign in (head.get("assign"), body["assign"] if body is not None else None):
            keys += [assign["value"]] if assign is not None else []
        for key in keys:
            self._expressions.check(key, scope)
            self._expressions.check_closure(key, scope)
            loops = body is not None and (bool(scope.looped) or iterates(body["query"]))
            once = alone and not has_wildcard(key) and not loops
            if not once and not definite(key, scope):
                message = (
                    "the head of a rule that iterates, or has an `else`, may be undefined: regorus then forgets other "
                    "results, or invents one. Name what the head needs in the body (`x := …`)"
                )
                raise self._refuse(key, "head_undefined", message)

    def _query(self, query: Node, scope: Scope) -> None:
        """Declare first, then check: what is bound without a declaration may be used in any order."""
        statements = query["stmts"]
        above: set[str] = set()
        for statement in statements:
            for modifier in statement.get("with_mods") or ():
                self._with(modifier)
            before = set(scope.names)
            self._declarations(statement["literal"], scope)
            declared = scope.names.keys() - before
            if late := (above | _given(statement["literal"])) & declared:
                message = f"{min(late)} is used above its declaration, which OPA does not load: declare it first"
                raise self._refuse(statement, "declared_late", message)
            above.update(variables(statement["literal"]))
        bound = bind(query, scope)
        for place, statement in enumerate(statements):
            if late := {name for name in variables(statement["literal"]) if bound.get(name, place) > place}:
                message = f"{min(late)} has no value yet here: put the statement that gives it one above this one"
                raise self._refuse(statement, "declared_late", message)
            for modifier in statement.get("with_mods") or ():
                if not self._table.is_function(dotted(modifier["as"])):
                    self._through(modifier["as"], scope)
            self._statement(statement["literal"], scope)

    def _with(self, modifier: Node) -> None:
        """`with` replaces the input and data, in tests only: of rules and functions the engines replace other ones."""
        if not self._table.tests:
            raise self._refuse(modifier, "with", "`with` belongs to tests; a decision has one input")
        path = dotted(modifier["refr"])
        head = self._table.resolve(path[0]) if path is not None else None
        if path is not None and head is None and self._table.may_stand_for(".".join(path), dotted(modifier["as"])):
            return
        if path is None or head is None or self._table.holds_rules((*head, *path[1:])):
            message = (
                "`with` replaces `input`, data and what is below, and some builtins by a function of this file with "
                "as many arguments; no rule, no package and no other function"
            )
            raise self._refuse(modifier, "with_target", message)

    def _declarations(self, literal: Node, scope: Scope) -> None:
        kind, fields = split(literal)
        if kind == "SomeVars":
            for span in fields["vars"]:
                name = self._module.slice(span)
                if scope.holds(name) or self._table.resolve(name) is not None:
                    raise self._refuse(fields, "some", f"{name} has a meaning already: use another name after `some`")
        if kind == "SomeIn":
            for pattern in (fields["key"], fields["value"]):
                if pattern is not None and "Var" in pattern:
                    self._declare(scope, pattern, None)
                elif pattern is not None and split(pattern)[0] not in SCALARS:
                    raise self._refuse(
                        pattern, "pattern", "`some` takes names; take the value apart with `:=` or a lookup"
                    )
        if kind == "Expr" and "AssignExpr" in fields["expr"]:
            assign = fields["expr"]["AssignExpr"]
            if assign["op"] == "ColEq":
                self._declare_assigned(scope, assign)

    def _declare_assigned(self, scope: Scope, assign: Node) -> None:
        kind, fields = split(assign["lhs"])
        names = fields["items"] if kind == "Array" else [assign["lhs"]]
        for name in names:
            if "Var" not in name:
                raise self._refuse(name, "pattern", "left of `:=` stands a name or an array of names")
            self._declare(scope, name, assign["rhs"] if kind == "Var" else None)

    def _declare(self, scope: Scope, node: Node, value: Node | None) -> None:
        name = str(node["Var"]["value"])
        if name in {"input", "data"}:
            raise self._refuse(node, "shadowed", f"{name} means the {name} document")
        if name != "_":
            scope.names[name] = value

    # Statements

    def _statement(self, literal: Node, scope: Scope) -> None:
        kind, fields = split(literal)
        if kind == "SomeIn":
            self._through(fields["collection"], scope)
        elif kind == "SomeVars":
            for span in fields["vars"]:
                if not scope.holds(name := self._module.slice(span)):
                    message = f"nothing says what {name} is: write `some {name} in xs`, which says where it comes from"
                    raise self._refuse(fields, "some", message)
        elif kind == "NotExpr":
            self._not(fields["expr"], scope)
        elif kind == "Every":
            self._through(fields["domain"], scope)
            inner = scope.inner()
            for span in (fields["key"], fields["value"]):
                if span is not None:
                    inner.names[self._module.slice(span)] = None
                    inner.every.add(self._module.slice(span))
            self._query(fields["query"], inner)
            self._used(fields)
        elif kind == "Expr":
            expression = fields["expr"]
            if "Membership" in expression:  # as a statement, false and undefined are the same no
                self._expressions.operands(expression, scope)
            elif "AssignExpr" in expression:
                self._assignment(expression["AssignExpr"], scope)
            elif (target := output_operand(expression)) is not None:
                self._output(expression, target, scope)
            else:
                self._expressions.check(expression, scope)
        else:
            raise self._refuse(fields, "syntax", f"{kind} is not known to vetting")

    def _used(self, every: Node) -> None:
        """OPA does not load an `every` whose variable is not used."""
        used = set(variables(every["query"]))
        for span in (every["key"], every["value"]):
            if span is not None and (name := self._module.slice(span)) not in {*used, WILDCARD}:
                raise self._refuse(span, "unused", f"{name} is not used in the body: write _ for it, or use it")

    def _through(self, collection: Node, scope: Scope) -> None:
        if has_wildcard(collection):
            message = "`_` in what `some` or `every` goes through: name each level, `some xs in …; some x in xs`"
            raise self._refuse(collection, "wildcard", message)
        self._expressions.check(collection, scope)

    def _assignment(self, assign: Node, scope: Scope) -> None:
        if assign["op"] == "ColEq":
            self._expressions.check(assign["rhs"], scope)
            self._shapes(assign)
            return
        self._shapes(assign)
        self._expressions.check_equal(assign["lhs"], assign["rhs"], scope)
        for side in (assign["lhs"], assign["rhs"]):
            self._side(side, scope)

    def _shapes(self, assign: Node) -> None:
        """OPA does not load a query that takes an array apart and is given something else, or of another length."""
        for side, other in ((assign["lhs"], assign["rhs"]), (assign["rhs"], assign["lhs"])):
            kind, fields = split(other)
            if "Array" not in side or kind in {"Var", "RefDot", "RefBrack", "Call", "ArrayCompr"}:
                continue
            if kind != "Array" or len(fields["items"]) != len(side["Array"]["items"]):
                raise self._refuse(other, "unification", "an array is taken apart, and this is none of its length")
            for pair in zip(side["Array"]["items"], fields["items"], strict=True):
                self._shapes({"lhs": pair[0], "rhs": pair[1]})

    def _side(self, node: Node, scope: Scope) -> None:
        """Check a side of `=`: regorus matches object patterns that OPA does not, whatever is in them."""
        if "Array" in node:
            for item in node["Array"]["items"]:
                if not ("Var" in item and item["Var"]["value"] == WILDCARD):
                    self._side(item, scope)
            return
        if is_of_every(node, scope) or indexed_by_every(node, scope):
            message = "`=` with a name of `every`, which regorus gives a new value: write `==`, or `k := x` first"
            raise self._refuse(node, "every_name", message)
        if has_object(node) or ("Var" in node and node["Var"]["value"] == WILDCARD):
            message = "`=` with an object: write `:=` to name a value and `==` to compare; take `x.k` for a field"
            raise self._refuse(node, "unification", message)
        self._expressions.check(node, scope)

    def _output(self, call: Node, target: Node, scope: Scope) -> None:
        """Check a call whose last operand takes its result."""
        fields = call["Call"]
        self._expressions.check({"Call": {**fields, "params": fields["params"][:-1]}}, scope)
        self._side(target, scope)

    def _not(self, expression: Node, scope: Scope) -> None:
        """`not` over a plain reference, over `==` of references, or over definite operands."""
        if indexed_by_every(expression, scope) or indexed_by_implied(expression, scope):
            message = (
                "`not` over a lookup by a name of `every`, or by one that nobody declared: regorus answers no where "
                "OPA answers yes. Name it first: `k := x; not input.m[k]`"
            )
            raise self._refuse(expression, "every_name", message)
        if split(expression)[0] in SCALARS:
            raise self._refuse(expression, "not_constant", "`not` over a constant, which OPA overlooks: leave it out")
        self._expressions.operands(expression, scope) if "Membership" in expression else self._expressions.check(
            expression, scope
        )
        kind, fields = split(expression)
        if kind in {"RefDot", "RefBrack", "Var"} | SCALARS:
            fine = plain_reference(expression, scope, local_indices=True)
        elif kind == "BoolExpr" and fields["op"] == "Eq":
            fine = all(plain_reference(side, scope, local_indices=False) for side in (fields["lhs"], fields["rhs"]))
        else:
            fine = all(definite(child, scope) for child in children(expression))
        if not fine:
            raise self._refuse(
                fields,
                "not_undefined",
                "`not` over a call or lookup whose operand may be undefined: OPA answers undefined, regorus true. "
                "Name the operand first (`x := …`), or write a rule and negate the rule",
            )

    def _refuse(self, node: Node, rule: str, message: str) -> PolicyInvalidError:
        return self._module.refuse(node, f"policy.{rule}", message)
