"""A decision, parsed strictly: anything that is not exactly a decision is a deny."""
