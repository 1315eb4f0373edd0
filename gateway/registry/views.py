"""What the registry tells of hooks, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.hookset import ActiveHook
from gateway.store.hook_records import Activation, HookRecord
from gateway.store.paging import invalid_token, mission_before, token_after

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HookView:
    """A version of a hook. Of one that the package or the configuration brings nobody is the publisher by hand."""

    name: str
    version: str
    kind: str
    publisher: str
    sha256: str
    enabled: bool
    order: int = 0
    step_types: tuple[str, ...] = ()
    labels: Mapping[str, str]
    published_at: datetime | None = None
    published_by: str = ""
    tenant: str | None = None  # whose people published it; None: the package or the configuration brings it

    @property
    def key(self) -> str:
        """What no other version has."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDetail:
    """A version with its manifest and schema, and what was in force of its name, newest first."""

    view: HookView
    manifest: bytes = b""  # empty where the package or the configuration brings it
    schema: bytes = b""  # empty where it has none, or as above
    history: tuple[Activation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of a publication; not `created` where the same was there already."""

    view: HookView
    created: bool


def view_of(record: HookRecord, active: ActiveHook | None) -> HookView:
    """Return a published version; `active` is what is in force of its name."""
    enabled = active if active is not None and active.hook.version == record.version else None
    return HookView(
        name=record.name,
        version=record.version,
        kind=record.kind,
        publisher=record.publisher,
        sha256=record.sha256,
        enabled=enabled is not None,
        order=enabled.order if enabled else 0,
        step_types=tuple(sorted(enabled.step_types)) if enabled else (),
        labels=enabled.labels if enabled else {},
        published_at=record.published_at,
        published_by=record.published_by,
        tenant=record.tenant,
    )


def base_view(active: ActiveHook) -> HookView:
    """Return a hook that the package or the configuration brings."""
    hook = active.hook
    return HookView(
        name=hook.name,
        version=hook.version,
        kind=hook.kind,
        publisher=hook.publisher,
        sha256=hook.sha256,
        enabled=True,
        order=active.order,
        step_types=tuple(sorted(active.step_types)),
        labels=active.labels,
    )


def page_of(views: Sequence[HookView], page_size: int, page_token: str) -> tuple[tuple[HookView, ...], str]:
    """Return a page of views that have an order, and the next page's token or "".

    Raises:
        SanitizationError: `page_token.invalid`, also where what it names is not among them.
    """
    after = mission_before(page_token) if page_token else None
    start = next((i for i, view in enumerate(views, start=1) if view.key == after), 0)
    if after is not None and not start:
        raise invalid_token()
    count = min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    page = tuple(views[start : start + count])
    return page, token_after(page[-1].key) if start + count < len(views) else ""
