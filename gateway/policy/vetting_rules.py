"""The checks of vetting on one rule: what each expression may be, and what it refers to.

Everything here is about one question: may an operand be undefined, and do both engines then say the same? OPA
evaluates the operands of a call before the statement that holds it; regorus inside it. So `not f(input.x)` is
undefined in OPA and true in regorus when `input.x` is missing. Operands that cannot be undefined are *definite*:
local variables, scalars, comprehensions, and arrays, objects and sets of those.
"""

from gateway.errors import PolicyInvalidError
from gateway.policy.rego_ast import SCALARS, Node, Rule, children, dotted, split
from gateway.policy.vetting_expressions import ExpressionCheck
from gateway.policy.vetting_names import (
    RuleTable,
    Scope,
    Use,
    definite,
    has_wildcard,
    iterates,
    plain_reference,
    settled,
)


def vet_rule(table: RuleTable, rule: Rule) -> list[Use]:
    """Check one rule; return what it refers to.

    Raises:
        PolicyInvalidError: with the code and line of the first thing found.
    """
    return _RuleCheck(table).rule(rule)


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
        keys += [head["key"]] if head.get("key") is not None else []
        for assign in (head.get("assign"), body["assign"] if body is not None else None):
            keys += [assign["value"]] if assign is not None else []
        for key in keys:
            self._expressions.check(key, scope)
            once = alone and not has_wildcard(key) and (body is None or not iterates(body["query"]))
            if not once and not settled(key, scope):
                message = (
                    "the head of a rule that iterates, or has an `else`, may be undefined: regorus then forgets other "
                    "results, or invents one. Name what the head needs in the body (`x := …`)"
                )
                raise self._refuse(key, "head_undefined", message)

    def _query(self, query: Node, scope: Scope) -> None:
        """Declare first, then check: the statements of a query may stand in any order."""
        statements = query["stmts"]
        for statement in statements:
            for modifier in statement.get("with_mods") or ():
                self._with(modifier)
            self._declarations(statement["literal"], scope)
        for statement in statements:
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
            raise self._refuse(fields, "some", "write `some x in xs`, which says where x comes from")
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
        elif kind == "NotExpr":
            self._not(fields["expr"], scope)
        elif kind == "Every":
            self._through(fields["domain"], scope)
            inner = scope.inner()
            for span in (fields["key"], fields["value"]):
                if span is not None:
                    inner.names[self._module.slice(span)] = None
            self._query(fields["query"], inner)
        elif kind == "Expr":
            expression = fields["expr"]
            if "Membership" in expression:  # as a statement, false and undefined are the same no
                self._expressions.operands(expression, scope)
            elif "AssignExpr" in expression:
                self._assignment(expression["AssignExpr"], scope)
            else:
                self._expressions.check(expression, scope)
        else:
            raise self._refuse(fields, "syntax", f"{kind} is not known to vetting")

    def _through(self, collection: Node, scope: Scope) -> None:
        if has_wildcard(collection):
            message = "`_` in what `some` or `every` goes through: name each level, `some xs in …; some x in xs`"
            raise self._refuse(collection, "wildcard", message)
        self._expressions.check(collection, scope)

    def _assignment(self, assign: Node, scope: Scope) -> None:
        if assign["op"] != "ColEq":
            raise self._refuse(assign, "unification", "write `:=` to name a value and `==` to compare; `=` does both")
        self._expressions.check(assign["rhs"], scope)

    def _not(self, expression: Node, scope: Scope) -> None:
        """`not` over a plain reference, over `==` of references, or over definite operands."""
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
