"""What the two effects that wait for somebody take: the terms of an approval, and the run of a mission."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.effects.arguments import integer, invalid, only_fields, text

MESSAGE_CHARS_MAX: Final = 4_096
APPROVERS_MAX: Final = 16
APPROVERS_DEFAULT: Final = ("approver",)
EXPIRES_SECONDS_MAX: Final = 30 * 24 * 60 * 60
EXPIRES_SECONDS_DEFAULT: Final = 24 * 60 * 60
OUTPUTS_MAX: Final = 64
NAME_CHARS_MAX: Final = 128  # of a role, of a step's id


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalTerms:
    """What is asked, of whom, and for how long."""

    message: str
    approvers: tuple[str, ...]  # roles, of which a decider needs one
    expires_in_seconds: int

    @classmethod
    def parse(cls, args: JsonObject) -> "ApprovalTerms":
        """Return the terms of approval.request, completed with the defaults.

        Raises:
            EffectError: `effect.arguments`.
        """
        only_fields(args, {"message", "approvers", "expires_in_seconds"})
        message = text(args, "message")
        if not 1 <= len(message) <= MESSAGE_CHARS_MAX:
            raise invalid(f"'message' must have 1 to {MESSAGE_CHARS_MAX} characters")
        approvers = _names(args, "approvers", APPROVERS_DEFAULT, APPROVERS_MAX)
        if not approvers:
            raise invalid("'approvers' must name a role")
        seconds = integer(args, "expires_in_seconds", maximum=EXPIRES_SECONDS_MAX, default=EXPIRES_SECONDS_DEFAULT)
        if seconds < 1:
            raise invalid("'expires_in_seconds' must be at least 1")
        return cls(message=message, approvers=approvers, expires_in_seconds=seconds)

    def document(self) -> dict[str, JsonValue]:
        """Return the terms as the arguments of the effect, nothing left out."""
        return {
            "message": self.message,
            "approvers": list(self.approvers),
            "expires_in_seconds": self.expires_in_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionRun:
    """A mission to run, and whose outputs of it are wanted."""

    form: JsonObject  # the mission's document
    outputs: tuple[str, ...]  # step ids

    @classmethod
    def parse(cls, args: JsonObject) -> "MissionRun":
        """Return what mission.run asks for.

        Raises:
            EffectError: `effect.arguments`, also where an output is of a step that the mission has not.
        """
        only_fields(args, {"mission", "outputs"})
        form = args.get("mission")
        if not isinstance(form, dict):
            raise invalid("'mission' must be an object")
        run = cls(form=form, outputs=_names(args, "outputs", (), OUTPUTS_MAX))
        if unknown := sorted(set(run.outputs) - run.step_ids()):
            raise invalid(f"'outputs': the mission has no step {unknown[0]!r}")
        return run

    def step_ids(self) -> frozenset[str]:
        """Return the ids of the mission's steps, as far as it has the form of one."""
        steps = self.form.get("steps")
        ids = (step.get("id") for step in steps if isinstance(step, dict)) if isinstance(steps, list) else ()
        return frozenset(step_id for step_id in ids if isinstance(step_id, str))


def _names(args: JsonObject, name: str, default: Sequence[str], most: int) -> tuple[str, ...]:
    """Return a list of different, short names."""
    given = args.get(name, list(default))
    names = tuple(item for item in given if isinstance(item, str)) if isinstance(given, list) else ()
    if not isinstance(given, list) or len(names) != len(given) or len(set(names)) != len(names):
        raise invalid(f"{name!r} must be a list of different strings")
    if len(names) > most or any(not 1 <= len(item) <= NAME_CHARS_MAX for item in names):
        raise invalid(f"{name!r} has at most {most} names of 1 to {NAME_CHARS_MAX} characters")
    return names
