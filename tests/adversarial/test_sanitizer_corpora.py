"""Each corpus against the type that it is meant for: attacks are refused, honest values arrive as they are."""

import json
import posixpath
from pathlib import Path
from urllib.parse import unquote

import pytest

from engine.values import JsonObject
from gateway.addresses import PUBLIC_ONLY
from gateway.errors import SanitizationError
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.sanitize import check_value
from gateway.sanitizer.url import parse_url

CORPORA = Path(__file__).parent / "corpora"

# docs/sanitization.md, "Exceptions": public names, which admission cannot tell from honest ones. The effect resolves
# them and checks every address, and the gateway follows no redirect.
PUBLIC_SSRF_NAMES = {
    "https://307.r3dir.me/--to/?url=http://localhost",
    "https://62epax5fhvj3zzmzigyoe5ipkbn7fysllvges3a.302.r3dir.me",
    "http://169.254.169.254.nip.io/",
}
# Terminal sequences are control characters, in a list of otherwise honest strings.
TERMINAL_SEQUENCES = 3


def lines(name: str) -> list[JsonObject]:
    with (CORPORA / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def values(name: str) -> list[str]:
    found = [str(line["value"]) for line in lines(name)]
    assert found
    return found


def accepted(type_name: str, candidates: list[str]) -> list[str]:
    return [value for value in candidates if code_of(type_name, value) is None]


def code_of(type_name: str, value: str) -> str | None:
    try:
        check_value(type_name, value)
    except SanitizationError as err:
        return err.code
    return None


@pytest.mark.parametrize(
    ("type_name", "corpus"),
    [
        ("path", "attack_path_traversal_literal"),
        ("path", "attack_path_traversal_encoded"),
        ("path", "attack_sensitive_absolute_paths"),
        ("argv", "attack_command_injection"),
        ("header", "attack_crlf"),
        ("identifier", "attack_unicode_tricks"),
    ],
)
def test_attacks_are_refused(type_name: str, corpus: str) -> None:
    """Nothing of an attack corpus passes as the type that it attacks."""
    assert accepted(type_name, values(corpus)) == []


def test_ssrf_targets_are_refused_but_for_the_documented_names() -> None:
    """Every SSRF target is refused at admission, except public names whose danger shows when they are resolved."""
    assert set(accepted("url", values("attack_ssrf"))) == PUBLIC_SSRF_NAMES


def test_urls_that_no_parser_takes_are_refused() -> None:
    """Every URL that the WHATWG corpus marks as a failure is refused."""
    oracle = json.loads((CORPORA / "url_parser_oracle.json").read_text(encoding="utf-8"))
    assert accepted("url", oracle["failure"]) == []


def test_accepted_urls_have_the_host_that_whatwg_finds() -> None:
    """Where we accept, the host that we checked is the one that a WHATWG parser would connect to."""
    oracle = json.loads((CORPORA / "url_parser_oracle.json").read_text(encoding="utf-8"))
    expected = {case["input"]: case["hostname"] for case in oracle["ok"]}
    passed = accepted("url", list(expected))
    assert len(passed) >= 10
    for url in passed:
        parts = parse_url(url)
        assert not isinstance(parts, Finding)
        assert parts.host.ascii == expected[url].strip("[]")
        assert parts.host.address is None or PUBLIC_ONLY.allows(parts.host.address, parts.port)


def test_what_passes_of_the_exotic_traversals_stays_below_the_base() -> None:
    """A path that is accepted stays in the workspace, however often a consumer decodes it."""
    passed = accepted("path", values("attack_path_traversal_exotic"))
    assert passed
    for path in passed:
        form = path
        for _ in range(10):
            normal = posixpath.normpath(posixpath.join("/base", form.replace("\\", "/")))
            assert normal == "/base" or normal.startswith("/base/"), path
            form = unquote(form)


@pytest.mark.parametrize(
    ("type_name", "corpus"),
    [
        ("path", "benign_repo_file_paths"),
        ("url", "benign_public_urls"),
        ("argv", "benign_container_images"),
        ("text", "benign_doc_prose"),
        ("text", "benign_commit_subjects"),
        ("text", "benign_source_lines"),
        ("text", "benign_multilingual"),
        ("text", "benign_handmade_edge"),
        ("text", "benign_blns_human_injection_scunthorpe_etc"),
        ("text", "benign_libinjection_false_positives"),
        ("text", "benign_repo_file_paths"),
        ("text", "benign_public_urls"),
    ],
)
def test_honest_values_are_accepted(type_name: str, corpus: str) -> None:
    """Nothing honest is refused: not a path, not a link, not a line of prose."""
    honest = values(corpus)
    assert accepted(type_name, honest) == honest


@pytest.mark.parametrize(
    "corpus",
    ["attack_xxe", "attack_template_injection", "attack_ssi", "attack_prototype_keys", "attack_command_injection"],
)
def test_payloads_for_other_interpreters_are_free_text(corpus: str) -> None:
    """XML, templates, server-side includes and shell syntax are ordinary text where text is asked for."""
    assert accepted("text", values(corpus)) == values(corpus)


def test_only_terminal_sequences_are_refused_of_the_naughty_strings() -> None:
    """Script injection strings are text; the ones that drive a terminal hold control characters."""
    naughty = values("attack_blns_injection")
    assert len(naughty) - len(accepted("text", naughty)) == TERMINAL_SEQUENCES


def test_every_control_character_is_refused_as_text() -> None:
    """No control character but tab, line feed and carriage return gets into text."""
    controls = [str(c["value"]) for c in lines("attack_null_byte_and_control") if c["src"] == "gen:ctl"]
    assert len(controls) > 30
    assert accepted("text", controls) == []


def test_json_documents_are_judged_as_the_json_test_suite_says() -> None:
    """Valid JSON is accepted, but for duplicate keys, which parsers read differently; invalid JSON never is."""
    cases = lines("json_test_suite")
    passed = set(accepted("json", [str(c["value"]) for c in cases]))
    wrongly_accepted = [c["src"] for c in cases if c["expect"] == "reject" and c["value"] in passed]
    refused = {str(c["src"]).partition(":")[2] for c in cases if c["expect"] == "accept" and c["value"] not in passed}
    assert wrongly_accepted == []
    assert refused == {"y_object_duplicated_key.json"}
