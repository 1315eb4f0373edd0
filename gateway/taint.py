"""Taint: where a step's data may have come from, computed by the host before anything is decided.

Labels: `client` (the mission's variables), `network` (a step that may make requests), `workspace` (one that may read
files). What a step may do is what its kind declares, so a site's own kinds are labelled as the built-in ones are.
Labels flow along references; a write by a tainted step taints every read of the workspace. Policy reads the labels
and never walks the graph itself. The result is an upper bound: the order of reads and writes is not looked at.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from engine.plan import Plan
from engine.reference import Template

CLIENT: Final = "client"
NETWORK: Final = "network"
WORKSPACE: Final = "workspace"

_READ: Final = "file.read"
_WRITE: Final = "file.write"
_SOURCES: Final = {"http.request": frozenset({NETWORK}), _READ: frozenset({WORKSPACE})}
_NONE: Final[frozenset[str]] = frozenset()


def taint_of(plan: Plan, effects: Mapping[str, Collection[str]]) -> tuple[frozenset[str], ...]:
    """Return the labels of each step, by step index.

    One pass in execution order carries labels along references. Writes reach reads through the workspace, so the
    labels that writers hold are given to all readers and the pass repeated until nothing grows: at most one pass
    a label.

    Args:
        plan: the mission, validated.
        effects: by step type, the effects that its kind declares.
    """
    writers = {kind for kind, ops in effects.items() if _WRITE in ops}
    readers = {kind for kind, ops in effects.items() if _READ in ops}
    sources = {kind: _union(_SOURCES.get(op, _NONE) for op in ops) for kind, ops in effects.items()}
    workspace = _NONE
    while True:
        labels = _pass(plan, {kind: own | workspace if kind in readers else own for kind, own in sources.items()})
        written = _union(labels[i] for i, step in enumerate(plan.mission.steps) if step.step_type in writers)
        if written <= workspace:
            return labels
        workspace |= written


def _pass(plan: Plan, sources: Mapping[str, frozenset[str]]) -> tuple[frozenset[str], ...]:
    index = plan.graph.index
    labels: list[frozenset[str]] = [_NONE] * len(plan.mission.steps)
    for level in plan.graph.levels:
        for i in level:
            own = sources[plan.mission.steps[i].step_type]
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
    return _NONE.union(*sets)
