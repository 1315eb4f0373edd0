"""The audit log's leaves of the engine's error tree.

RefusalError
├── AuditEventRefusedError   an event that the format cannot hold
└── AuditPrunedError         lines that retention has taken out of the log
FaultError
├── AuditUnavailableError    the writer is dead or closed; nothing more is recorded
├── AuditUnwitnessedError    recorded and signed, and not enough witnesses have cosigned
├── AuditOverloadedError     the queue is full; the disk does not keep up
├── AuditLockedError         another process writes this log
├── AuditTamperedError       the files contradict the signed checkpoint
├── AuditRotationError       a rotation of the signing key was broken off
└── KeyFileError             a key file cannot be used
    └── KeyPassphraseError   its passphrase is another one
"""

from engine.errors import FaultError, RefusalError


class AuditEventRefusedError(RefusalError):
    """The event is no JSON, has a reserved field (`audit.event_invalid`) or is too long (`audit.event_too_large`)."""

    default_code = "audit.event_invalid"


class AuditPrunedError(RefusalError):
    """The lines that were asked for are archived; the message names the first that is still there."""

    default_code = "audit.pruned"


class AuditUnavailableError(FaultError):
    """The log writes nothing more until it is opened, and thereby verified, again."""

    default_code = "audit.unavailable"


class AuditUnwitnessedError(FaultError):
    """The event is in the log, durable and signed, but not acknowledged: not enough witnesses have cosigned it.

    They did not in time (`audit.unwitnessed`), or one of them knows another history of the log, so that nothing is
    acknowledged any more until a person has looked (`audit.history_refused`).
    """

    default_code = "audit.unwitnessed"


class AuditOverloadedError(FaultError):
    """More is queued than the log may hold in memory; the event was not recorded."""

    default_code = "audit.overloaded"


class AuditLockedError(FaultError):
    """Another writer holds the log."""

    default_code = "audit.locked"


class AuditTamperedError(FaultError):
    """The files contradict the signed checkpoint, in a way that no crash explains. A person has to look."""

    default_code = "audit.tampered"


class AuditRotationError(FaultError):
    """A rotation of the signing key was broken off; the text says how to bring it to its end."""

    default_code = "audit.rotation_unfinished"


class KeyFileError(FaultError):
    """A key file is missing, malformed, open to others (`key.unreadable`) or in the way (`key.exists`)."""

    default_code = "key.unreadable"


class KeyPassphraseError(KeyFileError):
    """The key file is whole, and the passphrase does not open it."""

    default_code = "key.passphrase"
