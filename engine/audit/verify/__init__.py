"""The offline judge of a log, and of what was taken from one: trusts a verifier key, and nothing else.

It shares no code with the writer, on purpose: its own reading of lines, its own tree, its own notes, so that one
mistake cannot be in both. It follows docs/audit-format.md, sections 8 and 11, and its steps are numbered alike.
"""

from engine.audit.verify.bundle import verify_bundle
from engine.audit.verify.event import verify_proof
from engine.audit.verify.judge import verify_log
from engine.audit.verify.note import VerifierKeyError
from engine.audit.verify.proof import ProofError, check_consistency, check_inclusion
from engine.audit.verify.report import BadEvent, KeyRotation, VerificationReport
from engine.audit.verify.witness import QuorumError

__all__ = [
    "BadEvent",
    "KeyRotation",
    "ProofError",
    "QuorumError",
    "VerificationReport",
    "VerifierKeyError",
    "check_consistency",
    "check_inclusion",
    "verify_bundle",
    "verify_log",
    "verify_proof",
]
