import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.bundles.bundles import Bundles
from gateway.bundles.history import HISTORY_NAME
from gateway.bundles.history_file import pack_state
from gateway.errors import (
    BundleSourceError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PolicyInvalidError,
    PolicyUnavailableError,
    StoreError,
)
from tests.bundle_keys import key
from tests.bundle_worlds import (
    FakeEngine,
    FakeSource,
    World,
    archive_of,
    digest_of,
    down,
    signed_world,
    unacceptable,
)

PUBLISHED, ACTIVATED = "policy.bundle_published", "policy.bundle_activated"
ASKED = "policy.bundle_asked"
REFUSED, STALE = "policy.bundle_refused", "policy.bundle_stale"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return signed_world(tmp_path / "policy")


async def tell(bundles: Bundles) -> None:
    """Write down what the start has found, and poll no further."""
    await bundles._ledger.write_what_is_late()


# --- the start ---


async def test_the_first_start_takes_what_the_source_gives(world: World) -> None:
    """It is kept, active and not pinned, and the log has both when there is one to write to."""
    bundles = await world.started()
    assert bundles.current.revision == "r1"
    assert world.audit.events == []
    await tell(bundles)
    assert world.audit.types == [PUBLISHED, ACTIVATED]
    assert world.audit.of(ACTIVATED)[0] == {
        "digest": digest_of(1),
        "revision": "r1",
        "sequence": 1,
        "origin": "initial",
        "signed_by": "k1",
        "before": None,
        "cause": "start",
    }
    status = bundles.status()
    assert (status.pinned, status.stale, status.failure, status.age_seconds) == (False, False, None, 0.0)
    assert (status.active.digest, status.source) == (digest_of(1), world.source.name)


async def test_a_start_on_the_same_bundle_says_nothing_new(world: World) -> None:
    """`gateway.started` names it; a second start adds no event and no entry."""
    await tell(await world.started())
    world.audit.events.clear()
    bundles = await world.started()
    await tell(bundles)
    assert world.audit.events == []
    assert [kept.entry.revision for kept in bundles.list()] == ["r1"]


async def test_a_start_takes_what_is_new_at_the_source(world: World) -> None:
    """Nothing is decided by an old bundle first."""
    await world.started()
    world.source.archive = archive_of(2, sequence=2, signed=True)
    bundles = await world.started()
    await tell(bundles)
    assert bundles.current.revision == "r2"
    assert world.audit.of(ACTIVATED)[-1]["before"] == digest_of(1)
    assert world.audit.of(PUBLISHED)[-1]["origin"] == "source"


@pytest.mark.parametrize(
    ("archive", "fails", "code"),
    [
        (b"", down(), "policy.source_unavailable"),
        (b"garbage", None, "policy.bad_archive"),
        (archive_of(2, sequence=2), None, "policy.unsigned"),
        (archive_of(2, sequence=2, signed=True, which=1), None, "policy.bad_signature"),
        (archive_of(0, sequence=0, signed=True), None, "policy.older_revision"),
        (archive_of(7, sequence=1, signed=True), None, "policy.older_revision"),
        (archive_of(7, signed=True), None, "policy.no_sequence"),
    ],
)
async def test_a_server_that_gives_nothing_good_leaves_the_last_good_one(
    world: World, archive: bytes, fails: BundleSourceError | None, code: str
) -> None:
    """Dead, garbage, unsigned, wrongly signed, replayed: the gateway starts as it stopped, and says so."""
    await world.started()
    world.source.archive, world.source.fails = archive, fails
    bundles = await world.started()
    await tell(bundles)
    assert bundles.current.revision == "r1"
    assert world.audit.of(REFUSED)[-1]["code"] == code
    failure = bundles.status().failure
    assert failure is not None
    assert failure.code == code


async def test_the_first_start_needs_a_bundle(world: World) -> None:
    """With nothing kept and a dead server there is nothing that may decide."""
    world.source.fails = down()
    with pytest.raises(BundleSourceError):
        await world.started()


@pytest.mark.parametrize("archive", [b"garbage", archive_of(0, sequence=0)])
async def test_a_local_source_that_is_wrong_stops_the_start(tmp_path: Path, archive: bytes) -> None:
    """Somebody is there who can mend a folder; an older bundle in it would come back unseen."""
    world = World(tmp_path, FakeSource(archive_of(1, sequence=1), remote=False))
    await world.started()
    world.source.archive = archive
    with pytest.raises(PolicyInvalidError):
        await world.started()


async def test_a_folder_without_a_sequence_may_change_at_will(tmp_path: Path) -> None:
    """As ever: what lies there when the gateway starts decides."""
    world = World(tmp_path, FakeSource(archive_of(2), remote=False))
    await world.started()
    world.source.archive = archive_of(1)
    assert (await world.started()).current.revision == "r1"


async def test_what_was_pinned_is_pinned_after_a_restart(world: World) -> None:
    """The source is not even asked."""
    bundles = await world.started()
    await bundles.publish(archive_of(5, signed=True), "default/ann")
    await bundles.activate("r5", "default/ann")
    world.source.archive = archive_of(9, sequence=9, signed=True)
    world.source.asked.clear()
    bundles = await world.started()
    assert (bundles.current.revision, world.source.asked) == ("r5", [])
    assert bundles.status().pinned


async def test_what_was_pinned_and_is_trusted_no_more_stops_the_start(world: World) -> None:
    """Its key was taken out of the configuration: nothing else is chosen in its place."""
    bundles = await world.started()
    await bundles.activate("r1", "default/ann")
    world.keys = (key(which=1),)
    with pytest.raises(PolicyInvalidError, match="does not hold"):
        await world.started()


async def test_the_last_good_one_has_to_be_good_still(world: World) -> None:
    """A dead server and a key that is gone: there is nothing that may decide."""
    await world.started()
    world.source.fails, world.keys = down(), (key(which=1),)
    with pytest.raises(PolicyInvalidError, match="does not hold"):
        await world.started()


def test_an_unsigned_bundle_from_a_server_needs_the_operators_word(tmp_path: Path) -> None:
    """Without keys a URL is refused, unless it is accepted by name and nobody can change what it gives."""
    world = World(tmp_path, FakeSource(archive_of(1)))
    assert world.bundles()
    world.source.protected = False
    with pytest.raises(ConfigurationError, match="https"):
        world.bundles()
    world.keys = (key(),)
    assert world.bundles()


# --- what people do ---


async def test_publishing_decides_nothing(world: World) -> None:
    """It is kept and recorded with its author; the same once more is recorded no more."""
    bundles = await world.started()
    entry = await bundles.publish(archive_of(2, signed=True), "default/ann")
    assert (entry.revision, entry.origin, entry.by, entry.signed_by) == ("r2", "published", "default/ann", "k1")
    assert await bundles.publish(archive_of(2, signed=True), "default/bob") == entry
    assert [(kind, actor) for kind, actor, _, _ in world.audit.events] == [(PUBLISHED, "default/ann")]
    assert (bundles.current.revision, world.engine.taken) == ("r1", [])
    assert [(k.entry.revision, k.active, k.previous) for k in bundles.list()] == [
        ("r2", False, False),
        ("r1", True, False),
    ]


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"", "policy.bad_archive"),
        (archive_of(2), "policy.unsigned"),
        (archive_of(2, signed=True, which=1), "policy.bad_signature"),
    ],
)
async def test_a_bad_publication_is_refused_and_recorded(world: World, archive: bytes, code: str) -> None:
    """By whom, and why; nothing is kept."""
    bundles = await world.started()
    with pytest.raises(PolicyInvalidError) as caught:
        await bundles.publish(archive, "default/ann")
    assert caught.value.code == code
    kind, actor, _, details = world.audit.events[-1]
    assert (kind, actor, details["code"], details["where"]) == (REFUSED, "default/ann", code, "publish")
    assert len(bundles.list()) == 1


async def test_the_host_has_a_say_in_what_is_published(world: World) -> None:
    """Its own check is asked of every bundle, wherever it comes from."""
    bundles = await world.started()
    world.check = unacceptable
    with pytest.raises(PolicyInvalidError, match="no profile fits"):
        await world.bundles().publish(archive_of(2, signed=True), "default/ann")
    assert bundles.current.revision == "r1"


async def test_activating_pins(world: World) -> None:
    """The engine takes it, the history and the log say so, and the source changes nothing any more."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    entry = await bundles.activate(digest_of(2)[:16], "default/bob")
    assert (entry.revision, world.engine.taken, bundles.current.revision) == ("r2", ["r2"], "r2")
    kind, actor, target, details = world.audit.events[-1]
    assert (kind, actor, target) == (ACTIVATED, "default/bob", digest_of(2))
    assert (details["before"], details["cause"]) == (digest_of(1), "activate")
    world.source.archive = archive_of(3, sequence=3, signed=True)
    await bundles.poll()
    assert (bundles.current.revision, bundles.status().pinned) == ("r2", True)


async def test_activating_what_decides_pins_it_and_swaps_nothing(world: World) -> None:
    """A person keeps what is there; the engine has nothing to do."""
    bundles = await world.started()
    await bundles.activate("r1", "default/ann")
    assert (world.engine.taken, bundles.status().pinned) == ([], True)
    assert world.audit.types == [ASKED, ACTIVATED]


async def test_a_name_has_to_mean_one_bundle(world: World) -> None:
    """A digest, the beginning of one, a revision; nothing that could be two, and nothing that is none."""
    bundles = await world.started()
    for data in ("a", "b"):
        await bundles.publish(archive_of(2, signed=True, x=data), "default/ann")
    for name, error in (
        ("r2", ConflictError),
        ("r9", NotFoundError),
        ("", NotFoundError),
        ("sha256:", NotFoundError),
        (digest_of(1)[7:12], NotFoundError),  # five digits
        ("sha256:" + "0" * 64, NotFoundError),
    ):
        with pytest.raises(error):
            await bundles.activate(name, "default/ann")
    assert (await bundles.activate(digest_of(1)[7:13], "default/ann")).revision == "r1"
    assert (await bundles.activate(digest_of(1), "default/ann")).revision == "r1"


@pytest.mark.parametrize("error", [PolicyUnavailableError("OPA did not take it"), PolicyInvalidError("no")])
async def test_an_engine_that_does_not_take_it_leaves_the_old_one(
    world: World, error: PolicyUnavailableError | PolicyInvalidError
) -> None:
    """In force, in the history, and unpinned as it was; the log has the refusal."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    world.engine.fails = error
    with pytest.raises(type(error)):
        await bundles.activate("r2", "default/ann")
    assert (bundles.current.revision, bundles.status().pinned) == ("r1", False)
    assert world.audit.of(REFUSED)[-1]["where"] == "activation"
    world.engine.fails = None
    assert (await world.started()).current.revision == "r1"


async def test_a_disk_that_does_not_take_it_leaves_the_old_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is given back what it had."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")

    def full(*_: object, **__: object) -> None:
        raise StoreError("no space left", code="policy.history")

    monkeypatch.setattr(bundles._history, "activate", full)
    with pytest.raises(StoreError):
        await bundles.activate("r2", "default/ann")
    assert world.engine.taken == ["r2", "r1"]
    assert (bundles.current.revision, world.audit.of(ACTIVATED)) == ("r1", [])
    assert [details["code"] for details in world.audit.of(REFUSED)] == ["policy.history"]


@pytest.mark.parametrize("act", ["activate", "rollback", "follow"])
async def test_who_has_asked_is_known_though_the_gateway_is_killed(
    world: World, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """The history has the change, and nothing more comes to the log: it says already who, and what for."""
    bundles = await world.started()
    for n in (2, 3):
        await bundles.publish(archive_of(n, sequence=n, signed=True), "default/ann")
        await bundles.activate(f"r{n}", "default/ann")
    world.source.archive = archive_of(4, sequence=4, signed=True)
    world.audit.events.clear()
    real = bundles._history._change

    def killed(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        if bundles._history.state.active != digest_of(3):
            world.audit.fails = StoreError("killed")

    monkeypatch.setattr(bundles._history, "_change", killed)
    acts = {
        "activate": lambda: bundles.activate("r1", "default/bob"),
        "rollback": lambda: bundles.rollback("default/bob"),
        "follow": lambda: bundles.follow_source("default/bob"),
    }
    with pytest.raises(StoreError, match="killed"):
        await acts[act]()
    to = digest_of({"activate": 1, "rollback": 2, "follow": 4}[act])
    asked = [(kind, actor, target) for kind, actor, target, _ in world.audit.events]
    assert asked[-1] == (ASKED, "default/bob", to)
    assert world.audit.of(ASKED)[0] | {"before": digest_of(3), "cause": act} == world.audit.of(ASKED)[0]
    world.audit.fails = None
    assert world.bundles()._history.state.active == to


async def test_a_log_that_takes_nothing_changes_nothing(world: World) -> None:
    """Who asked has to be there first."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, sequence=2, signed=True), "default/ann")
    world.audit.fails = StoreError("the log is dead")
    with pytest.raises(StoreError, match="dead"):
        await bundles.activate("r2", "default/ann")
    assert (bundles.current.revision, world.engine.taken) == ("r1", [])


async def test_rolling_back_goes_back_one_by_one(world: World) -> None:
    """Not to and fro: the second roll-back does not bring the bad one back. The newest is pinned then."""
    bundles = await world.started()
    for n in (2, 3):
        world.source.archive = archive_of(n, sequence=n, signed=True)
        await bundles.poll()
    assert [k.entry.revision for k in bundles.list() if k.previous] == ["r2"]
    assert (await bundles.rollback("default/ann")).revision == "r2"
    assert (await bundles.rollback("default/ann")).revision == "r1"
    with pytest.raises(ConflictError) as caught:
        await bundles.rollback("default/ann")
    assert caught.value.code == "policy.nothing_before"
    assert world.engine.taken == ["r2", "r3", "r2", "r1"]
    assert [d["cause"] for d in world.audit.of(ACTIVATED)] == ["source", "source", "rollback", "rollback"]
    assert (await world.started()).current.revision == "r1"


async def test_a_rollback_may_name_what_it_takes_back(world: World) -> None:
    """Where somebody else was faster, it takes nothing back."""
    bundles = await world.started()
    world.source.archive = archive_of(2, sequence=2, signed=True)
    await bundles.poll()
    with pytest.raises(ConflictError) as caught:
        await bundles.rollback("default/ann", only=digest_of(1))
    assert (caught.value.code, bundles.current.revision) == ("policy.changed", "r2")
    assert (await bundles.rollback("default/ann", only=digest_of(2))).revision == "r1"


async def test_following_the_source_again_takes_what_it_gives(world: World) -> None:
    """After a roll-back the source may go on with the same or a newer one, and changes what decides again."""
    bundles = await world.started()
    world.source.archive = archive_of(2, sequence=2, signed=True)
    await bundles.poll()
    await bundles.rollback("default/ann")
    assert (await bundles.follow_source("default/ann")).revision == "r2"
    assert not bundles.status().pinned
    world.source.archive = archive_of(3, sequence=3, signed=True)
    await bundles.poll()
    assert bundles.current.revision == "r3"
    assert [d["cause"] for d in world.audit.of(ACTIVATED)] == ["source", "rollback", "follow", "source"]


async def test_following_a_source_that_is_older_needs_a_persons_word(world: World) -> None:
    """What a person had put in force counts for the mark; `allow_older` takes the mark back, and is recorded."""
    bundles = await world.started()
    await bundles.publish(archive_of(9, sequence=9, signed=True), "default/ann")
    await bundles.activate("r9", "default/ann")
    with pytest.raises(PolicyInvalidError) as caught:
        await bundles.follow_source("default/ann")
    assert caught.value.code == "policy.older_revision"
    assert (bundles.current.revision, bundles.status().pinned) == ("r9", True)
    assert (await bundles.follow_source("default/ann", allow_older=True)).revision == "r1"
    mark = bundles.status().mark
    assert mark is not None
    assert mark.sequence == 1
    world.source.archive = archive_of(2, sequence=2, signed=True)
    await bundles.poll()
    assert bundles.current.revision == "r2"


async def test_an_older_one_that_a_person_activates_leaves_the_mark(world: World) -> None:
    """A way back is no new beginning: the source may not follow it."""
    bundles = await world.started()
    world.source.archive = archive_of(3, sequence=3, signed=True)
    await bundles.poll()
    await bundles.activate("r1", "default/ann")
    mark = bundles.status().mark
    assert mark is not None
    assert mark.sequence == 3
    world.source.archive = archive_of(2, sequence=2, signed=True)
    with pytest.raises(PolicyInvalidError) as caught:
        await bundles.follow_source("default/ann")
    assert caught.value.code == "policy.older_revision"


async def test_following_a_dead_source_stays_where_it_is(world: World) -> None:
    """Nobody is unpinned into nothing."""
    bundles = await world.started()
    await bundles.activate("r1", "default/ann")
    world.source.fails = down()
    with pytest.raises(BundleSourceError):
        await bundles.follow_source("default/ann")
    assert bundles.status().pinned


async def test_before_the_engine_is_there_nothing_changes(world: World) -> None:
    """An act that comes too early is refused, and can be tried again."""
    bundles = world.bundles()
    with pytest.raises(ConflictError):
        _ = bundles.current
    await bundles.start()
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    with pytest.raises(ConflictError) as caught:
        await bundles.activate("r2", "default/ann")
    assert caught.value.code == "policy.not_started"
    bundles.attach(FakeEngine())
    assert (await bundles.activate("r2", "default/ann")).revision == "r2"


async def test_a_kept_bundle_is_verified_each_time(world: World) -> None:
    """`read` gives one that may decide now; a key that is gone takes its bundles with it."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    assert (await bundles.read("r2")).digest == digest_of(2)
    world.keys = (key(which=1),)
    other = world.bundles()
    with pytest.raises(PolicyInvalidError):
        await other.read("r2")


@pytest.mark.parametrize("damage", ["gone", "cut", "another bundle"])
async def test_a_damaged_bundle_is_found_and_refused(world: World, damage: str) -> None:
    """Whatever lies there instead; publishing it once more mends it."""
    bundles = await world.started()
    entry = await bundles.publish(archive_of(2, signed=True), "default/ann")
    path = world.folder / "bundles" / f"{entry.archive.removeprefix('sha256:')}.tar.gz"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else archive_of(3, sequence=3, signed=True))
    with pytest.raises(PolicyInvalidError) as caught:
        await bundles.activate("r2", "default/ann")
    assert caught.value.code == "policy.bundle_damaged"
    assert world.audit.of(REFUSED)[-1]["code"] == "policy.bundle_damaged"
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    assert (await bundles.activate("r2", "default/ann")).revision == "r2"


async def test_a_history_that_somebody_wrote_is_no_way_in(world: World) -> None:
    """An entry under another bundle's digest, with a sum that is right: the content says what it is."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    state = bundles._history.state
    names = (state.entries[1].digest, state.entries[0].digest)
    crossed = tuple(replace(entry, digest=name) for entry, name in zip(state.entries, names, strict=True))
    (world.folder / HISTORY_NAME).write_bytes(pack_state(replace(state, entries=crossed, pinned=True)))
    with pytest.raises(PolicyInvalidError) as caught:
        await world.started()
    assert caught.value.code == "policy.bundle_damaged"


async def test_an_engine_that_takes_neither_is_told_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses the new one and the engine the old one: what `current` says is what decides."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")

    def full(*_: object, **__: object) -> None:
        world.engine.fails = PolicyUnavailableError("gone")
        raise StoreError("no space left", code="policy.history")

    monkeypatch.setattr(bundles._history, "activate", full)
    with pytest.raises(StoreError):
        await bundles.activate("r2", "default/ann")
    assert bundles.current.revision == world.engine.taken[-1] == "r2"


# --- the source ---


async def test_polling_takes_what_is_new(world: World) -> None:
    """With ETags the same is not sent again; without them it is, and is known."""
    for etags in (True, False):
        world.source.etags = etags
        bundles = await world.started()
        n = 3 if etags else 4
        world.source.archive = archive_of(n, sequence=n, signed=True)
        await bundles.poll()
        await bundles.poll()
        assert bundles.current.revision == f"r{n}"
        assert (world.source.asked[-1] != "") is etags
    assert world.engine.taken == ["r3", "r4"]
    assert [d["cause"] for d in world.audit.of(ACTIVATED)] == ["source", "source"]


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"garbage", "policy.bad_archive"),
        (archive_of(2, sequence=2), "policy.unsigned"),
        (archive_of(2, sequence=2, signed=True, which=1), "policy.bad_signature"),
        (archive_of(0, sequence=0, signed=True), "policy.older_revision"),
        (archive_of(7, sequence=1, signed=True), "policy.older_revision"),
        (archive_of(7, signed=True), "policy.no_sequence"),
    ],
)
async def test_a_source_that_stays_bad_is_recorded_once(
    world: World, archive: bytes, code: str, *, etags: bool
) -> None:
    """Not at each poll; other bad content is recorded anew, and good content is taken."""
    world.source.etags = etags
    bundles = await world.started()
    world.source.archive = archive
    for _ in range(3):
        world.clock.pass_(30)
        await bundles.poll()
    assert [d["code"] for d in world.audit.of(REFUSED)] == [code]
    status = bundles.status()
    assert status.failure is not None
    assert (status.failure.code, status.age_seconds, bundles.current.revision) == (code, 90.0, "r1")
    world.source.archive = b"other garbage"
    await bundles.poll()
    assert len(world.audit.of(REFUSED)) == 2
    world.source.archive = archive_of(4, sequence=4, signed=True)
    await bundles.poll()
    assert (bundles.current.revision, bundles.status().failure) == ("r4", None)


async def test_an_engine_that_is_not_ready_is_asked_again(world: World) -> None:
    """A fault is no refusal: the same bundle is tried at each poll, and recorded once."""
    bundles = await world.started()
    world.source.archive = archive_of(2, sequence=2, signed=True)
    world.engine.fails = PolicyUnavailableError("OPA is not there")
    for _ in range(3):
        await bundles.poll()
    assert [d["where"] for d in world.audit.of(REFUSED)] == ["activation"]
    assert bundles.current.revision == "r1"
    world.engine.fails = None
    await bundles.poll()
    assert bundles.current.revision == "r2"


async def test_the_same_content_under_a_higher_number_moves_the_mark(world: World) -> None:
    """Nothing is swapped, and yet the lower number is too old from then on."""
    bundles = await world.started()
    world.source.archive = archive_of(1, sequence=5, signed=True)
    await bundles.poll()
    assert (world.engine.taken, bundles.status().active.sequence) == ([], 5)
    world.source.archive = archive_of(4, sequence=4, signed=True)
    await bundles.poll()
    assert world.audit.of(REFUSED)[-1]["code"] == "policy.older_revision"


async def test_an_old_bundle_is_old_after_a_rollback_and_after_pruning_too(world: World) -> None:
    """The mark is no entry: neither a person's way back nor the limit of what is kept takes it away."""
    world.kept_max = 2
    bundles = await world.started()
    for n in (2, 3, 4):
        world.source.archive = archive_of(n, sequence=n, signed=True)
        await bundles.poll()
    await bundles.rollback("default/ann")
    world.source.archive = archive_of(3, sequence=3, signed=True)
    with pytest.raises(PolicyInvalidError):
        await bundles.follow_source("default/ann")
    world.source.archive = archive_of(2, sequence=2, signed=True)
    with pytest.raises(PolicyInvalidError):
        await (await world.started()).follow_source("default/ann")


async def test_a_person_goes_before_what_the_source_gave_meanwhile(world: World) -> None:
    """An activation during the question pins before the answer is looked at; a later one finds it pinned."""
    bundles = await world.started()
    await bundles.publish(archive_of(5, signed=True), "default/ann")
    world.source.archive = archive_of(2, sequence=2, signed=True)

    async def act() -> None:
        await bundles.activate("r5", "default/ann")

    world.source.before_answer = act
    await bundles.poll()
    assert (bundles.current.revision, world.engine.taken) == ("r5", ["r5"])
    assert bundles.status().failure is None


async def test_following_during_a_poll_goes_before_it(world: World) -> None:
    """What the source gave before a person's act is not put in force after it."""
    bundles = await world.started()
    world.source.archive = archive_of(2, sequence=2, signed=True)

    async def act() -> None:
        world.source.before_answer = None
        world.source.archive = archive_of(3, sequence=3, signed=True)
        await bundles.follow_source("default/ann")

    world.source.before_answer = act
    await bundles.poll()
    assert (bundles.current.revision, world.engine.taken) == ("r3", ["r3"])
    assert world.audit.of(REFUSED) == []


async def test_one_change_at_a_time(world: World) -> None:
    """Twenty acts at once: the engine never has two, and the last one to get its turn is what decides."""
    bundles = await world.started()
    for n in range(2, 6):
        await bundles.publish(archive_of(n, signed=True), "default/ann")
    acts = [bundles.activate(f"r{2 + n % 4}", "default/ann") for n in range(20)]
    await asyncio.gather(*acts, bundles.poll())
    assert bundles.current.revision == world.engine.taken[-1] == "r5"
    assert (await world.started()).current.revision == "r5"


async def test_a_caller_who_hangs_up_leaves_nothing_half_done(world: World) -> None:
    """The change goes on, and `close` waits for it."""
    bundles = await world.started()
    await bundles.publish(archive_of(2, signed=True), "default/ann")
    call = asyncio.create_task(bundles.activate("r2", "default/ann"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    await bundles.close()
    assert (bundles.current.revision, world.audit.types[-1]) == ("r2", ACTIVATED)


async def test_staleness_is_told_once_each_way(world: World) -> None:
    """By the clock that only grows; a bad bundle confirms nothing, and a good one ends it."""
    world.options = {"stale_seconds_max": 100.0}
    bundles = await world.started()
    world.source.fails = down()
    for seconds, stale in ((60, False), (60, True), (60, True)):
        world.clock.pass_(seconds)
        await bundles.poll()
        assert bundles.stale is stale
    world.source.fails, world.source.archive = None, b"garbage"
    await bundles.poll()
    assert bundles.stale
    world.source.archive = archive_of(1, sequence=1, signed=True)
    await bundles.poll()
    assert [(d["stale"], d["age_seconds"]) for d in world.audit.of(STALE)] == [(True, 120), (False, 0)]


async def test_staleness_is_counted_over_a_restart(world: World) -> None:
    """A restart does not make an old bundle fresh, nor does a clock that was set back; what nobody knows is stale."""
    world.options = {"stale_seconds_max": 100.0}
    await world.started()
    world.source.fails = down()
    world.clock.pass_(80)
    bundles = await world.started()
    assert (bundles.stale, bundles.status().age_seconds) == (False, 80.0)
    world.clock.pass_(21)
    assert bundles.stale
    (world.folder / "confirmed").write_text("yesterday")
    assert (await world.started()).stale


async def test_what_is_pinned_or_not_polled_is_not_stale(world: World, tmp_path: Path) -> None:
    """A person's choice does not age; a folder that is read at the start has nobody to be heard of."""
    world.options = {"stale_seconds_max": 100.0}
    bundles = await world.started()
    await bundles.activate("r1", "default/ann")
    world.clock.pass_(1_000)
    assert not bundles.stale
    local = World(tmp_path / "local", FakeSource(archive_of(1), remote=False), options={"stale_seconds_max": 100.0})
    bundles = await local.started()
    local.clock.pass_(1_000)
    assert not bundles.stale
    local.options["poll_seconds"] = 10.0
    bundles = await local.started()
    local.clock.pass_(1_000)
    assert bundles.stale


async def test_a_failure_is_followed_by_shorter_waits_that_grow(world: World) -> None:
    """One second, two, four, up to the interval; a fifth of it is chance, either way; a good answer ends it."""
    bundles = await world.started()
    freshness = bundles._freshness
    waits = [freshness.wait_seconds(30.0, 0.5)]
    world.source.fails = down()
    for _ in range(6):
        await bundles.poll()
        waits.append(freshness.wait_seconds(30.0, 0.5))
    assert waits == [30.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    for _ in range(2_000):
        freshness.fail(down())
    assert (freshness.wait_seconds(30.0, 0.0), freshness.wait_seconds(30.0, 1.0)) == pytest.approx((24.0, 36.0))
    world.source.fails = None
    await bundles.poll()
    world.source.fails = down()
    await bundles.poll()
    assert freshness.wait_seconds(30.0, 0.5) == 1.0


async def test_a_damaged_history_is_not_guessed(world: World) -> None:
    """Any changed byte is found when the gateway starts: what a person went back to may be in it."""
    await world.started()
    path = world.folder / HISTORY_NAME
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(StoreError) as caught:
            world.bundles()
        assert caught.value.code == "policy.history"
