# ruff: noqa: S104, RUF001 - addresses, foreign digits and long lists are what is tested
"""Operands for each supplied builtin, near what it takes and far from it: for the tests that ask OPA the same."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

ODD_TEXTS = [
    "",
    "a",
    "A",
    "é",
    "ß",
    "İ",
    "ǅ",
    "ﬃ",
    "ΑΣ",
    "👩‍👩‍👧",
    "a\0b",
    "\ufeff",
    "\u2028",
    "<&>",
    '"',
    "\\",
    "\x7f",
    "%",
    "+",
    " ",
    "null",
]
TEXT = st.sampled_from(ODD_TEXTS) | st.text("aAbBé.ß/-_%+=&; \n01", max_size=8) | st.text(max_size=6)
WHOLE = st.sampled_from(
    [0, 1, -1, 2, 7, 10, 255, 2**31, -(2**31), 2**53 - 1, 2**53, 2**63 - 1, -(2**63) + 1]
) | st.integers(-100, 100)
NUMBER = WHOLE | st.sampled_from([0.5, -0.5, 1.5, 2.5, -2.5, 0.1, 1e-7, 1e15, 0.49999999999999994, 1.0, 1e16])
ODD = st.none() | st.booleans() | NUMBER | st.sampled_from(["", "a", [], {}, ["a"], {"a": 1}, [[]]])
NO_NUMBER = st.none() | st.booleans() | st.sampled_from(["", "a", [], {}, 0.5, 1.0])
LEAF = st.one_of(st.none(), st.booleans(), NUMBER, TEXT)
JSON = st.one_of(
    LEAF, st.lists(LEAF, max_size=3), st.dictionaries(TEXT, st.one_of(LEAF, st.lists(LEAF, max_size=2)), max_size=3)
)
SEMVER = st.text("0123.-+vabA", max_size=12) | st.builds(
    lambda v, n, p, m: f"{v}{n[0]}.{n[1]}.{n[2]}{p}{m}",
    st.sampled_from(["", "v", "V"]),
    st.tuples(*[st.sampled_from(["0", "1", "2", "10", "01", "", "99999999999999999999", "9223372036854775807"])] * 3),
    st.sampled_from(
        ["", "-", "-a", "-1", "-01", "-a.1", "-a.b", "-a.b.c", "-0", "-a..b", "-é", "-99999999999999999999"]
    ),
    st.sampled_from(["", "+", "+b", "+01", "+b.c", "+b+c", "+b-c"]),
)
VERSION = st.builds(
    lambda n, p, m: f"{n[0]}.{n[1]}.{n[2]}{p}{m}",
    st.tuples(*[st.sampled_from(["0", "1", "10"])] * 3),
    st.sampled_from(["", "-a", "-1", "-a.1", "-a.b", "-a.b.c", "-2", "-a.99999999999999999999", "-a.10", "-a.9"]),
    st.sampled_from(["", "+1", "+a"]),
)
ADDRESS = st.sampled_from(
    [
        "10.0.0.1",
        "10.0.0.0",
        "10.0.1.255",
        "192.168.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "::ffff:0:0",
        "::ffff:a00:1",
        "2001:db8::",
        "2001:DB8:0:0:1::1",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "010.0.0.1",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.1.",
        "1::2::3",
        ":::",
        "::1.2.3.4",
        "::1.2.3.04",
        "12345::",
        "g::",
        "",
        "a",
        "１.1.1.1",
    ]
)
PREFIX = st.sampled_from(
    ["0", "1", "8", "16", "24", "25", "30", "31", "32", "33", "96", "104", "112", "120", "127", "128", "129"]
) | (st.sampled_from(["", "-1", "+8", "08", "0008", "8 ", "a", "99999999", "00000000000000000008", "8/8"]))
NETWORK = st.builds("{}/{}".format, ADDRESS, PREFIX) | ADDRESS
V4_ADDRESSES = ["10.0.0.1", "192.168.1.77", "0.0.0.0", "255.255.255.255", "010.0.0.1", "10.0.0"]
SMALL_NETWORK = st.builds("{}/{}".format, st.sampled_from(V4_ADDRESSES), st.integers(24, 33)) | st.builds(
    "{}/{}".format,
    st.sampled_from(["::", "::1", "2001:db8::ff", "::ffff:10.0.0.1", "ffff::ffff"]),
    st.integers(120, 129),
)
SAME_FAMILY = st.lists(
    st.builds(lambda a, b, p: f"10.{a}.{b}.0/{p}", st.integers(0, 3), st.integers(0, 3), st.integers(14, 32)),
    max_size=6,
)
OTHER_FAMILY = st.lists(
    st.builds(lambda a, b, p: f"2001:db8:{a}:{b}::/{p}", st.integers(0, 3), st.integers(0, 3), st.integers(30, 128)),
    max_size=6,
)
NETWORKS = (
    SAME_FAMILY
    | OTHER_FAMILY
    | st.lists(NETWORK, max_size=4)
    | st.builds(lambda a, b: a + b, SAME_FAMILY, OTHER_FAMILY)
)
NESTED_NETWORKS = (
    NETWORKS
    | st.dictionaries(TEXT, NETWORK, max_size=3)
    | st.lists(st.lists(NETWORK, max_size=2), max_size=3)
    | NETWORK
)
NANOSECONDS = st.sampled_from(
    [0, 1, -1, 1_709_164_800_000_000_000, 1_706_659_200_000_000_000, 2**63 - 1, -(2**63) + 1]
) | st.integers(-(2**63) + 1, 2**63 - 1)
MOMENT = (
    NANOSECONDS
    | st.builds(
        lambda n, z: [n, *z], NANOSECONDS, st.sampled_from([[], ["UTC"], [""], ["utc"], ["Local"], ["CET"], [1]])
    )
    | ODD
)
LAYOUTS = [
    "RFC3339Nano",
    "RFC3339",
    "RFC1123",
    "RFC1123Z",
    "RFC850",
    "RFC822",
    "RFC822Z",
    "ANSIC",
    "UnixDate",
    "RubyDate",
    "",
    "2006",
    "Kitchen",
]
SHOWN = MOMENT | st.builds(lambda n, layout: [n, "UTC", layout], NANOSECONDS, st.sampled_from(LAYOUTS))
RFC3339 = (
    st.builds(
        lambda d, t, f, z: f"{d}T{t}{f}{z}",
        st.sampled_from(
            [
                "2024-02-29",
                "2023-02-29",
                "1970-01-01",
                "1600-01-01",
                "2262-04-11",
                "2300-01-01",
                "0000-01-01",
                "2024-13-01",
                "2024-1-01",
            ]
        ),
        st.sampled_from(["00:00:00", "23:59:59", "23:59:60", "24:00:00", "12:60:00", "1:00:00", "12:00"]),
        st.sampled_from(["", ".1", ".123456789", ".1234567891", ".", ",5", ".000"]),
        st.sampled_from(["Z", "z", "+00:00", "-23:59", "+24:00", "+01:60", "+0100", "", "+1:00"]),
    )
    | TEXT
)
DURATION = st.text("0123.+-nmushdwyµ", max_size=8) | st.builds(
    lambda sign, parts: sign + "".join(parts),
    st.sampled_from(["", "-", "+", "--"]),
    st.lists(
        st.builds(
            "{}{}".format,
            st.sampled_from([0, 1, 90, "1.5", 10**12, ""]),
            st.sampled_from(["ns", "us", "µs", "ms", "s", "m", "h", "d", "w", "y", ""]),
        ),
        max_size=3,
    ),
)
AMOUNT = st.builds(
    "{}{}".format,
    st.sampled_from(
        [
            "0",
            "1",
            "10",
            "1.5",
            "0.5",
            ".5",
            "5.",
            "1e3",
            "1E2",
            "-1",
            "+1",
            "",
            "1_000",
            "1.2.3",
            "0x10",
            "999999999999999999",
            "0.001",
            "1.1",
            "33.3333",
            " 1",
            "１",
        ]
    ),
    st.sampled_from(
        [
            "",
            "m",
            "M",
            "k",
            "K",
            "Ki",
            "KI",
            "ki",
            "Mi",
            "mi",
            "MI",
            "g",
            "Gi",
            "T",
            "Ti",
            "P",
            "Pi",
            "E",
            "e",
            "Ei",
            "kb",
            "KB",
            "KiB",
            "mib",
            "MB",
            "b",
            "x",
            '"',
            "kİ",
            "K",
            "eb",
            " Ki",
        ]
    ),
)
B64 = st.builds(lambda raw: base64.b64encode(raw).decode(), st.binary(max_size=8)) | st.text(
    "AQgw+/-_=\n\r ", max_size=9
)
B64URL = (
    st.builds(lambda raw: base64.urlsafe_b64encode(raw).decode(), st.binary(max_size=8))
    | st.builds(lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="), TEXT)
    | B64
)
HEX = st.builds(lambda text: text.encode().hex(), TEXT) | st.text("0aAfFg", max_size=6)
JSON_TEXT = (
    st.builds(json.dumps, JSON)
    | st.builds(lambda v: json.dumps(v, ensure_ascii=False), JSON)
    | st.sampled_from(
        [
            "",
            " ",
            "nul",
            "NaN",
            "Infinity",
            "01",
            "1.",
            "1.0",
            "1e3",
            "-0",
            "0.50",
            "1" * 25,
            "[1,]",
            '{"a":1,"a":2}',
            '{"a":1}x',
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"\x01"',
            "'a'",
            "\ufeff1",
            "[" * 40 + "]" * 40,
            "1 2",
            "{1:2}",
            "// c\n1",
            '"\\u00e9"',
            '"\\x"',
            "-",
            "--1",
            "[1 2]",
            "\x0b1",
            "tru",
            "true ",
            "\x00",
        ]
    )
)
GLOB = st.text("ab.*-/:", max_size=6) | st.text("a[b-]!{}?\\^,*é.", max_size=5)
DELIMITERS = st.none() | st.lists(st.sampled_from([".", "/", ":", "-", "a", "é", "", "ab"]), max_size=2)
FORMAT = st.lists(st.sampled_from(["%s", "%d", "%v", "%%", "a", "é", "%q", "%5d", "%", "%+v", "% d"]), max_size=4).map(
    "".join
)
NODES = st.sampled_from(["a", "b", "c", "d", "e"])
GRAPH = st.dictionaries(NODES, st.lists(NODES, max_size=3) | st.none(), max_size=5)

NUMERALS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,4})?([eE][0-9])?", fullmatch=True
)  # of others OPA makes no JSON

ONE_TEXT = st.tuples(TEXT | ODD)
TWO_TEXTS = st.tuples(TEXT | ODD, TEXT | ODD)
NUMBERS = st.tuples(st.lists(NUMBER | TEXT, max_size=4) | st.lists(WHOLE, max_size=4) | ODD)
TWO_NUMBERS = st.tuples(NUMBER | ODD, NUMBER | ODD) | st.tuples(WHOLE, WHOLE)

CALLS: dict[str, Strategy] = {
    **dict.fromkeys(["lower", "upper", "strings.reverse", "base64.encode", "base64url.encode", "hex.encode"], ONE_TEXT),
    **dict.fromkeys(
        ["base64url.encode_no_pad", "urlquery.encode", "crypto.md5", "crypto.sha1", "crypto.sha256"], ONE_TEXT
    ),
    **dict.fromkeys(
        ["strings.count", "indexof_n", "crypto.hmac.md5", "crypto.hmac.sha1", "crypto.hmac.equal"], TWO_TEXTS
    ),
    **dict.fromkeys(["crypto.hmac.sha256", "crypto.hmac.sha512"], TWO_TEXTS),
    "strings.replace_n": st.tuples(
        st.dictionaries(st.text("abé", max_size=2), TEXT, max_size=3) | ODD, st.text("abcé", max_size=8) | ODD
    ),
    **dict.fromkeys(["base64.decode", "base64.is_valid"], st.tuples(B64 | ODD)),
    "base64url.decode": st.tuples(B64URL | ODD),
    "hex.decode": st.tuples(HEX | ODD),
    "urlquery.decode": st.tuples(st.text("a%2Fé+&=;", max_size=8) | ODD),
    "urlquery.encode_object": st.tuples(
        st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=2) | ODD, max_size=3) | ODD
    ),
    "urlquery.decode_object": st.tuples(st.text("ab%2F0é+&=;", max_size=10) | ODD),
    "json.marshal": st.tuples(JSON),
    **dict.fromkeys(["json.unmarshal", "json.is_valid"], st.tuples(JSON_TEXT | ODD)),
    "sprintf": st.tuples(FORMAT, st.lists(JSON, max_size=3) | ODD),
    "glob.match": st.tuples(GLOB | ODD, DELIMITERS | ODD, st.text("ab.*-/:é", max_size=6) | ODD),
    **dict.fromkeys(["net.cidr_contains", "net.cidr_intersects"], st.tuples(NETWORK | ODD, NETWORK | ODD)),
    "net.cidr_contains_matches": st.tuples(NESTED_NETWORKS, NESTED_NETWORKS),
    "net.cidr_is_valid": st.tuples(NETWORK | ODD),
    "net.cidr_expand": st.tuples(SMALL_NETWORK | ODD),
    "net.cidr_merge": st.tuples(NETWORKS | ODD),
    "semver.is_valid": st.tuples(SEMVER | ODD),
    "semver.compare": st.tuples(SEMVER | ODD, SEMVER) | st.tuples(VERSION, VERSION),
    **dict.fromkeys(["sum", "product"], NUMBERS),
    **dict.fromkeys(["plus", "minus", "mul", "div", "rem", "bits.and", "bits.or", "bits.xor"], TWO_NUMBERS),
    **dict.fromkeys(["abs", "ceil", "floor", "round", "bits.negate"], st.tuples(NUMBER | ODD)),
    **dict.fromkeys(["bits.lsh", "bits.rsh"], st.tuples(WHOLE | ODD, st.integers(-2, 70) | NO_NUMBER)),
    "numbers.range": st.tuples(st.integers(-30, 30) | NO_NUMBER, st.integers(-30, 30)),
    "numbers.range_step": st.tuples(
        st.integers(-30, 30), st.integers(-30, 30) | NO_NUMBER, st.integers(-2, 9) | NO_NUMBER
    ),
    "to_number": st.tuples(NUMERALS | st.sampled_from(["inf", "NaN", "1e400", "-0", "0.50", *ODD_TEXTS]) | ODD),
    **dict.fromkeys(["units.parse", "units.parse_bytes"], st.tuples(AMOUNT | ODD)),
    "time.parse_rfc3339_ns": st.tuples(RFC3339 | ODD),
    "time.parse_duration_ns": st.tuples(DURATION | ODD | st.sampled_from(["1h30m", "2d", "-1w", "0s", "1y", "9ns"])),
    "time.add_date": st.tuples(MOMENT, st.integers(-30, 30) | NO_NUMBER, st.integers(-30, 30), st.integers(-400, 400)),
    **dict.fromkeys(["time.date", "time.clock", "time.weekday"], st.tuples(MOMENT)),
    "time.diff": st.tuples(MOMENT, MOMENT),
    "time.format": st.tuples(SHOWN),
    "object.union_n": st.tuples(
        st.lists(st.dictionaries(TEXT, JSON, max_size=2) | st.dictionaries(NODES, GRAPH, max_size=2), max_size=3) | ODD
    ),
    "graph.reachable": st.tuples(GRAPH | ODD, st.lists(NODES, max_size=3) | ODD),
}

COLLECTION = st.lists(JSON, max_size=4) | ODD
OBJECT = st.dictionaries(TEXT, JSON, max_size=3) | st.dictionaries(NODES, JSON, max_size=4) | ODD
SHALLOW = st.one_of(NODES, st.integers(0, 2), st.lists(NODES, max_size=3), st.dictionaries(NODES, NODES, max_size=3))
DEEP = st.one_of(SHALLOW, st.lists(SHALLOW, max_size=3), st.dictionaries(NODES, SHALLOW, max_size=3))
DEEP_OBJECT = st.dictionaries(NODES, DEEP, max_size=4)
PATHS = (
    st.lists(
        st.lists(NODES, max_size=3).map("/".join)
        | st.sampled_from(["", "/", "/a/0", "a/1/b", "a~1b", "/a"])
        | st.lists(NODES | st.integers(0, 2), max_size=3),
        max_size=3,
    )
    | ODD
)
PATTERN = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "[a-c]",
            "[^a]",
            "(a|b)",
            "(?:ab)",
            ".",
            "a*",
            "b+?",
            "a{1,2}",
            "^",
            "$",
            "\\.",
            "-",
            "(a)(b)?",
            "[0-9]+",
        ]
    ),
    max_size=4,
).map("".join)
SUBJECT = st.text("abc-.1é\n", max_size=8)
OPERATION = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy"]),
        "path": st.lists(NODES | st.sampled_from(["0", "-"]), max_size=2).map("/".join).map("/".__add__),
    },
    optional={"value": DEEP, "from": NODES.map("/".__add__)},
)

NATIVE_CALLS: dict[str, Strategy] = {
    "array.concat": st.tuples(COLLECTION, COLLECTION),
    "array.reverse": st.tuples(COLLECTION),
    "array.slice": st.tuples(COLLECTION, st.integers(-2, 5) | ODD, st.integers(-2, 5)),
    "array.flatten": st.tuples(COLLECTION),
    "concat": st.tuples(TEXT | ODD, st.lists(TEXT, max_size=3) | COLLECTION),
    **dict.fromkeys(
        [
            "contains",
            "startswith",
            "endswith",
            "indexof",
            "split",
            "trim",
            "trim_left",
            "trim_right",
            "trim_prefix",
            "trim_suffix",
        ],
        TWO_TEXTS,
    ),
    "trim_space": ONE_TEXT,
    "format_int": st.tuples(NUMBER | ODD, st.sampled_from([2, 8, 10, 16, 3, "a"])),
    **dict.fromkeys(
        ["is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name"],
        st.tuples(JSON),
    ),
    **dict.fromkeys(["max", "min", "sort"], st.tuples(COLLECTION | st.lists(WHOLE, max_size=4))),
    "object.get": st.tuples(OBJECT, NODES | st.lists(NODES | st.integers(0, 2), max_size=3) | ODD, JSON),
    "object.keys": st.tuples(OBJECT),
    **dict.fromkeys(["object.remove", "object.filter"], st.tuples(OBJECT, st.lists(NODES | JSON, max_size=3) | OBJECT)),
    "object.union": st.tuples(DEEP_OBJECT | OBJECT, DEEP_OBJECT | OBJECT),
    "object.subset": st.tuples(DEEP, DEEP) | st.tuples(DEEP_OBJECT, DEEP_OBJECT),
    **dict.fromkeys(["json.filter", "json.remove"], st.tuples(DEEP_OBJECT | OBJECT, PATHS)),
    "json.patch": st.tuples(DEEP_OBJECT, st.lists(OPERATION, max_size=3)),
    "replace": st.tuples(TEXT | ODD, TEXT | ODD, TEXT),
    "substring": st.tuples(TEXT | ODD, st.integers(-2, 5) | ODD, st.integers(-2, 5)),
    **dict.fromkeys(
        ["strings.any_prefix_match", "strings.any_suffix_match"],
        st.tuples(TEXT | st.lists(TEXT, max_size=3) | ODD, TEXT | st.lists(TEXT, max_size=3) | ODD),
    ),
    "regex.match": st.tuples(PATTERN, SUBJECT | ODD),
    "regex.find_n": st.tuples(PATTERN, SUBJECT, st.integers(-1, 3)),
    "regex.find_all_string_submatch_n": st.tuples(PATTERN, SUBJECT, st.integers(-1, 3)),
    "regex.replace": st.tuples(
        SUBJECT, PATTERN, st.sampled_from(["", "x", "<$1>", "$0$0", "$1x", "${1}x", "$$", "$", "$a"])
    ),
    "regex.is_valid": st.tuples(PATTERN | ODD),
    "strings.split_n": st.tuples(TEXT, TEXT, st.integers(-2, 3)),
}
