"""How a hook's build and the runs of its cases look to people, and to programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from engine.constraints import ExecutionConstraints
from gateway.cli.hook.differences import differences
from gateway.cli.hook.trial import Ended, Tried
from gateway.cli.output import OUT, counted, said
from gateway.sandbox.manifest import Manifest

BAR_CELLS: Final = 6
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_WARM: Final = 0.5  # of a limit, from where on the bar is yellow
_HOT: Final = 0.8
_KIB: Final = 1024
_MIB: Final = 1024 * 1024


def print_trial(manifest: Manifest, limits: ExecutionConstraints, tried: Sequence[Tried]) -> None:
    """Print each case with what it took of the profile's limits, and of those that failed, why."""
    OUT.print(title(manifest))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("case", overflow="fold", ratio=1)
    for name, limit in (("fuel", amount(limits.fuel_max)), ("memory", size(limits.memory_bytes_max))):
        table.add_column(f"{name} of {limit}", no_wrap=True)
    table.add_column(f"time of {limits.wall_ms_max} ms", no_wrap=True)
    for one in tried:
        mark = Text("✓ ", "green") if one.passed else Text("✗ ", "red")
        table.add_row(
            mark + said(one.case.name),
            share(one.fuel_used / limits.fuel_max, amount(one.fuel_used)),
            share(one.memory_bytes / limits.memory_bytes_max, size(one.memory_bytes)),
            share(one.wall_us / 1000 / limits.wall_ms_max, f"{one.wall_us / 1000:.2f} ms"),
        )
    OUT.print(table)
    for one in tried:
        if not one.passed or any(end.log for end in one.ends):
            _explain(one)
    failed = sum(not one.passed for one in tried)
    verdict = Text(f"{failed} failed", "red") if failed else Text("all passed", "green")
    OUT.print(Text.assemble(f"{counted(len(tried), 'case')}, ", verdict))


def title(manifest: Manifest) -> Text:
    """Return the line above everything that is about one hook."""
    place = f" at {manifest.at}" if manifest.at else ""
    facts = f"  {manifest.kind}{place}, profile {manifest.profile}"
    return Text.assemble((f"{manifest.name} {manifest.version}", "bold"), (facts, "dim"))


def share(part: float, text: str) -> Text:
    """Return a bar of how much of a limit that is, and the figure itself."""
    style = "red" if part >= _HOT else "yellow" if part >= _WARM else "green"
    return Text.assemble((bar(part, BAR_CELLS), style), f" {text}")


def bar(part: float, cells: int) -> str:
    """Return a bar of a fixed width; anything above nothing can be seen."""
    eighths = min(max(round(part * cells * 8), 1 if part > 0 else 0), cells * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def amount(count: int) -> str:
    """Return a count in a few characters: `950`, `12.3 k`, `4 M`."""
    for unit, name in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}" if count < unit * 1000 else f"{count // unit} {name}"
    return str(count)


def size(count: int) -> str:
    """Return bytes in a few characters."""
    return f"{count / _MIB:.3g} MiB" if count >= _MIB else f"{count / _KIB:.3g} KiB"


def _explain(one: Tried) -> None:
    """Print why a case failed, and what its module printed."""
    OUT.print()
    OUT.print(Text.assemble(("  " if one.passed else "✗ ", "red"), said(one.case.name, "bold")))
    for number, (end, given) in enumerate(zip(one.ends, one.case.rounds, strict=False), start=1):
        where = f"round {number}: " if len(one.case.rounds) > 1 else ""
        if end.code:
            OUT.print(Text.assemble(f"    {where}", said(end.message), said(f"  [{end.code}]", "dim")))
            if end.answer:
                OUT.print(said(f"    answered {end.answer.decode('utf-8', 'backslashreplace')[:400]}", "dim"))
        elif not end.is_met(given.expected):
            for line in differences(given.expected, end.answer):
                OUT.print(said(f"    {where}{line}"))
        for line in end.log.decode("utf-8", "backslashreplace").splitlines():
            OUT.print(Text.assemble(("    printed: ", "dim"), said(line)))


def trial_document(manifest: Manifest, limits: ExecutionConstraints, tried: Sequence[Tried]) -> dict[str, object]:
    """Return the same for programs."""
    return {
        **hook_document(manifest),
        "limits": limits_document(limits),
        "passed": sum(one.passed for one in tried),
        "failed": sum(not one.passed for one in tried),
        "cases": [
            {"name": one.case.name, "passed": one.passed, "rounds": list(_rounds(one)), **used_document(one)}
            for one in tried
        ],
    }


def hook_document(manifest: Manifest) -> dict[str, object]:
    """Return which hook it is about."""
    return {"hook": manifest.name, "version": manifest.version, "kind": manifest.kind, "at": manifest.at}


def limits_document(limits: ExecutionConstraints) -> dict[str, int]:
    """Return what a run gets at most."""
    return {
        "fuel_max": limits.fuel_max,
        "memory_bytes_max": limits.memory_bytes_max,
        "wall_ms_max": limits.wall_ms_max,
        "output_bytes_max": limits.output_bytes_max,
    }


def used_document(one: Tried) -> dict[str, int]:
    """Return what a case took."""
    return {"fuel_used": one.fuel_used, "memory_bytes": one.memory_bytes, "wall_us": one.wall_us}


def _rounds(one: Tried) -> Iterator[Mapping[str, object]]:
    for end, given in zip(one.ends, one.case.rounds, strict=False):
        met = end.is_met(given.expected)
        yield {
            "passed": met,
            "answer": _text(end.answer),
            "code": end.code,
            "message": end.message,
            "differences": [] if met or end.code else differences(given.expected, end.answer),
            "log": _text(end.log),
            **_used(end),
        }


def _used(end: Ended) -> dict[str, int]:
    return {"fuel_used": end.fuel_used, "memory_bytes": end.memory_bytes, "wall_us": end.wall_us}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
