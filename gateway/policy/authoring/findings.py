"""All that is wrong with a bundle, and not only the first thing: what `serve` refuses, and what it would not notice.

The word of `Bundle` is what counts: a bundle that it accepts has no error here. Where it refuses, every file and every
rule is looked at on its own, with the checks that it uses, so that an author sees all of them at once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.errors import PolicyInvalidError
from gateway.policy.authoring.advice import advice
from gateway.policy.authoring.reach import unreachable, unused_imports
from gateway.policy.authoring.sources import Sources
from gateway.policy.builtins import ALLOWED
from gateway.policy.bundle import Bundle
from gateway.policy.rego_ast import Parse, ParsedModule, Path, parse_module
from gateway.policy.vetting import Module, rule_tables
from gateway.policy.vetting_rules import vet_rule

FINDINGS_MAX: Final = 200
Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, or odd."""

    file: str
    line: int | None
    code: str
    message: str  # without the place
    severity: Severity = "error"
    source: str = ""  # the line itself
    instead: str = ""  # what to write in its place; "" where the message says it

    def document(self) -> dict[str, object]:
        """Return the finding as JSON."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "field": self.file,
            "line": self.line,
            "source": self.source,
            "instead": self.instead,
        }


def check(
    sources: Sources, load: Callable[[], Bundle], parse: Parse = parse_module
) -> tuple[Bundle | None, tuple[Finding, ...]]:
    """Return the bundle, if it is accepted, and what there is to say of its sources.

    Args:
        sources: all files of it.
        load: makes the bundle of them, and raises PolicyInvalidError where it is refused.
        parse: reads one file.
    """
    found: set[Finding] = set()
    bundle = None
    try:
        bundle = load()
    except PolicyInvalidError as error:
        found.add(finding_of(error, sources))
        found |= {finding_of(each, sources) for each in _all(sources, parse)}
    parsed = list(_parsed(sources.modules, parse))
    if bundle is not None:
        found |= {_warning(each, sources) for each in (*unreachable(parsed), *unused_imports(parsed))}
    return bundle, tuple(sorted(found, key=_place)[:FINDINGS_MAX])


def finding_of(error: PolicyInvalidError, sources: Sources, severity: Severity = "error") -> Finding:
    """Return a refusal as a finding."""
    where = f"{error.file}:{error.line}: " if error.line is not None else (f"{error.file}: " if error.file else "")
    return Finding(
        file=error.file,
        line=error.line,
        code=error.code,
        message=error.message.removeprefix(where),
        severity=severity,
        source=sources.line(error.file, error.line),
        instead=advice(error.code),
    )


def _warning(error: PolicyInvalidError, sources: Sources) -> Finding:
    return finding_of(error, sources, "warning")


def _place(finding: Finding) -> tuple[bool, str, int, str]:
    return (finding.severity == "warning", finding.file, finding.line or 0, finding.code)


def _all(sources: Sources, parse: Parse) -> Iterator[PolicyInvalidError]:
    """Yield what is wrong with each file and each rule; a rule has one finding, since what follows may come of it."""
    parsed: list[ParsedModule] = []
    for module in sources.modules:
        try:
            parsed.append(parse(module.path, module.text))
        except PolicyInvalidError as error:
            yield error
    whole = len(parsed) == len(sources.modules)
    kinds: dict[Path, str] = {}
    for each in parsed:
        for rule in each.rules:
            kinds.setdefault((*each.package, rule.name), rule.kind)
    for each, table in zip(parsed, rule_tables(parsed, kinds, ALLOWED), strict=True):
        for rule in each.rules:
            try:
                vet_rule(table, rule)
            except PolicyInvalidError as error:
                if whole or error.code not in _DEPENDENT:
                    yield error


_DEPENDENT: Final = frozenset({"policy.undeclared", "policy.builtin"})
"""Refusals that a file with broken syntax may be the cause of, since its rules are not known."""


def _parsed(modules: Iterable[Module], parse: Parse) -> Iterator[ParsedModule]:
    for module in modules:
        try:
            yield parse(module.path, module.text)
        except PolicyInvalidError:
            continue
