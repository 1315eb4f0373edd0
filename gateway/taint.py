"""Taint: where a step's data may have come from, computed by the host before anything is decided.

Labels: `client` (the mission's variables), `network` (a step that may make requests), `workspace` (one that may read
files), `command` (one that may run a program, which may read and write every file). What a step may do is what its
kind declares, so a site's own kinds are labelled as the built-in ones are; one that runs a mission gives out whatever
that has found, and has all labels.
Labels flow along the references of parameters, `when` and `foreach`: whether a step runs, and how often, tells of the
data that decided it. A write by a tainted step taints every read of the workspace. Policy reads the labels and never
walks the graph itself. The result is an upper bound: the order of reads and writes is not looked at.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from engine.plan import Plan
from engine.reference import Reference

CLIENT: Final = "client"
COMMAND: Final = "command"
NETWORK: Final = "network"
WORKSPACE: Final = "workspace"

_READS: Final = frozenset({"file.read", "command.run"})  # a command reads all of the workspace
_WRITES: Final = frozenset({"file.write", "command.run"})
_NONE: Final[frozenset[str]] = frozenset()
_CLIENT: Final = frozenset({CLIENT})
_ALL: Final = frozenset({CLIENT, COMMAND, NETWORK, WORKSPACE})
_SOURCES: Final = {
    "approval.request": _NONE,
    "command.run": frozenset({COMMAND, WORKSPACE}),
    "file.read": frozenset({WORKSPACE}),
    "file.write": _NONE,
    "http.request": frozenset({NETWORK}),
    "mission.run": _ALL,  # in a workspace of its own
    "timer.sleep": _NONE,
}  # an effect that is not here may bring anything, and read and write files


def taint_of(plan: Plan, effects: Mapping[str, Collection[str]]) -> tuple[frozenset[str], ...]:
    """Return the labels of each step, by step index.

    One pass in execution order carries labels along references. Items bring none of their own: they are written in the
    mission, or come by the reference of their `foreach`; nor do secrets, whose values no step sees. Writes reach reads
    through the workspace, so the labels that writers hold are given to all readers and the pass repeated until nothing
    grows: at most one pass a label.

    Args:
        plan: the mission, validated.
        effects: by step type, the effects that its kind declares.
    """
    writers = {kind for kind, ops in effects.items() if _may(_WRITES, ops)}
    readers = {kind for kind, ops in effects.items() if _may(_READS, ops)}
    sources = {kind: _union(_SOURCES.get(op, _ALL) for op in ops) for kind, ops in effects.items()}
    workspace = _NONE
    while True:
        labels = _pass(plan, {kind: own | workspace if kind in readers else own for kind, own in sources.items()})
        written = _union(labels[i] for i, step in enumerate(plan.mission.steps) if step.step_type in writers)
        if written <= workspace:
            return labels
        workspace |= written


def brought_to(plan: Plan, labels: Sequence[frozenset[str]], step: int) -> frozenset[str]:
    """Return the labels of what a step is given, without those of its own sources; `labels` are those of `taint_of`."""
    return _union(_brought(reference, labels, plan.graph.index) for reference in plan.references[step])


def _pass(plan: Plan, sources: Mapping[str, frozenset[str]]) -> tuple[frozenset[str], ...]:
    labels: list[frozenset[str]] = [_NONE] * len(plan.mission.steps)
    for level in plan.graph.levels:
        for i in level:
            labels[i] = sources[plan.mission.steps[i].step_type] | brought_to(plan, labels, i)
    return tuple(labels)


def _brought(reference: Reference, labels: Sequence[frozenset[str]], index: Mapping[str, int]) -> frozenset[str]:
    match reference.source:
        case "steps":
            return labels[index[reference.name]]
        case "variables":
            return _CLIENT
        case "item" | "secrets":
            return _NONE


def _may(any_of: Collection[str], ops: Collection[str]) -> bool:
    """Return whether a kind that declares `ops` may do what one of `any_of` does; an unknown effect may do anything."""
    return any(each in any_of or each not in _SOURCES for each in ops)


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return _NONE.union(*sets)
