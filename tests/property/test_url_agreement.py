"""The url sanitizer, which answers first, and the effect, which connects, read every URL alike."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.effects.target import HttpTarget
from gateway.sanitizer.url import UrlParts, parse_url

CORPUS = Path(__file__).parent.parent / "adversarial" / "corpora" / "benign_public_urls.jsonl"

PIECES = st.sampled_from(
    ["http", "https", "HTTP", ":", "/", "//", "\\", "?", "#", "@", "%", "%2e", "%2F", "%40", "%00", ".", "..", "'", '"',
     "example.com", "EXAMPLE.com", "xn--fa-hia.de", "fa\u00df.de", "1.2.3.4", "127.1", "0x7f.1", "[2606:4700::1111]",
     "[::1]", "[fe80::1%25eth0]", "80", "443", "8080", "0", "65536", "a", "b=c", "&", ";", "~", "|", "[", "]", "{", "^",
     "\u3002", "\u200d", "\t", " ", "\n", "\u00e9"]
)  # fmt: skip


def assert_read_alike(url: str) -> None:
    """Where the sanitizer accepts, the effect goes to the same host and port, and asks for what is written."""
    parts = parse_url(url)
    if not isinstance(parts, UrlParts):
        return
    target = HttpTarget.parse(url)
    assert (target.scheme, target.host, target.port) == (parts.scheme, parts.host.ascii, parts.port)
    written = url.partition("#")[0].partition("://")[2]
    assert target.path.removeprefix("/") == written[len(written.partition("?")[0].partition("/")[0]) :].removeprefix(
        "/"
    )


@given(st.lists(PIECES, max_size=10).map("".join))
@example("")
def test_any_accepted_url_is_read_alike(rest: str) -> None:
    """Whatever stands behind the scheme and a host, or in their place."""
    assert_read_alike(rest)
    assert_read_alike("https://example.com" + rest)
    assert_read_alike("https://" + rest)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com?q=O'Brien",
        "https://example.com/'?'#'",
        "https://example.com/?",
        "https://example.com?",
        "https://example.com/#",
        "https://example.com//a//?//?",
        "https://example.com:443/a;b=c",
        "HTTP://EXAMPLE.COM:80",
        "https://fa\u00df.de/%41",
    ],
)
def test_odd_and_honest_urls_are_accepted_by_both(url: str) -> None:
    """Each is accepted, and asked for as it is written."""
    assert isinstance(parse_url(url), UrlParts)
    assert_read_alike(url)


def test_the_honest_urls_of_the_corpus_are_read_alike() -> None:
    """Every public URL of the corpus."""
    urls = [json.loads(line)["value"] for line in CORPUS.read_text().splitlines()]
    assert len(urls) > 50
    for url in urls:
        assert_read_alike(url)
