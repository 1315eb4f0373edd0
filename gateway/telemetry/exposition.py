"""Metrics as Prometheus reads them: what was counted, and what is looked at, under names that docs/telemetry.md lists.

No label is a tenant, a subject or a mission: labels are words of the gateway and names of the site (kinds, profiles,
hooks, witnesses), and each family has a maximum of series.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from engine.constraints.statistics import LATENCY_BUCKETS_US, RuleStatistics
from gateway.telemetry.meters import Meters, Times
from gateway.telemetry.readings import Readings

RULES_MAX: Final = 256  # that have series of their own; those that ran most
_US: Final = 1e6
_BOUNDS: Final = (*(f"{us / _US}" for us in LATENCY_BUCKETS_US), "+Inf")


class GatewayCollector(Collector):
    """Tells a registry of one gateway."""

    def __init__(self, meters: Meters, readings: Readings) -> None:
        self._meters = meters
        self._readings = readings

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is, `collect` tells."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield InfoMetricFamily("missiongate_build", "The version that runs.", {"version": self._readings.version})
        yield from self._counted()
        yield from self._callers()
        yield from self._work()
        yield from self._log_and_store()
        yield from self._policy()
        yield from self._rules()

    def _counted(self) -> Iterator[Metric]:
        meters = self._meters
        yield _times("missiongate_stage_duration_seconds", "A stage of the way of a step.", meters.stages)
        yield _times("missiongate_module_duration_seconds", "A run of a step's module, by profile.", meters.runs)
        yield _times("missiongate_rpc_duration_seconds", "A call, or a whole stream.", meters.calls)
        yield _times("missiongate_step_duration_seconds", "A step, with its waits and retries.", meters.steps)
        yield _times("missiongate_mission_duration_seconds", "A mission, from its first step.", meters.missions)
        yield _times("missiongate_loop_lag_seconds", "How late the event loop was.", meters.loop_lag)
        yield _gauge("missiongate_rpcs_under_way", "Calls and streams now.", meters.calls_under_way)

    def _callers(self) -> Iterator[Metric]:
        refused = CounterMetricFamily("missiongate_callers_refused", "Calls of strangers.", labels=["check"])
        for check, count in sorted(self._readings.refused().items()):
            refused.add_metric([check], count)
        yield refused
        limited = CounterMetricFamily("missiongate_limits_refused", "What a limit has refused.", labels=["limit"])
        for limit, count in sorted(self._readings.limited().items()):
            limited.add_metric([limit], count)
        yield limited
        yield _gauge("missiongate_shedding_level", "1: new work is shed; 2: reads are, too.", self._readings.shedding())
        yield _gauge(
            "missiongate_call_wait_seconds", "How long calls wait on their way.", self._readings.wait_seconds()
        )
        if (ends := self._readings.certificate_ends()) is not None:
            yield _gauge("missiongate_tls_certificate_end_seconds", "When the certificate ends, Unix time.", ends)

    def _work(self) -> Iterator[Metric]:
        readings = self._readings
        yield _gauges("missiongate_missions", "Missions that are here, by state.", "state", readings.missions())
        held, limit = readings.step_places()
        yield _gauge("missiongate_step_places_held", "Steps that are executing.", held)
        yield _gauge("missiongate_step_places", "Steps that may execute at once.", limit)
        alive = GaugeMetricFamily("missiongate_workers_alive", "Workers that take calls.", labels=["workers"])
        spare = GaugeMetricFamily("missiongate_workers_spare", "Workers that wait for one to die.", labels=["workers"])
        waiting = GaugeMetricFamily("missiongate_worker_calls_waiting", "Calls that no worker has.", labels=["workers"])
        ended = CounterMetricFamily(
            "missiongate_workers_ended", "Workers that were replaced.", labels=["workers", "cause"]
        )
        for pool in readings.workers():
            alive.add_metric([pool.workers], pool.alive)
            spare.add_metric([pool.workers], pool.spare)
            waiting.add_metric([pool.workers], pool.waiting)
            for cause, count in sorted(pool.ended.items()):
                ended.add_metric([pool.workers, cause], count)
        yield from (alive, spare, waiting, ended)
        observers = CounterMetricFamily("missiongate_observer_runs", "Runs of observers.", labels=["outcome"])
        for outcome, count in sorted(readings.observers().items()):
            observers.add_metric([outcome], count)
        yield observers

    def _log_and_store(self) -> Iterator[Metric]:
        audit, store = self._readings.audit(), self._readings.store()
        yield _counter("missiongate_audit_events", "Events that were appended to the log, ever.", audit.appended)
        yield _gauge("missiongate_audit_signed_events", "Events under the newest checkpoint.", audit.signed)
        unsigned = max(0, audit.appended - audit.signed)
        yield _gauge("missiongate_audit_unsigned_events", "Events under no checkpoint yet.", unsigned)
        lag = max(0, audit.signed - audit.exported) if audit.exported is not None else 0
        yield _gauge("missiongate_audit_export_lag_events", "Signed events that an export has not delivered.", lag)
        yield _gauges(
            "missiongate_audit_witness_lag_events",
            "Events of the newest checkpoint that a witness or an anchor has not.",
            "name",
            audit.witnesses,
        )
        yield _gauge("missiongate_store_writes_waiting", "Writes that wait for the disk.", store.writes_waiting)
        yield _gauge("missiongate_store_reads_waiting", "Queries that wait.", store.reads_waiting)
        yield _gauge("missiongate_store_bytes", "Size of the database and its log.", store.bytes)
        if (traces := self._readings.traces()) is not None:
            yield _counter("missiongate_spans", "Spans that have ended.", traces.ended)
            yield _gauge("missiongate_spans_waiting", "Spans that wait for the collector.", traces.waiting)
            lost = CounterMetricFamily("missiongate_spans_lost", "Spans that nobody will see.", labels=["why"])
            lost.add_metric(["queue_full"], traces.dropped)
            lost.add_metric(["not_taken"], traces.lost)
            yield lost

    def _policy(self) -> Iterator[Metric]:
        cache = self._readings.cache()
        asked = CounterMetricFamily("missiongate_policy_cache_requests", "Decisions, by the cache.", labels=["result"])
        asked.add_metric(["hit"], cache.hits)
        asked.add_metric(["miss"], cache.misses)
        yield asked
        yield _gauge("missiongate_policy_cache_entries", "Decisions that are kept.", cache.entries)
        serving = {name: int(well) for name, well in self._readings.serving().items()}
        yield _gauges("missiongate_component_serving", "1 where a component serves.", "component", serving)

    def _rules(self) -> Iterator[Metric]:
        """What rules have used of their constraints."""
        violations = CounterMetricFamily(
            "missiongate_constraint_violations", "Constraints that were broken.", labels=["rule", "violation"]
        )
        runs = CounterMetricFamily("missiongate_constraint_runs", "Runs of rules.", labels=["rule"])
        cpu = CounterMetricFamily("missiongate_constraint_cpu_seconds", "CPU time of rules.", labels=["rule"])
        left = CounterMetricFamily("missiongate_constraint_sampled_out", "Runs that were left out.", labels=["rule"])
        opened = CounterMetricFamily("missiongate_constraint_opened", "Violations passed over.", labels=["rule"])
        memory = GaugeMetricFamily("missiongate_constraint_memory_peak_bytes", "Most memory of a run.", labels=["rule"])
        for name, rule in _most_used(self._readings.statistics.rules()):
            runs.add_metric([name], rule.runs)
            cpu.add_metric([name], rule.cpu_us / _US)
            left.add_metric([name], rule.sampled_out)
            opened.add_metric([name], rule.opened)
            memory.add_metric([name], rule.memory_bytes_peak)
            for code, count in sorted(rule.violations.items()):
                violations.add_metric([name, code], count)
        yield from (runs, violations, cpu, left, opened, memory)


def registry_of(meters: Meters, readings: Readings) -> CollectorRegistry:
    """Return a registry of one gateway and its process; the library's own one stays as it is."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GatewayCollector(meters, readings))
    ProcessCollector(registry=registry)
    return registry


def expositor(meters: Meters, readings: Readings) -> Callable[[str], tuple[bytes, str]]:
    """Return what makes the text of all metrics, with its content type, as an Accept header wants it."""
    registry = registry_of(meters, readings)

    def expose(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return expose


def _most_used(rules: Mapping[str, RuleStatistics]) -> Iterator[tuple[str, RuleStatistics]]:
    """Yield the rules that ran most; what is beyond the maximum has no series."""
    if len(rules) > RULES_MAX:
        most = sorted(rules, key=lambda name: rules[name].runs, reverse=True)[:RULES_MAX]
        rules = {name: rules[name] for name in sorted(most)}
    yield from rules.items()


def _times(name: str, text: str, times: Times) -> Metric:
    family = HistogramMetricFamily(name, text, labels=times.labels)
    for values, counts, sum_us in times.series():
        family.add_metric(values, list(zip(_BOUNDS, accumulate(counts), strict=True)), sum_us / _US)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
