"""Reading the audit log: what its lines are about, an index of that, and queries over both."""
