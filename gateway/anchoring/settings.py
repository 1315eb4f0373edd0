"""What the configuration says of witnesses and anchors, together."""

from dataclasses import dataclass
from pathlib import Path

from gateway.anchoring.sections import AnchorSection, WitnessSection


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoringSettings:
    """Paths are relative to `home`."""

    home: Path
    witnesses: tuple[WitnessSection, ...]
    required: int  # witnesses that make a quorum
    waited_for: bool  # acknowledgements wait for them: level `witnessed`
    witness_seconds_max: float  # for how long
    anchors: tuple[AnchorSection, ...]

    def path(self, name: str) -> Path | None:
        """Return the path of a file, None where none is named."""
        return self.home / name if name else None
