"""How an explanation looks: the reasons and their rules, what `allow` needs and lacks, and what would be allowed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from gateway.cli.output import OUT, counted, said

_SOURCE_LINES_MAX: Final = 16
_VALUE_CHARS_MAX: Final = 160
_OTHERS_MAX: Final = 6
_TARGETS: Final = {
    "input": "another input",
    "data": "other data, in data.json",
    "both": "another input and other data",
}


def print_explanation(told: Mapping[str, Any]) -> None:
    """Print the document of an explanation."""
    decision = told["decision"]
    verdict = Text("✓ allowed", "green") if decision["allow"] else Text("✗ refused", "red")
    OUT.print(Text.assemble(verdict, f"  {told['entrypoint']}"))
    shown: set[tuple[str, int | None]] = set()
    for reason in told["reasons"]:
        place = (reason["file"], reason["line"])
        _print_reason(reason, whole=place not in shown)
        shown.add(place)
    if told["needs"] is not None:
        OUT.print()
        OUT.print(Text("what it needs, and lacks", "bold"))
        _print_rule(told["needs"], "")
    if not decision["allow"]:
        OUT.print()
        _print_flips(told["would_be_allowed"])
    if not told["complete"]:
        OUT.print("not everything was looked at: the time, or the number of evaluations, is limited", style="dim")
    OUT.print(said(f"bundle {decision['bundle']}", "dim"))


def _print_reason(reason: Mapping[str, Any], *, whole: bool) -> None:
    """Print a reason, and the rule that gave it, if no reason before had the same."""
    if whole:
        OUT.print()
    OUT.print(Text.assemble(said(reason["message"]), said(f"  [{reason['code']}]", "dim")))
    if not reason["file"]:
        OUT.print(said(f"  {reason['rule']}", "dim"))
        return
    OUT.print(said(f"  {reason['file']}:{reason['line']}  {reason['rule']}", "dim"))
    if not whole:
        return
    lines = reason["source"].expandtabs(4).split("\n")
    for number, line in enumerate(lines[:_SOURCE_LINES_MAX], start=reason["line"]):
        OUT.print(Text.assemble((f"  {number:>4} │ ", "dim"), said(line)))
    if len(lines) > _SOURCE_LINES_MAX:
        OUT.print(f"       │ and {counted(len(lines) - _SOURCE_LINES_MAX, 'more line')}", style="dim")


def _print_rule(rule: Mapping[str, Any], indent: str) -> None:
    """Print a rule, and the definitions of it that came furthest; the others in one line."""
    name = rule["rule"].removeprefix("data.")
    if arguments := rule.get("arguments"):
        name += f"({', '.join(f'{key}: {_short(value)}' for key, value in arguments.items())})"
    state = rule["state"] + (" by default" if rule["default"] and rule["state"] != "undefined" else "")
    line = Text.assemble(indent, said(name, "bold"))
    OUT.print(line if "arguments" in rule else line.append(f"  {state}", "yellow"))
    definitions = rule["definitions"]
    most = max((each["held"] for each in definitions), default=0)
    others = [each for each in definitions if each["held"] < most]
    for definition in definitions:
        if definition["held"] == most:
            _print_definition(definition, indent)
    if others:
        places = ", ".join(f"{each['line']}" for each in others[:_OTHERS_MAX])
        OUT.print(said(f"{indent}  other definitions fail sooner: {others[0]['file']}:{places}", "dim"))


def _print_definition(definition: Mapping[str, Any], indent: str) -> None:
    OUT.print(Text.assemble(f"{indent}  ", said(f"{definition['file']}:{definition['line']}", "dim")))
    failing = definition["fails"]
    if failing is None:
        if "value" in definition:
            OUT.print(
                Text.assemble(f"{indent}  ", ("✗ ", "red"), said(_one_line(definition["value"])), " gives nothing")
            )
            _print_values(definition["values"], indent)
        return
    while failing is not None:
        mark = Text.assemble(f"{indent}  ", ("✗ ", "red"), said(f"{failing['line']}: ", "dim"))
        OUT.print(mark.append_text(said(_one_line(failing["source"]))))
        if "element" in failing:
            element = failing["element"]
            OUT.print(said(f"{indent}      for {element['name']} = {_short(element['value'])}", "cyan"))
        else:
            _print_values(failing["values"], indent)
        for need in failing["needs"]:
            _print_rule(need, indent + "    ")
        failing, indent = failing.get("inner"), indent + "  "


def _print_values(values: Sequence[Mapping[str, Any]], indent: str) -> None:
    for value in values:
        found = [_short(each) for each in value["values"]] or ["undefined"]
        more = f", and {value['more']} more" if value["more"] else ""
        shown = f"{indent}      {_one_line(value['expression'])} = {' or '.join(found)}{more}"
        OUT.print(said(shown, "cyan"))


def _print_flips(flips: Sequence[Mapping[str, Any]]) -> None:
    if not flips:
        OUT.print("nothing was found that would be allowed: no single change, and no few together", style="yellow")
        return
    OUT.print(Text("would be allowed, with any one of these: each was evaluated", "bold"))
    for target, title in _TARGETS.items():
        found = [flip for flip in flips if flip["target"] == target]
        if found:
            OUT.print(said(f"  {title}", "dim"))
        for flip in found:
            first, *rest = flip["told"]
            OUT.print(Text.assemble(("  ✓ ", "green"), said(first)))
            for line in rest:
                OUT.print(Text.assemble("    and ", said(line)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}…"
