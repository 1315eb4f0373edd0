"""A Dag as text for people: its levels, or its graph for Mermaid."""

from collections.abc import Sequence

from engine.dsl.node import Definition, VariableDefinition
from engine.dsl.sources import type_name
from engine.plan import Plan


def described(plan: Plan, definitions: Sequence[Definition], variables: Sequence[VariableDefinition]) -> str:
    """Return the levels, one node a line, each with what it waits for and how it is run."""
    nodes, levels = len(definitions), len(plan.graph.levels)
    config = plan.mission.config
    size = f"{_counted(nodes, 'node')} in {_counted(levels, 'level')}"
    lines = [f"{plan.mission.name}: {size}, {config.strategy.value}, at most {config.parallel_limit} at a time"]
    if variables:
        lines.append("variables: " + ", ".join(map(_variable, variables)))
    width = max(len(definition.name) for definition in definitions)
    level_width = len(str(levels))
    for number, level in enumerate(plan.graph.levels, 1):
        for place, step in enumerate(level):
            label = str(number) if place == 0 else ""
            definition = definitions[step]
            after = ", ".join(definition.depends_on())
            parts = [f"← {after}"] if after else []
            parts += _options(definition)
            lines.append(f"  {label:>{level_width}}  {definition.name:<{width}}  {'  '.join(parts)}".rstrip())
    return "\n".join(lines)


def mermaid(plan: Plan) -> str:
    """Return the graph as a Mermaid flowchart."""
    lines = ["flowchart TD"]
    lines += [f'    n{at}["{step_id}"]' for at, step_id in enumerate(plan.graph.ids)]
    for at, row in enumerate(plan.graph.parents):
        lines += [f"    n{parent} --> n{at}" for parent in row]
    return "\n".join(lines)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _variable(variable: VariableDefinition) -> str:
    default = "" if variable.required else f" = {variable.default!r}"
    return f"{variable.name}: {type_name(variable.expected)}{default}"


def _options(definition: Definition) -> list[str]:
    options: list[str] = []
    if definition.foreach is not None:
        limit = definition.items_parallel_limit
        options.append("for each item" + (f", {limit} at a time" if limit is not None else ""))
    if definition.when is not None:
        options.append("conditional")
    if definition.retry is not None:
        options.append(f"up to {definition.retry.max_attempts} attempts")
    if definition.timeout_seconds is not None:
        options.append(f"within {definition.timeout_seconds:g} s")
    if definition.continue_on_error:
        options.append("may fail")
    if definition.thread:
        options.append("in a thread")
    return [f"[{', '.join(options)}]"] if options else []
