"""What a check of one type of argument has to say: nothing, or the rule that the value breaks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule. With the type's name it makes the stable code `sanitize.<type>.<rule>`.

    `message` says what to do; it never repeats the value, which may be a secret or hold terminal sequences.
    """

    rule: str
    message: str
