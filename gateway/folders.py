"""Where things lie in a gateway's home."""

from typing import Final

AUDIT_FOLDER: Final = "audit"  # the log
STORE_FILE: Final = "missions.db"
