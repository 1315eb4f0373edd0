from pathlib import Path

import pytest

from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_folder, read_path
from tests.bundle_keys import key, pair
from tests.bundle_worlds import bundle_files
from tests.cli_runner import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policies"
    made.mkdir()
    for name, content in bundle_files(1).items():
        (made / name).write_bytes(content)
    (tmp_path / "k.pem").write_bytes(pair("EdDSA")[0])
    return made


def test_a_folder_is_signed_where_it_lies(folder: Path) -> None:
    """The signature is the only file that changes, and is replaced when it is made again."""
    before = read_folder(folder)
    for scope in ("", "prod"):
        ran = run("policy", "sign", folder, "--key", folder.parent / "k.pem", "--key-id", "k1", "--scope", scope)
        assert (ran.code, ran.err) == (0, "")
        assert "is signed for k1" in ran.out
        files = read_folder(folder)
        assert Bundle.from_files(files, keys=[key(scope=scope)]).signed_by == "k1"
        assert {name: files[name] for name in before} == before
        assert sorted(files.keys() - before) == [".signatures.json"]


def test_an_archive_is_numbered_and_signed(folder: Path, tmp_path: Path) -> None:
    """`--revision` and `--sequence` stand in the archive; the folder stays as it is. An archive is signed anew."""
    out, words = tmp_path / "b.tar.gz", ("--key", folder.parent / "k.pem", "--key-id", "k1", "-o", "json")
    before = read_folder(folder)
    ran = run("policy", "sign", folder, *words, "--out", out, "--revision", "v7", "--sequence", 7)
    assert ran.code == 0, ran.err
    bundle = Bundle.from_files(read_path(out), keys=[key()])
    assert (bundle.revision, bundle.sequence) == ("v7", 7)
    assert ran.json["digest"] == bundle.digest
    assert read_folder(folder) == before
    again = run("policy", "sign", out, *words, "--out", out, "--sequence", 8)
    assert again.code == 0, again.err
    assert Bundle.from_files(read_path(out), keys=[key()]).sequence == 8


def test_what_is_no_bundle_or_no_key_is_not_signed(folder: Path, tmp_path: Path) -> None:
    """Each with its code; nothing is written."""
    words = ("--key-id", "k1", "-o", "json")
    good = ("--key", folder.parent / "k.pem", *words)
    (tmp_path / "public.pem").write_bytes(pair("EdDSA")[1])
    cases = [
        ((folder, "--key", tmp_path / "none.pem", *words), "policy.key"),
        ((folder, "--key", tmp_path / "public.pem", *words), "policy.key"),
        ((folder, *good, "--sequence", 1), "policy.needs_out"),
        ((tmp_path / "none.tar.gz", *good, "--out", tmp_path / "x"), "policy.no_bundle"),
        ((folder, *good, "--out", tmp_path / "no" / "x"), "policy.unwritable"),
        ((folder, *good, "--out", tmp_path / "x", "--sequence", 2**53 + 1), "policy.bad_manifest"),
    ]
    for words_of_case, code in cases:
        ran = run("policy", "sign", *words_of_case)
        assert (ran.code, ran.json["errors"][0]["code"]) in {(2, code), (3, code)}
    (folder / "data.json").write_text("[")
    assert run("policy", "sign", folder, *good).json["errors"][0]["code"] == "policy.bad_data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.pem", "policies", "public.pem"]
    assert ".signatures.json" not in {path.name for path in folder.iterdir()}
