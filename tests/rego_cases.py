"""Rego that vetting refuses, with what makes it dangerous; shared by the tests of vetting and those against OPA.

Every body becomes `package gateway.t`, `import rego.v1`, a blank line, then the body: its first line is line 4.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One policy whose rule `d` is asked for."""

    name: str
    code: str
    body: str
    input: Any = field(default_factory=dict)
    line: int = 4
    data: Any = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The whole module."""
        return f"package gateway.t\nimport rego.v1\n\n{self.body}\n"


F = "f(x) if x == 1\n"

DIFFERENT = (
    Case("not over a function", "policy.not_undefined", f"{F}d if not f(input.x)", line=5),
    Case("not over a builtin", "policy.not_undefined", 'd if not startswith(input.x, "a")'),
    Case("not over a count", "policy.not_undefined", "d if not count([input.x]) == 1"),
    Case("not over an index", "policy.not_undefined", "d if not input.m[input.k]", {"m": {"a": 1}}),
    Case("not over an index, compared", "policy.not_undefined", "d if not input.m[input.k] == 1", {"m": {}}),
    Case("not over in", "policy.not_undefined", 'd if not input.x in ["a"]'),
    Case("not over in, right", "policy.not_undefined", 'd if not "a" in input.x'),
    Case("not over a rule's element", "policy.not_undefined", "s contains 1\nd if not s[input.a]", line=5),
    Case("not over !=", "policy.not_undefined", "d if not input.x != 1"),
    Case("not over an array", "policy.not_undefined", "d if not [input.x] == [1]"),
    Case("not over an object", "policy.not_undefined", 'd if not {"a": input.x} == {"a": 1}'),
    Case("not in every", "policy.not_undefined", "d if every x in [1] { not f(input.y) }\n" + F.strip()),
    Case("in as a value", "policy.in_value", 'd := "a" in input.zz'),
    Case("in over mixed elements", "policy.in_mixed", "d if input.p in {null, input.q}", {"p": 1, "q": 1}),
    Case("object pattern, unified", "policy.unification", 'd := y if {"a": y} = input.x', {"x": {"a": 1, "b": 2}}),
    Case("object pattern, assigned", "policy.pattern", 'd := y if { {"a": y} := input.x }', {"x": {"a": 1, "b": 2}}),
    Case("object pattern, some", "policy.pattern", 'd := y if some {"a": y} in input.xs', {"xs": [{"a": 1, "b": 2}]}),
    Case("object pattern, argument", "policy.pattern", 'f({"a": y}) := y\nd := f(input)', {"a": 1, "b": 2}),
    Case("walk", "policy.unification", "d := [p | [p, v] = walk(input); v == 1]", {"a": [1]}),
    Case("walk, assigned", "policy.builtin", "d := [p | [p, v] := walk(input); v == 1]", {"a": [1]}),
    Case("count of a string", "policy.count", "d := count(input.x)", {"x": "👩‍👩‍👧"}),
    Case("fractions", "policy.arithmetic", "d := input.x * 3", {"x": 0.1}),
    Case("division", "policy.arithmetic", "d := 1 / 3"),
    Case("sum", "policy.builtin", "d := sum([0.1, 0.2])"),
    Case("number text", "policy.number", "d := 1.10"),
    Case("lower", "policy.builtin", 'd := lower("İSTANBUL")'),
    Case("upper", "policy.builtin", 'd := upper("straße")'),
    Case("regex digits", "policy.pattern", r'd := regex.match("^\\d+$", "٣")'),
    Case("regex words", "policy.pattern", r'd := regex.match("^\\w+$", "é")'),
    Case("regex boundaries", "policy.pattern", r'd := regex.match("\\bé\\b", " é ")'),
    Case("regex nested class", "policy.pattern", 'd := regex.match("[a[b]]", "a")'),
    Case("regex intersection", "policy.pattern", 'd := regex.match("^[a-c&&b]$", "a")'),
    Case("glob of any character", "policy.pattern", 'd := glob.match("[a-c]?", [], "aé")'),
    Case("glob negation", "policy.pattern", 'd := glob.match("[^a]", [], "b")'),
    Case("cidr of mapped addresses", "policy.builtin", 'd := net.cidr_contains("::ffff:0:0/96", "1.2.3.4")'),
    Case("json text", "policy.builtin", "d := json.marshal(input)", {"a": "<"}),
    Case("json schema", "policy.builtin", 'd := json.match_schema({"id": 5}, {"properties": {}})'),
    Case("semver", "policy.builtin", 'd := semver.is_valid("v1.0.0")'),
    Case("shifts", "policy.builtin", "d := bits.lsh(1, 70)"),
    Case("sprintf of a wrong type", "policy.sprintf", 'd := sprintf("%s", [1])'),
    Case("sprintf of a large float", "policy.sprintf", 'd := sprintf("%v", [input.x])', {"x": 1e21}),
    Case("runtime", "policy.builtin", "d := opa.runtime()"),
    Case("unknown function in a rule that nobody asks for", "policy.builtin", "d := 1\ne := nosuch(1)", line=5),
    Case("two defaults", "policy.rule_conflict", "default d := 1\ndefault d := 2", line=5),
    Case("a rule and a function", "policy.rule_conflict", "d := 1\nd(x) := x", line=5),
    Case("some without in", "policy.some", "d if { some x; x > 1 }"),
    Case("not over any element", "policy.not_undefined", "d if not input.m[_]", {"m": {"a": 1}}),
    Case("minus before parentheses", "policy.arithmetic", "d := -(1)"),
    Case("the package itself", "policy.package_reference", "r := 3\nd if some k, _ in data.gateway.t", line=5),
    Case("order of sets", "policy.order", "d := {} < {1}"),
    Case("order of sets in a set", "policy.order", 'd := {{"t"}, {"a": 1}}'),
    Case(
        "undefined head, set", "policy.head_undefined", 'd contains input.m[x] if some x in ["a", "b"]', {"m": {"a": 1}}
    ),
    Case(
        "undefined head, object", "policy.head_undefined", 'd[x] := input.m[x] if some x in ["a", "b"]', {"m": {"a": 1}}
    ),
    Case("undefined head, value", "policy.head_undefined", 'd := input.m[x] if some x in ["b", "a"]', {"m": {"a": 1}}),
    Case(
        "undefined head, function",
        "policy.head_undefined",
        'd contains f(x) if some x in ["a", "b"]\nf(x) := input.m[x]',
        {"m": {"a": 1}},
    ),
    Case("lookup in the head, with else", "policy.head_undefined", 'd := input[v] if { v := "q" } else := 9', {"a": 1}),
    Case("wildcard in the head", "policy.head_undefined", "d contains [1 != input[_].f]"),
    Case(
        "data that overrules",
        "policy.data_conflict",
        "default d := false",
        line=1,
        data={"gateway": {"t": {"d": True}}},
    ),
)
"""Measured: OPA and regorus give different answers, or one answers what the other refuses to load."""

REFUSED = (
    Case("recursion", "policy.recursion", "d if e\ne if d", line=5),
    Case("recursion of a function", "policy.recursion", "f(x) := f(x)\nd := f(1)"),
    Case("recursion through data", "policy.recursion", "d if data.gateway.t.e\ne if data.gateway.t.d", line=5),
    Case("the clock", "policy.builtin", "d if time.now_ns() > 0"),
    Case("chance", "policy.builtin", 'd if rand.intn("x", 2) == 0'),
    Case("the network", "policy.builtin", 'd := http.send({"method": "get", "url": "http://127.0.0.1/"})'),
    Case("resolving names", "policy.builtin", 'd := net.lookup_ip_addr("localhost")'),
    Case("printing", "policy.builtin", 'd if print("x")'),
    Case("with", "policy.with", "d if e with input as {}\ne if input.x"),
    Case("undeclared variable", "policy.undeclared", "d if input.a[i] == 1"),
    Case("pattern from data", "policy.pattern", 'd if regex.match(input.p, "a")'),
    Case("large number", "policy.number", "d := 9007199254740993"),
    Case("exponent", "policy.number", "d := 1e3"),
    Case("whole fraction", "policy.number", "d := 1.0"),
    Case("a rule named as a builtin", "policy.shadows_builtin", "count(x) := 7\nd := 1"),
    Case("a variable named input", "policy.syntax", "d if { input := 1; input == 1 }"),
    Case("an argument named data", "policy.shadowed", "f(data) := data\nd := f(1)"),
    Case("an argument named data", "policy.shadowed", "f(data) := data\nd := f(1)"),
    Case("deep nesting", "policy.too_deep", f"d := {'[' * 11}1{']' * 11}"),
    Case("exponential nesting", "policy.too_deep", f"d := {'[' * 200}1{']' * 200}"),
    Case("nested objects", "policy.too_deep", "d := " + '{"a":' * 40 + "1" + "}" * 40),
    Case("deep parentheses", "policy.too_deep", f"d := {'(' * 900}1{')' * 900}"),
    Case("deep calls, which end the process", "policy.too_deep", "d := " + "f(\n" * 3_000, line=36),
    Case("NUL", "policy.character", 'd := "a\0b"'),
    Case("carriage return", "policy.character", "d := 1\r"),
    Case("bidi override", "policy.character", 'd := "\u202e"'),
    Case("unterminated string", "policy.syntax", 'd := "a'),
    Case("syntax", "policy.syntax", "e := 1\nd := {\n  x y\n}", line=6),
    Case("rule head of parts", "policy.rule_head", "d.a.b := 1"),
    Case("every over any element", "policy.wildcard", "d if every x in input.xs[_] { x > 0 }"),
    Case("some in any element", "policy.wildcard", "d contains x if some x in input.xs[_]"),
    Case("import of an input", "policy.import", "import input.x as y\nd := y"),
)
"""Refused for other reasons: not replayable, not terminating, not readable."""

ACCEPTED = (
    Case("plain negation", "", "d if not input.x"),
    Case("negated rule", "", "r if input.x == 1\nd if not r"),
    Case("negated comparison", "", "d if not input.x == 1"),
    Case("negated comparison of two", "", "d if not input.x == input.y", {"x": 1}),
    Case("negated call on locals", "", 'd if { some x in ["b"]; not startswith(x, "a") }'),
    Case("negated lookup by a local", "", 'd if { some x in ["b"]; not input.m[x] }', {"m": {"a": 1}}),
    Case("negated in on locals", "", 'd if { xs := ["a"]; some x in ["b"]; not x in xs }'),
    Case("negated constant in", "", 'd if { some x in ["b"]; not x in {"a", "c"} }'),
    Case("negated function of a local", "", "d if { some x in [3]; not f(x) }\nf(x) if x == 1"),
    Case("membership", "", 'd if "a" in input.xs', {"xs": ["a"]}),
    Case("membership in nothing", "", 'd if "a" in input.xs'),
    Case("count of a comprehension", "", "d := count([x | some x in input.xs])", {"xs": [1, 2]}),
    Case("count of a set rule", "", "s contains x if some x in input.xs\nd := count(s)", {"xs": [1, 1]}),
    Case("sums of counts", "", "d := n + 1 if n := count([x | some x in input.xs]) * 2", {"xs": [1]}),
    Case("set difference", "", "d := {1, 2} - {2}"),
    Case("sets", "", "d := ({1} | {2}) & {2, 3}"),
    Case("every", "", "d if every x in input.xs { x > 0 }", {"xs": [1, 2]}),
    Case("every of nothing", "", "d if every x in [] { x > 0 }"),
    Case("else", "", 'd := "a" if { input.x == 1 } else := "b" if { input.x == 2 } else := "c"', {"x": 2}),
    Case("default", "", "default d := false\nd if input.x"),
    Case("partial object", "", "d[k] := v if some k, v in input", {"a": 1}),
    Case("partial set", "", "d contains x if some x in input.xs", {"xs": [2, 1]}),
    Case("array taken apart", "", "d := b if { [_, b] := input.x }", {"x": [1, 2]}),
    Case("functions by constant", "", 'f("a") := 1\nf("b") := 2\nd := f("b")'),
    Case("conflicting values", "", "d := 1 if input.a\nd := 2 if input.b", {"a": 1, "b": 1}),
    Case("text", "", 'd := concat("/", [trim_suffix("a/", "/"), substring("xyz", 1, 1)])'),
    Case("plain regex", "", 'd := [regex.match("^[a-z0-9._/-]+$", x) | some x in ["a/b", "A", "é", ""]]'),
    Case("plain glob", "", 'd := [glob.match("*.ex.com", ["."], x) | some x in ["a.ex.com", "a.b.ex.com", ".ex.com"]]'),
    Case("NUL in the input", "", 'd if input.role == "admin"', {"role": "admin\0evil"}),
    Case("comparisons of all types", "", 'd := [null < false, 1 < "a", "a" < [], [1, 2] < [1, 3], [1] < [1, 0]]'),
    Case("sorted", "", 'd := sort([3, "a", null, true])'),
    Case("order of strings", "", "d := input.a < input.b", {"a": "😀", "b": "\uffff"}),
    Case("undefined in a set", "", "d := {input.x, 1}"),
    Case("object.get", "", 'd := object.get(input, ["a", "b"], 3)', {"a": {}}),
    Case("whole numbers past a float", "", "d := input.x == 9007199254740992", {"x": 9007199254740993}),
    Case("rules of a package by their full name", "", 'r := {"a": 1}\nd := data.gateway.t.r.a'),
    Case(
        "heads of constants and locals",
        "",
        'd contains {"k": [x, y]} if { some x in ["a", "b"]; y := input.m[x] }',
        {"m": {"a": 1}},
    ),
    Case(
        "undefined head without iteration",
        "",
        "d contains 1\nd contains input.z\nd contains [input.z] if input.m",
        {"m": 1},
    ),
    Case(
        "undefined in a comprehension", "", 'd := {x: input.m[x] | some x in ["a", "b", "c"]}', {"m": {"a": 1, "c": 3}}
    ),
    Case("wrong types", "", 'd if startswith(input.x, "a")', {"x": 1}),
)
"""Accepted; OPA and regorus have to agree, or regorus to refuse the evaluation."""
