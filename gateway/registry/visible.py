"""The registry as its callers see it: a tenant's own hooks, and what is in force; all of it for who runs the gateway.

What is in force bounds everybody's missions, so everybody may know of it: name, version, kind, manifest and schema. Who
of another tenant has published it, where it is placed and what was before is not for everybody. What a caller does not
see is not there, to the letter.
"""

from collections.abc import Callable
from dataclasses import replace

from gateway.errors import NotFoundError
from gateway.identity import Principal
from gateway.registry.placement import Placement
from gateway.registry.registry import Registry
from gateway.registry.views import HookDetail, HookView, Published, page_of
from gateway.sandbox.files import HookFiles


class VisibleHooks:
    """Implements `gateway.rpc.ports.HookDesk`. Who may put hooks in force was decided before: by policy."""

    def __init__(self, registry: Registry, site_tenants: frozenset[str]) -> None:
        """Show `registry`; the people of `site_tenants` see all of it."""
        self._registry = registry
        self._site_tenants = site_tenants

    def adopt(self, site_tenants: frozenset[str]) -> None:
        """Go by what another bundle says from now on."""
        self._site_tenants = site_tenants

    async def publish(self, principal: Principal, files: HookFiles) -> Published:
        """Take a hook into the registry, as the caller's tenant's; see `Registry.publish`."""
        return await self._registry.publish(principal, files)

    async def list_hooks(
        self, principal: Principal, *, page_size: int, page_token: str
    ) -> tuple[tuple[HookView, ...], str]:
        """Return a page of the versions that the caller sees, by name, and the next page's token or "".

        Raises:
            SanitizationError: `page_token.invalid`.
        """
        views, token = page_of(await self._seen(principal), page_size, page_token)
        owns = self._owns(principal)
        return tuple(view if owns(view) else _bare(view) for view in views), token

    async def get(self, principal: Principal, name: str, version: str) -> HookDetail:
        """Return one version; "" is the one in force, or else the newest that the caller sees.

        Raises:
            NotFoundError: `hook.not_found`.
        """
        views = [view for view in await self._seen(principal) if view.name == name and version in {"", view.version}]
        if not views:
            raise NotFoundError(f"there is no hook {name} {version}", code="hook.not_found")
        view = next((view for view in views if view.enabled), views[0])
        detail = await self._registry.get(name, view.version)
        return detail if self._owns(principal)(view) else replace(detail, view=_bare(detail.view), history=())

    async def enable(self, principal: Principal, name: str, version: str, placement: Placement) -> HookView:
        """Put a published version in force; see `Registry.enable`."""
        return await self._registry.enable(principal, name, version, placement)

    async def disable(self, principal: Principal, name: str, version: str) -> None:
        """Take a published hook out of force; see `Registry.disable`."""
        await self._registry.disable(principal, name, version)

    async def rollback(self, principal: Principal, name: str, version: str) -> HookView | None:
        """Let hold again what held for a name before; see `Registry.rollback`."""
        return await self._registry.rollback(principal, name, version)

    async def _seen(self, principal: Principal) -> list[HookView]:
        owns = self._owns(principal)
        return [view for view in await self._registry.views() if view.enabled or owns(view)]

    def _owns(self, principal: Principal) -> Callable[[HookView], bool]:
        """Return what says whether a caller sees all there is of a version."""
        if principal.tenant in self._site_tenants:
            return lambda _: True
        return lambda view: view.tenant in {None, principal.tenant}


def _bare(view: HookView) -> HookView:
    """Return what everybody may know of a version that is in force."""
    return replace(view, published_by="", order=0, step_types=(), labels={})
