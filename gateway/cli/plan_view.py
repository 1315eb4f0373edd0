"""How a plan looks to people: how the mission is executed, what runs side by side, and which steps are special."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from rich.text import Text

from engine.mission import MissionConfig
from gateway.cli.output import OUT, print_errors, said

_STEPS_SHOWN: Final = 12  # of a level
_SPECIAL_SHOWN: Final = 12  # of a level: steps with a condition, a fan-out, retries
_LINE_CHARS_MAX: Final = 600
_WRAPPED_FROM: Final = 24  # columns; what has fewer is left to the terminal
_DEFAULTS: Final = MissionConfig()
_PAIR: Final = 2  # operands: a reference, and a value
_COMPARED: Final[Mapping[str, str]] = {"eq": "=", "ne": "≠", "lt": "<", "gt": ">", "in": "in"}
_JOINED: Final[Mapping[str, str]] = {"all": " and ", "any": " or "}


def print_plan(preview: Mapping[str, Any]) -> None:
    """Print a plan."""
    mission = preview["mission"]
    steps = {step["id"]: step for step in mission["steps"]}
    OUT.print(Text.assemble(said(f"{mission['name']}  ", "bold"), said(preview["digest"][:19] + "…", "dim")))
    if how := " · ".join(_execution(mission.get("config", {}))):
        _print_line(Text(), said(how, "dim"))
    digits = len(str(len(preview["levels"])))
    for number, level in enumerate(preview["levels"], start=1):
        _print_level(Text(f"level {number:>{digits}}  ", "dim"), level, steps)
    for decision in preview["decisions"]:
        verdict = Text("allowed", style="green") if decision["allow"] else Text("denied", style="red")
        more = Text("  (steps and effects are decided when they run)" if decision["allow"] else "", style="dim")
        OUT.print(Text.assemble(said(f"policy, {decision['entrypoint']}: "), verdict, more))
        if decision["allow"] and (told := " · ".join(_obliged(decision))):
            _print_line(Text("  "), said(told, "yellow"))
    if unasked := preview.get("screens_not_asked"):
        OUT.print(said(f"screens, not asked here: {', '.join(unasked)}", "dim"))


def print_draft(draft: Mapping[str, Any], source: str) -> None:
    """Print what is said of a mission that may not be finished: first what is wrong, then what is to come."""
    wrong, missing = draft["wrong"], draft["missing"]
    if wrong:
        OUT.print(Text(f"wrong, whatever is added ({len(wrong)})", style="bold"))
        print_errors(wrong, source, console=OUT)
    if missing:
        OUT.print(Text(f"not there yet ({len(missing)})", style="bold"))
        for finding in missing:
            line = Text.assemble(("○ ", "yellow"))
            if finding["line"]:
                line.append_text(said(f"{source}:{finding['line']}: ", "bold"))
            line.append_text(said(f"{finding['field'] or 'document'}: ", "cyan")).append_text(said(finding["message"]))
            OUT.print(line)
    if draft["complete"]:
        OUT.print(Text("complete: nothing is missing, and nothing is wrong", style="green"))


def _print_level(head: Text, level: Sequence[str], steps: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the steps of a level in one line, and under it those of which there is more to say."""
    indent = " " * head.cell_len
    shown = level[:_STEPS_SHOWN]
    head.append_text(said("  ".join(f"{step_id} ({steps[step_id]['step_type']})" for step_id in shown)))
    if len(level) > len(shown):
        head.append(f"  and {len(level) - len(shown)} more", style="dim")
    OUT.print(head)
    special = [(step_id, told) for step_id in level if (told := " · ".join(_special(steps[step_id])))]
    width = max((len(step_id) for step_id, _ in special[:_SPECIAL_SHOWN]), default=0)
    for step_id, told in special[:_SPECIAL_SHOWN]:
        _print_line(Text.assemble(indent, said(f"{step_id:<{width}}  ", "dim")), said(told, "cyan"))
    if len(special) > _SPECIAL_SHOWN:
        OUT.print(f"{indent}and {len(special) - _SPECIAL_SHOWN} more such steps", style="dim")


def _execution(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a mission's execution is not the default."""
    if config.get("strategy", _DEFAULTS.strategy) != _DEFAULTS.strategy:
        yield f"strategy {config['strategy']}"
    if config.get("parallel_limit", _DEFAULTS.parallel_limit) != _DEFAULTS.parallel_limit:
        yield f"{config['parallel_limit']} at a time"
    if config.get("timeout_seconds", _DEFAULTS.timeout_seconds) != _DEFAULTS.timeout_seconds:
        yield f"within {config['timeout_seconds']:g} s"
    if not config.get("fail_fast", _DEFAULTS.fail_fast):
        yield "goes on after a failure"
    if config.get("priority", _DEFAULTS.priority) != _DEFAULTS.priority:
        yield f"priority {config['priority']}"
    if key := config.get("concurrency_key"):
        yield f"one at a time of key {key}"
    if level := config.get("security_level"):
        yield f"security {level}"
    if supervision := config.get("supervision"):
        limit, seconds = supervision["max_restarts"], supervision["within_seconds"]
        yield f"crashes restart {supervision['strategy']}, {limit} in {seconds:g} s"


def _obliged(decision: Mapping[str, Any]) -> Iterator[str]:
    """Yield what policy asks for beside its yes."""
    if demand := decision.get("require_approval"):
        roles = demand.get("approvers", []) if isinstance(demand, dict) else []
        whom = f" by a role of {', '.join(roles)}" if roles else ""
        yield f"waits for an approval{whom} before its first step"
    if profile := decision.get("profile"):
        yield f"every run in the profile {profile}"
    if constraints := decision.get("constraints"):
        yield ", ".join(f"{name} {limit}" for name, limit in sorted(constraints.items()))
    if labels := decision.get("labels"):
        yield f"labelled {', '.join(f'{name}={text}' for name, text in sorted(labels.items()))}"


def _special(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield what sets a step apart."""
    if (when := step.get("when")) is not None:
        yield f"only if {condition_text(when)}"
    if foreach := step.get("foreach"):
        items = foreach["items"]
        of = f"the {len(items)} items" if isinstance(items, list) else f"of {items}"
        limit = f", {foreach['parallel_limit']} at a time" if "parallel_limit" in foreach else ""
        yield f"for each {of}{limit}"
    if retry := step.get("retry"):
        jitter = " with jitter" if retry["jitter"] else ""
        yield f"tried {retry['max_attempts']} times, {retry['backoff']} from {retry['base_ms']} ms{jitter}"
    if "timeout_seconds" in step:
        yield f"within {step['timeout_seconds']:g} s"
    if step.get("continue_on_error"):
        yield "may fail"
    if step.get("idempotent"):
        yield "idempotent"
    if "profile" in step:
        yield f"profile {step['profile']}"


def condition_text(condition: Mapping[str, Any], *, inner: bool = False) -> str:
    """Return a condition as people write it; what is not known is shown as its JSON."""
    ((operator, operands),) = condition.items() if len(condition) == 1 else (("", condition),)
    if operator in _COMPARED and isinstance(operands, list) and len(operands) == _PAIR:
        return f"{_operand(operands[0])} {_COMPARED[operator]} {_operand(operands[1])}"
    if operator == "exists" and isinstance(operands, list) and len(operands) == 1:
        return f"{_operand(operands[0])} exists"
    if operator == "not" and isinstance(operands, dict):
        return f"not ({condition_text(operands)})"
    if operator in _JOINED and isinstance(operands, list) and all(isinstance(part, dict) for part in operands):
        text = _JOINED[operator].join(condition_text(part, inner=True) for part in operands)
        return f"({text})" if inner else text
    return orjson.dumps(condition).decode()


def _operand(value: Any) -> str:
    """Return a reference as it stands, and any other value as JSON."""
    return value if isinstance(value, str) and value.startswith("${") else orjson.dumps(value).decode()


def _print_line(head: Text, text: Text) -> None:
    """Print `text` behind `head`; a terminal gets it wrapped between words, in a column of its own."""
    text.truncate(_LINE_CHARS_MAX, overflow="ellipsis")
    width = OUT.width - head.cell_len
    if not OUT.is_terminal or width < _WRAPPED_FROM:
        OUT.print(Text.assemble(head, text))
        return
    for line in text.wrap(OUT, width):
        OUT.print(Text.assemble(head, line))
        head = Text(" " * head.cell_len)
