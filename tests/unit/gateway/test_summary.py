"""The summary of a mission: small whatever the mission's size, and never silent about what it leaves out."""

import re
from pathlib import Path
from typing import Any

import orjson

from gateway.identity import Principal
from gateway.summary import NAMES_MAX, mission_subject, mission_summary
from tests.worlds import ANN, World, mission, step

FAST_MEMORY_BYTES = 1024 * 1024
ABI = (Path(__file__).parents[3] / "wasm-hooks" / "abi.md").read_text(encoding="utf-8")


def summary(form: Any, caller: Principal = ANN) -> Any:
    sanitized = World().admission.sanitize(orjson.dumps(form))
    return orjson.loads(mission_summary(caller, sanitized))


def test_counts_kinds_hosts_and_taint() -> None:
    """What a screen of missions decides upon; the shape is that of the ABI's page."""
    found = summary(
        mission(
            step("a", kind="posting", url="https://Example.com/x"),
            step("b", "a", kind="posting", url="https://example.com:8443/y", profile="fast"),
            step("c", "a", "b", x="${steps.a.output}", foreach={"items": [1, 2, 3]}),
            labels={"team": "red"},
        )
    )
    assert found["principal"] == ANN.document()
    told = found["mission"]
    assert told["kinds"] == {"posting": 2, "pure": 1}
    assert (told["steps"], told["edges"], told["levels"], told["runs"]) == (3, 3, 3, 5)
    assert (told["hosts"], told["hosts_unknown"], told["profiles"]) == (["example.com"], 0, ["fast"])
    assert (told["labels"], told["taint"]) == ({"team": "red"}, ["network"])
    assert (told["conditional"], told["fan_out"]) == (0, 1)
    assert [name for name in told if name.endswith("truncated") and told[name]] == []


def test_the_abi_s_page_shows_every_member() -> None:
    """Whoever writes a screen reads that page: it names what there is, and nothing else."""
    [shown] = re.findall(r"The summary of a mission:\n\n```json\n(.*?)```", ABI, re.DOTALL)
    found = summary(mission(step("a"), config={"security_level": "strict"}))["mission"]
    page = orjson.loads(shown)
    assert page.keys() == found.keys()
    assert page["config"].keys() == found["config"].keys()
    assert found["security_level"] == "strict"


def test_a_host_that_a_reference_may_change_is_unknown() -> None:
    """Wherever the reference stands: `example.com${variables.x}` may become another host altogether."""
    urls = ["${variables.u}", "https://example.com${variables.u}/", "https://example.com/${variables.u}", "no url", 7]
    found = summary(
        mission(
            *(step(f"s{n}", kind="posting", url=url) for n, url in enumerate(urls)), variables={"u": ".evil.example"}
        )
    )["mission"]
    assert (found["hosts"], found["hosts_unknown"]) == ([], len(urls))


def test_the_largest_mission_fits_the_smallest_profile() -> None:
    """10,000 steps with a host of their own each: the rest is counted, so that a screen can deny upon it."""
    steps = [step(f"s{n}", kind="posting", url=f"https://host{n}.example/") for n in range(10_000)]
    sanitized = World().admission.sanitize(orjson.dumps(mission(*steps)))
    document = mission_summary(ANN, sanitized)
    told = orjson.loads(document)["mission"]
    assert (len(told["hosts"]), told["hosts_truncated"]) == (NAMES_MAX, 10_000 - NAMES_MAX)
    assert len(document) * 16 < FAST_MEMORY_BYTES
    assert mission_subject(sanitized).step_types == {"posting"}
