"""policy eval: what a bundle decides for one input, evaluated here, in a worker."""

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Exit, Output, fail, print_facts, print_json, said
from gateway.cli.policy.bundles import BundleHomeOption, BundleOption, bundle_path, load_bundle, made
from gateway.cli.policy.inputs import (
    InputOption,
    MissionOption,
    RoleOption,
    UncheckedOption,
    given_input,
    json_text,
)
from gateway.errors import ConfigurationError, WorkerError
from gateway.policy.answer import Status
from gateway.policy.authoring.interpreter import Answer
from gateway.policy.authoring.laboratory import DEADLINE_MS, laboratory
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, rule_of

RULE: Final = re.compile(r"data(?:\.[A-Za-z_][A-Za-z0-9_]*){1,32}")

_PACKAGE: Final = re.compile(r"^package\s+([A-Za-z0-9_.]+)", re.MULTILINE)

EntrypointArgument = Annotated[
    str,
    typer.Argument(
        help="rpc, mission, step or effect; or a rule in full: data.gateway.step.granted.", metavar="ENTRYPOINT"
    ),
]


def evaluate(
    entrypoint: EntrypointArgument,
    *,
    bundle: BundleOption = None,
    source: InputOption = None,
    mission: MissionOption = None,
    role: RoleOption = None,
    home: BundleHomeOption = None,
    unchecked: UncheckedOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what a bundle decides for an input: exit 0 where it is allowed, 3 where it is refused."""
    rule, asked = rule_and_entrypoint(entrypoint, output)
    document = given_input(asked, source, mission, role or [], home, output, checked=not unchecked)
    policy = made(output, lambda: load_bundle(bundle_path(bundle, home)))
    need_rule(policy, rule, output)
    answer = made(output, lambda: asyncio.run(_ask(policy, rule, document)))
    if asked is None:
        _print_value(policy, rule, answer, output)
        return
    decision = answer.decision(asked, bundle=policy.digest)
    if output is Output.JSON:
        print_json({"entrypoint": asked, **decision.document()})
    else:
        print_decision(asked, decision)
    if not decision.allow:
        raise typer.Exit(Exit.REFUSED)


def rule_and_entrypoint(name: str, output: Output) -> tuple[str, Entrypoint | None]:
    """Return the rule that is asked for, and the entrypoint where it is the decision of one."""
    if name in ENTRYPOINTS:
        return rule_of(name), name
    if not RULE.fullmatch(name):
        message = (
            f"{name!r} is none of {', '.join(ENTRYPOINTS)}, and no rule in full, such as data.gateway.step.granted"
        )
        fail(ConfigurationError(message, code="policy.entrypoint"), output)
    return name, next((each for each in ENTRYPOINTS if rule_of(each) == name), None)


def need_rule(bundle: Bundle, name: str, output: Output) -> None:
    """Leave with code 2 where a package is asked for: a value of one is no rule's."""
    packages = {"data." + package for module in bundle.modules for package in _PACKAGE.findall(module.text)}
    if name in packages:
        message = f"{name} is a package; name a rule of it, such as {name}.decision"
        fail(ConfigurationError(message, code="policy.entrypoint"), output)


def print_decision(entrypoint: str, decision: Decision) -> None:
    """Print a decision: the verdict, then each reason with the rule that gave it, then what a yes is tied to."""
    verdict = Text("✓ allowed", "green") if decision.allow else Text("✗ refused", "red")
    OUT.print(Text.assemble(verdict, f"  {entrypoint}"))
    for reason in decision.reasons:
        OUT.print(Text.assemble("  ", said(reason.message), said(f"  [{reason.code}]", "dim")))
        OUT.print(said(f"    {reason.rule}", "dim"))
    facts: dict[str, object] = dict(decision.constraints)
    facts |= {"profile": decision.profile} if decision.profile is not None else {}
    if (demand := decision.require_approval) is not None:
        facts["require_approval"] = f"of a role of {', '.join(demand.approvers)}" if demand.approvers else "true"
    facts |= {"redact": ", ".join(decision.redact)} if decision.redact else {}
    facts |= {f"label {name}": value for name, value in decision.labels.items()}
    print_facts({**facts, "bundle": decision.bundle})


async def _ask(bundle: Bundle, rule: str, document: bytes | None) -> Answer:
    if (value := data_at(bundle, rule)) is not None:
        return Answer(Status.VALUE, value)
    try:
        async with laboratory(bundle.modules, bundle.document) as running:
            return await running.ask(rule, document)
    except WorkerError as error:
        if error.code == "worker.deadline":
            return Answer(Status.FAILED, message=f"it does not end within {DEADLINE_MS} ms")
        if error.code == "worker.crashed":
            return Answer(Status.PANICKED, message="the engine broke")
        raise


def data_at(bundle: Bundle, rule: str) -> Any:
    """Return the data at `data.…`, None where there is none: rules and data never share a path."""
    value: Any = bundle.document
    for key in rule.split(".")[1:]:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _print_value(bundle: Bundle, rule: str, answer: Answer, output: Output) -> None:
    """Print what a rule that is no decision comes to; exit 1 where it is undefined."""
    defined = answer.status is Status.VALUE
    if output is Output.JSON:
        found: dict[str, object] = {"value": answer.value} if defined else {"message": answer.message}
        print_json({"rule": rule, "defined": defined, **found, "bundle": bundle.digest})
    elif defined:
        OUT.print(json_text(answer.value))
    else:
        OUT.print(Text.assemble(("undefined", "yellow"), said(f"  {rule}")))
    if not defined:
        raise typer.Exit(Exit.FAILED)
