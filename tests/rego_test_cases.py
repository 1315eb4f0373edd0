# ruff: noqa: E501 - a case is a line, and its text is Rego
"""Rego of test files: what `policy test` accepts, and regorus then has to answer as OPA does; and what it refuses.

Each case is the body of a test file over the policy POLICY and the data DATA; its one test is `test_a`.
"""

from dataclasses import dataclass
from typing import Any, Final

POLICY: Final = """package gateway.p

import rego.v1

default allow := false

allow if input.x == 1

allow if data.gateway.config.open

und if input.q == 2

cfg := data.gateway.config

lst := input.list

n := count([1 | some _ in input.list])

s contains x if some x in input.list

f(a) := object.union({"a": a}, {"k": input.k})

g(a) if a == input.k

nf(a) := a if a > 0

mk(a) := {"allow": a} if a != 2

m := data.gateway.config.m.a

sl := array.slice(["1", "2"], 0, 1)

default dd := {"allow": false}

dd := {"allow": true, "list": array.slice(["1"], 0, 1)}
"""
DATA: Final[dict[str, Any]] = {"gateway": {"config": {"open": False, "m": {"a": 1}}}}


@dataclass(frozen=True)
class TestFile:
    """A test file; `code` is that of its refusal, "" where it is accepted."""

    __test__ = False  # of pytest

    name: str
    body: str
    code: str = ""

    def source(self, package: str) -> str:
        """The whole file."""
        return f"package gateway.{package}\n\nimport rego.v1\n\nimport data.gateway.p\n\n{self.body}\n"


ACCEPTED: Final = (
    TestFile("input", 'test_a if p.allow with input as {"x": 1}'),
    TestFile("a field of the input", "test_a if p.allow with input.x as 1"),
    TestFile("a field below a scalar", 'test_a if input.a.b == 1 with input as {"a": 3} with input.a.b as 1'),
    TestFile("an element of an array", "test_a if input.list[0] == 7 with input.list as [7]"),
    TestFile("not", 'test_a if not p.allow with input as {"x": 2}'),
    TestFile("not, of what is undefined", 'test_a if not p.und with input as {"x": 2}'),
    TestFile("not, of what holds", 'test_a if not p.allow with input as {"x": 1}'),
    TestFile("a value that is undefined", "test_a if p.allow with input as input.missing"),
    TestFile("not, with a value that is undefined", "test_a if not p.allow with input as input.missing"),
    TestFile("a value from a name", 'test_a if { x := {"x": 1}; p.allow with input as x }'),
    TestFile("a value from a function", 'mk(x) := {"x": x}\ntest_a if p.allow with input as mk(1)'),
    TestFile("a value from a function that is undefined", 'mk(x) := {"x": x} if x == 3\ntest_a if p.allow with input as mk(1)'),
    TestFile("null", "test_a if not p.allow with input as null"),
    TestFile("false", "test_a if input == false with input as false"),
    TestFile("data", "test_a if p.allow with data.gateway.config.open as true"),
    TestFile("data, whole", 'test_a if p.allow with data.gateway.config as {"open": true}'),
    TestFile("data, whole, without the rest", 'test_a if p.cfg == {"m": 1} with data.gateway.config as {"m": 1}'),
    TestFile("data, with the rest", 'test_a if p.cfg == {"open": true, "m": {"a": 1}} with data.gateway.config.open as true'),
    TestFile("data below a scalar", "test_a if data.gateway.config.open.b == 1 with data.gateway.config.open.b as 1"),
    TestFile("data that is not there", "test_a if data.other.y == 1 with data.other.y as 1"),
    TestFile(
        "data from data", 'test_a if p.allow with data.gateway.config as object.union(data.gateway.config, {"open": true})'
    ),
    TestFile(
        "data from a rule",
        'o := object.union(data.gateway.config, {"open": true})\n'
        "test_a if { not p.allow; p.allow with data.gateway.config as o; o.open; not data.gateway.config.open }",
    ),
    TestFile("two of them", 'test_a if p.allow with input as {"x": 2} with data.gateway.config.open as true'),
    TestFile("one over the other", 'test_a if p.lst == [2] with input as {"list": [1]} with input.list as [2]'),
    TestFile("one inside of the other", 'inner if p.allow with input as {"x": 1}\ntest_a if inner with input as {"x": 2}'),
    TestFile(
        "data inside of data",
        "inner if p.allow with data.gateway.config.open as true\ntest_a if inner with data.gateway.config.open as false",
    ),
    TestFile("nothing is kept", 'test_a if { not p.allow; p.allow with input as {"x": 1}; not p.allow }'),
    TestFile(
        "two answers of one rule",
        'test_a if { p.m == 1 with data.gateway.config.m as {"a": 1}; p.m == 2 with data.gateway.config.m as {"a": 2} }',
    ),
    TestFile("an assignment", 'test_a if { d := p.allow with input as {"x": 1}; e := p.allow; d != e }'),
    TestFile("a function", 'test_a if p.f(1) == {"a": 1, "k": 2} with input as {"k": 2}'),
    TestFile("a set", 'test_a if p.s == {1, 2} with input as {"list": [1, 2]}'),
    TestFile("an element of a set", 'test_a if p.s[1] with input as {"list": [1, 2]}'),
    TestFile("in", 'test_a if 1 in p.s with input as {"list": [1]}'),
    TestFile("not in", 'test_a if not 3 in p.s with input as {"list": [1]}'),
    TestFile("some", 'test_a if { some x in p.s with input as {"list": [1]}; x == 1 }'),
    TestFile("every", 'test_a if every x in [1] { p.allow with input as {"x": x} }'),
    TestFile("not in every", 'test_a if every x in [2, 3] { not p.allow with input as {"x": x} }'),
    TestFile("over every", 'test_a if every x in input.list { x > 0 } with input as {"list": [1]}'),
    TestFile("in a comprehension", 'test_a if [x | some x in [1, 2]; p.allow with input as {"x": x}] == [1]'),
    TestFile("over a comprehension", 'test_a if [x | some x in p.lst] == [1] with input as {"list": [1]}'),
    TestFile("in a function", 'h(a) if p.allow with input as {"x": a}\ntest_a if { h(1); not h(2) }'),
    TestFile("under iteration", 'test_a if { some y in [1, 2]; p.allow with input as {"x": y} }'),
    TestFile("not, of a function of a call", 'test_a if not p.g(p.nf(0)) with input as {"k": 1}'),
    TestFile("not, of a function of the input", 'test_a if not p.g(input.z) with input as {"k": 1, "z": 2}'),
    TestFile("not, of a function of what is missing", 'test_a if not p.g(input.zz) with input as {"k": 1}'),
    TestFile("not, of a builtin of what is missing", 'test_a if not startswith(input.zz, "a")'),
    TestFile("not, of a field of a call", "test_a if not p.mk(false).allow"),
    TestFile("not, of a field of a call that is undefined", "test_a if not p.mk(2).allow"),
    TestFile("not, of a lookup by what is missing", "test_a if not data.gateway.config.m[input.zz]"),
    TestFile("not in, of a call", 'test_a if not p.f(1) in [{"a": 1, "k": 8}] with input as {"k": 7}'),
    TestFile("not in, of a call that is undefined", 'test_a if not p.f(1) in [{"a": 1, "k": 8}] with input as {}'),
    TestFile("not, unequal to what is missing", "test_a if not input.x != 1"),
    TestFile("not, of an array with what is missing", "test_a if not [input.x] == [1]"),
    TestFile("not, of an object with what is missing", 'h(o) if o.a == 1\ntest_a if not h({"a": input.x})'),
    TestFile("not, equal to a call that is undefined", 'test_a if not p.f(1) == {"a": 1} with input as {}'),
    TestFile("not, equal to what is missing", "test_a if not input.x == 3 with input as {}"),
    TestFile("a builtin", 'none(_, _, _) := ["x"] if false\ntest_a if not p.sl with array.slice as none'),
    TestFile("a builtin, another answer", 'other(_, _, _) := ["7"]\ntest_a if p.sl == ["7"] with array.slice as other'),
    TestFile(
        "a builtin, by what calls it", 'other(a, _, _) := array.slice(a, 1, 2)\ntest_a if p.sl == ["2"] with array.slice as other'
    ),
    TestFile(
        "a builtin, and the default", 'none(_, _, _) := ["x"] if false\ntest_a if p.dd == {"allow": false} with array.slice as none'
    ),
    TestFile("a rule named as a builtin", 'sort := {"x": 1}\ntest_a if p.allow with input as sort'),
    TestFile("json.remove", 'test_a if json.remove({"a": {"b": 1, "c": 2}}, ["a/b"]) == {"a": {"c": 2}}'),
    TestFile(
        "json.remove of what is not there",
        'test_a if json.remove({"a": {"b": 1}, "l": [1]}, ["a/z/q", "k", "l/0"]) == {"a": {"b": 1}, "l": []}',
    ),
    TestFile("a text with quotes", 'test_a if "a # b\\"" == concat("", ["a # b", `"`])'),
    TestFile("comments and lines", 'test_a if {\n\t# one\n\tp.allow with input as { # two\n\t\t"x": 1,\n\t}\n\tx := [y | # three\n\t\tsome y in [1, 2]\n\t\ty > 1\n\t]\n\tx == [2]\n}'),
    TestFile("else", "v := 1 if { input.x == 7 } else := 2 if { input.x == 8 } else := 3\ntest_a if { v == 3; v == 2 with input.x as 8 }"),
)  # fmt: skip
"""Both engines answer the same, or regorus with an error."""

REFUSED: Final = (
    TestFile("a rule", "test_a if p.allow with data.gateway.p.und as true", "policy.with_target"),
    TestFile("a rule beside it", "r := 1\ntest_a if r == 2 with r as 2", "policy.with_target"),
    TestFile("below a rule", "test_a if p.cfg.x with data.gateway.p.cfg.x as 2", "policy.with_target"),
    TestFile("a function", "test_a if p.nf(1) == 9 with data.gateway.p.nf as 9", "policy.with_target"),
    TestFile(
        "a function beside it", "h(x) := x\ntest_a if h(1) == 9 with data.gateway.t_test.h as 9", "policy.with_target"
    ),
    TestFile("a package", 'test_a if p.allow with data.gateway.p as {"allow": true}', "policy.with_target"),
    TestFile("what packages lie under", "test_a if p.allow with data.gateway as {}", "policy.with_target"),
    TestFile("all data", "test_a if p.allow with data as {}", "policy.with_target"),
    TestFile("a builtin by a value", "test_a if p.sl == 3 with array.slice as 3", "policy.with_target"),
    TestFile("a builtin by a builtin", 'test_a if startswith("ab", "b") with startswith as endswith', "policy.with_target"),
    TestFile(
        "a builtin by a function of fewer arguments",
        "one(_) := 1\ntest_a if p.sl == 1 with array.slice as one",
        "policy.with_target",
    ),
    TestFile(
        "a builtin by a function of constants",
        'one(1) := 7\ntest_a if count("a") == 7 with count as one',
        "policy.with_target",
    ),
    TestFile(
        "a builtin by a function of elsewhere", "test_a if p.n == 3 with count as p.g", "policy.with_target"
    ),
    TestFile("a rule of the policy", "allow if true", "policy.test_overrides"),
    TestFile("a set", "test_a contains 1 if true", "policy.test_kind"),
    TestFile("cases", 'test_a["x"] := true', "policy.test_kind"),
    TestFile("a function", "test_a(x) if x", "policy.test_kind"),
    TestFile("a default", "default test_a := true", "policy.test_kind"),
    TestFile("the clock", "test_a if time.now_ns() > 0", "policy.builtin"),
    TestFile("fractions", "test_a if 1 / 3 > 0", "policy.arithmetic"),
    TestFile("a builtin's name that is called", "sort := 1\ntest_a if sort([1]) == [1]", "policy.shadows_builtin"),
    TestFile("recursion", "a if b\nb if a\ntest_a if a", "policy.recursion"),
    TestFile("syntax", "test_a if {", "policy.syntax"),
    TestFile("deep nesting", f"test_a if {'[' * 11}1{']' * 11}", "policy.too_deep"),
)  # fmt: skip
"""Not run: the engines differ, or what is tested would not be what decides."""
