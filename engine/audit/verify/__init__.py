"""The offline judge of a log: reads a directory and a verifier key, and trusts nothing else.

It shares no code with the writer, on purpose: its own reading of lines, its own tree, its own notes, so that one
mistake cannot be in both. It follows docs/audit-format.md, section 8, and its steps are numbered alike.
"""

from engine.audit.verify.judge import verify_log
from engine.audit.verify.note import VerifierKeyError
from engine.audit.verify.report import BadEvent, VerificationReport

__all__ = ["BadEvent", "VerificationReport", "VerifierKeyError", "verify_log"]
