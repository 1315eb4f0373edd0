"""How statistics look to people: a line of what matters, a table by kind, errors, and the trend as bars."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from gateway.cli.output import OUT, counted, said, span, styled

_BARS: Final = "▁▂▃▄▅▆▇█"
_BAD: Final = frozenset({"Failed", "Partial"})
_WELL: Final = 0.99  # a success rate from here on is green
_FAIR: Final = 0.9
_MIB: Final = 1024 * 1024
WIDE: Final = 110  # columns from which on a list of rules has room for all that is known


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print what missions and steps came to."""
    missions, steps = summary["missions"], summary["steps"]
    OUT.print(said(f"{_minute(summary['since'])} to {_minute(summary['until'])} UTC", "dim"))
    OUT.print()
    _print_line("missions", "mission", missions)
    _print_line("steps", "step", steps)
    if not missions["count"] and not steps["count"]:
        OUT.print("\nnothing in this time; --since 7d looks further back", style="dim")
        return
    if steps["tallies"]:
        OUT.print()
        OUT.print(_kinds(steps["tallies"]))
    _print_errors(missions["errors"], steps["errors"])
    OUT.print()
    bar = span(summary["interval_seconds"])
    _print_trend(f"missions, each bar {bar}", missions["trend"])
    _print_trend(f"steps, each bar {bar}", steps["trend"])
    if missions["truncated"] or steps["truncated"]:
        OUT.print("\nthere were more than are looked at; these are the newest", style="yellow")


def print_executions(executions: Sequence[Mapping[str, Any]]) -> None:
    """Print steps that have ended, one a line; a mission's id is what the next command needs, and is never cut."""
    if not executions:
        OUT.print("no steps have ended in this time")
        return
    rows = [_titles("mission", "ended", "took", "status", "kind", "step")]
    for each in executions:
        status = styled(each["status"])
        if each["error_code"]:
            status.append_text(said(f"  [{each['error_code']}]", "dim"))
        if each["attempts"] > 1:
            status.append_text(said(f"  {each['attempts']} attempts", "dim"))
        moment, took = each["ended_at"][:19].replace("T", " "), span(each["duration_ms"] / 1e3)
        kind = said(each["kind"] or "(not kept)")
        rows.append([said(each["mission_id"]), said(moment, "dim"), Text(took), status, kind, said(each["step_id"])])
    _print_rows(rows, right={2})


def print_rules(rules: Sequence[Mapping[str, Any]]) -> None:
    """Print what rules have used of their constraints."""
    if not rules:
        OUT.print("no rule has run")
        return
    wide = OUT.width >= WIDE
    times = {"p50": "p50_us", **({"p95": "p95_us"} if wide else {}), "p99": "p99_us", "longest": "max_us"}
    rest = ("CPU", "memory") if wide else ()
    rows = [_titles("rule", "runs", "faults", *times, *rest, "violations")]
    for rule in rules:
        broken = ", ".join(f"{code} {count}" for code, count in rule["violations"].items())
        row = [said(rule["rule"]), Text(f"{rule['runs']:,}")]
        row.append(Text(f"{rule['faults']:,}", style="red" if rule["faults"] else "dim"))
        row += [Text(_micro(rule[name])) for name in times.values()]
        if wide:
            peak = rule["memory_bytes_peak"]
            row += [Text(_micro(rule["cpu_us"])), Text(f"{peak / _MIB:.1f} MiB" if peak else "-")]
        rows.append([*row, said(broken or "-", "red" if broken else "dim")])
    _print_rows(rows, right=set(range(1, len(rows[0]) - 1)))


def _titles(*titles: str) -> list[Text]:
    return [Text(title, style="bold") for title in titles]


def _print_rows(rows: Sequence[Sequence[Text]], *, right: Collection[int]) -> None:
    """Print rows below each other, the columns `right` to the right; what does not fit is cut at its end."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        for place, (cell, width) in enumerate(zip(row[:-1], widths, strict=False)):
            pad = cell.pad_left if place in right else cell.pad_right
            pad(width - cell.cell_len)
        line = Text("  ").join(row)
        line.truncate(OUT.width, overflow="ellipsis")
        OUT.print(line)


def _print_line(title: str, noun: str, summary: Mapping[str, Any]) -> None:
    """Print `missions  132 missions, 96.2 % succeeded  Success 127, Failed 5`."""
    statuses: dict[str, int] = {}
    for tally in summary["tallies"]:
        for status, count in tally["by_status"].items():
            statuses[status] = statuses.get(status, 0) + count
    line = Text.assemble((f"{title:<10}", "bold"), f"{counted(summary['count'], noun)}")
    if summary["success_rate"] is not None:
        line.append(", ").append_text(_rate(summary["success_rate"]))
    for status, count in sorted(statuses.items(), key=lambda each: -each[1]):
        line.append("  ").append_text(styled(status)).append(f" {count:,}", "dim")
    OUT.print(line)


def _kinds(tallies: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kind", no_wrap=True)
    for title in ("steps", "failed", "skipped", "success", "p50", "p95", "p99", "longest"):
        table.add_column(title, justify="right", no_wrap=True)
    for tally in sorted(tallies, key=lambda each: -each["count"]):
        by_status, lengths = tally["by_status"], tally["durations"]
        failed = by_status.get("Failed", 0)
        rate = tally["success_rate"]
        table.add_row(
            said(tally["kind"] or "(not kept)"),
            f"{tally['count']:,}",
            Text(f"{failed:,}", style="red" if failed else "dim"),
            Text(f"{by_status.get('Skipped', 0):,}", style="dim"),
            _rate(rate) if rate is not None else Text("-", style="dim"),
            *(
                span(lengths[name] / 1e3) if lengths["count"] else "-"
                for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")
            ),
        )
    return table


def _print_errors(*errors: Sequence[Mapping[str, Any]]) -> None:
    """Print the codes of missions and of steps, each with how much of all it is."""
    rows = [
        (title, each) for title, group in zip(("missions", "steps"), errors, strict=True) for each in group if group
    ]
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("errors of", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("code", overflow="fold")
    for title, each in rows:
        table.add_row(Text(title, style="dim"), f"{each['count']:,}", f"{each['rate']:.1%}", said(each["code"], "red"))
    OUT.print()
    OUT.print(table)


def _print_trend(title: str, trend: Sequence[Mapping[str, Any]]) -> None:
    """Print a bar for each interval; one in which anything failed is red, one with nothing in it a dot."""
    most = max((sum(each["by_status"].values()) for each in trend), default=0)
    if not most:
        return
    line = Text()
    for each in trend:
        count = sum(each["by_status"].values())
        bad = sum(number for status, number in each["by_status"].items() if status in _BAD)
        bar = _BARS[min(len(_BARS) - 1, count * len(_BARS) // (most + 1))] if count else "·"
        line.append(bar, "red" if bad else "green" if count else "dim")
    OUT.print(Text.assemble(line, (f"  {title}, most {most:,}", "dim")))


def _rate(rate: float) -> Text:
    return Text(f"{rate:.1%}", style="green" if rate >= _WELL else "yellow" if rate >= _FAIR else "red")


def _micro(us: int) -> str:
    """Return µs in a few characters."""
    return f"{us} µs" if us < 1_000 else span(us / 1e6)  # noqa: PLR2004 - a millisecond


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
