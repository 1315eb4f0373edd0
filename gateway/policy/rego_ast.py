"""regorus' syntax tree as Python values: only what vetting asks for, and a refusal for what it does not know.

A node is regorus' JSON: `{"Call": {"span": {...}, "fcn": node, "params": [node...]}}`. The same parser reads the
policy for vetting and for decisions, so the two cannot disagree about what a text means.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import regorus

from gateway.errors import PolicyInvalidError
from gateway.policy.rego_source import check_source

Node: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]  # ("data", "gateway", "rpc", "decision")

_PLACE: Final = re.compile(r"-->\s(.*):(\d+):\d+$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (.*)$", re.MULTILINE)

_HINT: Final = "; regorus does not read this: write it as docs/vetting.md shows, or use the engine `opa`"
_HINTS: Final = {
    "invalid character": 'a template string `$"…"` is written `sprintf("…", […])` or `concat("", […])`',
    "maximum column width": "break the line, or put the long text into data.json",
    "unexpected keyword": 'a keyword is no name: write it in brackets, `x["if"]`',
}

# Children of an expression that are expressions, by kind; queries are walked apart. A kind that is missing is refused.
EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "String": (),
    "RawString": (),
    "Number": (),
    "Bool": (),
    "Null": (),
    "Var": (),
    "Array": ("items",),
    "Set": ("items",),
    "Object": (),  # fields, as triples
    "ArrayCompr": (),  # term under its query's scope
    "SetCompr": (),
    "ObjectCompr": (),
    "Call": ("params",),  # fcn is a name
    "UnaryExpr": ("expr",),
    "RefDot": ("refr",),
    "RefBrack": ("refr", "index"),
    "BinExpr": ("lhs", "rhs"),
    "BoolExpr": ("lhs", "rhs"),
    "ArithExpr": ("lhs", "rhs"),
    "AssignExpr": ("lhs", "rhs"),
    "Membership": ("key", "value", "collection"),
}
SCALARS: Final = frozenset({"String", "RawString", "Number", "Bool", "Null"})
COMPREHENSIONS: Final = frozenset({"ArrayCompr", "SetCompr", "ObjectCompr"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as written; several may share a name."""

    name: str
    kind: str  # "value", "set", "object", "function"
    default: bool
    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class ParsedModule:
    """One policy file."""

    path: str
    text: str
    package: Path  # starts with "data"
    aliases: dict[str, Path]  # import name -> what it stands for
    rules: tuple[Rule, ...]

    def slice(self, span: Node) -> str:
        """Return the text under a span, whose offsets count bytes."""
        return self.text.encode()[span["start"] : span["end"]].decode()

    def refuse(self, node: Node | int, code: str, message: str) -> PolicyInvalidError:
        """Return the refusal of what stands at `node` (a node, a span, or a line)."""
        return PolicyInvalidError(
            message, code=code, file=self.path, line=node if isinstance(node, int) else line_of(node)
        )


def split(node: Node) -> tuple[str, Node]:
    """Return an expression's kind and its fields."""
    ((kind, fields),) = node.items()
    return kind, fields


def line_of(node: Node) -> int:
    """Return the line of a node, of a node's fields, or of a span; 1-based."""
    if "line" in node:
        return int(node["line"])
    if "span" in node:
        return int(node["span"]["line"])
    return line_of(split(node)[1])


def children(node: Node) -> Iterator[Node]:
    """Yield the sub-expressions of an expression that live in its own scope."""
    kind, fields = split(node)
    if kind == "Object":
        for _, key, value in fields["fields"]:
            yield key
            yield value
    for name in EXPRESSIONS[kind]:
        child = fields[name]
        if isinstance(child, list):
            yield from child
        elif child is not None:
            yield child


def variables(value: Any) -> Iterator[str]:
    """Yield the name of every variable that stands anywhere in a part of the tree, in no order."""
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if isinstance(at, list):
            waiting += at
        elif isinstance(at, dict):
            if "Var" in at:
                yield str(at["Var"]["value"])
            else:
                waiting += below(at)


def below(node: Node) -> list[Any]:
    """Return what stands right under an object and has parts of its own; most of a tree is spans, which have none."""
    return [part for name, part in node.items() if name != "span" and isinstance(part, dict | list)]


def is_constant(node: Node) -> bool:
    """Whether an expression is written out; a comprehension is, for OPA."""
    kind, _ = split(node)
    plain = kind in {"Array", "Set", "Object", "UnaryExpr"} and all(map(is_constant, children(node)))
    return plain or kind in SCALARS | COMPREHENSIONS


def dotted(node: Node) -> Path | None:
    """Return `a.b.c` as ("a", "b", "c"), or None where it is not that plain."""
    kind, fields = split(node)
    if kind == "Var":
        return (str(fields["value"]),)
    if kind == "RefDot":
        head = dotted(fields["refr"])
        return None if head is None else (*head, str(fields["field"][1]))
    if kind == "RefBrack" and "String" in fields["index"]:
        head = dotted(fields["refr"])
        return None if head is None else (*head, str(fields["index"]["String"]["value"]))
    return None


def parse_module(path: str, text: str) -> ParsedModule:
    """Parse one file.

    Raises:
        PolicyInvalidError: `policy.syntax`, with regorus' own words and line; or as `check_source`.
    """
    check_source(path, text)
    engine = regorus.Engine()
    try:
        engine.add_policy(path, text)
        (module,) = json.loads(engine.get_ast_as_json())
    except RuntimeError as error:
        raise _syntax(path, str(error)) from None  # the cause is the same text with a Rust backtrace
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise PolicyInvalidError("the parser broke on this file", code="policy.syntax", file=path) from error
    ast = module["ast"]
    package = dotted(ast["package"]["refr"])
    if package is None:
        raise PolicyInvalidError("a package is a plain path", code="policy.syntax", file=path, line=1)
    out = ParsedModule(path, text, ("data", *package), {}, ())
    if not ast["rego_v1"]:
        raise out.refuse(1, "policy.syntax", "policies are written in Rego v1")
    _imports(out, ast["imports"])
    return ParsedModule(path, text, out.package, out.aliases, tuple(_rule(out, node) for node in ast["rules"]))


Parse: TypeAlias = Callable[[str, str], ParsedModule]
"""`parse_module`, or one that remembers: trees are shared, and nobody changes one."""


def compile_modules(modules: Iterable[ParsedModule]) -> None:
    """Let regorus analyse all modules together, without evaluating any.

    Raises:
        PolicyInvalidError: `policy.syntax`, it does not accept them.
    """
    engine = regorus.Engine()
    for module in modules:
        engine.add_policy(module.path, module.text)
    try:
        engine.eval_query_as_json("true")
    except RuntimeError as error:
        raise _syntax("", str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise PolicyInvalidError("regorus broke while compiling the bundle", code="policy.syntax") from error


def _syntax(path: str, text: str) -> PolicyInvalidError:
    place, error = _PLACE.search(text), _ERROR.search(text)
    message = error[1] if error else text.partition("\n\n")[0].strip()
    message += next((f"; {hint}" for words, hint in _HINTS.items() if words in message), _HINT)
    file, line = (path or place[1], int(place[2])) if place else (path, None)
    return PolicyInvalidError(message, code="policy.syntax", file=file, line=line)


def _imports(module: ParsedModule, imports: list[Node]) -> None:
    for item in imports:
        target = dotted(item["refr"])
        if target == ("rego", "v1"):
            continue
        if target is None or target[0] != "data" or len(target) < 2:  # noqa: PLR2004 - data and a name
            raise module.refuse(item, "policy.import", "import rego.v1 or something under data, nothing else")
        alias = target[-1]
        if span := item.get("as"):
            alias = module.slice(span)
        if alias in module.aliases:
            raise module.refuse(item, "policy.import", f"{alias!r} is imported twice")
        module.aliases[alias] = target


def _rule(module: ParsedModule, node: Node) -> Rule:
    shape, fields = split(node)
    if shape == "Default":
        kind = "function" if fields["args"] else "value"
        return Rule(_rule_name(module, fields["refr"]), kind, True, line_of(fields), fields)
    variant, head = split(fields["head"])
    refr = head["refr"]
    if variant == "Compr" and "RefBrack" in refr:
        return Rule(_rule_name(module, refr["RefBrack"]["refr"]), "object", False, line_of(fields), fields)
    kind = {"Compr": "value", "Set": "set", "Func": "function"}[variant]
    return Rule(_rule_name(module, refr), kind, False, line_of(fields), fields)


def has_constant_key(rule: Rule) -> bool:
    """Whether a part of an object, `name[key] := value`, has its key written out."""
    ((_, head),) = rule.node["head"].items()
    return split(head["refr"]["RefBrack"]["index"])[0] in SCALARS


def _rule_name(module: ParsedModule, refr: Node) -> str:
    if "Var" not in refr:
        raise module.refuse(refr, "policy.rule_head", "a rule has a plain name: `name`, `name(args)`, `name[key]`")
    return str(refr["Var"]["value"])
