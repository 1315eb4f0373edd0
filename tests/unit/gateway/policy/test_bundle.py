import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle, unpack
from gateway.policy.bundle_files import FILE_BYTES_MAX
from gateway.policy.yaml_data import parse_yaml

POLICIES = Path(__file__).parents[4] / "policies"
RULE = 'package gateway.rpc\n\nimport rego.v1\n\ndecision := {"allow": false, "reasons": []}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".manifest").write_text('{"revision": "r1", "roots": ["gateway"]}')
    (tmp_path / "data.json").write_text('{"gateway": {"config": {"networks": {"allow": ["10.0.0.0/8"]}}}}')
    (tmp_path / "rpc.rego").write_text(RULE)
    return tmp_path


def refusal(folder: Path) -> PolicyInvalidError:
    with pytest.raises(PolicyInvalidError) as caught:
        Bundle.load(folder)
    return caught.value


def test_a_bundle_is_what_its_folder_says(folder: Path) -> None:
    """Revision, configuration and modules come from the folder; tests in it are left out."""
    (folder / "rpc_test.rego").write_text("this is not even Rego")
    bundle = Bundle.load(folder)
    assert bundle.revision == "r1"
    assert bundle.data == {"networks": {"allow": ["10.0.0.0/8"]}}
    assert bundle.sources == [("rpc.rego", RULE)]


def test_the_digest_names_the_content(folder: Path) -> None:
    """The same content anywhere has one digest; a changed byte of a rule or a datum has another."""
    digest = Bundle.load(folder).digest
    twin = folder.parent / "twin"
    shutil.copytree(folder, twin)
    assert Bundle.load(twin).digest == digest
    (twin / "rpc.rego").write_text(RULE + "# more\n")
    assert Bundle.load(twin).digest != digest
    (twin / "rpc.rego").write_text(RULE)
    (twin / "data.json").write_text('{"gateway": {"config": {}}}')
    assert Bundle.load(twin).digest != digest


def test_a_worker_gets_what_was_vetted(folder: Path) -> None:
    """The packed form holds every module and the whole data document."""
    bundle = Bundle.load(folder)
    assert unpack(bundle.packed) == (bundle.sources, bundle.document)


def test_the_bundled_policies_load(bundled: Bundle) -> None:
    """The default bundle passes its own vetting and has the four profiles."""
    assert set(bundled.data) >= {"profiles", "networks", "roles", "kinds"}
    profiles = bundled.data["profiles"]
    assert isinstance(profiles, dict)
    assert set(profiles) == {"fast", "semantic", "wasm", "observational"}


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "code", "file"),
    [
        (_write(".manifest", "{"), "policy.bad_data", ".manifest"),
        (_write(".manifest", "[]"), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"roots": []}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"roots": [1]}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"revision": 1}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"rego_version": 0}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"wasm": []}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"roots": ["gateway", "gateway/rpc"]}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"revision": "a\\u0000b"}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"metadata": []}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"metadata": {"missiongate": {"sequence": -1}}}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"metadata": {"missiongate": {"sequence": true}}}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"metadata": {"missiongate": {"sequence": 1.0}}}'), "policy.bad_manifest", ".manifest"),
        (_write(".manifest", '{"metadata": {"missiongate": {"Sequence": 1}}}'), "policy.bad_manifest", ".manifest"),
        (lambda folder: (folder / ".manifest").write_bytes("{}".encode("utf-16")), "policy.bad_data", ".manifest"),
        (_write(".manifest", '{"roots": ["other"]}'), "policy.outside_roots", "data.json"),
        (_write("data.json", "[]"), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": {"a": 1, "a": 2}}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": NaN}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": 9007199254740993}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": 1e999}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": 1e-400}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": 0.10000000000000000001}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": "\\ud800"}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": ' + "[" * 70 + "]" * 70 + "}"), "policy.bad_data", "data.json"),
        (_write("data.json", "[" * 100_000), "policy.bad_data", "data.json"),
        (_write("data.yaml", "a: 1"), "policy.outside_roots", "data.json"),
        (_write("data.yaml", "gateway: yes"), "policy.not_supported", "data.yaml"),
        (_write("data.yaml", "gateway: {config: {networks: {}, a: {b: [}}}"), "policy.bad_data", "data.yaml"),
        (_write("data.yml", "gateway: {config: {networks: none}}"), "policy.data_conflict", "data.yml"),
        (_write(".signatures.json", "{}"), "policy.no_key", ".signatures.json"),
        (_write("policy.wasm", ""), "policy.not_supported", "policy.wasm"),
        (_write("big.rego", "#" * (FILE_BYTES_MAX + 1)), "policy.too_large", "big.rego"),
        (_write("other.rego", "package other\n"), "policy.outside_roots", "other.rego"),
        (lambda folder: (folder / "x.rego").write_bytes(b"package gateway.x\n# \xff"), "policy.encoding", "x.rego"),
        (lambda folder: (folder / "x.rego").symlink_to("/etc/passwd"), "policy.bad_file", "x.rego"),
        (lambda folder: os.mkfifo(folder / "pipe"), "policy.bad_file", "pipe"),
        (_write("cafe\u0301.rego", RULE), "policy.bad_file", "cafe\u0301.rego"),
        (_write("RPC.rego", RULE), "policy.bad_file", "rpc.rego"),
        (lambda folder: (folder / ".manifest").unlink(), "policy.unreadable", ".manifest"),
        (lambda folder: (folder / "data.json").unlink(), "policy.unreadable", "data.json"),
    ],
)
def test_what_is_no_bundle_is_refused_by_file(
    folder: Path, change: Callable[[Path], object], code: str, file: str
) -> None:
    """Each departure from the layout is a typed refusal that names the file."""
    change(folder)
    refused = refusal(folder)
    assert (refused.code, refused.file) == (code, file)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A missing folder is a refusal, not a crash."""
    assert refusal(tmp_path / "none").code == "policy.no_bundle"


def test_data_below_a_folder_is_at_its_path(folder: Path) -> None:
    """As OPA does: `gateway/limits/data.json` is data.gateway.limits, and YAML counts like JSON."""
    deep = folder / "gateway" / "limits"
    deep.mkdir(parents=True)
    (deep / "data.json").write_text("[1, 2]")
    (folder / "gateway" / "data.yaml").write_text("names: [a b, 'yes', \"12:30\"]\nnone: null\nmore: {deep: -7}\n")
    assert Bundle.load(folder).document == {
        "gateway": {
            "config": {"networks": {"allow": ["10.0.0.0/8"]}},
            "limits": [1, 2],
            "names": ["a b", "yes", "12:30"],
            "none": None,
            "more": {"deep": -7},
        }
    }


def test_two_files_may_not_say_the_same_datum(folder: Path) -> None:
    """OPA refuses data that overlaps, equal or not."""
    (folder / "gateway").mkdir()
    (folder / "gateway" / "data.json").write_text('{"config": {"networks": {"allow": ["10.0.0.0/8"]}}}')
    refused = refusal(folder)
    assert (refused.code, refused.file) == ("policy.data_conflict", "gateway/data.json")


@pytest.mark.parametrize(
    "name",
    [
        "deep/.manifest",
        "deep/other.manifest",
        "other.manifest",
        ".manifest.pb",
        "deep/.signatures.json",
        "deep/policy.wasm",
        "plan.pb",
        "deep/patch.json",
        ".hidden/data.json",
    ],
)
def test_what_opa_would_read_otherwise_is_refused(folder: Path, name: str) -> None:
    """A file that means something to OPA and nothing to the gateway is never passed over."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    refused = refusal(folder)
    assert (refused.code, refused.file) == ("policy.not_supported", name)


def test_data_outside_a_nested_root_is_refused(folder: Path) -> None:
    """Roots count to their full depth, as in OPA."""
    (folder / ".manifest").write_text('{"roots": ["gateway/rpc", "gateway/config/networks"]}')
    assert Bundle.load(folder).roots == ("gateway/rpc", "gateway/config/networks")
    (folder / ".manifest").write_text('{"roots": ["gateway/rpc", "gateway/config/net"]}')
    refused = refusal(folder)
    assert refused.code == "policy.outside_roots"
    assert "gateway/config/networks" in refused.message


def test_all_files_are_kept_beside_what_decides(folder: Path) -> None:
    """Tests and schemas are in `files`, byte for byte, and not in the digest."""
    digest = Bundle.load(folder).digest
    (folder / "rpc_test.rego").write_text("package gateway.rpc\n")
    (folder / "schemas").mkdir()
    (folder / "schemas" / "x.json").write_text("{ }")
    bundle = Bundle.load(folder)
    assert bundle.digest == digest
    assert sorted(bundle.files) == [".manifest", "data.json", "rpc.rego", "rpc_test.rego", "schemas/x.json"]
    assert bundle.files["schemas/x.json"] == b"{ }"


def test_where_a_policy_lies_does_not_change_the_digest(folder: Path) -> None:
    """`opa build -b policies` puts the folder's name before every path; what decides is the same."""
    digest = Bundle.load(folder).digest
    (folder / "policies").mkdir()
    (folder / "rpc.rego").rename(folder / "policies" / "rpc.rego")
    assert Bundle.load(folder).digest == digest


def test_a_sequence_is_read_from_the_manifest(folder: Path) -> None:
    """It is none where the author gives none; it names no content, so it is not in the digest."""
    bundle = Bundle.load(folder)
    assert bundle.sequence is None
    manifest = {"revision": "r1", "roots": ["gateway"], "metadata": {"missiongate": {"sequence": 7}, "mine": 1}}
    (folder / ".manifest").write_text(json.dumps(manifest))
    numbered = Bundle.load(folder)
    assert (numbered.sequence, numbered.digest) == (7, bundle.digest)


def test_opa_vets_what_opa_decides(folder: Path) -> None:
    """With OPA as engine nothing is refused for regorus' sake; everything else still is."""
    (folder / "rpc.rego").write_text(RULE + "allowed if not http.send(input.x).ok\n")
    assert refusal(folder).code.startswith("policy.")
    bundle = Bundle.load(folder, engine="opa")
    assert bundle.sources[0][0] == "rpc.rego"
    assert not bundle.deterministic
    (folder / "data.json").write_text('{"other": 1}')
    with pytest.raises(PolicyInvalidError) as caught:
        Bundle.load(folder, engine="opa")
    assert caught.value.code == "policy.outside_roots"


@pytest.mark.parametrize(
    ("text", "deterministic"),
    [
        ("x := input.time.minute_of_day", True),
        ("x := data.gateway.time.now_ns", True),
        ("x := runtime.now", True),
        ("x := time.parse_rfc3339_ns(input.t)", True),
        ("x := time.now_ns()", False),
        ("x := time . now_ns()", False),
        ('x := time["now_ns"]()', False),
        ("x := rand.intn(input.a, 2)", False),
        ("x := uuid.rfc4122(input.a)", False),
        ("x := opa.runtime()", False),
        ("x := net.lookup_ip_addr(input.h)", False),
        ("x := io.jwt.decode_verify(input.t, {})", False),
    ],
)
def test_a_bundle_knows_whether_it_moves(folder: Path, text: str, *, deterministic: bool) -> None:
    """What names a clock, chance or the outside is not deterministic; a field of the input is."""
    (folder / "rpc.rego").write_text(RULE + text + "\n")
    assert Bundle.load(folder, engine="opa").deterministic is deterministic


def test_data_may_not_overrule_a_rule(folder: Path) -> None:
    """Regorus would answer from data where both have a value: `allow` in data.json would be a yes to everything."""
    data = {"gateway": {"rpc": {"decision": {"allow": True, "reasons": []}}}}
    (folder / "data.json").write_text(json.dumps(data))
    refused = refusal(folder)
    assert (refused.code, refused.file, refused.line) == ("policy.data_conflict", "rpc.rego", 1)


def test_an_entry_point_without_a_package_is_missing(tmp_path: Path) -> None:
    """A bundle that forgets to decide something says so at start, not by denying everything."""
    folder = shutil.copytree(POLICIES, tmp_path / "bundle")
    assert Bundle.load(folder).missing_entrypoints() == ()
    shutil.rmtree(folder / "gateway" / "step")
    assert Bundle.load(folder).missing_entrypoints() == ("step",)


@pytest.mark.parametrize("text", [b"[" * 65, b"- " * 65, b"{a: " * 65, b"[" * 64 + b"[]" + b"]" * 64])
def test_yaml_is_nested_as_deep_as_json(text: bytes) -> None:
    """And is refused while it is read: the scanner takes minutes for what is deeper by thousands."""
    with pytest.raises(PolicyInvalidError, match="nested over 64 levels"):
        parse_yaml(text, "data.yaml")
    deep: object = parse_yaml(b"[" * 64 + b"]" * 64, "data.yaml")
    assert isinstance(deep, list)
