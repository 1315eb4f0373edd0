"""Vetting: a bundle is refused at load where regorus would answer something else than OPA.

The rule of the house: an engine agrees with OPA or refuses with an error. What is checked here is why a decision may
be trusted although it came from the smaller engine; docs/adr/0002-rego-engine.md has a measured example of each.
The checks are conservative: some harmless policies are refused, and the message says how to write them instead.

1. Source: characters, nesting (`rego_source`), Rego v1 (`rego_ast`).
2. Names: packages under the bundle's roots, one kind and one default per rule, no rule named as a builtin, no data
   where a rule lives (regorus would let data overrule the policy).
3. Expressions: every rule of `vetting_rules`.
4. Calls and references: no recursion (regorus would end the process on a recursive function).
5. What regorus itself finds when it compiles all files together.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError
from gateway.policy.builtins import ALLOWED
from gateway.policy.engine import ENTRYPOINTS, rule_of
from gateway.policy.rego_ast import Parse, ParsedModule, Path, compile_modules, has_constant_key, parse_module
from gateway.policy.vetting_data import Stored
from gateway.policy.vetting_names import RuleTable, Use
from gateway.policy.vetting_rules import vet_rule

_DECISIONS: Final = frozenset(rule_of(entrypoint) for entrypoint in ENTRYPOINTS)


@dataclass(frozen=True, slots=True)
class Module:
    """One policy file as it lies in the bundle."""

    path: str  # relative to the bundle, with /
    text: str


def vet(
    modules: Sequence[Module],
    *,
    roots: Collection[str],
    data: JsonObject,
    builtins_allowed: frozenset[str] = frozenset(),
    parse: Parse = parse_module,
) -> Sequence[ParsedModule]:
    """Return the modules, parsed, if every one may be loaded.

    Raises:
        PolicyInvalidError: the first thing found, by file; `file` and `line` say where.
    """
    try:
        return _vet([parse(module.path, module.text) for module in modules], roots, data, builtins_allowed)
    except RecursionError as error:
        message = "an expression, or a chain of names, is too deep: give parts of it rules of their own"
        raise PolicyInvalidError(message, code="policy.too_deep") from error


def _vet(
    parsed: Sequence[ParsedModule], roots: Collection[str], data: JsonObject, builtins_allowed: frozenset[str]
) -> Sequence[ParsedModule]:
    kinds = rule_kinds(parsed, ALLOWED | builtins_allowed)
    for module in parsed:
        check_package(module, roots, data, kinds)
        check_imports(module, kinds)
    uses: dict[Path, list[Use]] = defaultdict(list)
    tables = rule_tables(parsed, kinds, ALLOWED | builtins_allowed, data=data)
    for module, table in zip(parsed, tables, strict=True):
        for rule in module.rules:
            uses[(*module.package, rule.name)] += vet_rule(table, rule)
    check_recursion(uses, kinds)
    compile_modules(parsed)
    return parsed


def rule_tables(
    modules: Sequence[ParsedModule],
    kinds: Mapping[Path, str],
    builtins: frozenset[str],
    *,
    tests: Collection[str] = (),
    data: JsonObject | None = None,
) -> list[RuleTable]:
    """Return what names mean in each of these modules, loaded together; `tests` are the paths of test files."""
    packages, arities, stored = frozenset(module.package for module in modules), _arities(modules), Stored([data])
    return [
        RuleTable(module, kinds, arities, packages, builtins, stored, tests=module.path in tests) for module in modules
    ]


def rule_kinds(modules: Sequence[ParsedModule], builtins: frozenset[str]) -> dict[Path, str]:
    """Return the kind of each rule by its full path; a rule has one kind, and one default.

    Raises:
        PolicyInvalidError: `policy.rule_conflict`; `policy.shadows_builtin`, a name is among `builtins`.
    """
    kinds: dict[Path, str] = {}
    defaults: set[Path] = set()
    for module in modules:
        for rule in module.rules:
            path = (*module.package, rule.name)
            if kinds.setdefault(path, rule.kind) != rule.kind:
                message = f"{rule.name} is a {rule.kind} here and a {kinds[path]} elsewhere"
                raise module.refuse(rule.line, "policy.rule_conflict", message)
            if rule.name in builtins | {"input", "data"}:
                raise module.refuse(rule.line, "policy.shadows_builtin", f"{rule.name} is the name of a builtin")
            if rule.kind == "object" and ".".join(path) in _DECISIONS and has_constant_key(rule):
                message = f"regorus does not find {rule.name} by its parts: write one object, `{rule.name} := {{…}}`"
                raise module.refuse(rule.line, "policy.rule_head", message)
            if rule.default and path in defaults:
                raise module.refuse(rule.line, "policy.rule_conflict", f"{rule.name} has two defaults")
            if rule.default:
                defaults.add(path)
    return kinds


def _arities(modules: Sequence[ParsedModule]) -> dict[Path, int]:
    """Return how many arguments each function takes; one number for each."""
    arities: dict[Path, int] = {}
    for module in modules:
        for rule in module.rules:
            if rule.kind == "function":
                head = rule.node if rule.default else rule.node["head"]["Func"]
                path, number = (*module.package, rule.name), len(head["args"])
                if arities.setdefault(path, number) != number:
                    message = f"{rule.name} takes {number} arguments here and {arities[path]} elsewhere"
                    raise module.refuse(rule.line, "policy.arity", message)
    return arities


def check_package(module: ParsedModule, roots: Collection[str], data: JsonObject, kinds: Mapping[Path, str]) -> None:
    """Return if a file's package is where it may be: under the roots, under no rule, and where no data is.

    Raises:
        PolicyInvalidError: `policy.outside_roots`, `policy.rule_conflict`, `policy.data_conflict`.
    """
    name = "/".join(module.package[1:])
    if not any(root in {"", name} or name.startswith(f"{root}/") for root in roots):
        message = f"package {name.replace('/', '.')} is outside the roots of .manifest ({', '.join(roots)})"
        raise module.refuse(1, "policy.outside_roots", message)
    for end in range(2, len(module.package) + 1):
        if module.package[:end] in kinds:
            path = ".".join(module.package[:end])
            raise module.refuse(1, "policy.rule_conflict", f"the package lies under the rule {path}")
    if _has(data, module.package[1:]):
        message = (
            f"data.json has a value at {name}, where this package lives; data would overrule the policy: "
            "name one of them otherwise"
        )
        raise module.refuse(1, "policy.data_conflict", message)


def check_imports(module: ParsedModule, kinds: Mapping[Path, str]) -> None:
    """Return if no import has the name of a rule of its package: OPA takes the import for it, regorus the rule.

    Raises:
        PolicyInvalidError: `policy.import`.
    """
    for alias in module.aliases:
        if (*module.package, alias) in kinds:
            message = f"{alias} is a rule of this package as well: import it under another name, `import … as other`"
            raise module.refuse(1, "policy.import", message)


def _has(data: JsonObject, path: Path) -> bool:
    """Whether data has a value at `path`, or one that is no object on the way to it."""
    value: JsonValue = data
    for key in path:
        if not isinstance(value, Mapping):
            return True
        if key not in value:
            return False
        value = value[key]
    return True


def check_recursion(uses: Mapping[Path, Sequence[Use]], kinds: Mapping[Path, str]) -> None:
    """Return if no rule depends on itself; a reference to a package, or to `data` itself, uses all rules below it.

    Raises:
        PolicyInvalidError: `policy.recursion`, with the cycle.
    """
    targets = {path: [(use, found) for use in used for found in _rules_at(use, kinds)] for path, used in uses.items()}
    done: set[Path] = set()
    for start in uses:
        trail: list[Path] = []
        stack: list[tuple[Path, int]] = [(start, 0)]
        while stack:
            path, at = stack.pop()
            if at == 0:
                if path in done:
                    continue
                trail.append(path)
            edges = targets.get(path, [])
            if at == len(edges):
                done.add(trail.pop())
                continue
            stack.append((path, at + 1))
            use, found = edges[at]
            if found in trail:
                cycle = " → ".join(".".join(p) for p in [*trail[trail.index(found) :], found])
                raise use.module.refuse(use.line, "policy.recursion", f"rules may not depend on themselves: {cycle}")
            stack.append((found, 0))


def _rules_at(use: Use, kinds: Mapping[Path, str]) -> list[Path]:
    """Return the rules that a reference to `use.path` may evaluate."""
    for end in range(2, len(use.path) + 1):
        if use.path[:end] in kinds:
            return [use.path[:end]]
    return [path for path in kinds if path[: len(use.path)] == use.path]
