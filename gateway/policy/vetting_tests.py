"""Vetting of test files: the rules for policies, and `with`, as far as regorus and OPA say the same of it.

A test may replace the input and data. It may not replace rules, functions or builtins: regorus does not replace a
function that is named in full, takes no name of a rule beside it, and refuses no replacement of a package
(docs/adr/0026-authoring.md has what was measured). Nor may it add to a rule of the policy: what is tested would not be
what decides.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from engine.values import JsonObject
from gateway.errors import PolicyInvalidError
from gateway.policy.builtins import ALLOWED
from gateway.policy.rego_ast import Parse, ParsedModule, Path, Rule, compile_modules, parse_module
from gateway.policy.vetting import Module, check_package, check_recursion, rule_kinds, rule_tables
from gateway.policy.vetting_names import Use
from gateway.policy.vetting_rules import vet_rule

TEST_PREFIX: Final = "test_"
SKIPPED_PREFIX: Final = "todo_test_"
FOR_TESTS: Final = frozenset({"json.remove"})
"""Builtins that tests may call beside those of policies: with constant paths both engines answer the same."""


def vet_tests(
    modules: Sequence[Module],
    tests: Sequence[Module],
    data: JsonObject,
    roots: Sequence[str],
    *,
    builtins_allowed: frozenset[str] = frozenset(),
    parse: Parse = parse_module,
) -> tuple[PolicyInvalidError, ...]:
    """Return what is wrong with tests: at most one finding a rule.

    Args:
        modules: the policy's files, which were vetted.
        tests: the tests' files.
        data: the bundle's data.
        roots: the bundle's roots.
        builtins_allowed: as for `vet`.
        parse: likewise.
    """
    parsed: list[ParsedModule] = []
    wrong: list[PolicyInvalidError] = []
    for module in tests:
        try:
            parsed.append(parse(module.path, module.text))
        except PolicyInvalidError as error:
            wrong.append(error)
    policy = [parse(module.path, module.text) for module in modules]
    try:
        _vet_together(policy, parsed, roots, data, ALLOWED | FOR_TESTS | builtins_allowed, wrong)
    except PolicyInvalidError as error:
        wrong.append(error)
    return tuple(wrong)


def _vet_together(
    policy: list[ParsedModule],
    tests: list[ParsedModule],
    roots: Sequence[str],
    data: JsonObject,
    builtins: frozenset[str],
    wrong: list[PolicyInvalidError],
) -> None:
    """Vet parsed tests beside their policy; findings go into `wrong`.

    Raises:
        PolicyInvalidError: what concerns no rule alone.
    """
    kinds = rule_kinds([*policy, *tests], frozenset())  # names of builtins: `_check_name`
    owned = {(*module.package, rule.name) for module in policy for rule in module.rules}
    uses: dict[Path, list[Use]] = defaultdict(list)
    for module in tests:
        check_package(module, roots, data, kinds)
    together = [*policy, *tests]
    tables = rule_tables(together, kinds, builtins, tests={module.path for module in tests})
    for module, table in zip(together, tables, strict=True):
        for rule in module.rules:
            try:
                if table.tests:
                    _check_name(module, rule, owned, builtins)
                uses[(*module.package, rule.name)] += vet_rule(table, rule)
            except PolicyInvalidError as error:
                wrong.append(error)
    if not wrong:
        check_recursion(uses, kinds)
        compile_modules([*policy, *tests])


def _check_name(module: ParsedModule, rule: Rule, owned: set[Path], builtins: frozenset[str]) -> None:
    called = rule.kind == "function" or f"{rule.name}(" in module.text
    if rule.name in {"input", "data"} or (rule.name in builtins and called):
        raise module.refuse(rule.line, "policy.shadows_builtin", f"{rule.name} is the name of a builtin")
    if (*module.package, rule.name) in owned:
        message = f"{rule.name} is a rule of the policy: a test that adds to it does not test what decides"
        raise module.refuse(rule.line, "policy.test_overrides", message)
    if is_test(rule.name) and (rule.kind != "value" or rule.default):
        message = (
            f"{rule.name} is a {'default' if rule.default else rule.kind}: a test is a plain rule, `{rule.name} if …`"
        )
        raise module.refuse(rule.line, "policy.test_kind", message)


def is_test(name: str) -> bool:
    """Whether a rule of that name is a test, skipped or not."""
    return name.startswith((TEST_PREFIX, SKIPPED_PREFIX))


def test_rules(modules: Sequence[ParsedModule]) -> Iterator[tuple[ParsedModule, Rule]]:
    """Yield every test, by file and line."""
    for module in modules:
        yield from ((module, rule) for rule in module.rules if is_test(rule.name))
