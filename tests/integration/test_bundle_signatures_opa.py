import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_archive, read_folder, write_archive
from gateway.policy.signatures import sign, verify
from tests import opa
from tests.bundle_hashes import FILES, HASHES
from tests.bundle_keys import ALGORITHMS, Algorithm, key, pair, write_pair

POLICIES = Path(__file__).parents[2] / "policies"

PROGRAM, WHY_NOT = opa.find()

if PROGRAM is None:
    if os.environ.get("CI") == "true":
        pytest.fail(WHY_NOT, pytrace=False)
    pytest.skip(WHY_NOT, allow_module_level=True)


@pytest.fixture(scope="module")
def program() -> str:
    assert PROGRAM is not None
    return PROGRAM


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, check=False, text=True, cwd=cwd)


def folder_of(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def verified_by_opa(program: str, archive: Path, public: Path, algorithm: str, *more: object) -> str:
    """Return what OPA says against a signed archive; "" where it takes it."""
    out = archive.parent / "out.tar.gz"
    words = ("--verification-key", public, "--signing-alg", algorithm, "-o", out)
    done = run(program, "build", "-b", archive, *words, *more)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_opa_verifies_what_we_sign(program: str, tmp_path: Path, algorithm: Algorithm) -> None:
    """Our signature over every kind of file holds for OPA, and a changed file does not."""
    private, public = write_pair(tmp_path, algorithm)
    signed = {**FILES, ".signatures.json": sign(FILES, private.read_bytes(), key_id="k1")}
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(write_archive(signed))
    assert verified_by_opa(program, archive, public, algorithm, "--verification-key-id", "k1") == ""
    for name, content in FILES.items():
        changed = content.replace(b"1", b"2")
        changed = changed if changed != content else content + b"\n# more\n"
        archive.write_bytes(write_archive({**signed, name: changed}))
        assert verified_by_opa(program, archive, public, algorithm, "--verification-key-id", "k1") != "", name
        with pytest.raises(PolicyInvalidError):
            verify({**signed, name: changed}, [key(algorithm)])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_scope_is_the_same_to_both(program: str, tmp_path: Path, algorithm: Algorithm) -> None:
    """A signature for one scope is refused under another, and under none, here as there."""
    private, public = write_pair(tmp_path, algorithm)
    signed = {**FILES, ".signatures.json": sign(FILES, private.read_bytes(), key_id="k1", scope="write")}
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(write_archive(signed))
    for scope in ("write", "read", ""):
        words = ("--verification-key-id", "k1", *(("--scope", scope) if scope else ()))
        theirs = verified_by_opa(program, archive, public, algorithm, *words)
        try:
            ours = verify(signed, [key(algorithm, scope=scope)])
        except PolicyInvalidError as error:
            ours = error.code
        assert (theirs == "", ours) == ((True, "k1") if scope == "write" else (False, "policy.bad_signature"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_we_verify_what_opa_builds(program: str, tmp_path: Path, algorithm: Algorithm) -> None:
    """`opa build --signing-key`: EdDSA too, which its help does not name."""
    private, _ = write_pair(tmp_path, algorithm)
    folder, archive = shutil.copytree(POLICIES, tmp_path / "policies"), tmp_path / "built.tar.gz"
    words = ("--signing-key", private, "--signing-alg", algorithm, "-o", archive)
    assert run(program, "build", "-b", folder, *words).returncode == 0
    bundle = Bundle.from_archive(archive.read_bytes(), keys=[key(algorithm, "default")])
    assert bundle.signed_by == "default"
    assert bundle.digest == Bundle.load(POLICIES).digest


def test_opa_hashes_files_as_the_vectors_say(program: str, tmp_path: Path) -> None:
    """tests/bundle_hashes.py, which stands in for OPA where there is none, is OPA's own."""
    private, _ = write_pair(tmp_path, "ES256")
    folder = folder_of(FILES, tmp_path / "bundle")
    words = ("--signing-key", private, "--signing-alg", "ES256", "-o", folder)
    assert run(program, "sign", "-b", ".", *words, cwd=folder).returncode == 0
    token = json.loads((folder / ".signatures.json").read_bytes())["signatures"][0]
    files = jwt.decode(token, options={"verify_signature": False})["files"]
    assert {entry["name"]: entry["hash"] for entry in files} == HASHES


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_we_verify_what_opa_signs(program: str, tmp_path: Path, algorithm: Algorithm) -> None:
    """`opa sign` names no key unless claims do; then each configured key is tried."""
    private, _ = write_pair(tmp_path, algorithm)
    folder = folder_of(FILES, tmp_path / "bundle")
    words = ("--signing-key", private, "--signing-alg", algorithm, "-o", folder)
    assert run(program, "sign", "-b", ".", *words, cwd=folder).returncode == 0
    files = read_folder(folder)
    others = [key("EdDSA", "other", which=1), key("RS256", "third", which=1)]
    assert verify(files, [*others, key(algorithm)]) == "k1"
    with pytest.raises(PolicyInvalidError):
        verify(files, others)
    (folder / ".signatures.json").unlink()  # `opa sign -b .` would take it for a file of the bundle
    claims = tmp_path / "claims.json"
    claims.write_text(json.dumps({"keyid": "k1", "scope": "write", "exp": 1, "iat": 5, "mine": [1.5]}))
    assert run(program, "sign", "-b", ".", *words, "--claims-file", claims, cwd=folder).returncode == 0
    assert verify(read_folder(folder), [*others, key(algorithm, scope="write")]) == "k1"
    with pytest.raises(PolicyInvalidError, match="not configured"):
        verify(read_folder(folder), others)


def test_opa_run_takes_a_bundle_that_we_sign(program: str, tmp_path: Path) -> None:
    """`opa run --server --verification-key`, as one beside a gateway would be started; and not another's signature."""
    _, public = write_pair(tmp_path, "ES256")
    files = read_folder(POLICIES)
    archive = tmp_path / "bundle.tar.gz"
    words = (
        "--verification-key",
        str(public),
        "--signing-alg",
        "ES256",
        "--verification-key-id",
        "k1",
        "-b",
        str(archive),
    )
    archive.write_bytes(write_archive({**files, ".signatures.json": sign(files, pair("ES256")[0], key_id="k1")}))
    with opa.serving(program, tmp_path, *words) as server:
        assert server.ask("data.gateway.config.retention.mission_days", {}) == (True, 90)
    archive.write_bytes(write_archive({**files, ".signatures.json": sign(files, pair("ES256", 1)[0], key_id="k1")}))
    with pytest.raises(RuntimeError, match="signature"), opa.serving(program, tmp_path, *words):
        pass


def test_an_archive_of_opa_is_the_folder_it_was_built_of(program: str, tmp_path: Path) -> None:
    """From inside the folder and from beside it: `opa build` writes other names and other JSON, and that is all."""
    folder = shutil.copytree(POLICIES, tmp_path / "policies")
    want = Bundle.load(folder)
    for cwd, name in ((tmp_path, "policies"), (folder, "."), (tmp_path, str(folder))):
        archive = tmp_path / "built.tar.gz"
        assert run(program, "build", "-b", name, "-o", archive, cwd=cwd).returncode == 0
        bundle = Bundle.from_archive(archive.read_bytes())
        assert (bundle.digest, bundle.document, bundle.revision) == (want.digest, want.document, want.revision)


def test_opa_build_keeps_the_sequence(program: str, tmp_path: Path) -> None:
    """With a new revision as well; numbers up to 2^53 come through as they are."""
    files = {
        **FILES,
        ".manifest": b'{"roots": ["gateway"], "metadata": {"missiongate": {"sequence": 9007199254740992}}}',
    }
    folder, archive = folder_of(files, tmp_path / "bundle"), tmp_path / "built.tar.gz"
    assert run(program, "build", "-b", folder, "-o", archive, "--revision", "r9").returncode == 0
    bundle = Bundle.from_archive(archive.read_bytes())
    assert (bundle.revision, bundle.sequence) == ("r9", 2**53)


DATA: dict[str, tuple[dict[str, bytes], Any]] = {
    "merged": ({"data.json": b'{"a": {"b": 1}}', "a/data.json": b'{"c": 2}'}, {"a": {"b": 1, "c": 2}}),
    "a list below": ({"data.json": b"{}", "a/b/data.json": b"[1]"}, {"a": {"b": [1]}}),
    "yaml": ({"a/data.yaml": b"b: {c: [x, 'on', -3, true, null]}"}, {"a": {"b": {"c": ["x", "on", -3, True, None]}}}),
    "yml beside json": ({"data.json": b'{"a": 1}', "data.yml": b'"b": "2026-01-01"'}, {"a": 1, "b": "2026-01-01"}),
    "equal twice": ({"data.json": b'{"a": {"b": 1}}', "a/data.json": b'{"b": 1}'}, None),
    "different twice": ({"data.json": b'{"a": {"b": 1}}', "a/data.json": b'{"b": 2}'}, None),
    "a value above": ({"data.json": b'{"a": 1}', "a/data.json": b'{"b": 2}'}, None),
    "a root that is no object": ({"data.json": b"[1]"}, None),
    "overlapping roots": ({".manifest": b'{"roots": ["a", "a/b"]}', "data.json": b'{"a": {}}'}, None),
    "outside a nested root": ({".manifest": b'{"roots": ["a/b"]}', "data.json": b'{"a": {"c": 1}}'}, None),
    "under a nested root": ({".manifest": b'{"roots": ["a/b"]}', "data.json": b'{"a": {"b": 1}}'}, {"a": {"b": 1}}),
    "data in UTF-16": ({"data.json": '{"a": 1}'.encode("utf-16")}, None),
    "data with a mark": ({"data.json": b'\xef\xbb\xbf{"a": 1}'}, None),
}


@pytest.mark.parametrize("case", DATA, ids=DATA.keys())
def test_data_is_laid_out_as_opa_lays_it_out(program: str, tmp_path: Path, case: str) -> None:
    """Where both take a bundle they have the same document; what OPA refuses is refused."""
    files, want = DATA[case]
    files = {".manifest": b"{}", **files}
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(write_archive(files))
    done = run(program, "eval", "-b", archive, "--format=json", "data")
    theirs = json.loads(done.stdout)["result"][0]["expressions"][0]["value"] if done.returncode == 0 else None
    assert theirs == want
    if want is None:
        with pytest.raises(PolicyInvalidError):
            Bundle.from_files(read_archive(archive.read_bytes()))
    else:
        assert Bundle.from_files(read_archive(archive.read_bytes())).document == want


def _member(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = len(content or b""), tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    tar.addfile(entry, io.BytesIO(content or b""))


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("before", ["", "/", "./"])
@pytest.mark.parametrize("folder", ["a", "a" * 90 + "/" + "b" * 60, "é/ü" * 8, "x" * 130])
def test_an_archive_is_to_us_what_it_is_to_opa(
    program: str, tmp_path: Path, layout: int, before: str, folder: str
) -> None:
    """Long names, other letters, folders, in each form of tar: the same data at the same paths, or a refusal here."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=layout) as tar:
        try:
            _member(tar, f"{before}{folder}/", None)
            _member(tar, f"{before}.manifest", b"{}")
            _member(tar, f"{before}{folder}/data.json", b'{"here": [1, "x"]}')
            _member(tar, f"{before}data.json", b'{"root": true}')
        except ValueError:  # ustar has no place for the name
            assert layout == tarfile.USTAR_FORMAT
            return
    archive = tmp_path / "b.tar.gz"
    archive.write_bytes(out.getvalue())
    done = run(program, "eval", "-b", archive, "--format=json", "data")
    theirs = json.loads(done.stdout)["result"][0]["expressions"][0]["value"] if done.returncode == 0 else None
    try:
        ours = Bundle.from_archive(archive.read_bytes()).document
    except PolicyInvalidError as error:
        told = (layout, error.code)
    else:
        assert ours == theirs
        return
    assert told == (tarfile.GNU_FORMAT, "policy.bad_file")  # its long names are an entry of their own
