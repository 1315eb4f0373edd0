"""A DAG engine that stands alone: missions in, ordered and bounded execution, signed audit out.

    plan = engine.load_mission(data, limits=engine.MissionLimits(), step_types={"greet"})
    result = await engine.run_mission(plan, runner)

The names below are the public surface; docs/engine.md shows how they are used. They are loaded when first asked for,
so that a worker process that needs the error tree does not load asyncio and a YAML parser with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.attempt import StepAttempt as StepAttempt
    from engine.breaker import Breaker as Breaker
    from engine.breaker import BreakerRunner as BreakerRunner
    from engine.breaker import Breakers as Breakers
    from engine.breaker import BreakerSettings as BreakerSettings
    from engine.breaker import BreakerState as BreakerState
    from engine.builder import MissionBuilder as MissionBuilder
    from engine.builder import StepHandle as StepHandle
    from engine.clock import Clock as Clock
    from engine.clock import SystemClock as SystemClock
    from engine.constraints import ExecutionConstraints as ExecutionConstraints
    from engine.constraints.budget import BudgetStats as BudgetStats
    from engine.constraints.budget import ExecutionBudget as ExecutionBudget
    from engine.constraints.enforcer import CLOSED as CLOSED
    from engine.constraints.enforcer import ConstraintEnforcer as ConstraintEnforcer
    from engine.constraints.errors import ConstraintError as ConstraintError
    from engine.constraints.errors import ConstraintViolationError as ConstraintViolationError
    from engine.constraints.errors import EnforcementFailureError as EnforcementFailureError
    from engine.constraints.errors import InvalidConfigurationError as InvalidConfigurationError
    from engine.constraints.errors import ResourceExhaustedError as ResourceExhaustedError
    from engine.constraints.quotas import Quota as Quota
    from engine.constraints.quotas import Quotas as Quotas
    from engine.constraints.rules import Breach as Breach
    from engine.constraints.rules import Rule as Rule
    from engine.constraints.rules import RuleType as RuleType
    from engine.constraints.statistics import LatencyHistogram as LatencyHistogram
    from engine.constraints.statistics import RuleStatistics as RuleStatistics
    from engine.constraints.statistics import Statistics as Statistics
    from engine.constraints.violations import CpuExceeded as CpuExceeded
    from engine.constraints.violations import MemoryExceeded as MemoryExceeded
    from engine.constraints.violations import MultipleViolations as MultipleViolations
    from engine.constraints.violations import SampledOut as SampledOut
    from engine.constraints.violations import TimeoutExceeded as TimeoutExceeded
    from engine.context import ContextState as ContextState
    from engine.context import ExecutionContext as ExecutionContext
    from engine.dsl import Dag as Dag
    from engine.dsl import DagBatch as DagBatch
    from engine.dsl import DagDefinitionError as DagDefinitionError
    from engine.dsl import DagResult as DagResult
    from engine.dsl import Node as Node
    from engine.errors import EngineError as EngineError
    from engine.errors import FaultError as FaultError
    from engine.errors import MissionInvalidError as MissionInvalidError
    from engine.errors import RefusalError as RefusalError
    from engine.errors import StepError as StepError
    from engine.errors import SuspendedError as SuspendedError
    from engine.errors import Violation as Violation
    from engine.exclusive import ExclusiveKeys as ExclusiveKeys
    from engine.formats import ResultFormat as ResultFormat
    from engine.formats import enriched as enriched
    from engine.formats import render as render
    from engine.loader import load_mission as load_mission
    from engine.mission import ForEach as ForEach
    from engine.mission import Mission as Mission
    from engine.mission import MissionConfig as MissionConfig
    from engine.mission import MissionLimits as MissionLimits
    from engine.mission import MissionStep as MissionStep
    from engine.mission import RestartScope as RestartScope
    from engine.mission import Strategy as Strategy
    from engine.mission import Supervision as Supervision
    from engine.outcome import Stop as Stop
    from engine.plan import ItemSource as ItemSource
    from engine.plan import Plan as Plan
    from engine.plan import Predicate as Predicate
    from engine.ports import Retry as Retry
    from engine.ports import ScheduleObserver as ScheduleObserver
    from engine.ports import SharedPlaces as SharedPlaces
    from engine.ports import SilentObserver as SilentObserver
    from engine.ports import StepRunner as StepRunner
    from engine.result import MissionResult as MissionResult
    from engine.result import MissionState as MissionState
    from engine.result import OverallStatus as OverallStatus
    from engine.result import StepFailure as StepFailure
    from engine.result import StepResult as StepResult
    from engine.result import StepState as StepState
    from engine.retry import Backoff as Backoff
    from engine.retry import RetryPolicy as RetryPolicy
    from engine.run import resolved_parameters as resolved_parameters
    from engine.run import run_mission as run_mission
    from engine.scheduler import MissionRun as MissionRun
    from engine.slots import SharedSlots as SharedSlots
    from engine.slots import SlotMember as SlotMember
    from engine.stream import BatchResult as BatchResult
    from engine.stream import stream_mission as stream_mission
    from engine.values import JsonObject as JsonObject
    from engine.values import JsonValue as JsonValue

_SURFACE = {
    "engine.attempt": ("StepAttempt",),
    "engine.breaker": ("Breaker", "BreakerRunner", "BreakerSettings", "BreakerState", "Breakers"),
    "engine.builder": ("MissionBuilder", "StepHandle"),
    "engine.clock": ("Clock", "SystemClock"),
    "engine.constraints": ("ExecutionConstraints",),
    "engine.constraints.budget": ("BudgetStats", "ExecutionBudget"),
    "engine.constraints.enforcer": ("CLOSED", "ConstraintEnforcer"),
    "engine.constraints.errors": (
        "ConstraintError",
        "ConstraintViolationError",
        "EnforcementFailureError",
        "InvalidConfigurationError",
        "ResourceExhaustedError",
    ),
    "engine.constraints.quotas": ("Quota", "Quotas"),
    "engine.constraints.rules": ("Breach", "Rule", "RuleType"),
    "engine.constraints.statistics": ("LatencyHistogram", "RuleStatistics", "Statistics"),
    "engine.constraints.violations": (
        "CpuExceeded",
        "MemoryExceeded",
        "MultipleViolations",
        "SampledOut",
        "TimeoutExceeded",
    ),
    "engine.context": ("ContextState", "ExecutionContext"),
    "engine.dsl": ("Dag", "DagBatch", "DagDefinitionError", "DagResult", "Node"),
    "engine.errors": (
        "EngineError",
        "FaultError",
        "MissionInvalidError",
        "RefusalError",
        "StepError",
        "SuspendedError",
        "Violation",
    ),
    "engine.exclusive": ("ExclusiveKeys",),
    "engine.formats": ("ResultFormat", "enriched", "render"),
    "engine.loader": ("load_mission",),
    "engine.mission": (
        "ForEach",
        "Mission",
        "MissionConfig",
        "MissionLimits",
        "MissionStep",
        "RestartScope",
        "Strategy",
        "Supervision",
    ),
    "engine.outcome": ("Stop",),
    "engine.plan": ("ItemSource", "Plan", "Predicate"),
    "engine.ports": ("Retry", "ScheduleObserver", "SharedPlaces", "SilentObserver", "StepRunner"),
    "engine.result": ("MissionResult", "MissionState", "OverallStatus", "StepFailure", "StepResult", "StepState"),
    "engine.retry": ("Backoff", "RetryPolicy"),
    "engine.run": ("resolved_parameters", "run_mission"),
    "engine.scheduler": ("MissionRun",),
    "engine.slots": ("SharedSlots", "SlotMember"),
    "engine.stream": ("BatchResult", "stream_mission"),
    "engine.values": ("JsonObject", "JsonValue"),
}
_HOME = {name: module for module, names in _SURFACE.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
