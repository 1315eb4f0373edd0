import stat
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.bundles.entry import Entry, Mark, archive_digest
from gateway.bundles.history import HISTORY_NAME, History
from gateway.bundles.history_file import State, pack_state, parse_state
from gateway.errors import PolicyInvalidError, StoreError
from tests.bundle_worlds import START


def entry_of(n: int, archive: bytes | None = None) -> tuple[Entry, bytes]:
    """Return an entry whose archive is any bytes: the history does not look into it."""
    content = b"archive %d" % n if archive is None else archive
    entry = Entry(
        digest=f"sha256:{n:064x}",
        revision=f"r{n}",
        sequence=n,
        origin="source",
        by="gateway",
        at=START + timedelta(seconds=n),
        signed_by=None,
        archive=archive_digest(content),
        archive_bytes=len(content),
    )
    return entry, content


def opened(folder: Path, kept_max: int = 4) -> History:
    return History.open(folder, kept_max=kept_max)


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """Entries, what is in force, what was before, the mark, and the time of the last confirmation."""
    history = opened(tmp_path / "policy")
    for n in (1, 2):
        history.keep(*entry_of(n))
        history.activate(entry_of(n)[0].digest, pinned=n == 2, mark=Mark(sequence=n, digest=entry_of(n)[0].digest))
    history.confirm(START)
    again = opened(tmp_path / "policy")
    assert again.state == history.state
    assert (again.state.active, again.state.previous) == (entry_of(2)[0].digest, entry_of(1)[0].digest)
    assert again.archive(entry_of(1)[0]) == b"archive 1"
    assert again.confirmed() == START


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600: a policy says where secrets are used."""
    folder = tmp_path / "policy"
    history = opened(folder)
    history.keep(*entry_of(1))
    history.confirm(START)
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_oldest_go_but_what_is_needed_stays(tmp_path: Path) -> None:
    """The one in force, the one before it, and the one that was just kept are never removed; their archives neither."""
    history = opened(tmp_path, kept_max=2)
    for n in (1, 2):
        history.keep(*entry_of(n))
        history.activate(entry_of(n)[0].digest, pinned=False, mark=None)
    for n in range(3, 20):
        history.keep(*entry_of(n))
        assert [entry.revision for entry in history.state.entries] == ["r1", "r2", f"r{n}"]
    assert sorted(path.read_bytes() for path in (tmp_path / "bundles").iterdir()) == [
        b"archive 1",
        b"archive 19",
        b"archive 2",
    ]


def test_what_goes_is_taken_out_of_the_activations(tmp_path: Path) -> None:
    """A roll-back leads to what is there, past what is not."""
    history = opened(tmp_path, kept_max=3)
    for n in (1, 2, 1, 3, 1, 4):
        history.keep(*entry_of(n))
        history.activate(entry_of(n)[0].digest, pinned=False, mark=None)
    kept = {entry.digest for entry in history.state.entries}
    assert kept.issuperset(history.state.activations)
    assert all(a != b for a, b in zip(history.state.activations, history.state.activations[1:], strict=False))
    assert opened(tmp_path, kept_max=3).state == history.state


def test_one_digest_is_one_entry(tmp_path: Path) -> None:
    """Kept again with another archive (a signature, a schema), it takes the place of the earlier one."""
    history = opened(tmp_path)
    history.keep(*entry_of(1))
    history.keep(*entry_of(1, b"with a signature"))
    assert [history.archive(entry) for entry in history.state.entries] == [b"with a signature"]
    assert len(list((tmp_path / "bundles").iterdir())) == 1


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """An archive that no entry names, and a file that was half written."""
    opened(tmp_path).keep(*entry_of(1))
    for name in ("0" * 64 + ".tar.gz", "x.tar.gz.tmp"):
        (tmp_path / "bundles" / name).write_bytes(b"x")
    history = opened(tmp_path)
    assert [path.read_bytes() for path in (tmp_path / "bundles").iterdir()] == [b"archive 1"]
    assert history.archive(entry_of(1)[0]) == b"archive 1"


def test_what_is_not_what_was_kept_is_refused(tmp_path: Path) -> None:
    """By the digest of its archive."""
    history = opened(tmp_path)
    entry, _ = entry_of(1)
    history.keep(entry, b"archive 1")
    path = next((tmp_path / "bundles").iterdir())
    path.write_bytes(b"archive 2")
    with pytest.raises(PolicyInvalidError) as caught:
        history.archive(entry)
    assert (caught.value.code, history.holds(entry)) == ("policy.bundle_damaged", False)
    history.keep(entry, b"archive 1")
    assert history.archive(entry) == b"archive 1"


STATE = State(
    entries=(entry_of(1)[0], entry_of(2)[0]),
    activations=(entry_of(1)[0].digest, entry_of(2)[0].digest),
    pinned=True,
    mark=Mark(sequence=2, digest=entry_of(2)[0].digest),
)


def test_the_file_is_the_state() -> None:
    """Parse after pack is the identity, with and without what may be missing."""
    for state in (STATE, State()):
        assert parse_state(pack_state(state)) == state


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version":2'),
        (b'"pinned":true', b'"pinned":1'),
        (b'"sequence":2', b'"sequence":2.0'),
        (b'"sequence":1', b'"sequence":true'),
        (b'"origin":"source"', b'"origin":"moon"'),
        (b'"signed_by":null', b'"signed_by":0'),
        (b'Z"', b'"'),
        (b'"by":"gateway"', b'"by":null'),
        (b'"activations":[', b'"activations":["sha256:x",'),
        (b'"mark":{', b'"mark":{"more":1,'),
        (b'"entries":[', b'"entries":[{},'),
        (b'"digest":"sha256:', b'"digest":"sha512:'),
    ],
)
def test_a_file_of_another_form_is_refused(old: bytes, new: bytes) -> None:
    """Also where its sum is right: another version may have written it, or somebody by hand."""
    line = pack_state(STATE).partition(b"\n")[0]
    changed = line.replace(old, new)
    assert changed != line
    with pytest.raises(ValueError, match=r"."):
        parse_state(changed + b"\n" + sha256(changed).hexdigest().encode() + b"\n")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}", b"{}\n", b"x" * 10, pack_state(STATE)[:-1], pack_state(STATE) * 2]
)
def test_a_cut_or_doubled_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A history that cannot be read stops the start, and names the file."""
    opened(tmp_path)
    (tmp_path / HISTORY_NAME).write_bytes(content)
    with pytest.raises(StoreError, match=HISTORY_NAME):
        opened(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    """It says where."""
    (tmp_path / "policy").write_text("a file")
    with pytest.raises(StoreError) as caught:
        opened(tmp_path / "policy")
    assert caught.value.code == "policy.history"
