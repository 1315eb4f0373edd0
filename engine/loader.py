"""Turns a document into a plan: every rule of a mission is checked here, and nowhere after.

The way of a document, numbered as in `_Loading.plan`: (1) shape and types, (2) ids, (3) dependencies, (4) order,
(5) references. All stages run, whatever an earlier one found, and everything that is wrong is reported together.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.condition import Condition
from engine.document import Document, parse_document
from engine.errors import StepError
from engine.fields import read_object
from engine.findings import Findings, Path, shown, suggestion
from engine.foreach import ForEachItems
from engine.graph import Cycle, Graph, not_ancestors, resolve_edges
from engine.mission import MissionLimits
from engine.mission_fields import mission_fields, mission_of, step_fields
from engine.plan import Plan
from engine.reference import Reference, Template, lookup, parse
from engine.values import JsonValue


def load_mission(
    data: bytes, *, limits: MissionLimits, step_types: Collection[str], secrets: Collection[str] = ()
) -> Plan:
    """Return the plan of a mission written as YAML or JSON.

    Args:
        data: the document.
        limits: what a mission may ask for.
        step_types: the kinds of steps that there are.
        secrets: the names of secrets that its parameters may refer to. Their values never enter a plan.

    Raises:
        MissionInvalidError: with every violation (at most 64), in the order of the document, each with its line.
    """
    return load_mission_value(parse_document(data, limits), limits=limits, step_types=step_types, secrets=secrets)


def load_mission_value(
    document: Document, *, limits: MissionLimits, step_types: Collection[str], secrets: Collection[str] = ()
) -> Plan:
    """Return the plan of a mission that is already parsed.

    Raises:
        MissionInvalidError: as `load_mission`; lines are missing where the document never was text.
    """
    return _Loading(document, limits, step_types, secrets).plan()


@dataclass(frozen=True, slots=True)
class _AdmissionScope:
    """What is known of values before anything has run."""

    variables: Mapping[str, JsonValue]
    step_outputs: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class _Texts:
    """What is parsed of one step: everything in it that may hold references."""

    at: int
    template: Template | None
    condition: Condition | None
    items: ForEachItems | None

    def uses(self) -> Iterator[tuple[Path, Reference]]:
        """Yield where in the mission something is referred to, and what."""
        for inner, reference in self.template.uses if self.template is not None else ():
            yield ("steps", self.at, "parameters", *inner), reference
        if self.condition is not None:
            yield from self.condition.uses
        if self.items is not None and isinstance(self.items.source, Reference):
            yield ("steps", self.at, "foreach", "items"), self.items.source


class _Loading:
    """One document on its way. Steps are dicts of fields here, and become `MissionStep` when nothing is wrong."""

    def __init__(
        self, document: Document, limits: MissionLimits, step_types: Collection[str], secrets: Collection[str]
    ) -> None:
        self._document = document
        self._limits = limits
        self._secrets = secrets
        self._step_fields = step_fields(limits, step_types)
        self._findings = Findings(document.locate_all)

    def plan(self) -> Plan:
        fields = mission_fields(self._limits, self._read_steps)
        mission = read_object(self._document.value, (), fields, self._findings)  # (1)
        steps: list[dict[str, Any]] = mission.get("steps", [])
        index = self._index(steps)  # (2)
        parents = self._parents(steps, index)  # (3)
        graph = self._graph(steps, index, parents) if parents is not None else None  # (4)
        texts = [self._texts(at, step) for at, step in enumerate(steps)]  # (5)
        self._check_items(texts)
        uses = [tuple(text.uses()) for text in texts]
        self._check_references(texts, uses, graph, index, mission.get("variables", {}))
        self._findings.refuse_if_any()
        if graph is None:
            raise RuntimeError("a mission without findings has a graph")
        return Plan(
            mission=mission_of(mission),
            graph=graph,
            templates=tuple(text.template for text in texts),
            conditions={text.at: text.condition for text in texts if text.condition is not None},
            fan_outs={text.at: text.items for text in texts if text.items is not None},
            references=tuple(tuple(reference for _, reference in of_step) for of_step in uses),
        )

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

    def _texts(self, at: int, step: Mapping[str, Any]) -> _Texts:
        parameters, foreach = step.get("parameters"), step.get("foreach")
        template = None
        if parameters:
            template = parse(
                parameters,
                lambda path, code, message: self._findings.add(("steps", at, "parameters", *path), code, message),
            )
        items = None
        if foreach is not None:
            items = ForEachItems(foreach.get("items", ()), self._limits.items_max, foreach.get("parallel_limit"))
        return _Texts(at, template, step.get("when"), items)

    def _check_items(self, texts: list[_Texts]) -> None:
        """Report items that are known already, and together with the steps are more than a mission may have."""
        items = [text.items.count or 0 for text in texts if text.items is not None]
        total = len(texts) + sum(max(count - 1, 0) for count in items)
        if total > self._limits.steps_max:
            message = f"the mission has {total} steps, each item being one; {self._limits.steps_max} are allowed"
            self._findings.add(("steps",), "mission.too_many_steps", message, kind="limit")

    def _check_references(
        self,
        texts: list[_Texts],
        uses: list[tuple[tuple[Path, Reference], ...]],
        graph: Graph | None,
        index: Mapping[str, int],
        variables: Mapping[str, JsonValue],
    ) -> None:
        """Report references to what does not exist, cannot stand there, or does not come before the step."""
        scope = _AdmissionScope(variables, {})
        pairs: list[tuple[int, int]] = []
        used: list[tuple[Path, Reference]] = []
        for text in texts:
            for path, reference in uses[text.at]:
                if reference.source == "variables":
                    self._check_variable(path, reference, scope)
                elif reference.source == "item":
                    self._check_item(path, reference, in_fan_out=text.items is not None)
                elif reference.source == "secrets":
                    self._check_secret(path, reference)
                elif reference.name in index:
                    pairs.append((text.at, index[reference.name]))
                    used.append((path, reference))
                else:
                    message = f"{reference}: there is no such step{suggestion(reference.name, index)}"
                    self._findings.add(path, "reference.unknown_step", message)
        if graph is not None:
            self._check_order(graph, pairs, used)

    def _check_order(self, graph: Graph, pairs: list[tuple[int, int]], used: list[tuple[Path, Reference]]) -> None:
        """Report the output of a step that may not have ended when it is used."""
        for number in not_ancestors(graph, pairs):
            path, reference = used[number]
            if pairs[number][0] == pairs[number][1]:
                self._findings.add(path, "reference.own_output", f"{reference}: a step cannot use its own output")
                continue
            message = f"{reference}: this step does not wait for '{reference.name}'; add it to depends_on"
            self._findings.add(path, "reference.not_a_dependency", message)

    def _check_item(self, path: Path, reference: Reference, *, in_fan_out: bool) -> None:
        if not _is_parameter(path):
            message = f"{reference}: a condition is asked, and items are looked for, before there is an item"
            self._findings.add(path, "reference.no_item", message)
        elif not in_fan_out:
            self._findings.add(path, "reference.no_item", f"{reference}: only a step with foreach has an item")

    def _check_secret(self, path: Path, reference: Reference) -> None:
        """Report a secret; no near name is suggested, since the names are not the client's."""
        if not _is_parameter(path):
            self._findings.add(path, "reference.not_here", f"{reference}: a secret can only stand in parameters")
        elif reference.name not in self._secrets:
            message = f"{reference}: there is no such secret for this mission"
            self._findings.add(path, "reference.unknown_secret", message)

    def _check_variable(self, path: Path, reference: Reference, scope: _AdmissionScope) -> None:
        try:
            lookup(reference, scope)
        except StepError as error:
            near = "" if reference.name in scope.variables else suggestion(reference.name, scope.variables)
            self._findings.add(path, "reference.unknown_variable", error.message + near)


def _is_parameter(path: Path) -> bool:
    """Return whether `path` leads into the parameters of a step."""
    return path[2] == "parameters"
