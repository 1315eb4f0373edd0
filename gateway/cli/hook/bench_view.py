"""How measured cases look to people, and to programs."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from engine.constraints import ExecutionConstraints
from gateway.cli.hook.bench import Distribution
from gateway.cli.hook.trial_view import amount, bar, hook_document, limits_document, share, size, title, used_document
from gateway.cli.output import OUT, counted, said
from gateway.sandbox.manifest import Manifest

QUANTILES: Final = (("p50", 0.50), ("p90", 0.90), ("p99", 0.99), ("max", 1.0))
_HISTOGRAM_CELLS: Final = 40


def print_bench(manifest: Manifest, limits: ExecutionConstraints, measured: Sequence[Distribution], runs: int) -> None:
    """Print, of each case, exact fuel and memory, and how long its runs took."""
    OUT.print(title(manifest))
    OUT.print(Text(f"{counted(runs, 'run')} a case; a bar beside a figure is its share of the profile's limit", "dim"))
    for one in measured:
        OUT.print()
        OUT.print(said(one.case.name, "bold"))
        if not one.wall_us:
            OUT.print(Text.assemble(("✗ ", "red"), "it does not pass; missiongate hook test says why"))
            continue
        _print_one(one, limits)


def _print_one(one: Distribution, limits: ExecutionConstraints) -> None:
    fuel = share(one.first.fuel_used / limits.fuel_max, f"{one.first.fuel_used:,} of {amount(limits.fuel_max)}")
    memory = share(
        one.first.memory_bytes / limits.memory_bytes_max,
        f"{size(one.first.memory_bytes)} of {size(limits.memory_bytes_max)}",
    )
    OUT.print(Text.assemble(("  fuel    ", "dim"), fuel))
    OUT.print(Text.assemble(("  memory  ", "dim"), memory))
    for name, quantile in QUANTILES:
        wall_us = one.quantile(quantile)
        shown = share(wall_us / 1000 / limits.wall_ms_max, f"{wall_us / 1000:.3f} of {limits.wall_ms_max} ms")
        OUT.print(Text.assemble((f"  {name}     ", "dim"), shown))
    if one.differs:
        OUT.print(Text.assemble(("✗ ", "red"), "fuel or memory differ from run to run: it is no pure function"))
    bins = one.bins()
    most = max(count for _, _, count in bins)
    for low, high, count in bins:
        cells = Text(bar(count / most, _HISTOGRAM_CELLS), "cyan")
        OUT.print(Text.assemble((f"  {low / 1000:8.3f} to {high / 1000:8.3f} ms  ", "dim"), cells, f" {count}"))


def bench_document(
    manifest: Manifest, limits: ExecutionConstraints, measured: Sequence[Distribution], runs: int
) -> dict[str, object]:
    """Return the same for programs."""
    return {
        **hook_document(manifest),
        "limits": limits_document(limits),
        "runs": runs,
        "cases": [_case_document(one) for one in measured],
    }


def _case_document(one: Distribution) -> dict[str, object]:
    used = used_document(one.first)
    del used["wall_us"]
    if not one.wall_us:
        return {"name": one.case.name, "passed": False, **used}
    return {
        "name": one.case.name,
        "passed": True,
        "deterministic": not one.differs,
        **used,
        "wall_us": {name: one.quantile(quantile) for name, quantile in QUANTILES},
        "histogram": [{"from_us": low, "below_us": high, "runs": count} for low, high, count in one.bins()],
    }
