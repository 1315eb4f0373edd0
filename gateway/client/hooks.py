"""Hooks of a gateway's registry: versions, where they are in force, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from gateway.client.documented import Documented
from gateway.client.wire import moment
from gateway.v1 import hook_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement(Documented):
    """Where a hook of another kind than a step runs."""

    order: int  # lower first
    step_types: tuple[str, ...]  # empty: all
    labels: Mapping[str, str]  # of missions; empty: all

    @classmethod
    def of(cls, message: hook_pb2.HookPlacement) -> Self:
        """Read the message."""
        return cls(order=message.order, step_types=tuple(message.step_types), labels=dict(message.labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook(Documented):
    """One version of a hook."""

    name: str
    version: str
    kind: str  # step, screen, rewrite, observe
    publisher: str
    sha256: str
    enabled: bool
    placement: Placement | None  # None for a step, and where it is not in force
    published_at: datetime | None
    published_by: str | None

    @classmethod
    def of(cls, message: hook_pb2.Hook) -> Self:
        """Read the message."""
        return cls(
            name=message.name,
            version=message.version,
            kind=message.kind,
            publisher=message.publisher,
            sha256=message.sha256,
            enabled=message.enabled,
            placement=Placement.of(message.placement) if message.HasField("placement") else None,
            published_at=moment(message.published_at) if message.HasField("published_at") else None,
            published_by=message.published_by or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedHook(Documented):
    """The answer to a publication; `created` is False where the same was there."""

    hook: Hook
    created: bool

    @classmethod
    def of(cls, message: hook_pb2.PublishHookResponse) -> Self:
        """Read the message."""
        return cls(hook=Hook.of(message.hook), created=message.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPage(Documented):
    """Some versions of hooks, by name, the newest of a name first."""

    hooks: tuple[Hook, ...]
    next_page_token: str

    @property
    def items(self) -> tuple[Hook, ...]:
        """The hooks."""
        return self.hooks

    @classmethod
    def of(cls, message: hook_pb2.ListHooksResponse) -> Self:
        """Read the message."""
        return cls(hooks=tuple(map(Hook.of, message.hooks)), next_page_token=message.next_page_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(Documented):
    """What was in force of a name, and for how long."""

    version: str | None  # None: nothing was
    placement: Placement | None
    activated_at: datetime
    activated_by: str
    undone_at: datetime | None
    undone_by: str | None

    @classmethod
    def of(cls, message: hook_pb2.HookActivation) -> Self:
        """Read the message."""
        return cls(
            version=message.version or None,
            placement=Placement.of(message.placement) if message.HasField("placement") else None,
            activated_at=moment(message.activated_at),
            activated_by=message.activated_by,
            undone_at=moment(message.undone_at) if message.HasField("undone_at") else None,
            undone_by=message.undone_by or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDetails(Documented):
    """One version of a hook with its files' texts, and what was in force of its name."""

    hook: Hook
    manifest: str
    schema: str = field(repr=False)  # "" where it has none
    history: tuple[Activation, ...]

    @classmethod
    def of(cls, message: hook_pb2.GetHookResponse) -> Self:
        """Read the message."""
        return cls(
            hook=Hook.of(message.hook),
            manifest=message.manifest.decode("utf-8", "replace"),
            schema=message.schema.decode("utf-8", "replace"),
            history=tuple(map(Activation.of, message.history)),
        )
