"""Metrics: what Prometheus reads is what was counted, under names that dashboards, alerts and documents have."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from engine.constraints.statistics import Statistics
from gateway.telemetry.exposition import RULES_MAX, expositor, registry_of
from gateway.telemetry.meters import Meters
from gateway.telemetry.readings import TracesReading
from tests.telemetry import readings

ROOT = Path(__file__).resolve().parents[4]
DASHBOARD = json.loads((ROOT / "deploy/grafana/missiongate.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
BOUNDED = {
    "stage",
    "outcome",
    "profile",
    "method",
    "type",
    "code",
    "kind",
    "status",
    "state",
    "workers",
    "cause",
    "check",
    "le",
}
LABELS = BOUNDED | {"limit", "rule", "violation", "name", "result", "component", "why", "version"}
_NAME = re.compile(r"\b(?:missiongate|process)_[a-z0-9_]+")
_SELECTOR = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")


def meters() -> Meters:
    counted = Meters()
    counted.stages.add(("sandbox", "ok"), 0.002)
    counted.stages.add(("sandbox", "failed"), 90.0)
    counted.runs.add(("wasm", "ok"), 0.002)
    counted.calls.add(("gateway.v1.MissionService/SubmitMission", "unary", "OK"), 0.01)
    counted.steps.add(("http", "Completed"), 0.1)
    counted.missions.add(("Success",), 1.0)
    counted.loop_lag.add((), 0.0001)
    counted.calls_under_way = 2
    return counted


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in parse_text(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def exposed(accept: str = "", **changes: object) -> str:
    traces = TracesReading(ended=5, waiting=1, dropped=2, lost=3)
    body, _ = expositor(meters(), readings(traces=lambda: traces, **changes))(accept)
    return body.decode()


SAMPLES = samples(exposed())


def test_what_was_counted_is_told() -> None:
    """Each number in its place; a histogram is cumulative, and in seconds."""
    stages = SAMPLES["missiongate_stage_duration_seconds_bucket"]
    ok = {labels["le"]: value for labels, value in stages if labels["outcome"] == "ok"}
    assert (ok["0.001"], ok["0.0025"], ok["60.0"], ok["+Inf"]) == (0, 1, 1, 1)
    late = {labels["le"]: value for labels, value in stages if labels["outcome"] == "failed"}
    assert (late["60.0"], late["+Inf"]) == (0, 1)
    assert ({"stage": "sandbox", "outcome": "failed"}, 90.0) in SAMPLES["missiongate_stage_duration_seconds_sum"]
    assert SAMPLES["missiongate_workers_ended_total"][0] == ({"workers": "builtin steps", "cause": "crashed"}, 5)
    assert SAMPLES["missiongate_limits_refused_total"][0] == ({"limit": "principal.reads_per_second"}, 3)
    assert SAMPLES["missiongate_shedding_level"] == [({}, 1)]
    assert SAMPLES["missiongate_call_wait_seconds"] == [({}, 0.25)]
    assert SAMPLES["missiongate_audit_unsigned_events"] == [({}, 20)]
    assert SAMPLES["missiongate_audit_export_lag_events"] == [({}, 10)]
    assert SAMPLES["missiongate_component_serving"] == [({"component": "audit"}, 0), ({"component": "gateway"}, 1)]
    assert SAMPLES["missiongate_constraint_violations_total"] == [
        ({"rule": "http@1.0.0", "violation": "constraint.cpu_exceeded"}, 2)
    ]
    assert SAMPLES["missiongate_spans_lost_total"] == [({"why": "queue_full"}, 2), ({"why": "not_taken"}, 3)]


def test_openmetrics_is_spoken_too() -> None:
    """To who asks for it; its own parser, which is strict, reads it."""
    body, content_type = expositor(meters(), readings())("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert "missiongate_build" in {family.name for family in parse_open(body.decode())}


def test_labels_are_words_of_the_gateway() -> None:
    """No tenant, no subject, no mission; a new label is thought about here."""
    used = {label for found in SAMPLES.values() for labels, _ in found for label in labels}
    assert used <= LABELS
    assert not used & {"tenant", "subject", "principal", "mission", "mission_id", "step_id"}


def test_rules_have_a_maximum_of_series() -> None:
    """Those that ran most are told."""
    statistics = Statistics()
    for n in range(RULES_MAX + 5):
        for _ in range(2 if n >= 5 else 1):
            statistics.of(f"r{n:04}").ran(1, 1, 1)
    runs = samples(exposed(statistics=statistics))["missiongate_constraint_runs_total"]
    assert len(runs) == RULES_MAX
    assert {value for _, value in runs} == {2}


def test_the_library_is_not_told() -> None:
    """Two gateways of one process have a registry each, and the library's own stays empty of both."""
    one, two = registry_of(meters(), readings()), registry_of(Meters(), readings())
    assert one is not two
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("missiongate")]


def expressions() -> list[tuple[str, str]]:
    """Return every expression of the dashboard and of the alerts, with where it stands."""
    found = [
        (f"panel {panel['title']}", target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    found += [(f"alert {rule['alert']}", rule["expr"]) for group in ALERTS["groups"] for rule in group["rules"]]
    found += [("variable", each["definition"]) for each in DASHBOARD["templating"]["list"] if "definition" in each]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda value: value[:40])
def test_every_metric_that_is_asked_for_is_there(where: str, expression: str) -> None:
    """Dashboard and alerts name metrics, and labels of them, that the gateway has; brackets close."""
    names = {name for name in _NAME.findall(expression) if not name.startswith("process_")}
    assert names or "up{" in expression or "process_" in expression, where
    assert names <= SAMPLES.keys(), where
    labels = {label for name in names for given, _ in SAMPLES[name] for label in given} | {"instance", "job"}
    used = set(_SELECTOR.findall(expression))
    used |= {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}
    assert used <= labels, where
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing), where


def test_every_metric_is_on_the_dashboard_and_in_the_documents() -> None:
    """What nobody looks at is not worth counting; docs/telemetry.md has a row for each."""
    asked = {name for _, expression in expressions() for name in _NAME.findall(expression)}
    page = (ROOT / "docs/telemetry.md").read_text()
    families = {re.sub(r"_(?:bucket|sum|count|total|info|created)$", "", name) for name in SAMPLES}
    mine = {name for name in families if name.startswith("missiongate")}
    shown = {re.sub(r"_(?:bucket|sum|count|total|info)$", "", name) for name in asked}
    assert mine - shown == set()
    assert [name for name in sorted(mine) if f"| `{name}" not in page] == []


def test_panels_have_places_and_names_of_their_own() -> None:
    """Nothing lies over anything else, and no id is given twice."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_alerts_are_shaped_as_prometheus_wants_them() -> None:
    """The fields of a rule file, no others, with a severity and words for people; docs/telemetry.md has each."""
    page = (ROOT / "docs/telemetry.md").read_text()
    assert set(ALERTS) == {"groups"}
    for group in ALERTS["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert {"alert", "expr", "labels", "annotations"} <= set(rule)
            assert re.fullmatch(r"[0-9]+[smh]", rule.get("for", "1m"))
            assert rule["labels"].keys() == {"severity"}
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert rule["annotations"].keys() == {"summary", "description"}
            assert f"`{rule['alert']}`" in page
