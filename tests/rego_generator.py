"""Small random policies over what vetting may accept, and documents for them: a grammar and a stream of choices.

Everything follows from the seed. Roughly half of what comes out passes vetting; the rest shows that it refuses.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")
FIELDS = ("a", "b", "s", "n", "xs", "m", "ms")
KEYS = ("a", "b", "k")
SCALARS = (
    '"a"',
    '"b"',
    '"Ab"',
    '"a/b"',
    '"k"',
    '""',
    "0",
    "1",
    "2",
    "3",
    "true",
    "false",
    "null",
    '"10.0.0.1"',
    '"1.2.3"',
)


class Choices:
    """A stream of choices that follows from a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to limit - 1."""
        self._drawn += 1
        digest = hashlib.blake2b(f"{self._seed}/{self._drawn}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % limit

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent


class Policy:
    """One module: rules that refer to the input, to each other (downwards only) and to functions."""

    def __init__(self, seed: int, package: str) -> None:
        self._choices = Choices(seed)
        self._package = package
        self._names = 0
        self.rules: list[str] = []  # names that can be asked for
        self._sets: list[str] = []
        self._objects: list[str] = []
        self._functions: list[str] = []
        self.text = self._module()

    def _module(self) -> str:
        parts = [f"package {self._package}", "import rego.v1"]
        parts += [self._rule(number) for number in range(2 + self._choices.below(4))]
        return "\n\n".join(parts) + "\n"

    def _rule(self, number: int) -> str:
        kind = self._choices.pick(
            ["value", "value", "else", "default", "set", "set", "object", "function", "bool", "twice"]
        )
        name, scope = f"r{number}", []
        if kind == "function":
            scope = ["p"]
            body = self._body(scope, 2)
            self._functions.append(f"f{number}")
            return f"f{number}(p) := {self._head(scope)} if {{\n{body}\n}}"
        body = self._body(scope, 3)
        if kind == "set":
            text = f"{name} contains {self._head(scope)} if {{\n{body}\n}}"
            self._sets.append(name)
        elif kind == "object":
            text = f"{name}[{self._key(scope)}] := {self._head(scope)} if {{\n{body}\n}}"
            self._objects.append(name)
        elif kind == "else":
            other = self._body([], 1)
            text = f"{name} := {self._head(scope)} if {{\n{body}\n}} else := {self._scalar()} if {{\n{other}\n}}"
        elif kind == "default":
            text = f"default {name} := {self._scalar()}\n\n{name} := {self._head(scope)} if {{\n{body}\n}}"
        elif kind == "twice":
            other = self._body([], 2)
            text = f"{name} if {{\n{body}\n}}\n\n{name} if {{\n{other}\n}}"
        else:
            head = name if kind == "bool" else f"{name} := {self._head(scope)}"
            text = f"{head} if {{\n{body}\n}}"
        self.rules.append(name)
        return text

    def _head(self, scope: list[str]) -> str:
        if self._choices.chance(10):
            return self._value(scope, 1)
        name = self._choices.pick(scope) if scope else self._scalar()
        return self._choices.pick([name, name, f"[{name}, {self._scalar()}]", f'{{"k": {name}}}', f"lower({name})"])

    def _body(self, scope: list[str], most: int) -> str:
        statements = [self._statement(scope, 2) for _ in range(1 + self._choices.below(most))]
        if self._choices.chance(25):
            statements.reverse()
        return "\n".join(f"\t{statement}" for statement in statements)

    def _fresh(self, scope: list[str]) -> str:
        self._names += 1
        name = f"v{self._names}"
        scope.append(name)
        return name

    def _statement(self, scope: list[str], depth: int) -> str:
        value = self._value(list(scope), depth)
        kind = self._choices.below(18)
        if kind in {0, 1}:
            return f"{self._fresh(scope)} := {value}"
        if kind == 2:
            return f"{self._fresh(scope)} = {value}"
        if kind in {3, 4}:
            collection = self._collection(scope, depth)
            return f"some {self._fresh(scope)} in {collection}"
        if kind == 5:
            collection = self._collection(scope, depth)
            return f"some {self._fresh(scope)}, {self._fresh(scope)} in {collection}"
        if kind == 6:
            return f"{self._reference()}[{self._fresh(scope)}]"
        if kind == 7:
            reference = self._reference()
            return f"{self._fresh(scope)} = {reference}[{self._fresh(scope)}]"
        if kind == 8:
            return f"{self._reference()}[{self._fresh(scope)}] {self._operator()} {value}"
        if kind in {9, 10}:
            return f"not {self._plain(scope)}"
        if kind == 11:
            return f"not {self._any(scope)} == {self._plain(scope)}"
        if kind == 12:
            return f"{self._any(scope)} in {self._collection(scope, depth)}"
        if kind == 13 and depth > 1:
            inner = [*scope, "e"]
            body = f"e != {self._scalar()}; {self._statement(inner, 1)}"
            return f"every e in {self._collection(scope, depth)} {{ {body} }}"
        if kind == 14:
            return self._test(scope)
        if kind == 15:
            call = self._call(scope, 1).removesuffix(")")
            return f"{call}, {self._fresh(scope)})"
        if kind == 16:
            sign = self._choices.pick([":=", "="])
            return f"[{self._fresh(scope)}, {self._fresh(scope)}] {sign} {self._any(list(scope))}"
        return f"{self._any(scope)} {self._operator()} {value}"

    def _operator(self) -> str:
        return self._choices.pick(["==", "==", "!=", "<", "<=", ">", "="])

    def _test(self, scope: list[str]) -> str:
        value = self._any(scope)
        return self._choices.pick(
            [
                f'startswith({value}, "a")',
                f'contains({value}, "b")',
                f'regex.match("^[a-z]+$", {value})',
                f'glob.match("a*", ["/"], {value})',
                f"glob.match({value}, [], {self._any(scope)})",
                f'net.cidr_contains("10.0.0.0/8", {value})',
                f"is_string({value})",
                f"semver.is_valid({value})",
                f'lower({value}) == "ab"',
                f'not startswith(lower({self._any(scope)}), "a")',
            ]
        )

    def _any(self, scope: list[str]) -> str:
        """Something whose type nobody knows, or a string: what most builtins take."""
        options = ["input.s", "input.a", "input.b", "input.n", f"input.m.{self._choices.pick(KEYS)}", '"a/b"', '"Ab"']
        return self._choices.pick(options + [name for name in scope if self._choices.chance(50)])

    def _call(self, scope: list[str], depth: int) -> str:
        one, two = self._any(scope), self._value(scope, depth - 1)
        calls = [
            f"lower({one})",
            f"upper({one})",
            f'split({one}, "/")',
            f"object.get({self._reference()}, {self._key(scope)}, {two})",
            f'concat("-", {self._reference()})',
            f"sum({self._reference()})",
            f"max({self._collection(scope, depth)})",
            f"sort({self._collection(scope, depth)})",
            f"array.concat({self._reference()}, [{one}])",
            f"object.keys({self._reference()})",
            f"to_number({one})",
            f"substring({one}, 0, 1)",
            f"json.marshal({one})",
            f"type_name({one})",
            f"numbers.range(1, {self._choices.below(4)})",
            f"count([x | some x in {self._collection(scope, depth)}])",
            f"floor({one})",
            f'sprintf("%v-%s", [{one}, {two}])',
            f"base64.encode({one})",
        ]
        return self._choices.pick(calls)

    def _value(self, scope: list[str], depth: int) -> str:
        if depth <= 0 or self._choices.chance(35):
            return self._plain(scope)
        kind = self._choices.below(10)
        if kind < 3:
            return self._call(scope, depth)
        if kind == 3:
            return f"[{self._value(scope, depth - 1)}, {self._value(scope, depth - 1)}]"
        if kind == 4:
            return f'{{"k": {self._value(scope, depth - 1)}}}'
        if kind == 5:
            return self._comprehension(scope, depth)
        if kind == 6 and self._functions:
            return f"{self._choices.pick(self._functions)}({self._value(scope, depth - 1)})"
        if kind == 7:
            return f"count({self._comprehension(scope, depth)}) {self._choices.pick('+-*')} {self._choices.below(3)}"
        if kind == 8:
            return f"{{{self._plain(scope)}, {self._plain(scope)}}}"
        return self._plain(scope)

    def _comprehension(self, scope: list[str], depth: int) -> str:
        inner = list(scope)
        statements = [self._statement(inner, depth - 1) for _ in range(1 + self._choices.below(2))]
        body, value = "; ".join(statements), self._value(inner, depth - 1)
        return self._choices.pick(
            [f"[{value} | {body}]", f"{{{value} | {body}}}", f"{{{self._key(inner)}: {value} | {body}}}"]
        )

    def _collection(self, scope: list[str], depth: int) -> str:
        kind = self._choices.below(6)
        if kind == 0 and self._sets:
            return self._choices.pick(self._sets)
        if kind == 1 and depth > 0:
            return self._comprehension(scope, depth)
        if kind == 2:
            return f"[{self._scalar()}, {self._scalar()}]"
        if kind == 3:
            return f"{{{self._scalar()}, {self._scalar()}}}"
        return self._reference()

    def _reference(self) -> str:
        options = [f"input.{self._choices.pick(FIELDS)}", "input.xs", "input.m", "input.ms"]
        options += [f"input.m.{self._choices.pick(KEYS)}", f"data.gen.table.{self._choices.pick(KEYS)}"]
        return self._choices.pick(options + self._objects + self._sets)

    def _plain(self, scope: list[str]) -> str:
        kind = self._choices.below(9)
        if kind < 3 and scope:
            return self._choices.pick(scope)
        if kind < 5:
            return self._scalar()
        if kind == 5 and self.rules:
            return self._choices.pick(self.rules)
        if kind == 6:
            return f"input.m[{self._key(scope)}]"
        return f"input.{self._choices.pick(FIELDS)}"

    def _key(self, scope: list[str]) -> str:
        return self._choices.pick([f'"{self._choices.pick(KEYS)}"', *scope])

    def _scalar(self) -> str:
        return self._choices.pick(SCALARS)


DATA: dict[str, Any] = {"gen": {"table": {"a": {"a": 1, "b": "a/b"}, "b": ["a", 2, None], "k": {"k": {"k": True}}}}}


def document(seed: int) -> dict[str, Any]:
    """Return an input for the policies: fields may be missing, or of any type.

    1.0 is left out: as the key of an object it is written "1.0" by OPA and "1" by regorus, which docs/vetting.md says.
    """
    choices = Choices(seed)
    leaves: list[Any] = ["a", "b", "Ab", "a/b", "k", "", 0, 1, 2, 2.5, True, False, None, "10.0.0.1", "é", "a\0b"]

    def leaf() -> Any:
        return choices.pick(leaves)

    def some(depth: int) -> Any:
        kind = choices.below(5) if depth else 0
        if kind in {0, 1}:
            return leaf()
        size = choices.below(4)
        if kind == 2:
            return {choices.pick(KEYS): some(depth - 1) for _ in range(size)}
        return [some(depth - 1) for _ in range(size)]

    full = {
        "a": leaf(),
        "b": leaf(),
        "s": choices.pick(["a", "Ab", "a/b", ""]),
        "n": choices.pick([0, 1, 2, 3]),
        "xs": [leaf() for _ in range(choices.below(4))],
        "m": {key: some(1) for key in KEYS if choices.chance(70)},
        "ms": [{key: leaf() for key in KEYS if choices.chance(70)} for _ in range(choices.below(3))],
    }
    return {key: some(2) if choices.chance(10) else value for key, value in full.items() if not choices.chance(15)}
