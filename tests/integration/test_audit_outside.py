"""What the writer writes, verified by others: Go's sumdb, transparency-dev's merkle and formats, openssl, sha256sum."""

import asyncio
import re
import shutil
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from engine.audit.bundle_readme import GO_MODULE
from engine.audit.export import ExportedEvent, Selection, proof_bytes, write_bundle
from engine.audit.writer import AuditLimits
from tests import outside_tools
from tests.audit_logs import VKEY, append, open_log
from tests.audit_segments import NEW, Witness

pytestmark = pytest.mark.timeout(400)  # the first test builds two Go programs, on a cold cache and a busy machine

SIZES = (1, 2, 3, 7, 8, 200, 256, 257, 300)
WITNESSES = [Witness("witness.example/one", 1), Witness("witness.example/two", 2)]


@dataclass(frozen=True)
class Written:
    """A log that our writer made, with its checkpoints at some sizes and what it proves of itself."""

    checkpoints: dict[int, bytes]
    lines: list[bytes]
    inclusion: dict[int, tuple[bytes, ...]]
    consistency: dict[tuple[int, int], tuple[bytes, ...]]

    @property
    def last(self) -> bytes:
        """The newest checkpoint."""
        return self.checkpoints[SIZES[-1]]


async def write(directory: Path) -> Written:
    """Write a log of several segments, with a stop at each size to take its checkpoint."""
    log = open_log(directory, limits=AuditLimits(segment_bytes_max=1_000))
    checkpoints, seq = {}, 0  # event 0 is the log's own
    for size in SIZES:
        while seq < size - 1:
            seq = append(log, seq + 1)
        await log.durable(seq)
        checkpoints[size] = log.checkpoint()
    lines = list(log.read(0, SIZES[-1]))
    inclusion = {seq: log.prove_inclusion(seq) for seq in range(SIZES[-1])}
    pairs = [(old, new) for old in SIZES for new in SIZES if old <= new]
    consistency = {(old, new): log.prove_consistency(old, new) for old, new in pairs}
    await log.close()
    return Written(checkpoints, lines, inclusion, consistency)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    directory = tmp_path_factory.mktemp("outside") / "log"
    made = asyncio.run(write(directory))
    assert len(list((directory / "segments").iterdir())) > 4
    return made


@pytest.fixture(scope="module")
def bundle(written: Written, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events 100 to 119, whole."""
    directory = tmp_path_factory.mktemp("outside") / "bundle"
    events = [ExportedEvent(seq=s, line=written.lines[s], path=written.inclusion[s]) for s in range(100, 120)]
    selection = Selection(
        events=events,
        checkpoint=WITNESSES[0].cosign(written.last, 1_800_000_000),
        vkey=VKEY,
        filter_text="",
        first=100,
        end=120,
        complete=True,
        created=datetime(2026, 2, 1, tzinfo=UTC),
    )
    return write_bundle(directory, selection).directory


@pytest.fixture
def logcheck(tmp_path: Path) -> "Logcheck":
    return Logcheck(tmp_path, outside_tools.go_program("logcheck"))


@dataclass(frozen=True)
class Logcheck:
    """The Go program, shown bytes."""

    folder: Path
    program: Path

    def __call__(self, command: str, *contents: bytes | str) -> bool:
        """Run a command with files of these contents, and arguments that are text; return whether it verifies."""
        words: list[object] = []
        for number, content in enumerate(contents):
            if isinstance(content, bytes):
                path = self.folder / str(number)
                path.write_bytes(content)
                words.append(path)
            else:
                words.append(content)
        return outside_tools.run(self.program, command, *words)[0]


def path_text(path: tuple[bytes, ...]) -> bytes:
    return b"".join(b64encode(node) + b"\n" for node in path)


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_go_reads_the_checkpoint(written: Written, logcheck: Logcheck) -> None:
    """sumdb/note and transparency-dev/formats take each checkpoint; not with a changed root, nor for another key."""
    for checkpoint in written.checkpoints.values():
        assert logcheck("checkpoint", checkpoint, VKEY)
    assert not logcheck("checkpoint", flipped(written.last, 30), VKEY)
    assert not logcheck("checkpoint", written.last, NEW.verifier_key())


def test_go_verifies_inclusion(written: Written, logcheck: Logcheck) -> None:
    """tlog, merkle and formats/proof verify the .tlog-proof of events all over the log, and of no changed event."""
    for seq in (0, 1, 99, 255, 256, 298, 299):
        proof = proof_bytes(seq, written.inclusion[seq], written.last)
        assert logcheck("proof", proof, written.lines[seq], VKEY)
        assert not logcheck("proof", proof, flipped(written.lines[seq], 40), VKEY)
        assert not logcheck("proof", proof, written.lines[seq - 1], VKEY)
    proof = proof_bytes(7, (*written.inclusion[7][:-1], bytes(32)), written.last)
    assert not logcheck("proof", proof, written.lines[7], VKEY)


def test_go_verifies_consistency(written: Written, logcheck: Logcheck) -> None:
    """`tlog` and merkle verify that each checkpoint extends the earlier ones, and refuse a path that was changed."""
    for old, new in [
        (1, 2),
        (1, 300),
        (2, 3),
        (3, 7),
        (7, 8),
        (8, 300),
        (200, 257),
        (256, 257),
        (256, 300),
        (300, 300),
    ]:
        notes = written.checkpoints[old], written.checkpoints[new]
        path = written.consistency[old, new]
        assert logcheck("consistency", *notes, path_text(path), VKEY), (old, new)
        assert not logcheck("consistency", *notes, path_text((*path, bytes(32))), VKEY)
        assert not path or not logcheck("consistency", *notes, path_text((bytes(32), *path[1:])), VKEY)


def test_go_takes_our_cosignatures_for_what_they_are(written: Written, logcheck: Logcheck) -> None:
    """The cosignatures that the tests of our verifier make are those of transparency-dev's."""
    cosigned = written.last
    for witness in WITNESSES:
        cosigned = witness.cosign(cosigned, 1_800_000_000)
    assert logcheck("checkpoint", cosigned, VKEY, *(witness.vkey for witness in WITNESSES))
    assert not logcheck("checkpoint", cosigned, VKEY, WITNESSES[0].vkey, Witness("witness.example/three", 3).vkey)


def commands(page: str) -> list[str]:
    """Return the commands of the README, a block each."""
    return re.findall(r"```sh\n(.*?)```", page, re.DOTALL)


def test_openssl_verifies_the_bundle_as_its_page_says(bundle: Path, tmp_path: Path) -> None:
    """The README's openssl and cmp commands succeed, and fail for another text or signature."""
    outside_tools.need("openssl", "version 3, to verify the checkpoint's signature")
    (command,) = [block for block in commands((bundle / "README.md").read_text()) if "openssl" in block]
    good, said = outside_tools.run("sh", "-ec", command, cwd=bundle)
    assert good, said
    for name, at in (("checkpoint.body", 30), ("checkpoint.sig", 5), ("checkpoint", 30)):
        other = Path(shutil.copytree(bundle, tmp_path / name))
        (other / name).write_bytes(flipped((bundle / name).read_bytes(), at))
        assert not outside_tools.run("sh", "-ec", command, cwd=other)[0], name


def test_sha256sum_finds_the_hash_of_an_event(bundle: Path) -> None:
    """The README's pipe of sed and sha256sum prints the event's own hash, twice."""
    (command,) = [block for block in commands((bundle / "README.md").read_text()) if "sha256sum" in block]
    good, said = outside_tools.run("sh", "-ec", command, cwd=bundle)
    first = orjson.loads((bundle / "events.jsonl").read_bytes().split(b"\n")[0])
    assert (good, [line.split()[0] for line in said.splitlines()]) == (True, [first["hash"]] * 2)


def test_the_program_of_the_bundle_verifies_it(bundle: Path, tmp_path: Path) -> None:
    """The Go program that travels with a bundle verifies every event, and no bundle of which anything was changed."""
    program = outside_tools.go_program("bundlecheck")
    assert (bundle / "check.go").read_text() in (Path(program).parent / "module/bundlecheck/main.go").read_text()
    good, said = outside_tools.run(program, bundle, VKEY)
    assert (good, said.split()[0]) == (True, "20"), said
    changes = {
        "events.jsonl": lambda raw: raw.replace(b"worker-110", b"worker-111"),
        "checkpoint": lambda raw: flipped(raw, 30),
        f"proofs/{110:020d}.tlog-proof": lambda raw: flipped(raw, 45),
    }
    for number, (name, change) in enumerate(changes.items()):
        other = Path(shutil.copytree(bundle, tmp_path / str(number)))
        (other / name).write_bytes(change((bundle / name).read_bytes()))
        assert not outside_tools.run(program, other, VKEY)[0], name
    other = Path(shutil.copytree(bundle, tmp_path / "fewer"))
    (other / "events.jsonl").write_bytes(b"\n".join((bundle / "events.jsonl").read_bytes().split(b"\n")[1:]))
    assert not outside_tools.run(program, other, VKEY)[0]


def test_the_page_names_the_version_that_is_tested() -> None:
    """The module that the README has people fetch is the one that tests/outside pins."""
    assert f"\t{GO_MODULE}\n" in (outside_tools.MODULE / "go.mod").read_text()
