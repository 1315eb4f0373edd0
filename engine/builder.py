"""Builds a mission for the gateway in Python: references instead of `${…}`, and every rule checked before it is sent.

    m = MissionBuilder("report")
    fetch = m.step("fetch", "http", {"url": "https://example.org/data.json"})
    m.step("save", "create_file", {"path": f"{fetch.output['id']}.txt", "content": fetch.output["body"]})
    data = m.to_yaml()

Text is text: a `${` in it is escaped as `$${`, wherever it comes from, and only a reference made here becomes one. In
an f-string a reference is a marker with a number that nobody outside this builder can know.
"""

import contextlib
import re
import secrets as entropy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import orjson

from engine.builder_values import Condition, Ref, contains_ref
from engine.document import document_of
from engine.dsl.checks import cycle_text
from engine.dsl.errors import DagDefinitionError, Place, place_of_caller, violation
from engine.errors import MissionInvalidError, Violation
from engine.findings import field_name
from engine.graph import Cycle, Graph, resolve_edges
from engine.json_copy import NotJsonError, encode
from engine.loader import load_mission_value
from engine.mission import ForEach, MissionConfig, MissionLimits
from engine.mission_fields import VERSION
from engine.retry import RetryPolicy
from engine.values import JsonObject, JsonValue
from engine.yaml_writer import write_yaml

_MARK: Final = re.compile("\x02ref:([0-9a-f]{32}):([0-9]{1,9})\x03")
_LEFT_OVER: Final = re.compile(rb"\\u0002ref:[0-9a-f]{32}:[0-9]{1,9}\\u0003")  # a mark, as JSON writes it
_STEP_FIELD: Final = re.compile(r"steps\[([0-9]+)\]\.?")


@dataclass(frozen=True, slots=True, eq=False)
class StepHandle:
    """A step of a mission that is being built."""

    owner: "MissionBuilder"
    id: str

    @property
    def output(self) -> Ref:
        """What the step will have given; `["body"][0]` leads into it."""
        return Ref(self.owner, ("steps", self.id, "output"))


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    place: Place
    document: dict[str, JsonValue]


class MissionBuilder:
    """Collects the steps of one mission; used as a context manager, it checks them when the block is left."""

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        config: MissionConfig | None = None,
        limits: MissionLimits | None = None,
    ) -> None:
        self.name = name
        self._head: dict[str, JsonValue] = {"version": VERSION, "name": name}
        if description:
            self._head["description"] = description
        if labels:
            self._head["labels"] = dict(labels)
        if config is not None:
            self._head["config"] = config.document()
        self._limits = limits if limits is not None else MissionLimits()
        self._place = place_of_caller()
        self._variables: dict[str, JsonValue] = {}
        self._variable_places: dict[str, Place] = {}  # by the name of the field
        self._secrets: set[str] = set()
        self._steps: list[_Step] = []
        self._found: list[tuple[Place, Violation]] = []
        self._nonce = entropy.token_hex(16)
        self._marked: list[Ref] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.document()

    # --- what references can name ---

    def variable(self, name: str, value: JsonValue) -> Ref:
        """Add a variable of the mission. Its value is not looked at for references."""
        if name in self._variables:
            self.note(f"variable {name!r}", "mission.duplicate_variable", "there is a variable of that name already")
        if contains_ref(value):
            self.note(f"variable {name!r}", "reference.not_here", "a variable cannot hold a reference")
            value = None
        self._variables[name] = value
        self._variable_places.setdefault(field_name(("variables", name)), place_of_caller())
        return Ref(self, ("variables", name))

    @property
    def item(self) -> Ref:
        """The item that a step with `foreach` is run for."""
        return Ref(self, ("item",))

    def secret(self, name: str) -> Ref:
        """Return the reference to a secret of the gateway; its value never enters the mission."""
        self._secrets.add(name)
        return Ref(self, ("secrets", name))

    # --- steps ---

    def step(
        self,
        step_id: str,
        step_type: str,
        parameters: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        after: Sequence[StepHandle | str] = (),
        when: Condition | None = None,
        foreach: Ref | Sequence[JsonValue] | None = None,
        items_parallel_limit: int | None = None,
        retry: RetryPolicy | None = None,
        timeout_seconds: float | None = None,
        continue_on_error: bool = False,
        idempotent: bool = False,
        profile: str | None = None,
    ) -> StepHandle:
        """Add a step. It depends on `after`, and on every step whose output it mentions.

        Mistakes are told by `document`, with the line of this call.
        """
        converting = _Converting(self, f"step {step_id!r}")
        converted = converting.value(dict(parameters or {}))
        condition = self._condition(when, converting)
        fan_out = converting.items(foreach, items_parallel_limit) if foreach is not None else None
        waits = [self._id(each, step_id) for each in after] + converting.steps
        optional: dict[str, JsonValue] = {
            "depends_on": list(dict.fromkeys(waits)) or None,
            "when": condition,
            "foreach": fan_out.document() if fan_out is not None else None,
            "timeout_seconds": timeout_seconds,
            "continue_on_error": continue_on_error or None,
            "retry": retry.document() if retry is not None else None,
            "idempotent": idempotent or None,
            "profile": profile,
        }
        document: dict[str, JsonValue] = {"id": step_id, "name": name or step_id, "step_type": step_type}
        document |= {key: value for key, value in optional.items() if value is not None}
        document["parameters"] = converted
        self._steps.append(_Step(place_of_caller(), document))
        return StepHandle(self, step_id)

    def _condition(self, when: Condition | None, converting: "_Converting") -> JsonValue:
        if when is None:
            return None
        for ref in when.refs():
            converting.use(ref)
        converting.literal(when.values(), "a condition")
        return when.document()

    def _id(self, step: StepHandle | str, of: str) -> str:
        if isinstance(step, str):
            return step
        if step.owner is not self:
            message = f"the step {step.id!r} is one of another mission"
            self.note(f"step {of!r}", "reference.foreign", message)
        return step.id

    # --- the mission ---

    def document(self) -> JsonObject:
        """Return the mission as the JSON object that the gateway takes.

        Raises:
            DagDefinitionError: with everything that is wrong, by the rules of `engine.load_mission`, each with the file
                and the line of the step.
        """
        value = dict(self._head)
        if self._variables:
            value["variables"] = dict(self._variables)
        value["steps"] = [step.document for step in self._steps]
        found = self._found + self._left_over(value) + self._check(value)
        if found:
            found.sort(key=lambda pair: pair[0])
            raise DagDefinitionError([each for _, each in found], of=f"the mission {self.name!r}")
        return value

    def to_json(self) -> bytes:
        """Return the mission as JSON.

        Raises:
            DagDefinitionError: as `document`.
        """
        return orjson.dumps(self.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def to_yaml(self) -> bytes:
        """Return the mission as YAML; the gateway reads it to the digest that `to_json` has.

        Raises:
            DagDefinitionError: as `document`.
        """
        return write_yaml(self.document())

    def _check(self, value: JsonObject) -> list[tuple[Place, Violation]]:
        """Return what the loader says, said of lines of the program."""
        kinds = {str(step.document["step_type"]) for step in self._steps}
        try:
            document = document_of(value, self._limits)
            load_mission_value(document, limits=self._limits, step_types=kinds, secrets=self._secrets)
        except MissionInvalidError as error:
            return [self._placed(each) for each in error.violations]
        return []

    def _left_over(self, value: JsonObject) -> list[tuple[Place, Violation]]:
        """Return an error where a mark stands in what is no parameter."""
        with contextlib.suppress(NotJsonError):  # that is told with the whole mission
            if _LEFT_OVER.search(encode(value)):
                message = "a reference stands in a name, a label, a description, a variable or a condition"
                return [(self._place, violation(self._place, f"mission {self.name!r}", "reference.not_here", message))]
        return []

    def _placed(self, wrong: Violation) -> tuple[Place, Violation]:
        place, subject, field, message = self._place, f"mission {self.name!r}", wrong.field, wrong.message
        if (in_step := _STEP_FIELD.match(field)) is not None:
            step = self._steps[int(in_step.group(1))]
            place, subject, field = step.place, f"step {step.document['id']!r}", field[in_step.end() :]
        place = self._variable_places.get(field, place)
        if wrong.code == "mission.cycle":
            message = self._cycle() or message
        return place, violation(place, subject, wrong.code, f"{field}: {message}" if field else message)

    def _cycle(self) -> str | None:
        ids = [str(step.document["id"]) for step in self._steps]
        index = {step_id: at for at, step_id in enumerate(ids)}
        waits: list[list[str]] = [step.document.get("depends_on", []) for step in self._steps]  # type: ignore[misc]
        graph = Graph.of(ids, index, resolve_edges(index, waits)[0])
        return (
            cycle_text([(ids[at], self._steps[at].place) for at in graph.steps]) if isinstance(graph, Cycle) else None
        )

    # --- what references ask of their builder ---

    def mark(self, ref: Ref) -> str:
        """Return the text that stands for `ref` inside a string; `step` turns it into the reference."""
        self._marked.append(ref)
        return f"\x02ref:{self._nonce}:{len(self._marked) - 1}\x03"

    def marked(self, nonce: str, number: int) -> Ref | None:
        """Return the reference that a mark stands for, or None where it is no mark of this builder."""
        return self._marked[number] if nonce == self._nonce and number < len(self._marked) else None

    def note(self, subject: str, code: str, message: str) -> None:
        """Report a mistake of the line that is calling; `document` raises it."""
        place = place_of_caller()
        self._found.append((place, violation(place, subject, code, message)))


class _Converting:
    """The way of one step's values into a mission: references become `${…}`, and text is escaped."""

    def __init__(self, owner: MissionBuilder, subject: str) -> None:
        self.steps: list[str] = []  # whose outputs are mentioned
        self._owner = owner
        self._subject = subject

    def use(self, ref: Ref) -> str:
        """Note what a reference depends on; return its text."""
        if ref.owner is not self._owner:
            self._note("reference.foreign", f"{ref!r} is one of another mission")
        elif ref.step is not None:
            self.steps.append(ref.step)
        return ref.text

    def items(self, foreach: Ref | Sequence[JsonValue], parallel_limit: int | None) -> ForEach:
        """Return the fan-out of a step."""
        if isinstance(foreach, Ref):
            return ForEach(items=self.use(foreach), parallel_limit=parallel_limit)
        self.literal(foreach, "an item of foreach")
        return ForEach(items=list(foreach), parallel_limit=parallel_limit)

    def literal(self, value: object, where: str) -> None:
        """Refuse what could be taken for a reference in a place that has no escape for it."""
        if isinstance(value, Mapping):
            self.literal(list(value), where)
            self.literal(list(value.values()), where)
        elif isinstance(value, list | tuple):
            for item in value:
                self.literal(item, where)
        elif isinstance(value, Ref) or (isinstance(value, str) and ("${" in value or _MARK.search(value))):
            self._note("reference.not_here", f"{where} cannot hold a reference, nor the text ${{; use a variable")

    def value(self, value: object) -> JsonValue:
        """Return a parameter's value as it stands in the mission."""
        if isinstance(value, Ref):
            return self.use(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            for key in value:
                if isinstance(key, Ref) or (isinstance(key, str) and ("${" in key or _MARK.search(key))):
                    self._note("reference.syntax", "a key cannot hold a reference, only a value can")
                    return {}
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value  # type: ignore[return-value]  # what is no JSON is refused with the whole mission

    def _text(self, text: str) -> str:
        out: list[str] = []
        done = 0
        for mark in _MARK.finditer(text):
            before = text[done : mark.start()]
            out.append(_escaped(before))
            if before.endswith("$"):
                self._note("reference.syntax", "a $ directly before a reference would escape it; put it in a variable")
            ref = self._owner.marked(mark.group(1), int(mark.group(2)))
            if ref is None:
                self._note("reference.foreign", "the text holds a reference of another mission")
            else:
                out.append(self.use(ref))
            done = mark.end()
        return "".join([*out, _escaped(text[done:])])

    def _note(self, code: str, message: str) -> None:
        self._owner.note(self._subject, code, message)


def _escaped(text: str) -> str:
    return text.replace("${", "$${")
