import gzip
import io
import os
import random  # noqa: TID251 - a seeded one
import tarfile
import zlib
from pathlib import Path

import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import (
    ARCHIVE_BYTES_MAX,
    DATA_BYTES_MAX,
    ENTRIES_MAX,
    FILE_BYTES_MAX,
    FILES_MAX,
    RULES_BYTES_MAX,
    read_archive,
    read_folder,
    write_archive,
)
from tests.bundle_archives import END, header, member, pax, sealed, tar_gz
from tests.depth import times

POLICIES = Path(__file__).parents[2] / "policies"
GOOD = [member(b".manifest", b"{}"), member(b"data.json", b"{}")]
PACKED = tar_gz(GOOD)


def refusal(archive: bytes) -> PolicyInvalidError:
    with pytest.raises(PolicyInvalidError) as caught:
        read_archive(archive)
    return caught.value


def test_what_the_cases_begin_with_is_good() -> None:
    """Each hostile archive below differs from this one in what its case names."""
    assert read_archive(PACKED) == {".manifest": b"{}", "data.json": b"{}"}


NAMES = {
    "absolute twice": b"//etc/passwd",
    "parent": b"../x.json",
    "parent inside": b"a/../../x.json",
    "parent after the slash": b"/../x.json",
    "here": b"a/./x.json",
    "dot dot after dot": b"./../x",
    "empty": b"",
    "only a slash": b"/",
    "only a dot": b"./",
    "backslash": b"a\\..\\x.json",
    "line break": b"a\nb.json",
    "escape": b"a\x1b[31m.json",
    "right to left": "a\u202ejson".encode(),
    "not UTF-8": b"a\xff.json",
    "decomposed": "cafe\u0301.json".encode(),
    "trailing slash": b"a.json/",
    "something after its end": b"a.json\0b",
    "deep": b"a/" * 20 + b"x",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_leads_elsewhere_is_refused(name: bytes) -> None:
    """No name leaves the bundle, hides, or reads differently elsewhere."""
    assert refusal(tar_gz([*GOOD, member(name, b"{}")])).code in {"policy.bad_file", "policy.bad_archive"}


PAIRS = {
    "the same": (b"a.json", b"a.json"),
    "with and without a slash": (b"a.json", b"/a.json"),
    "with and without a dot": (b"a.json", b"./a.json"),
    "case": (b"a.json", b"A.json"),
    "case of a folder": (b"x/a.json", b"X/b.json"),
    "sharp s": ("straße".encode(), b"strasse"),
    "ligature": ("\ufb01le".encode(), b"file"),
    "a file and a folder": (b"a", b"a/b.json"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_two_names_that_may_be_taken_for_one_are_refused(pair: tuple[bytes, bytes]) -> None:
    """Whichever of the two a reader would keep, another would keep the other."""
    first, second = (member(name, b"{}") for name in pair)
    assert refusal(tar_gz([*GOOD, first, second])).code == "policy.bad_file"
    assert refusal(tar_gz([*GOOD, second, first])).code == "policy.bad_file"


@pytest.mark.parametrize(
    "kind", [b"1", b"2", b"3", b"4", b"6", b"7", b"S", b"L", b"K", b"V", b"M", b"D", b"X", b"\xff"]
)
def test_links_devices_and_odd_types_are_refused(kind: bytes) -> None:
    """Files, directories and pax headers; no link, device, pipe, sparse or continued file, no GNU long name."""
    assert refusal(tar_gz([*GOOD, member(b"x", b"y", kind)])).code == "policy.bad_file"


RECORDS: dict[str, dict[bytes, bytes]] = {
    "a size": {b"size": b"4"},
    "a link": {b"linkpath": b"/etc/passwd"},
    "sparse": {b"GNU.sparse.major": b"1"},
    "sparse name": {b"GNU.sparse.name": b"x"},
    "another character set": {b"hdrcharset": b"BINARY"},
    "an attribute": {b"SCHILY.xattr.user.x": b"y"},
    "an empty name": {b"path": b""},
    "a name with NUL": {b"path": b"a\0b"},
    "a name that leads out": {b"path": b"../x"},
    "no key": {b"": b"x"},
}


@pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS)
def test_pax_records_that_change_a_file_are_refused(records: dict[bytes, bytes]) -> None:
    """A name of the next file and its times and owners are read; nothing that makes two readers see two files."""
    assert refusal(tar_gz([*GOOD, pax(records), member(b"x.json", b"{}")])).code in {
        "policy.bad_file",
        "policy.bad_archive",
    }


def test_a_name_for_all_files_is_refused() -> None:
    """A global header may have a comment, as `git archive` writes, and no name."""
    assert read_archive(tar_gz([pax({b"comment": b"f" * 40}, b"g"), *GOOD]))
    assert refusal(tar_gz([pax({b"path": b"x"}, b"g"), *GOOD])).code == "policy.bad_archive"


@pytest.mark.parametrize(
    "content", [b"x", b"5 a=b", b"6 a=b\n9", b"99999 a=b\n", b"0 a=b\n", b"-6 a=b\n", b"6\ta=b\n", b" a=b\n", b"4 a\n"]
)
def test_a_damaged_pax_header_is_refused(content: bytes) -> None:
    """Each record has the length that it says."""
    assert refusal(tar_gz([member(b"pax", content, b"x"), *GOOD])).code == "policy.bad_archive"


def _with(block: bytes, at: int, value: bytes) -> bytes:
    return sealed(block[:at] + value + block[at + len(value) :])


HEADERS = {
    "no magic": _with(header(b"x", 0), 257, bytes(8)),
    "a wrong checksum": header(b"x", 0)[:148] + b"000000\0 " + header(b"x", 0)[156:],
    "a negative size": _with(header(b"x", 0), 124, b"-0000000001\0"),
    "a size in base 256": _with(header(b"x", 0), 124, b"\x80" + bytes(11)),
    "a size of eights": _with(header(b"x", 0), 124, b"00000000008\0"),
    "no size": _with(header(b"x", 0), 124, b" " * 12),
    "a size beyond the archive": _with(header(b"x", 0), 124, b"77777777777\0"),
    "a trailer of star's": _with(header(b"x", 0, prefix=b"a" * 140), 508, b"tar\0"),
    "a prefix in a GNU header": header(b"x", 0, magic=b"ustar  \0", prefix=b"etc"),
    "a directory with content": header(b"x/", 512, b"5") + bytes(512),
    "a pax header of a megabyte": header(b"pax", 1 << 20, b"x") + bytes(1 << 20),
}


@pytest.mark.parametrize("block", HEADERS.values(), ids=HEADERS)
def test_a_damaged_header_is_refused(block: bytes) -> None:
    """Numbers are octal, sums right, sizes within what is there."""
    assert refusal(tar_gz([*GOOD, block])).code == "policy.bad_archive"


ENDS = {
    "none": b"",
    "one block": bytes(512),
    "a file after the end": END + member(b"x.json", b"{}") + END,
    "a byte after the end": END + b"\0" * 511 + b"x",
    "a name for no file": pax({b"path": b"x"}) + END,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_archive_ends_where_it_says(end: bytes) -> None:
    """Nothing is hidden behind the end of the tar, and nothing is cut off before it."""
    assert refusal(tar_gz(GOOD, end)).code == "policy.bad_archive"


def test_an_archive_that_is_cut_anywhere_is_refused() -> None:
    """Every beginning of a good archive is refused as truncated or as none."""
    assert {at: refusal(PACKED[:at]).code for at in range(len(PACKED))} == dict.fromkeys(
        range(len(PACKED)), "policy.bad_archive"
    )


def test_something_after_the_gzip_is_refused() -> None:
    """A second member would be read by some readers, and passed over by others."""
    assert refusal(PACKED + b"\0").code == "policy.bad_archive"
    assert refusal(PACKED + PACKED).code == "policy.bad_archive"
    assert refusal(PACKED + gzip.compress(b"")).code == "policy.bad_archive"


def test_every_flipped_bit_is_refused_or_changes_nothing() -> None:
    """Of a damaged archive either nothing is read, or what was in it (some bits of gzip's header mean nothing).

    In `make test` three bits of each byte.
    """
    want = read_archive(PACKED)
    survivors = 0
    for bit in range(0, 8 * len(PACKED), times(3, 1)):
        damaged = bytearray(PACKED)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert read_archive(bytes(damaged)) == want
            survivors += 1
        except PolicyInvalidError:
            continue
    assert 0 < survivors < 100  # time, system and flags in gzip's header


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """A gigabyte of zeros in a megabyte: no more of it is unpacked than a bundle may have."""
    packer = zlib.compressobj(9, wbits=31)
    chunk = bytes(1 << 20)
    bomb = packer.compress(header(b"data.json", 1 << 30)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(chunk) + packer.flush(zlib.Z_FULL_FLUSH)  # which is the same each time: it is made once
    bomb += again * 1024 + packer.flush()
    assert len(bomb) < ARCHIVE_BYTES_MAX
    assert refusal(bomb).code == "policy.too_large"


def test_bounds_of_size_and_number() -> None:
    """A policy, a datum, the number of files and of entries, and the archive itself."""
    assert refusal(tar_gz([*GOOD, member(b"x.rego", b"#" * (FILE_BYTES_MAX + 1))])).code == "policy.too_large"
    assert refusal(tar_gz([*GOOD, member(b"x.json", b" " * (DATA_BYTES_MAX + 1))])).code == "policy.too_large"
    large = [member(b"%d.json" % n, b" " * DATA_BYTES_MAX) for n in range(4)]
    assert len(read_archive(tar_gz(large))) == 4
    assert refusal(tar_gz([*large, member(b"x.json", b" ")])).code == "policy.too_large"
    rules = [member(b"%d.rego" % n, b"#" * FILE_BYTES_MAX) for n in range(RULES_BYTES_MAX // FILE_BYTES_MAX)]
    assert read_archive(tar_gz(rules))
    assert refusal(tar_gz([*rules, member(b"x.rego", b"#")])).code == "policy.too_large"
    many = [member(b"%d.json" % n, b"{}") for n in range(FILES_MAX + 1)]
    assert refusal(tar_gz(many)).code == "policy.too_large"
    folders = [member(b"%d/" % n, b"", b"5") for n in range(ENTRIES_MAX + 1)]
    assert refusal(tar_gz(folders)).code == "policy.too_large"
    assert refusal(bytes(ARCHIVE_BYTES_MAX + 1)).code == "policy.too_large"


@pytest.mark.parametrize("archive", [b"", b"x", b"PK\x03\x04", b"BZh9", bytes(1024), b"\x1f\x8b", b"\x1f\x8b\x08\x00"])
def test_what_is_no_archive_is_refused(archive: bytes) -> None:
    """Other formats, and nothing at all."""
    assert refusal(archive).code == "policy.bad_archive"


def test_damaged_archives_of_the_real_bundle_end_in_a_typed_refusal() -> None:
    """Archives with bytes changed, cut out or doubled behind a good checksum: none crashes the reader."""
    files = read_folder(POLICIES)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    chance = random.Random(5)  # noqa: S311 - damage, not secrets
    refused = 0
    count = times(200, 2_000)
    for _ in range(count):
        damaged = bytearray(plain.getvalue())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(damaged) // 512) * 512 + chance.choice([0, 124, 130, 148, 156, 257, 345, 400])
            damaged[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        try:
            read_archive(gzip.compress(bytes(damaged), 1, mtime=0))
        except PolicyInvalidError as error:
            assert error.code in {"policy.bad_archive", "policy.bad_file", "policy.too_large"}  # noqa: PT017
            refused += 1
    assert refused > count // 2


def test_an_archive_is_read_as_its_folder_is() -> None:
    """Content, digest and files agree; `write_archive` depends on nothing but the files."""
    files = read_folder(POLICIES)
    archive = write_archive(files)
    assert read_archive(archive) == files
    assert archive == write_archive(dict(reversed(files.items())))
    assert Bundle.from_archive(archive).digest == Bundle.load(POLICIES).digest


def test_a_folder_that_hides_something_is_refused(tmp_path: Path) -> None:
    """Links to files and folders, pipes and sockets, whatever their names are."""
    for name, make in {
        "x.json": lambda path: path.symlink_to("/etc/passwd"),
        "folder": lambda path: path.symlink_to("/etc"),
        "pipe.rego": os.mkfifo,
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        make(folder / name)
        with pytest.raises(PolicyInvalidError) as caught:
            read_folder(folder)
        assert (caught.value.code, caught.value.file) == ("policy.bad_file", name)
