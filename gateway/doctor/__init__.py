"""Looks at everything that a gateway needs, and says of each thing whether it is there, and what to do where not."""
