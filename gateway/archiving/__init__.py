"""Retention of the audit log itself: old segments go to an archive, and then out of the log."""
