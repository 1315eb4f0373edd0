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
    Case("walk", "policy.builtin", "d := [p | [p, v] = walk(input); v == 1]", {"a": [1]}),
    Case("walk, assigned", "policy.builtin", "d := [p | [p, v] := walk(input); v == 1]", {"a": [1]}),
    Case("count of a string", "policy.count", "d := count(input.x)", {"x": "👩‍👩‍👧"}),
    Case("fractions", "policy.arithmetic", "d := input.x * 3", {"x": 0.1}),
    Case("division", "policy.arithmetic", "d := 1 / 3"),
    Case("number text", "policy.number", "d := 1.10"),
    Case("regex digits", "policy.pattern", r'd := regex.match("^\\d+$", "٣")'),
    Case("regex words", "policy.pattern", r'd := regex.match("^\\w+$", "é")'),
    Case("regex boundaries", "policy.pattern", r'd := regex.match("\\bé\\b", " é ")'),
    Case("regex nested class", "policy.pattern", 'd := regex.match("[a[b]]", "a")'),
    Case("regex intersection", "policy.pattern", 'd := regex.match("^[a-c&&b]$", "a")'),
    Case("glob of any character", "policy.pattern", 'd := glob.match("[a-c]?", [], "aé")'),
    Case("glob negation", "policy.pattern", 'd := glob.match("[^a]", [], "b")'),
    Case("json schema", "policy.builtin", 'd := json.match_schema({"id": 5}, {"properties": {}})'),
    Case("runtime", "policy.builtin", "d := opa.runtime()"),
    Case("unknown function in a rule that nobody asks for", "policy.builtin", "d := 1\ne := nosuch(1)", line=5),
    Case("two defaults", "policy.rule_conflict", "default d := 1\ndefault d := 2", line=5),
    Case("a rule and a function", "policy.rule_conflict", "d := 1\nd(x) := x", line=5),
    Case("some without in", "policy.some", "d if { some x; x > 1 }"),
    Case("not over any element", "policy.not_undefined", "d if not input.m[_]", {"m": {"a": 1}}),
    Case(
        "not over a lookup by a name of every",
        "policy.every_name",
        'd if every x in ["z"] { not input.m[x] }',
        {"m": {"a": 1}},
    ),
    Case(
        "not over a lookup by a name that nobody declared",
        "policy.every_name",
        "d if { substring(input.s, 0, 1, x); not input.m[x] }",
        {"s": "abc", "m": {"b": 1}},
    ),
    Case(
        "a name of every beside `=`",
        "policy.every_name",
        'd if every x in ["a", ""] { x != "b"; input.n = x }',
        {"n": 3},
    ),
    Case("not over a constant", "policy.not_constant", 'd := type_name("Ab") if not true'),
    Case("minus before parentheses", "policy.arithmetic", "d := -(1)"),
    Case("the package itself", "policy.package_reference", "r := 3\nd if some k, _ in data.gateway.t", line=5),
    Case("order of sets", "policy.order", "d := {} < {1}"),
    Case(
        "order of an object and a set", "policy.order", "d if input.a < object.keys(input.m)", {"a": {}, "m": {"k": 1}}
    ),
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
    Case("a text as a place in data", "policy.data_lookup", 'd if not data.t.xs["0"]', data={"t": {"xs": [1]}}),
    Case("a place in data", "policy.data_lookup", "d := data.t.xs[input.x]", {"x": "0"}, data={"t": {"xs": [1]}}),
    Case("a number as a key of data", "policy.data_lookup", "d := data.t[input.x]", {"x": 1.0}, data={"t": {"1": 2}}),
    Case(
        "a number as a key of data, imported",
        "policy.data_lookup",
        "import data.t\nd := t[input.x]",
        {"x": 1},
        line=5,
        data={"t": {"1": 2}},
    ),
    Case(
        "a place in data that another lookup gives",
        "policy.data_lookup",
        "d contains i if { input.m[i]; data.t.xs[i] }",
        {"m": {"0": 1}},
        data={"t": {"xs": [1]}},
    ),
    Case("a number as the key of a rule", "policy.rule_head", 'p[1] := "a"\nd := p[input.x]', {"x": 1.0}),
    Case("two arguments of one name", "policy.pattern", "f(x, x) := 1\nd := f(1, 2)"),
    Case("how many are found", "policy.pattern", 'd := regex.find_n("a", "aa", input.x)', {"x": 1e16}),
    Case(
        "data that overrules",
        "policy.data_conflict",
        "default d := false",
        line=1,
        data={"gateway": {"t": {"d": True}}},
    ),
)
"""Measured: OPA and regorus give different answers, or one answers what the other refuses to load."""

SUPPLIED = (
    Case("sum", "", "d := sum([0.1, 0.2])"),
    Case("lower", "", 'd := lower("İSTANBUL")'),
    Case("upper", "", 'd := upper("straße")'),
    Case("cidr of mapped addresses", "", 'd := net.cidr_contains("::ffff:0:0/96", "1.2.3.4")'),
    Case("json text", "", "d := json.marshal(input)", {"a": "<"}),
    Case("semver", "", 'd := semver.is_valid("v1.0.0")'),
    Case("shifts", "", "d := bits.lsh(1, 70)"),
    Case("sprintf of a wrong type", "", 'd := sprintf("%s", [1])'),
    Case("sprintf of a large float", "", 'd := sprintf("%v", [input.x])', {"x": 1e21}),
    Case("an empty text to look for", "", 'd := indexof("", input.x)', {"x": ""}),
    Case("an empty text to replace", "", 'd := replace("é", input.x, "-")', {"x": ""}),
    Case("a fraction as a place", "", 'd := substring("", input.x, 0)', {"x": 0.5}),
    Case("parts of what is no collection", "", "d := object.subset(input.x, input.x)", {"x": "a"}),
    Case("a place in exponent form", "", 'd := substring("a", input.x, 1)', {"x": 1e16}),
    Case("minus nothing", "", "d := format_int(input.x, 10)", {"x": -0.5}),
    Case("an empty path", "", "d := json.filter(input, [[]])", {"a": 1}),
)
"""Accepted, because the gateway supplies the builtin: regorus' own answers otherwise than OPA's, or is missing."""

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
    Case("a variable that nothing gives a value", "policy.undeclared", "d if x > 1"),
    Case("an operand too many", "policy.arity", 'd if io.jwt.decode("a", x)'),
    Case("two operands of one", "policy.arity", "f(x) := x\nd := f(1, 2)", line=5),
    Case("used above its declaration", "policy.declared_late", "d if { x > 1; some x in [2] }"),
    Case("used above what gives it a value", "policy.declared_late", "d if { not x; x = input.a }"),
    Case("made from itself", "policy.declared_late", "d if { [x, y] := x }"),
    Case("a name of every that nobody uses", "policy.unused", "d if every x in [1] { input.a }"),
    Case("a union that looks like a comprehension", "policy.union", 'd := {"b": count([1]) + 2 | input.a == 1}'),
    Case("an operand of another type", "policy.type", "d if { x := [1]; lower(x) == input.a }"),
    Case("never equal", "policy.type", 'd if { x := count([1]); x == "1" }'),
    Case("never among", "policy.type", 'd if 1 in {"a", "b"}'),
    Case("an array from a number", "policy.unification", "d if { [x, y] = 1 }"),
    Case("a comprehension beside `=`", "policy.unification", "d if { [x] = [[y | some y in [1]]] }"),
    Case("a head over what nobody declared", "policy.undeclared", "d contains [1 | x > 0] if input.a[x]"),
    Case("a pattern of many stars", "policy.pattern", 'd if glob.match("*a*a*a*a*a*", [], input.x)'),
    Case("sprintf with a value too many", "policy.sprintf", 'd := sprintf("%s", [1, 2])'),
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
    Case("places in data", "", "d contains i if data.t.xs[i] == 2", data={"t": {"xs": [1, 2]}}),
    Case("a named array of data", "", "d := xs[input.x] if xs := data.t.xs", {"x": "0"}, data={"t": {"xs": [1]}}),
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
    Case("a lookup that names its place", "", "d contains i if input.a[i] == 1", {"a": [1, 2, 1]}),
    Case("a name by unification", "", "d := x if { x = input.a; x = input.b }", {"a": 1, "b": 1}),
    Case("two lookups by one name", "", "d contains i if { input.a[i]; input.b[i] }", {"a": [1, 2], "b": [3]}),
    Case("a result as an operand", "", 'd := x if split(input.a, "/", [_, x])', {"a": "b/c"}),
    Case("a name of every, named", "", 'd if every x in ["z"] { k := x; not input.m[k] }', {"m": {"a": 1}}),
    Case("some, and a lookup", "", "d contains x if { some i; x := input.a[i] }", {"a": [1, 2]}),
    Case("a pattern from the input", "", "d if glob.match(input.p, [], input.h)", {"p": "*.a.b", "h": "x.a.b"}),
    Case("whole numbers of the input", "", "d := plus(input.a, floor(input.b) * 2)", {"a": 1, "b": 2.5}),
    Case("not over a supplied builtin", "", 'd if { some x in ["B"]; not lower(x) == "a" }'),
)
"""Accepted; OPA and regorus have to agree, or regorus to refuse the evaluation."""
