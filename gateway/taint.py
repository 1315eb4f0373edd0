"""Taint: where a step's data may have come from, computed by the host before anything is decided.

Labels: `client` (the mission's variables), `network` (an http step), `workspace` (files that were there before).
They flow along references; a write by a tainted step taints every later read of the workspace. Policy reads the
labels and never walks the graph itself. The result is an upper bound: a reader that could run after a writer is
taken to read what it wrote.
"""

from collections.abc import Iterable, Mapping

from engine.plan import Plan
from engine.reference import Template

CLIENT = "client"
NETWORK = "network"
WORKSPACE = "workspace"

_SOURCES = {"http": frozenset({NETWORK}), "read_file": frozenset({WORKSPACE})}
_WRITERS = frozenset({"create_file"})
_READERS = frozenset({"read_file"})


def taint_of(plan: Plan) -> tuple[frozenset[str], ...]:
    """Return the labels of each step, by step index.

    One pass in execution order carries labels along references. Writes reach reads through the workspace, so the
    labels that writers hold are given to all readers and the pass repeated until nothing grows: at most one pass
    a label.
    """
    workspace: frozenset[str] = frozenset()
    while True:
        labels = _pass(plan, workspace)
        written = _union(labels[i] for i, step in enumerate(plan.mission.steps) if step.step_type in _WRITERS)
        if written <= workspace:
            return labels
        workspace |= written


def _pass(plan: Plan, workspace: frozenset[str]) -> tuple[frozenset[str], ...]:
    index = plan.graph.index
    labels: list[frozenset[str]] = [frozenset()] * len(plan.mission.steps)
    for level in plan.graph.levels:
        for i in level:
            step = plan.mission.steps[i]
            own = _SOURCES.get(step.step_type, frozenset())
            if step.step_type in _READERS:
                own |= workspace
            template = plan.templates[i]
            if template is not None:
                own |= _referenced(template, labels, index)
            labels[i] = own
    return tuple(labels)


def _referenced(template: Template, labels: list[frozenset[str]], index: Mapping[str, int]) -> frozenset[str]:
    return _union(
        labels[index[reference.name]] if reference.source == "steps" else frozenset({CLIENT})
        for reference in template.references
    )


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
