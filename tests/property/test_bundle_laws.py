import json
import unicodedata
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import check_name, read_archive, write_archive
from gateway.policy.signatures import sign, verify
from gateway.policy.yaml_data import parse_yaml
from tests.bundle_archives import member, tar_gz
from tests.bundle_keys import key, pair

PARTS = st.text("abcxyz0189._- é", min_size=1, max_size=12).filter(lambda part: part not in {".", ".."})
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join).map(lambda name: unicodedata.normalize("NFC", name))
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


def _apart(names: list[str]) -> bool:
    """Whether no name is, or lies under, another, however they are spelled."""
    folded = [unicodedata.normalize("NFKC", name).casefold().split("/") for name in names]
    return not any(a == b[: len(a)] for i, a in enumerate(folded) for j, b in enumerate(folded) if i != j)


@given(st.dictionaries(NAMES, st.binary(max_size=2_000), max_size=6).filter(lambda files: _apart(list(files))))
def test_reading_after_writing_is_the_identity(files: dict[str, bytes]) -> None:
    """Whatever the files are; and writing again gives the same archive."""
    archive = write_archive(files)
    assert read_archive(archive) == files
    assert write_archive(read_archive(archive)) == archive


@given(st.text(max_size=40))
def test_a_name_that_is_taken_stays_inside(name: str) -> None:
    """What passes is relative, plain, and the same after a round trip through an archive."""
    try:
        check_name(name)
    except PolicyInvalidError:
        return
    assert not name.startswith("/")
    assert not {"", ".", ".."} & set(name.split("/"))
    assert list(read_archive(write_archive({name: b"x"}))) == [name]


@given(st.binary(max_size=600), st.binary(max_size=100), st.sampled_from([b"0", b"5", b"x", b"g", b"1", b"L"]))
@settings(max_examples=300)
def test_no_bytes_crash_the_reader(name: bytes, content: bytes, kind: bytes) -> None:
    """Files come back or a typed refusal does."""
    try:
        files = read_archive(tar_gz([member(name[:100], content, kind)]))
    except PolicyInvalidError as error:
        assert error.code in {"policy.bad_archive", "policy.bad_file", "policy.too_large"}  # noqa: PT017
    else:
        assert all(content == found for found in files.values())


@given(OBJECTS, OBJECTS)
def test_data_in_two_places_is_merged_or_refused(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Where no datum has two values, the document has all of both; otherwise none is chosen."""
    files = {".manifest": b"{}", "data.json": json.dumps(one).encode(), "a/data.json": json.dumps(other).encode()}
    try:
        document = Bundle.from_files(files).document
    except PolicyInvalidError as error:
        assert error.code == "policy.data_conflict"  # noqa: PT017
        assert "a" in one
    else:
        assert _below(document, one)
        assert _below(document, {"a": other})


def _below(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _below(whole[k], v) for k, v in part.items())
    return bool(whole == part)


@given(value=JSON, flow=st.booleans())
def test_yaml_is_exact_or_refused(value: Any, flow: bool) -> None:
    """What another writer of YAML has written is read as the value that it wrote, or not at all."""
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    try:
        got = parse_yaml(text.encode(), "data.yaml")
    except PolicyInvalidError as error:
        assert error.code in {"policy.not_supported", "policy.bad_data"}  # noqa: PT017
    else:
        assert got == value
        assert json.dumps(got, sort_keys=True) == json.dumps(value, sort_keys=True)  # 1 is not True


@given(OBJECTS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_signature_holds_for_the_value_and_for_no_other(document: dict[str, Any], data: st.DataObject) -> None:
    """However data.json is spelled; a changed value is another bundle."""
    files = {".manifest": b"{}", "data.json": json.dumps(document).encode()}
    signed = sign(files, pair("EdDSA")[0], key_id="k1")
    spelled = json.dumps(dict(reversed(document.items())), indent=data.draw(st.integers(0, 3)), ensure_ascii=False)
    assert verify({**files, "data.json": spelled.encode(), ".signatures.json": signed}, [key()]) == "k1"
    other = data.draw(
        OBJECTS.filter(lambda other: json.dumps(other, sort_keys=True) != json.dumps(document, sort_keys=True))
    )
    with pytest.raises(PolicyInvalidError):
        verify({**files, "data.json": json.dumps(other).encode(), ".signatures.json": signed}, [key()])
