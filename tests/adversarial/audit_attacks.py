"""Every attack on a log, and by which verification it is seen: the one table of tests and documentation.

The log has 40 events, one a minute, in segments of ten. Its key changed with event 14; the first segment is pruned,
which event 33 tells of; three witnesses have cosigned the first 39 events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from engine.audit.keys import Ed25519Signer
from tests.audit_logs import NAME, START, rehash, reseal
from tests.audit_segments import NEW, OLD, STEP, Witness, World, put, segment, statement

EVENTS: Final = 40
ROTATED_AT: Final = 14
PRUNED_AT: Final = 33
WITNESSED: Final = 39
THIEF: Final = Ed25519Signer(NAME, bytes(32))
WITNESSES: Final = tuple(Witness(f"witness.example/{number}", number) for number in (1, 2, 3))
FALSE_WITNESSES: Final = tuple(Witness(witness.name, 100 + number) for number, witness in enumerate(WITNESSES))
NOW: Final = START + EVENTS * STEP  # a minute after the newest event
UNSEEN: Final = "ok"


def seconds(seq: int) -> int:
    """Return when event `seq` was, in seconds since 1970."""
    return int((START + seq * STEP).timestamp())


def log(
    events: int = EVENTS,
    *,
    forged_from: int | None = None,
    old: Ed25519Signer = OLD,
    new: Ed25519Signer = NEW,
    witnessed: int | None = WITNESSED,
) -> World:
    """Return the log as it was when it had so many events; a forger may have written it from some event on."""
    world = World(forged_from=forged_from)
    world.events(min(events, ROTATED_AT))
    note = statement(ROTATED_AT, old, new)
    if events > ROTATED_AT:
        world.event("audit.key_rotated", {"statement": note.decode()})
        world.files[f"rotations/{ROTATED_AT:020d}.note"] = note
    world.events(min(events, PRUNED_AT))
    if events > PRUNED_AT:
        world.event("audit.pruned", world.pruned_details(0, 10), target=segment(0))
    world.events(events)
    world.cut(*(first for first in (0, 10, 20, 30) if first < events), rotated_at=ROTATED_AT, old=old, new=new)
    if events > PRUNED_AT:
        world.files["archive/" + segment(0)] = world.files.pop(segment(0))
    world.files["checkpoint"] = world.checkpoint(events, new if events > ROTATED_AT else old)
    if witnessed is not None:
        size = min(witnessed, events)
        world.files["witnessed"] = cosigned(world, size, min(size, events - 1), new if size > ROTATED_AT else old)
    return world


def cosigned(
    world: World, size: int, at: int, signer: Ed25519Signer = NEW, by: tuple[Witness, ...] = WITNESSES
) -> bytes:
    """Return the checkpoint of `size`, with the witnesses' word from when event `at` was."""
    signed = world.checkpoint(size, signer)
    for witness in by:
        signed = witness.cosign(signed, seconds(at))
    return signed


TRUE: Final = log()
OUTSIDE: Final = TRUE.files["checkpoint"]
Change = Callable[[World], object]
COLUMNS: Final[Mapping[str, Mapping[str, Any]]] = {
    "folder alone": {},
    "outside checkpoint": {"checkpoint": OUTSIDE},
    "witnesses": {"witnesses": [w.vkey for w in WITNESSES], "witnesses_required": 2},
    "`fresh_within`": {"fresh_within": timedelta(seconds=90), "now": NOW},
    "witnesses and `fresh_within`": {
        "witnesses": [w.vkey for w in WITNESSES],
        "witnesses_required": 2,
        "fresh_within": timedelta(seconds=90),
        "now": NOW,
    },
}


@dataclass(frozen=True)
class Attack:
    """What is done to the log, and the code by which each verification of COLUMNS convicts it, or UNSEEN."""

    change: Change
    seen: tuple[str, str, str, str, str]
    start: Callable[[], World] = log
    key: Ed25519Signer = NEW  # whose vkey the reader has
    archive: bool = False  # the reader has the archive as well


def always(code: str, change: Change, **more: Any) -> Attack:
    """Return an attack that every verification sees, and names alike."""
    return Attack(change, (code,) * 5, **more)


def lines_of(first: int, change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change the lines of the segment that begins at `first`."""

    def apply(world: World) -> None:
        world.files[segment(first)] = put(change(world.files[segment(first)].split(b"\n")[:-1]))

    return apply


def raw(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of a file."""

    def apply(world: World) -> None:
        world.files[name] = change(world.files[name])

    return apply


def drop(*names: str) -> Change:
    """Remove files."""

    def apply(world: World) -> None:
        for name in names:
            del world.files[name]

    return apply


def add(name: str, content: bytes) -> Change:
    """Add a file, or put another in its place."""
    return lambda world: world.files.update({name: content})


def swap(one: str, other: str) -> Change:
    """Exchange two files."""
    return lambda world: world.files.update({one: world.files[other], other: world.files[one]})


def segments_of(other: World, *firsts: int) -> Change:
    """Take segments from another log."""
    return lambda world: world.files.update({segment(first): other.files[segment(first)] for first in firsts})


def rechained(world: World) -> None:
    """Write all lines from event 12 on anew, and what seals say of them, but what is signed."""
    forged = log(forged_from=12)
    for name, content in forged.files.items():
        if name.startswith("segments/") or name.endswith((".leaves", ".roots")):
            world.files[name] = content
        elif name.startswith("seals/") and name in world.files:
            true_note = world.files[name].partition(b"\n\n")[2]
            world.files[name] = content.partition(b"\n\n")[0] + b"\n\n" + true_note


def flipped(content: bytes) -> bytes:
    """Turn one bit of the last byte but one."""
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


def note_name(seq: int) -> str:
    """Return the path of a rotation note."""
    return f"rotations/{seq:020d}.note"


def kept(start: int = ROTATED_AT) -> tuple[str, ...]:
    """Return the seals and tree files of segments that end after event `start`."""
    return tuple(
        name for name in TRUE.files if name.startswith(("seals/", "tree/")) and int(Path(name).stem) + 10 > start
    )


SEAL_10: Final = f"seals/{10:020d}.seal"
SEAL_20: Final = f"seals/{20:020d}.seal"
LEAVES_0: Final = f"tree/{0:020d}.leaves"
LEAVES_20: Final = f"tree/{20:020d}.leaves"
PRUNED_LINE: Final = rehash(TRUE.lines[-1], seq=40, event_type="audit.pruned", actor="audit")

ATTACKS: Final[Mapping[str, Attack]] = {
    # Lines, by whoever can write the files.
    "a line edited": always("event.bad", raw(segment(30), lambda c: c.replace(b"worker-35", b"worker-36"))),
    "a line edited, and its hash": always(
        "event.bad", lines_of(30, lambda c: [*c[:5], rehash(c[5], actor="mallory"), *c[6:]])
    ),
    "a line deleted": always("event.bad", lines_of(30, lambda c: c[:5] + c[6:])),
    "the last line deleted": always("event.missing", lines_of(30, lambda c: c[:-1])),
    "a line inserted": always("event.bad", lines_of(20, lambda c: [*c[:5], rehash(c[5], actor="m"), *c[5:]])),
    "two lines reordered": always("event.bad", lines_of(20, lambda c: [*c[:5], c[6], c[5], *c[7:]])),
    "a file truncated within a line": always("event.bad", raw(segment(30), lambda c: c[:-100])),
    "a line torn in the middle": always("event.bad", lines_of(20, lambda c: [*c[:5], c[5][:99], *c[6:]])),
    "a key doubled, and the hash fits": always(
        "event.bad",
        lines_of(20, lambda c: [*c[:5], reseal(c[5][:-75].replace(b'{"n":25}', b'{"n":25,"n":25}') + b"}"), *c[6:]]),
    ),
    "white space added, and the hash fits": always(
        "event.bad", lines_of(20, lambda c: [*c[:5], reseal(c[5][:-75].replace(b':{"n"', b': {"n"') + b"}"), *c[6:]])
    ),
    "a hole of NUL bytes": always("event.bad", lines_of(20, lambda c: [*c[:5], bytes(len(c[5])), *c[6:]])),
    "lines added after the checkpoint": Attack(  # they are reported as not signed
        lines_of(30, lambda c: [*c, rehash(c[-1], seq=40)]), (UNSEEN,) * 5
    ),
    # Segments.
    "the open segment dropped": always("event.missing", drop(segment(30))),
    "a segment dropped from the middle": always("event.missing", drop(segment(20))),
    "two segments swapped": always("event.bad", swap(segment(20), segment(30))),
    "a segment of another log spliced in": always("event.bad", segments_of(log(forged_from=1), 20)),
    "lines chained anew without the key": always("seal.mismatch", segments_of(log(forged_from=12), 10, 20, 30)),
    "lines chained anew, and the seals": always("root.mismatch", rechained),
    # Pruning.
    "a segment dropped as if it were pruned": always("prune.missing", drop(segment(10))),
    "the same, with an event that tells of it, unsigned": always(
        "prune.missing",
        lambda world: (
            drop(segment(10))(world),
            lines_of(30, lambda c: [*c, rehash(PRUNED_LINE, details=world.pruned_details(10, 20))])(world),
        ),
    ),
    "hashes of a pruned segment changed": always("tree.mismatch", raw(LEAVES_0, flipped)),
    "hashes of a pruned segment dropped": always("tree.missing", drop(LEAVES_0)),
    "seal of a pruned segment: another file": always(
        "prune.mismatch",
        raw(
            f"seals/{0:020d}.seal",
            lambda c: c.replace(b"\nsha256 ", b"\nsha256 0", 1).replace(c.partition(b"sha256 ")[2][63:65], b"\n", 1),
        ),
    ),
    "seal of a pruned segment dropped": always("event.missing", drop(f"seals/{0:020d}.seal")),
    "an archived segment edited": always(
        "event.bad", raw("archive/" + segment(0), lambda c: c.replace(b"worker-5", b"worker-6")), archive=True
    ),
    # Seals and trees of segments that are here.
    "a seal edited": always("seal.mismatch", raw(SEAL_20, lambda c: c.replace(b"\nbytes ", b"\nbytes 1"))),
    "a seal dropped": always("seal.missing", drop(SEAL_10)),
    "the newest seal dropped": always("seal.missing", drop(SEAL_20)),
    "hashes of a segment changed": always("tree.mismatch", raw(LEAVES_20, flipped)),
    # Signatures.
    "the checkpoint dropped": always("checkpoint.missing", drop("checkpoint")),
    "the checkpoint edited": always(
        "checkpoint.signature", raw("checkpoint", lambda c: c.replace(b"\n40\n", b"\n39\n"))
    ),
    "signed with another key": always("checkpoint.unsigned", add("checkpoint", TRUE.checkpoint(40, THIEF))),
    "a rotation note edited": always(
        "rotation.signature", raw(note_name(14), lambda c: c[:-20] + (b"B" if c[-20:-19] == b"A" else b"A") + c[-19:])
    ),
    "a rotation note dropped": always("seal.unsigned", drop(note_name(14))),
    "a rotation forged without a key": always("rotation.broken", add(note_name(20), statement(20, THIEF, OLD))),
    "a rotation to another key forged, unsigned by the true one": always(
        "rotation.signature", add(note_name(20), statement(20, NEW, THIEF, THIEF, OLD))
    ),
    "a rotation back to the old key": always("rotation.broken", add(note_name(20), statement(20, NEW, OLD))),
    # An older state.
    "the whole log put back to an earlier state": Attack(
        lambda _: None, (UNSEEN, "outside.rollback", UNSEEN, "log.stale", "witness.stale"), start=lambda: log(30)
    ),
    "the checkpoint put back by less than a batch": Attack(
        add("checkpoint", TRUE.checkpoint(39)), (UNSEEN, "outside.rollback", UNSEEN, "log.stale", "log.stale")
    ),
    "the checkpoint put back to before what witnesses saw": Attack(
        add("checkpoint", TRUE.checkpoint(36)),
        ("witness.rollback", "outside.rollback", "witness.rollback", "witness.rollback", "witness.rollback"),
    ),
    "the checkpoint put back to before a seal, `witnessed` dropped": Attack(
        lambda world: (add("checkpoint", TRUE.checkpoint(25))(world), drop("witnessed")(world)),
        ("seal.rollback", "outside.rollback", "seal.rollback", "seal.rollback", "seal.rollback"),
    ),
    "the checkpoint put back to before a rotation, seals and `witnessed` dropped": Attack(
        lambda world: (add("checkpoint", TRUE.checkpoint(12, OLD))(world), drop("witnessed", *kept(12))(world)),
        ("rotation.rollback", "outside.rollback", "rotation.rollback", "rotation.rollback", "rotation.rollback"),
    ),
    # By a thief of the key, who writes everything anew from some event on.
    "stolen key: all written anew, `witnessed` dropped": Attack(
        lambda _: None,
        (UNSEEN, "outside.fork", "witness.missing", UNSEEN, "witness.missing"),
        start=lambda: log(forged_from=1, witnessed=None),
    ),
    "stolen key: all written anew, `witnessed` left": Attack(
        add("witnessed", TRUE.files["witnessed"]),
        ("witness.fork", "outside.fork", "witness.fork", "witness.fork", "witness.fork"),
        start=lambda: log(forged_from=1),
    ),
    "stolen key: all written anew, cosigned by other witnesses of these names": Attack(
        lambda world: add("witnessed", cosigned(world, 40, 39, by=FALSE_WITNESSES))(world),
        (UNSEEN, "outside.fork", "witness.missing", UNSEEN, "witness.missing"),
        start=lambda: log(forged_from=1),
    ),
    "stolen key: all written anew, true cosignatures put under it": Attack(
        lambda world: add(
            "witnessed", world.checkpoint(39) + b"".join(TRUE.files["witnessed"].splitlines(keepends=True)[5:])
        )(world),
        (UNSEEN, "outside.fork", "witness.signature", UNSEEN, "witness.signature"),
        start=lambda: log(forged_from=1),
    ),
    "stolen key: written anew from an event on that `witnessed` is put back to": Attack(
        add("witnessed", cosigned(TRUE, 20, 20)),
        (UNSEEN, "outside.fork", UNSEEN, UNSEEN, "witness.stale"),
        start=lambda: log(forged_from=20),
    ),
    "stolen key: only what no witness has seen yet is written anew": Attack(
        add("witnessed", TRUE.files["witnessed"]),
        (UNSEEN, "outside.fork", UNSEEN, UNSEEN, UNSEEN),
        start=lambda: log(forged_from=39),
    ),
    "stolen key: a fork shown to one reader, cosigned by one witness of two that are required": Attack(
        lambda world: add("witnessed", cosigned(world, 40, 39, by=WITNESSES[:1]))(world),
        (UNSEEN, "outside.fork", "witness.missing", UNSEEN, "witness.missing"),
        start=lambda: log(forged_from=25),
    ),
    # By a thief of a key that was replaced.
    "replaced key stolen: the log is gone on with": always(
        "checkpoint.superseded", lambda world: add("checkpoint", world.checkpoint(40, OLD))(world)
    ),
    "replaced key stolen: all written anew, without the rotation": always(
        "checkpoint.unsigned",
        lambda world: (
            [drop(name)(world) for name in [*kept(0), note_name(14)]],
            add("checkpoint", world.checkpoint(40, OLD))(world),
        ),
        start=lambda: log(forged_from=1, new=OLD, witnessed=None),
    ),
    "replaced key stolen: all written anew, with a rotation to a key of the thief": always(
        "rotation.broken", lambda _: None, start=lambda: log(forged_from=1, new=THIEF, witnessed=None)
    ),
    "the same, and the reader knows the replaced key only": Attack(
        lambda _: None,
        (UNSEEN, "outside.unsigned", "witness.missing", UNSEEN, "witness.missing"),
        start=lambda: log(forged_from=1, new=THIEF, witnessed=None),
        key=OLD,
    ),
}
