"""The secrets of one attempt at a step: which it declares, what stands for them, and what its effects may open."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.plan import Plan
from engine.reference import Reference
from engine.values import JsonObject
from gateway.errors import SecretError
from gateway.vault.opened import NO_EFFECT_SECRETS, EffectSecrets
from gateway.vault.placement import Handles, used_secrets
from gateway.vault.reader import Attempt, VaultReader
from gateway.vault.rules import SecretRule


def declared_secrets(plan: Plan, index: int) -> tuple[str, ...]:
    """Return the names of the secrets that the parameters of a step refer to, sorted: all that it can ever use."""
    template = plan.templates[index]
    if template is None:
        return ()
    return tuple(sorted({reference.name for reference in template.references if reference.source == "secrets"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSecrets:
    """Handles by name, and by handle; by default there are none."""

    by_name: Mapping[str, str] = field(default_factory=dict)
    handles: Handles = field(default_factory=dict)
    effects: EffectSecrets = NO_EFFECT_SECRETS

    def stand_in(self, reference: Reference) -> str:
        """Return what stands for a secret in the parameters of a step.

        Raises:
            SecretError: `secret.unknown`; none was made, so that nothing is put there.
        """
        handle = self.by_name.get(reference.name)
        if handle is None:
            raise SecretError(f"there is no secret {reference.name}", code="secret.unknown")
        return handle

    def used(self, op: str, args: JsonObject, *, field: str) -> tuple[str, ...]:
        """Return the names that an effect uses.

        Raises:
            SanitizationError: a handle stands where none may, or is not of this attempt.
        """
        return used_secrets(op, args, self.handles, field=field)

    def of_effect(self, op: str, args: JsonObject) -> EffectSecrets:
        """Return what one effect may open: the secrets that it names, and no others of its step."""
        names = self.used(op, args, field="args") if self.handles else ()
        if not names:
            return NO_EFFECT_SECRETS
        own = self.effects
        handles = {handle: name for handle, name in self.handles.items() if name in names}
        return EffectSecrets(values=own.values, tenant=own.tenant, kind=own.kind, handles=handles, rules=own.rules)


NO_STEP_SECRETS: Final = StepSecrets()


@dataclass(slots=True)
class Secrets:
    """All secrets of one gateway, and what policy's data opens them to. Without a vault there are none."""

    vault: VaultReader | None = None
    rules: Mapping[str, SecretRule] = field(default_factory=dict)

    def adopt(self, rules: Mapping[str, SecretRule]) -> None:
        """From now on open secrets to what these say; an attempt that has begun keeps what it began with."""
        self.rules = rules

    async def missing(self, tenant: str, plan: Plan) -> list[str]:
        """Return which secrets a plan refers to and the tenant does not have, sorted; without a vault nobody can tell.

        Raises:
            SecretError: the vault cannot be had.
        """
        if self.vault is None or not self.rules:
            return []
        names = {name for index in range(len(plan.templates)) for name in declared_secrets(plan, index)}
        return await asyncio.to_thread(self.vault.missing, tenant, names) if names else []

    async def of_step(self, attempt: Attempt, kind: str, names: tuple[str, ...]) -> StepSecrets:
        """Return handles for an attempt at a step that declares these names.

        Raises:
            SecretError: `secret.unknown`, or the vault cannot be had.
        """
        if not names:
            return NO_STEP_SECRETS
        if self.vault is None:
            raise SecretError("this gateway keeps no secrets", code="secret.unknown")
        by_name = await asyncio.to_thread(self.vault.handles, attempt, names)
        handles = {handle: name for name, handle in by_name.items()}
        effects = EffectSecrets(values=self.vault, tenant=attempt.tenant, kind=kind, handles=handles, rules=self.rules)
        return StepSecrets(by_name=by_name, handles=handles, effects=effects)


NO_SECRETS: Final = Secrets()
