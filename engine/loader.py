"""Turns a document into a plan: every rule of a mission is checked here, and nowhere after.

The way of a document, numbered as in `_Loading.plan`: (1) shape and types, (2) ids, (3) dependencies, (4) order,
(5) references. All stages run, whatever an earlier one found, and everything that is wrong is reported together.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from engine import fields
from engine.document import Document, parse_document
from engine.errors import StepError
from engine.fields import Field, read_object
from engine.findings import Findings, Path, shown, suggestion
from engine.graph import Cycle, Graph, not_ancestors, resolve_edges
from engine.mission import Mission, MissionConfig, MissionLimits, MissionStep
from engine.plan import Plan
from engine.reference import Reference, Template, lookup, parse
from engine.values import JsonValue

VERSION = "1.0"


def load_mission(data: bytes, *, limits: MissionLimits, step_types: Collection[str]) -> Plan:
    """Return the plan of a mission written as YAML or JSON.

    Raises:
        MissionInvalidError: with every violation (at most 64), in the order of the document, each with its line.
    """
    return load_mission_value(parse_document(data, limits), limits=limits, step_types=step_types)


def load_mission_value(document: Document, *, limits: MissionLimits, step_types: Collection[str]) -> Plan:
    """Return the plan of a mission that is already parsed.

    Raises:
        MissionInvalidError: as `load_mission`; lines are missing where the document never was text.
    """
    return _Loading(document, limits, step_types).plan()


def _mission_fields(limits: MissionLimits, steps: fields.Reader) -> Mapping[str, Field]:
    version = fields.exactly(VERSION, "mission.bad_version", f'the version must be the string "{VERSION}", in quotes')
    config = _config_fields(limits)
    return {
        "version": Field(version, required=True),
        "name": Field(fields.text(limits.text_bytes_max), required=True),
        "description": Field(fields.text(limits.text_bytes_max, may_be_empty=True)),
        "labels": Field(fields.labels(limits.labels_max, limits.text_bytes_max)),
        "config": Field(lambda value, path, findings: read_object(value, path, config, findings)),
        "variables": Field(fields.variables),
        "steps": Field(steps, required=True),
    }


def _config_fields(limits: MissionLimits) -> Mapping[str, Field]:
    strategy = fields.exactly("parallel", "mission.not_supported", "only the strategy 'parallel' is supported")
    return {
        "timeout_seconds": Field(fields.seconds(limits.mission_timeout_seconds_max)),
        "fail_fast": Field(fields.boolean),
        "parallel_limit": Field(fields.count(limits.parallel_limit_max)),
        "strategy": Field(strategy),
        "priority": Field(fields.unsupported),
        "concurrency_key": Field(fields.unsupported),
    }


def _step_fields(limits: MissionLimits, step_types: Collection[str]) -> Mapping[str, Field]:
    return {
        "id": Field(fields.identifier, required=True),
        "name": Field(fields.text(limits.text_bytes_max), required=True),
        "step_type": Field(fields.step_type(step_types), required=True),
        "depends_on": Field(fields.names),
        "timeout_seconds": Field(fields.seconds(limits.step_timeout_seconds_max)),
        "continue_on_error": Field(fields.boolean),
        "profile": Field(fields.identifier),
        "parameters": Field(fields.json_object, required=True),
        "when": Field(fields.unsupported),
        "foreach": Field(fields.unsupported),
        "retry": Field(fields.unsupported),
    }


@dataclass(frozen=True, slots=True)
class _AdmissionScope:
    """What is known of values before anything has run."""

    variables: Mapping[str, JsonValue]
    step_outputs: Mapping[str, JsonValue]


class _Loading:
    """One document on its way. Steps are dicts of fields here, and become `MissionStep` when nothing is wrong."""

    def __init__(self, document: Document, limits: MissionLimits, step_types: Collection[str]) -> None:
        self._document = document
        self._limits = limits
        self._step_fields = _step_fields(limits, step_types)
        self._findings = Findings(document.locate_all)

    def plan(self) -> Plan:
        mission_fields = _mission_fields(self._limits, self._read_steps)
        mission = read_object(self._document.value, (), mission_fields, self._findings)  # (1)
        steps: list[dict[str, Any]] = mission.get("steps", [])
        index = self._index(steps)  # (2)
        parents = self._parents(steps, index)  # (3)
        graph = self._graph(steps, index, parents) if parents is not None else None  # (4)
        templates = [self._template(at, step) for at, step in enumerate(steps)]  # (5)
        self._check_references(templates, graph, index, mission.get("variables", {}))
        self._findings.refuse_if_any()
        if graph is None:
            raise RuntimeError("a mission without findings has a graph")
        return Plan(mission=_mission(mission), graph=graph, templates=tuple(templates))

    def _read_steps(self, value: JsonValue, path: Path, findings: Findings) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            findings.add(path, "mission.wrong_type", "a list of steps is expected here")
            return []
        if not value:
            findings.add(path, "mission.no_steps", "a mission has at least one step")
        if len(value) > self._limits.steps_max:
            message = f"the mission has {len(value)} steps; {self._limits.steps_max} are allowed"
            findings.add(path, "mission.too_many_steps", message, kind="limit")
            return []
        return [read_object(item, (*path, at), self._step_fields, findings) for at, item in enumerate(value)]

    def _index(self, steps: list[dict[str, Any]]) -> dict[str, int]:
        """Return where each id stands; of two steps with one id, the first."""
        index: dict[str, int] = {}
        for at, step in enumerate(steps):
            step_id = step.get("id")
            if step_id is None:
                continue
            first = index.setdefault(step_id, at)
            if first != at:
                message = f"the id '{shown(step_id)}' is that of steps[{first}] already"
                self._findings.add(("steps", at, "id"), "mission.duplicate_id", message)
        return index

    def _parents(self, steps: list[dict[str, Any]], index: Mapping[str, int]) -> list[tuple[int, ...]] | None:
        """Return what each step waits for, or None where that is more than is looked at."""
        depends_on: list[tuple[str, ...]] = [step.get("depends_on", ()) for step in steps]
        edges = sum(map(len, depends_on))
        if edges > self._limits.edges_max:
            message = f"the steps have {edges} dependencies; {self._limits.edges_max} are allowed"
            self._findings.add(("steps",), "mission.too_many_edges", message, kind="limit")
            return None
        parents, faults = resolve_edges(index, depends_on)
        for fault in faults:
            near = ""
            if fault.code == "mission.unknown_dependency":
                near = suggestion(depends_on[fault.step][fault.entry], index)
            path = ("steps", fault.step, "depends_on", fault.entry)
            self._findings.add(path, fault.code, fault.message + near)
        return parents

    def _graph(
        self, steps: list[dict[str, Any]], index: Mapping[str, int], parents: list[tuple[int, ...]]
    ) -> Graph | None:
        ids = [step.get("id") or f"steps[{at}]" for at, step in enumerate(steps)]
        graph = Graph.of(ids, index, parents)
        if isinstance(graph, Graph):
            return graph
        self._report_cycle(graph, ids, steps)
        return None

    def _report_cycle(self, cycle: Cycle, ids: list[str], steps: list[dict[str, Any]]) -> None:
        first, following = cycle.steps[:2]
        entry = steps[first]["depends_on"].index(ids[following])
        path = ("steps", first, "depends_on")
        self._findings.add(path, "mission.cycle", cycle.describe(ids), at=(*path, entry))

    def _template(self, at: int, step: Mapping[str, Any]) -> Template | None:
        parameters = step.get("parameters")
        if not parameters:
            return None
        return parse(
            parameters,
            lambda path, code, message: self._findings.add(("steps", at, "parameters", *path), code, message),
        )

    def _check_references(
        self,
        templates: list[Template | None],
        graph: Graph | None,
        index: Mapping[str, int],
        variables: Mapping[str, JsonValue],
    ) -> None:
        """Report references to what does not exist, or does not come before the step that uses it."""
        scope = _AdmissionScope(variables, {})
        pairs: list[tuple[int, int]] = []
        used: list[tuple[Path, Reference]] = []
        for at, template in enumerate(templates):
            for inner, reference in template.uses if template is not None else ():
                path: Path = ("steps", at, "parameters", *inner)
                if reference.source == "variables":
                    self._check_variable(path, reference, scope)
                elif reference.name in index:
                    pairs.append((at, index[reference.name]))
                    used.append((path, reference))
                else:
                    message = f"{reference}: there is no such step{suggestion(reference.name, index)}"
                    self._findings.add(path, "reference.unknown_step", message)
        if graph is None:
            return
        for number in not_ancestors(graph, pairs):
            path, reference = used[number]
            message = f"{reference}: this step does not wait for '{reference.name}'; add it to depends_on"
            if pairs[number][0] == pairs[number][1]:
                message = f"{reference}: a step cannot use its own output"
            self._findings.add(path, "reference.not_a_dependency", message)

    def _check_variable(self, path: Path, reference: Reference, scope: _AdmissionScope) -> None:
        try:
            lookup(reference, scope)
        except StepError as error:
            near = "" if reference.name in scope.variables else suggestion(reference.name, scope.variables)
            self._findings.add(path, "reference.unknown_variable", error.message + near)


def _mission(members: dict[str, Any]) -> Mission:
    config = members.pop("config", {})
    config.pop("strategy", None)
    steps = tuple(MissionStep(**step) for step in members.pop("steps"))
    return Mission(**members, config=MissionConfig(**config), steps=steps)
