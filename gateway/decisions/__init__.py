"""Decisions as they are kept: sealed with their documents, told to a decision log of OPA's format, and replayed."""
