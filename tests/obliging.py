"""Homes whose policy asks for more than a yes: the default bundle, with obligations as data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.gateways import change_policy_data

_DECISION = 'decision := {"allow": allow, "reasons": array.slice([reason | some reason in deny], 0, 50)}'
_KEYS = {"mission": '"mission"', "step": "input.step.id", "effect": "input.step.id"}


def oblige(home: Any, **obligations: Mapping[str, Any]) -> None:
    """Let decisions ask for these: `step={"a": {"redact": […]}}`, of a mission `mission={"mission": {…}}`.

    Asked for by the id of the step; called again, it says something else.
    """
    folder: Path = home.home / "policies" / "gateway"
    for entrypoint, key in _KEYS.items():
        rules = folder / entrypoint / f"{entrypoint}.rego"
        text = rules.read_text()
        if "obliged" not in text:
            plain = _DECISION.partition(" := ")[2]
            assert _DECISION in text, f"{rules} has another decision"
            more = f"decision := object.union({plain}, object.get(config.obliged.{entrypoint}, {key}, {{}}))"
            rules.write_text(text.replace(_DECISION, more))

    def change(config: dict[str, Any]) -> None:
        config["obliged"] = {entrypoint: dict(obligations.get(entrypoint, {})) for entrypoint in _KEYS}

    change_policy_data(home, change)
