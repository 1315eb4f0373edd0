import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import FILE_BYTES_MAX, Bundle, unpack

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
        (_write(".manifest", '{"roots": ["other"]}'), "policy.outside_roots", "data.json"),
        (_write("data.json", "[]"), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": {"a": 1, "a": 2}}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": NaN}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": 9007199254740993}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": 1e999}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": "\\ud800"}'), "policy.bad_data", "data.json"),
        (_write("data.json", '{"gateway": ' + "[" * 70 + "]" * 70 + "}"), "policy.bad_data", "data.json"),
        (_write("data.json", "[" * 100_000), "policy.bad_data", "data.json"),
        (_write("data.yaml", "a: 1"), "policy.not_supported", "data.yaml"),
        (_write(".signatures.json", "{}"), "policy.not_supported", ".signatures.json"),
        (_write("policy.wasm", ""), "policy.not_supported", "policy.wasm"),
        (_write("big.rego", "#" * (FILE_BYTES_MAX + 1)), "policy.too_large", "big.rego"),
        (_write("other.rego", "package other\n"), "policy.outside_roots", "other.rego"),
        (lambda folder: (folder / "x.rego").write_bytes(b"package gateway.x\n# \xff"), "policy.encoding", "x.rego"),
        (lambda folder: (folder / "x.rego").symlink_to("/etc/passwd"), "policy.bad_file", "x.rego"),
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


def test_data_below_a_folder_is_refused(folder: Path) -> None:
    """OPA would mount it below its path; this version reads one data document, and says so."""
    (folder / "deep").mkdir()
    (folder / "deep" / "data.json").write_text("{}")
    assert refusal(folder).code == "policy.not_supported"


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
