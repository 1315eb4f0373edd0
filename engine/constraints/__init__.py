"""Execution constraints: what a rule may use, how it is held to that, and what is counted (docs/constraints.md).

Only the constraints themselves are loaded with the package: a worker process needs nothing of the rest.
"""

from engine.constraints.limits import FUEL_PER_MS, ExecutionConstraints

__all__ = ["FUEL_PER_MS", "ExecutionConstraints"]
