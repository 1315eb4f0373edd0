"""How a step of the verification says no."""

from engine.audit.verify.report import BadEvent


class Verdict(Exception):  # noqa: N818 - no error of the program: what is looked at is not good
    """What is looked at does not verify. `code` is stable: docs/audit-format.md, section 8, lists all."""

    def __init__(self, code: str, message: str, bad: BadEvent | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.bad = bad
