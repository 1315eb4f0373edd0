"""Telling others of the audit log: events as OCSF, to files and collectors, at least once and in order."""
