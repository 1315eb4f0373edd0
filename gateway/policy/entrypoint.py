"""What the gateway asks policy about."""

from typing import Final, Literal, TypeAlias, get_args

Entrypoint: TypeAlias = Literal["rpc", "mission", "step", "effect"]

ENTRYPOINTS: Final[tuple[Entrypoint, ...]] = get_args(Entrypoint)


def rule_of(entrypoint: Entrypoint) -> str:
    """Return the rule that answers for `entrypoint`, the same in every engine: `data.gateway.step.decision`."""
    return f"data.gateway.{entrypoint}.decision"
