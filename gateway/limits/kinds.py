"""What calls are to the limits: four kinds, in the order in which they give way."""

from enum import StrEnum


class CallKind(StrEnum):
    """A kind of call; `gateway.rpc.call_kinds` has that of every method."""

    MUTATION = "mutation"  # changes something, or makes the gateway work as if: given up first
    READ = "read"  # looks at what is there
    CONTROL = "control"  # stops, or lets go on, what runs; puts back what was in force: never shed
    HEALTH = "health"  # what balancers ask: never shed, and nobody's rate
