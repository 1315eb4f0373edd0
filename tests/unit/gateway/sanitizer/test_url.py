import pytest

from gateway.addresses import PUBLIC_ONLY, AddressPolicy
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.url import URL_CHARS_MAX, check_url, parse_url


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("http:example.com/", "scheme"),
        ("http:/example.com/", "scheme"),
        ("//example.com/", "scheme"),
        ("http:\\\\example.com", "control"),
        ("http://example.com\\@evil.com/", "control"),
        ("http://exam\tple.com/", "control"),
        (" http://example.com/", "control"),
        ("http://example.com/\r\nHost: x", "control"),
        ("http://user@example.com/", "credentials"),
        ("http://a:b@example.com/", "credentials"),
        ("http://@example.com/", "credentials"),
        ("http:///path", "host_name"),
        ("http://%65xample.com/", "host_name"),
        ("http://example.com./", "host_name"),
        ("http://a..b.com/", "host_name"),
        ("http://-a.com/", "host_name"),
        ("http://a_b.com/", "host_name"),
        ("http://[example.com]/", "host_name"),
        ("http://" + "a" * 64 + ".com/", "host_name"),
        ("http://" + "a." * 130 + "com/", "host_too_long"),
        ("http://example.com:0/", "port"),
        ("http://example.com:080/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:/", "port"),
        ("http://example.com/a/../b", "rewritten"),
        ("http://example.com/./b", "rewritten"),
        ("http://example.com/%2e%2E/b", "rewritten"),
        ("http://example.com/foo%", "syntax"),
        ("http://example.com/\u4f60", "syntax"),
        ("http://example.com/{a}", "syntax"),
        ("http://example.com/?a=<b>", "syntax"),
        ("http://127.0.0.1/", "address"),
        ("http://169.254.169.254/latest/meta-data", "address"),
        ("http://[::1]/", "address"),
        ("http://[::ffff:7f00:1]/", "address"),
        ("http://[fe80::1%25eth0]/", "host_name"),
        ("http://[2606:4700:0::1]/", "host_not_canonical"),
        ("http://[::FFFF:7F00:1]/", "host_not_canonical"),
        ("http://0x7f000001/", "host_numeric"),
        ("http://2130706433/", "host_numeric"),
        ("http://0177.0.0.1/", "host_numeric"),
        ("http://010.0.0.1/", "host_numeric"),
        ("http://256.0.0.1/", "host_numeric"),
        ("http://127.1/", "host_numeric"),
        ("http://0/", "host_numeric"),
        ("http://localhost/", "single_label"),
        ("http://instance-data/", "single_label"),
        ("http://api.localhost/", "special_use"),
        ("http://printer.local/", "special_use"),
        ("http://metadata.google.internal/", "special_use"),
        ("http://router.home.arpa/", "special_use"),
        ("http://x.onion/", "special_use"),
        ("http://\u24d4\u24e7ample.com/", "idna"),
        ("http://M\u00dcNCHEN.de/", "idna"),
        ("http://www\u3002example.com/", "idna"),
        ("http://xn--pokxncvks.com/", "idna"),
        ("http://xn--/", "idna"),
        ("http://p\u0430ypal.com/", "mixed_script"),
        ("http://example.com/" + "a" * URL_CHARS_MAX, "too_long"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(value: str, rule: str) -> None:
    """Every repair that WHATWG would make, and every address that is not public, is a refusal."""
    finding = check_url(value, PUBLIC_ONLY)
    assert finding is not None
    assert finding.rule == rule


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("https://example.com", "example.com", 443),
        ("HTTPS://Example.COM/A?b=c#d", "example.com", 443),
        ("http://example.com:8080/", "example.com", 8080),
        ("https://example.com:443/a", "example.com", 443),
        ("https://example.com?q=O'Brien", "example.com", 443),
        ("https://example.com/a'b(c)!*;d=1,2:3@4/%E4%BD%A0?x=y/z??#frag/ment?", "example.com", 443),
        ("https://example.com/?#", "example.com", 443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2606:4700:4700::1111]:8443/", "2606:4700:4700::1111", 8443),
        ("https://m\u00fcnchen.de/", "xn--mnchen-3ya.de", 443),
        ("https://fa\u00df.de/", "xn--fa-hia.de", 443),
        ("https://xn--mnchen-3ya.de/", "xn--mnchen-3ya.de", 443),
        ("https://\u65e5\u672c\u8a9e.jp/", "xn--wgv71a119e.jp", 443),
        ("https://r3---sn-abc.googlevideo.com/", "r3---sn-abc.googlevideo.com", 443),
        ("https://1.example.com/", "1.example.com", 443),
        ("https://groups.google.com/forum/#!forum/x", "groups.google.com", 443),
    ],
)
def test_honest_urls_are_accepted_and_read_alike(value: str, host: str, port: int) -> None:
    """What is accepted has the host and port that are checked."""
    assert check_url(value, PUBLIC_ONLY) is None
    parts = parse_url(value)
    assert not isinstance(parts, Finding)
    assert (parts.host.ascii, parts.port) == (host, port)


def test_policy_data_opens_a_local_service() -> None:
    """A name or network that policy names is accepted at its port, and at no other."""
    policy = AddressPolicy.parse(["127.0.0.1:8080", "localhost:8080", "grafana.internal:3000", "[::1]:9000"])
    for url in (
        "http://127.0.0.1:8080/a",
        "http://localhost:8080/",
        "http://grafana.internal:3000/",
        "http://[::1]:9000/",
    ):
        assert check_url(url, policy) is None
        assert check_url(url, PUBLIC_ONLY) is not None
    for url in ("http://127.0.0.1/", "http://localhost:8081/", "http://127.0.0.2:8080/", "http://0x7f.1:8080/"):
        assert check_url(url, policy) is not None
