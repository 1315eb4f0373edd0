"""The tests of a bundle: found as OPA finds them, vetted, laid out for coverage, and each with a rule of its own.

OPA runs each definition of a test as a test, `test_x` and `test_x#01`; regorus knows one rule of a name. So definitions
after the first get names of their own in what regorus is given.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.errors import PolicyInvalidError
from gateway.policy.authoring.imports import written_out
from gateway.policy.authoring.layout import Layout, lay_out
from gateway.policy.authoring.operands import hoisted
from gateway.policy.authoring.sources import Sources
from gateway.policy.bundle import Bundle
from gateway.policy.rego_ast import Parse, ParsedModule, parse_module
from gateway.policy.vetting import Module
from gateway.policy.vetting_tests import SKIPPED_PREFIX, test_rules, vet_tests

TESTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCase:
    """One test."""

    __test__ = False  # of pytest

    file: str
    row: int
    column: int
    package: str  # data.gateway.step_test
    name: str  # as OPA names it: test_x, test_x#01
    rule: str  # what to evaluate, in full
    skipped: bool  # by its prefix

    @property
    def full_name(self) -> str:
        """What `--run` is matched with."""
        return f"{self.package}.{self.name}"


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of a bundle, and the files to run them in."""

    cases: tuple[TestCase, ...]  # by file and row
    modules: tuple[Module, ...]  # all files, laid out
    layouts: Mapping[str, Layout]


def read_suite(
    sources: Sources, bundle: Bundle, parse: Parse = parse_module
) -> tuple[Suite, tuple[PolicyInvalidError, ...]]:
    """Return the tests of a vetted bundle, and what vetting refuses of them; with any of that none should be run.

    Raises:
        PolicyInvalidError: `policy.too_large`, over TESTS_MAX tests.
    """
    tests: list[ParsedModule] = []
    wrong: list[PolicyInvalidError] = []
    for module in sources.tests:
        try:
            tests.append(parse(module.path, module.text))
        except PolicyInvalidError as error:
            wrong.append(error)
    policy = [parse(module.path, module.text) for module in bundle.modules]
    cases, renamed = _cases([*policy, *tests], parse)
    if len(cases) > TESTS_MAX:
        raise PolicyInvalidError(f"more than {TESTS_MAX} tests", code="policy.too_large", file=cases[0].file)
    layouts = {module.path: lay_out(module) for module in renamed}
    owned = {module.path for module in policy}
    modules = tuple(_module(path, layout, parse, policy=path in owned) for path, layout in layouts.items())
    given = [module for module in modules if module.path not in owned]
    vetted = vet_tests(bundle.modules, given, bundle.document, bundle.roots, parse=parse)
    wrong += (_placed(error, layouts) for error in vetted)
    if wrong:
        return Suite((), (), {}), tuple(wrong)
    return Suite(tuple(sorted(cases, key=lambda case: (case.file, case.row, case.column))), modules, layouts), ()


def _module(path: str, layout: Layout, parse: Parse, *, policy: bool) -> Module:
    """Return what regorus is given for a file: policy as it is, tests so that it understands them as OPA does."""
    module = Module(path, layout.text)
    return module if policy else written_out(hoisted(module, parse), parse)


def _placed(error: PolicyInvalidError, layouts: Mapping[str, Layout]) -> PolicyInvalidError:
    """Return a refusal of what regorus is given as one of the author's file."""
    if error.line is None or error.file not in layouts:
        return error
    message = error.message.removeprefix(f"{error.file}:{error.line}: ")
    return PolicyInvalidError(message, code=error.code, file=error.file, line=layouts[error.file].row(error.line))


def matching(cases: tuple[TestCase, ...], pattern: str) -> tuple[TestCase, ...]:
    """Return the tests whose full name a pattern is found in; all where it is empty.

    Raises:
        re.error: it is no regular expression.
    """
    if not pattern:
        return cases
    compiled = re.compile(pattern)
    return tuple(case for case in cases if compiled.search(case.full_name))


def _cases(modules: list[ParsedModule], parse: Parse) -> tuple[list[TestCase], list[ParsedModule]]:
    """Return the tests, and the files in which each has a name of its own."""
    cases: list[TestCase] = []
    seen: dict[str, int] = {}
    renames: dict[str, list[tuple[int, int, str]]] = {module.path: [] for module in modules}
    for module, rule in test_rules(modules):
        if rule.kind != "value" or rule.default:
            continue  # vetting refuses it
        package = ".".join(module.package)
        count = seen[f"{package}.{rule.name}"] = seen.get(f"{package}.{rule.name}", -1) + 1
        name, own = rule.name, rule.name
        if count:
            name, own = f"{rule.name}#{count:02}", f"{rule.name}__definition_{count}"
            start, end = _name_span(rule.node)
            renames[module.path].append((start, end, own))
        start = _name_span(rule.node)[0]
        before = module.text.encode()[:start]
        cases.append(
            TestCase(
                file=module.path,
                row=rule.line,
                column=len(before[before.rfind(b"\n") + 1 :].decode()) + 1,
                package=package,
                name=name,
                rule=f"{package}.{own}",
                skipped=rule.name.startswith(SKIPPED_PREFIX),
            )
        )
    return cases, [_renamed(module, renames[module.path], parse) for module in modules]


def _name_span(node: dict[str, object]) -> tuple[int, int]:
    ((_, head),) = node["head"].items()  # type: ignore[attr-defined]
    span = head["refr"]["Var"]["span"]
    return span["start"], span["end"]


def _renamed(module: ParsedModule, renames: list[tuple[int, int, str]], parse: Parse) -> ParsedModule:
    if not renames:
        return module
    raw = bytearray(module.text.encode())
    for start, end, name in sorted(renames, reverse=True):
        raw[start:end] = name.encode()
    return parse(module.path, raw.decode())
