"""Published hooks in the store: versions that never change, a stack of activations, and modules for replay."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.errors import EngineError
from gateway.errors import HookRefusedError, NotFoundError, StoreError
from gateway.store import hooks as hooks_module
from gateway.store.hook_records import NewActivation, NewHook
from gateway.store.store import Store
from tests.unit.gateway.store.store_worlds import START, ending, mission


def hook(name: str = "resize", version: str = "1.0.0", **changes: object) -> NewHook:
    module = b"\0asm" + version.encode()
    fields: dict[str, object] = {
        "name": name,
        "version": version,
        "kind": "step",
        "publisher": "acme.example",
        "manifest": f"{name} {version}".encode(),
        "module": module,
        "schema": b"{}",
        "signature": b"note",
        "published_by": "default/ann",
        "tenant": "default",
        **changes,
    }
    return NewHook(sha256=hashlib.sha256(fields["module"]).hexdigest(), **fields)


def enabling(version: str | None, name: str = "resize", **changes: object) -> NewActivation:
    fields: dict[str, object] = {"order": 0, "step_types": (), "labels": {}, "by": "default/root", **changes}
    return NewActivation(name=name, version=version, **fields)


async def refusal(store: Store, new: NewHook) -> str:
    with pytest.raises(EngineError) as caught:
        await store.hooks.publish(new)
    return caught.value.code


async def test_what_is_published_comes_back_as_it_was(store: Store) -> None:
    """Byte for byte, a hook without a schema too."""
    for new in (hook(), hook("guard", kind="screen", schema=None)):
        publication = await store.hooks.publish(new)
        assert publication.created
        stored = await store.hooks.get(new.name, new.version)
        assert stored.record == publication.record
        assert (stored.manifest, stored.module, stored.schema, stored.signature) == (
            new.manifest,
            new.module,
            new.schema,
            new.signature,
        )


async def test_a_name_is_the_tenants_that_published_it_first(store: Store) -> None:
    """Another tenant learns that it is taken: not by whom, not which versions, not whether it has the same bytes."""
    await store.hooks.publish(hook())
    for new in (hook(tenant="other"), hook(tenant="other", version="2.0.0"), hook(tenant="other", module=b"x")):
        with pytest.raises(HookRefusedError) as caught:
            await store.hooks.publish(new)
        assert (caught.value.code, caught.value.message) == ("hook.name_taken", "name: resize is taken")


@pytest.mark.parametrize("field", ["manifest", "module", "schema", "publisher"])
async def test_a_version_never_changes(store: Store, field: str) -> None:
    """The same again is what is there; with any other byte, or of somebody else, it is refused."""
    await store.hooks.publish(hook())
    again = await store.hooks.publish(hook(signature=b"another note", published_by="default/bob"))
    assert (again.created, again.record.published_by) == (False, "default/ann")
    value = "other.example" if field == "publisher" else b"other"
    assert await refusal(store, hook(**{field: value})) == "hook.version_exists"
    assert (await store.hooks.get("resize", "1.0.0")).manifest == hook().manifest


async def test_a_name_stays_with_its_publisher_and_its_kind(store: Store) -> None:
    """Nobody's next version is somebody else's."""
    await store.hooks.publish(hook())
    assert await refusal(store, hook(version="2.0.0", publisher="other.example")) == "hook.name_taken"
    assert await refusal(store, hook(version="2.0.0", kind="screen")) == "hook.kind_changed"


async def test_there_is_a_bound_on_everything(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of a name, versions of all names, bytes of all modules."""
    monkeypatch.setattr(hooks_module, "VERSIONS_MAX", 2)
    monkeypatch.setattr(hooks_module, "HOOKS_MAX", 3)
    for version in ("1.0.0", "1.0.1"):
        await store.hooks.publish(hook(version=version))
    assert await refusal(store, hook(version="1.0.2")) == "hook.too_many_versions"
    await store.hooks.publish(hook("other"))
    assert await refusal(store, hook("third")) == "hook.registry_full"
    monkeypatch.setattr(hooks_module, "HOOKS_MAX", 100)
    monkeypatch.setattr(hooks_module, "MODULES_BYTES_MAX", 40)
    assert await refusal(store, hook("third", module=b"\0asm" + b"x" * 40)) == "hook.registry_full"


async def test_activations_are_a_stack(store: Store) -> None:
    """The newest holds; what is rolled back is off the stack and stays in the history."""
    for version in ("1.0.0", "1.1.0"):
        await store.hooks.publish(hook(version=version))
    first = await store.hooks.activate(enabling("1.0.0"))
    with pytest.raises(EngineError) as caught:
        await store.hooks.before("resize")
    assert caught.value.code == "hook.nothing_before"
    second = await store.hooks.activate(enabling("1.1.0", order=7, step_types=("a", "b"), labels={"x": "y"}))
    assert await store.hooks.active() == (second,)
    assert (second.order, second.step_types, second.labels) == (7, ("a", "b"), {"x": "y"})
    third = await store.hooks.activate(enabling(None))
    assert await store.hooks.active() == ()
    assert await store.hooks.before("resize") == (third, second)
    await store.hooks.undo(third, "default/root")
    assert await store.hooks.active() == (second,)
    await store.hooks.undo(second, "default/root")
    assert await store.hooks.active() == (first,)
    history = await store.hooks.history("resize")
    assert [(each.version, each.undone_by) for each in history] == [
        (None, "default/root"),
        ("1.1.0", "default/root"),
        ("1.0.0", None),
    ]


async def test_only_what_holds_can_be_rolled_back(store: Store) -> None:
    """Two callers who saw the same do not roll back two changes."""
    await store.hooks.publish(hook())
    first = await store.hooks.activate(enabling("1.0.0"))
    second = await store.hooks.activate(enabling(None))
    for stale in (first, replace(second, seq=99)):
        with pytest.raises(EngineError) as caught:
            await store.hooks.undo(stale, "default/root")
        assert caught.value.code == "hook.changed"


async def test_what_is_not_published_cannot_hold(store: Store) -> None:
    """The database itself refuses it."""
    with pytest.raises(StoreError) as caught:
        await store.hooks.activate(enabling("1.0.0"))
    assert caught.value.code == "store.constraint"
    with pytest.raises(NotFoundError):
        await store.hooks.get("resize", "1.0.0")


async def test_the_history_of_a_name_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest changes are forgotten, those that a roll-back needs never."""
    monkeypatch.setattr(hooks_module, "ACTIVATIONS_MAX", 3)
    await store.hooks.publish(hook())
    base = await store.hooks.activate(enabling("1.0.0"))
    for _ in range(10):
        await store.hooks.undo(await store.hooks.activate(enabling(None)), "default/root")
    top = await store.hooks.activate(enabling(None))
    assert await store.hooks.before("resize") == (top, base)
    assert len(await store.hooks.history("resize")) == 3


async def test_a_module_is_kept_while_a_mission_may_have_used_it(store: Store) -> None:
    """Replay finds it by what the log names; when the last such mission is gone, so is a module that is no version."""
    await store.create_mission(mission("m"))
    old, new = "a" * 64, "b" * 64
    await store.hooks.use_modules({old: b"old"})
    await store.hooks.use_modules({new: b"new"})
    assert (await store.hook_module(old), await store.hook_module(new)) == (b"old", b"new")
    await store.mark_executing("m")
    await store.finish_mission(ending("m"))
    assert await store.prune(START + timedelta(days=999), 10) == ("m",)
    await store.hooks.use_modules({new: b"new"})
    with pytest.raises(NotFoundError) as caught:
        await store.hook_module(old)
    assert caught.value.code == "hook.module_not_found"
    assert await store.hook_module(new) == b"new"


async def test_a_published_module_is_always_kept(store: Store) -> None:
    """Somebody may enable it again."""
    new = hook()
    await store.hooks.publish(new)
    await store.hooks.use_modules({new.sha256: new.module})
    await store.hooks.use_modules({})
    assert await store.hook_module(new.sha256) == new.module
