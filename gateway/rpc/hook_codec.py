"""What the registry answers, as protobuf, and the places of requests as values. Nothing is decided here."""

from gateway.registry.placement import Placement
from gateway.registry.views import HookDetail, HookView
from gateway.rpc.timestamps import timestamp
from gateway.store.hook_records import Activation
from gateway.v1 import hook_pb2


def hook_message(view: HookView) -> hook_pb2.Hook:
    """Return a version."""
    placed = view.enabled and view.kind != "step"
    return hook_pb2.Hook(
        name=view.name,
        version=view.version,
        kind=view.kind,
        publisher=view.publisher,
        sha256=view.sha256,
        enabled=view.enabled,
        placement=_place(view) if placed else None,
        published_at=timestamp(view.published_at),
        published_by=view.published_by,
    )


def detail_message(detail: HookDetail) -> hook_pb2.GetHookResponse:
    """Return a version with all that is known of it."""
    return hook_pb2.GetHookResponse(
        hook=hook_message(detail.view),
        manifest=detail.manifest,
        schema=detail.schema,
        history=[_activation(activation, detail.view.kind) for activation in detail.history],
    )


def placement_of(message: hook_pb2.HookPlacement) -> Placement:
    """Return a place.

    Raises:
        HookRefusedError: `hook.placement`.
    """
    return Placement(order=message.order, step_types=tuple(message.step_types), labels=dict(message.labels))


def _activation(activation: Activation, kind: str) -> hook_pb2.HookActivation:
    placed = activation.version is not None and kind != "step"
    return hook_pb2.HookActivation(
        version=activation.version or "",
        placement=_place(activation) if placed else None,
        activated_at=timestamp(activation.at),
        activated_by=activation.by,
        undone_at=timestamp(activation.undone_at),
        undone_by=activation.undone_by or "",
    )


def _place(of: HookView | Activation) -> hook_pb2.HookPlacement:
    return hook_pb2.HookPlacement(order=of.order, step_types=of.step_types, labels=of.labels)
