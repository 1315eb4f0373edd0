"""What goes on with the audit log beside the log itself: what a SIEM is told of it, and how long its files stay."""
