"""The benchmarks' own arithmetic and table; no benchmark runs here."""

import inspect
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import command, peer
from benchmarks.command import SECTIONS, arguments, bench, main
from benchmarks.machine import Machine
from benchmarks.page import main as write_page
from benchmarks.peer import Offspring, PeerError, offspring_of, running
from benchmarks.saved import Kept, SavedFiguresError, load, save
from benchmarks.shapes import LARGEST_REAL, SHAPES, chain, fan_out, ladder, layered, real
from benchmarks.table import WIDTH_MAX, Row, Section, number, section_table, target_of, timed_row, verdict
from benchmarks.timing import FULL, QUICK, Effort, Timing, Work, calls, in_turn, in_turn_async, lap
from engine.graph import Graph

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "dags"
FAST = Row(what="fast", ours=2.0, unit="µs", median=2.5, peer_name="peer", peer=4.0, target=3)
SLOW = Row(what="slow", ours=2_000.0, unit="events/s", peer_name="floor", peer=4_000.0, better="more", target=3_000)
ALONE = Row(what="alone", ours=7.0, unit="ms", peer_name="OPA: not built")
SECTION = Section("demo", "demo: three rows", (FAST, SLOW, ALONE))
SIZES = {"chain": (20,), "fan_out": (20,), "layered": (20, 4), "ladder": (20,)}
MACHINE = Machine(cpu="a CPU", cores=2, kernel="Linux 6", python="CPython 3.11", commit="abc", load=(0.5, 1.0, 1.5))


def printed(section: Section, before: dict[str, Row] | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH_MAX, no_color=True)
    console.print(section_table(section, width=WIDTH_MAX, header=True, before=before))
    return out.getvalue()


def line_of(text: str, what: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(what))


def test_ratio_is_ours_divided_by_the_peers() -> None:
    """A ratio below one means less; whether that is better depends on the row."""
    assert (FAST.ratio, FAST.wins) == (0.5, True)
    assert (SLOW.ratio, SLOW.wins) == (0.5, False)
    assert (ALONE.ratio, ALONE.wins) == (None, None)
    assert Row(what="w", ours=1, unit="µs", peer=0.0).ratio is None


def test_a_target_is_a_bound_that_must_be_passed() -> None:
    """Under it where less is better, over it where more is; exactly at it is not met."""
    assert FAST.met is True
    assert SLOW.met is False
    assert ALONE.met is None
    assert Row(what="w", ours=3.0, unit="µs", target=3).met is False
    assert Row(what="w", ours=3.0, unit="x/s", better="more", target=3).met is False


def test_a_change_is_relative_and_knows_its_direction() -> None:
    """Twice as many microseconds is worse; twice as many events is better."""
    assert FAST.change(replace(FAST, ours=1.0)) == pytest.approx(1.0)
    assert not FAST.improves(replace(FAST, ours=1.0))
    assert SLOW.change(replace(SLOW, ours=1_000.0)) == pytest.approx(1.0)
    assert SLOW.improves(replace(SLOW, ours=1_000.0))
    assert FAST.change(replace(FAST, ours=0.0)) == 0.0


def test_a_second_target_is_a_multiple_of_the_peer() -> None:
    """Both must hold, and what was not measured does not."""
    both = replace(FAST, ours=2.0, peer=1.0, target=3, ratio_max=2.0)
    assert both.met is True
    assert target_of(both) == "< 3, 2 x ✓"
    assert replace(both, peer=0.9).met is False
    assert replace(both, peer=None).met is False
    assert replace(both, ours=3.5, peer=3.5).met is False


@pytest.mark.parametrize(
    ("now", "worse"),
    [
        ({"ours": 1.3, "median": 1.3, "peer": 1.0}, True),
        ({"ours": 1.1, "median": 1.3, "peer": 1.0}, False),
        ({"ours": 1.3, "median": 1.1, "peer": 1.0}, False),
        ({"ours": 1.3, "median": 1.3, "peer": 1.3}, False),
        ({"ours": 1.3, "median": None, "peer": None}, True),
        ({"ours": 0.5, "median": 0.5, "peer": 1.0}, False),
    ],
)
def test_a_regression_shows_in_all_that_was_measured(now: dict[str, float | None], worse: bool) -> None:
    """Best, median and ratio must all be worse by over a fifth: a busy machine alone is none; nor is what is better."""
    before = Row(what="w", ours=1.0, unit="µs", median=1.0, peer=1.0)
    after = replace(before, **now)  # type: ignore[arg-type]
    assert after.regresses(before) is worse
    assert after.regresses(before, by=0.4) is False


def test_fewer_a_second_is_a_regression() -> None:
    """Of a rate, less is worse, and worse by as much as the time of one is."""
    before = replace(SLOW, peer=None)
    assert replace(before, ours=before.ours / 1.25).regresses(before)
    assert not replace(before, ours=before.ours * 1.25).regresses(before)


def test_a_timed_row_turns_seconds_into_its_unit() -> None:
    """Times scale, rates invert; of a rate the best round is the one with the most."""
    ours, peer = Timing(best=2e-6, median=4e-6), Timing(best=1e-6, median=1e-6)
    row = timed_row("w", "µs/step", ours, against="p", peer=peer, target=8)
    assert (row.ours, row.median, row.peer, row.better) == (
        pytest.approx(2),
        pytest.approx(4),
        pytest.approx(1),
        "less",
    )
    rate = timed_row("w", "events/s", ours, against="p", peer=peer)
    assert (rate.ours, rate.median, rate.peer) == (pytest.approx(5e5), pytest.approx(2.5e5), pytest.approx(1e6))
    assert (rate.better, rate.wins) == ("more", False)
    with pytest.raises(ValueError, match="furlong"):
        timed_row("w", "furlong", ours)


def test_timing_is_the_best_and_the_median_of_the_rounds() -> None:
    """Neither is an average: a round in which the machine was busy moves the median little and the best not at all."""
    assert Timing.of([3.0, 1.0, 2.0], operations=2) == Timing(best=0.5, median=1.0)


def test_works_take_turns() -> None:
    """Ours and peer alternate round by round, and each does what it says."""
    order: list[str] = []
    timings = in_turn(Effort("some", 3), Work(lambda: order.append("a"), 1), calls(lambda: order.append("b"), 2))
    assert order == ["a", "b", "b"] * 3
    assert all(timing.best > 0 for timing in timings)


async def test_asynchronous_works_take_turns() -> None:
    """The same on an event loop."""
    order: list[str] = []

    async def act(name: str) -> None:
        order.append(name)

    await in_turn_async(QUICK, Work(lambda: act("a"), 1), Work(lambda: act("b"), 1))
    assert order == ["a", "b"] * QUICK.rounds


def test_a_lap_measures_its_block() -> None:
    """Nothing is known before the block ends, and both clocks after it."""
    with lap() as this:
        assert this.wall == 0.0
        sum(range(10_000))
    assert this.wall > 0
    assert this.cpu >= 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0996, "0.10"),
        (0.000116, "0.00012"),
        (0.0213, "0.021"),
        (0.5, "0.50"),
        (4.914, "4.91"),
        (43.62, "43.6"),
        (43_218.4, "43,218"),
    ],
)
def test_numbers_keep_few_digits(value: float, text: str) -> None:
    """Digits that the noise would change are not shown."""
    assert number(value) == text


def test_the_table_shows_each_figure_beside_its_peer_and_target() -> None:
    """What, ours with unit, median, peer by name, ratio, target and its mark."""
    text = printed(SECTION)
    assert SECTION.title in text
    assert line_of(text, "fast").split() == ["fast", "2.00", "µs", "2.50", "peer", "4.00", "0.50", "x", "<", "3", "✓"]
    assert line_of(text, "slow").split()[-4:] == ["x", ">", "3,000", "✗"]
    assert "OPA: not built" in line_of(text, "alone")
    assert "change" not in text


def test_a_comparison_adds_a_column() -> None:
    """The change since the earlier run, and `new` where there was no such figure."""
    text = printed(SECTION, before={"fast": replace(FAST, ours=1.0, median=1.0), "slow": replace(SLOW, ours=1_900.0)})
    assert line_of(text, "fast").endswith("+100% !")
    assert line_of(text, "slow").endswith("+5%")
    assert line_of(text, "alone").endswith("new")


def test_the_verdict_names_what_was_not_met() -> None:
    """A missed target is said once more at the end."""
    assert verdict([SECTION]).plain == "1 of 2 targets met in this run; not met: slow"
    assert verdict([Section("s", "s", (ALONE,))]).plain == "no figure here has a target"
    assert verdict([Section("s", "s", (FAST,))]).plain == "1 of 1 targets met in this run"


def test_saved_figures_come_back(tmp_path: Path) -> None:
    """`--compare` reads what `--save` wrote; the file says what the figures depend on."""
    path = tmp_path / "figures.json"
    save(path, MACHINE, FULL, [SECTION])
    saved = load(path)
    assert (saved.machine.commit, saved.machine.cpu, saved.effort) == ("abc", "a CPU", FULL)
    assert saved.sections == {"demo": {"fast": FAST, "slow": SLOW, "alone": ALONE}}
    assert json.loads(path.read_text()).keys() >= {"commit", "python", "cpu", "cores", "kernel", "load", "rounds"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1}', '{"format":1,"commit":"a"}'])
def test_a_file_without_figures_is_refused(tmp_path: Path, text: str) -> None:
    """A wrong file is a usage error, said before anything is measured."""
    path = tmp_path / "figures.json"
    path.write_text(text)
    with pytest.raises(SavedFiguresError):
        load(path)
    assert main(["--compare", str(path)]) == 2
    assert main(["--compare", str(tmp_path / "missing.json")]) == 2


def test_only_selects_in_the_order_of_the_table() -> None:
    """Names are checked; the order of the table stays."""
    assert arguments(["--only", "audit,scheduling"], None).names == ["scheduling", "audit"]
    assert arguments([], None).names == list(SECTIONS)
    assert arguments([], "audit").names == ["audit"]
    with pytest.raises(SystemExit) as refused:
        arguments(["--only", "nothing"], None)
    assert refused.value.code == 2


def test_one_section_that_fails_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The table goes on, the exit code tells, and what was measured is saved."""

    def measured(name: str, _: Effort) -> Section:
        if name == "graph":
            raise RuntimeError("no graph today")
        return replace(SECTION, name=name)

    monkeypatch.setattr(command, "measure_apart", measured)
    path = tmp_path / "figures.json"
    assert main(["--only", "graph,audit", "--quick", "--save", str(path)]) == 1
    out = capsys.readouterr().out
    assert "graph: not measured: RuntimeError: no graph today" in out
    assert "quick run" in out
    assert "fast" in out
    assert list(json.loads(path.read_text())["sections"]) == ["audit"]
    assert main(["--only", "audit", "--compare", str(path)]) == 0
    assert "+0%" in capsys.readouterr().out


def test_a_run_is_compared_with_the_one_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`--keep` keeps two whole runs and marks what became worse; `--fail-on-regression` makes that the exit code."""
    rows = [FAST]

    def measured(name: str, _: Effort) -> Section:
        return Section(name, name, tuple(rows))

    monkeypatch.setattr(command, "measure_apart", measured)
    kept = Kept(tmp_path / "bench")
    keep = ["--keep", str(kept.folder), "--fail-on-regression", "50"]
    assert main(keep) == 0
    assert "worse than" not in capsys.readouterr().out
    assert not kept.previous.exists()
    rows[0] = replace(FAST, ours=2.8, median=3.5)
    assert main(keep) == 0
    assert "no figure is more than 50% worse than in the run before" in capsys.readouterr().out
    rows[0] = replace(FAST, ours=8.0, median=10.0)
    assert main([*keep, "--only", "audit"]) == 3
    out = capsys.readouterr().out
    assert "+186% !" in out
    assert "1 figure is more than 50% worse than in the run before: fast" in out
    assert load(kept.latest).sections["audit"]["fast"].ours == 2.8
    assert main(["--keep", str(kept.folder)]) == 0
    assert load(kept.latest).sections["audit"]["fast"].ours == 8.0
    assert load(kept.previous).sections["audit"]["fast"].ours == 2.8
    kept.latest.write_text("torn")
    assert main(keep) == 2  # no comparison is no pass
    assert "nothing can be held against it" in capsys.readouterr().err
    assert main(["--keep", str(kept.folder)]) == 0


def test_kept_figures_of_another_version_are_none(tmp_path: Path) -> None:
    """They are nothing to compare with, and the next run takes their place."""
    kept = Kept(tmp_path)
    kept.latest.write_text("{}")
    assert kept.load() is None
    kept.save(MACHINE, FULL, [SECTION])
    assert kept.load() is not None
    assert kept.previous.read_text() == "{}"


def test_a_page_gets_the_figures_of_a_run(tmp_path: Path) -> None:
    """What stands between the markers is replaced, what people wrote is not, and sections without figures stay."""
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    save(figures, MACHINE, FULL, [SECTION])
    page.write_text(
        "# P\n<!-- run -->\nold\n<!-- end -->\nprose\n<!-- figures: demo -->\nold\n<!-- end -->\n"
        "<!-- figures: other -->\nkept\n<!-- end -->\n"
    )
    assert write_page([str(figures), str(page)]) == 0
    text = page.read_text()
    assert "old" not in text
    assert "a CPU, 2 cores" in text
    assert "prose" in text
    assert "| fast | 2.00 µs | 2.50 | peer | 4.00 | 0.50 | < 3 ✓ |" in text
    assert "<!-- figures: other -->\nkept\n<!-- end -->" in text
    assert write_page([str(tmp_path / "missing.json"), str(page)]) == 2


def test_the_page_has_a_place_for_every_section() -> None:
    """A section without its markers would keep figures of an older run."""
    text = (FOLDER / "PERFORMANCE.md").read_text()
    assert [name for name in SECTIONS if f"<!-- figures: {name} -->" not in text] == []
    assert text.count("<!-- run -->") == 1


def test_shapes_are_what_they_are_called() -> None:
    """Depth and width of each, by the engine's own levels; every dependency stands before its step."""

    def levels(shape: list[tuple[int, ...]]) -> list[int]:
        ids = [str(n) for n in range(len(shape))]
        return [len(level) for level in Graph.build(ids, [[ids[p] for p in row] for row in shape]).levels]

    assert levels(chain(5)) == [1, 1, 1, 1, 1]
    assert levels(fan_out(5)) == [1, 4]
    assert levels(layered(12, 4)) == [3, 3, 3, 3]
    assert levels(ladder(6)) == [1, 2, 1, 2]
    real_ones = [path.name.removesuffix(".json.gz") for path in VECTORS.glob("*.json.gz")]
    assert max(real_ones, key=lambda name: sum(map(len, real(name)))) == LARGEST_REAL
    assert all(
        parent < n for name, make in SHAPES.items() for n, row in enumerate(make(*SIZES[name])) for parent in row
    )


async def test_a_peer_that_is_not_installed_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason names the command that installs it."""
    monkeypatch.setattr(peer, "PYTHON", tmp_path / "python")
    with pytest.raises(PeerError, match="not installed: make bench-peers"):
        async with running("benchmarks.peers.ray_tasks"):
            pass


async def test_a_peer_answers_runs_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run is timed or traced; what the peer prints is not taken for an answer; whatever it has begun ends with it."""
    monkeypatch.setattr(peer, "PYTHON", Path(sys.executable))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "stand_in.py").write_text(
        "import subprocess\n"
        "from benchmarks.peers.rounds import serve\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "serve('rich', lambda shape: lambda: print([bytes(1000) for _ in shape]))\n"
    )
    async with running("stand_in") as stand_in:
        assert stand_in.version
        assert await stand_in.seconds("fan_out", 10) > 0
        assert await stand_in.bytes("chain", 10) > 10_000
        begun = offspring_of(os.getpid())
        assert len(begun) == 2
    assert not any(each.lives for each in begun)


async def test_a_peer_that_ends_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of what it complained about becomes the reason."""
    monkeypatch.setattr(peer, "PYTHON", Path(sys.executable))
    with pytest.raises(PeerError, match="nothing_like_it"):
        async with running("nothing_like_it"):
            pass


async def test_an_id_that_is_anothers_by_now_is_left_alone() -> None:
    """A process is known by its id and its beginning: this one lives on."""
    another = Offspring(os.getpid(), 1)
    assert not another.lives
    await another.end()


def test_sections_are_measured_from_either_kind_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark may be a generator or an asynchronous one."""

    class Plain:
        TITLE = "plain"

        def rows(self, _: Effort) -> Iterator[Row]:
            yield FAST

    class Asynchronous:
        TITLE = "asynchronous"

        async def rows(self, _: Effort) -> AsyncIterator[Row]:
            yield FAST

    modules = {"plain": Plain(), "asynchronous": Asynchronous()}
    monkeypatch.setattr(command, "bench", modules.__getitem__)
    for name in modules:
        assert command.measure(name, QUICK) == Section(name, name, (FAST,))


def test_every_benchmark_stands_in_the_table() -> None:
    """A module `bench_<name>` that no section names would never be run, and a section without a module would fail."""
    assert sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")) == sorted(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_benchmark_exposes_rows(name: str) -> None:
    """`rows` takes an effort, is a generator of either kind; the module has a title."""
    module = bench(name)
    assert module.TITLE
    assert list(inspect.signature(module.rows).parameters) == ["effort"]
    assert inspect.isgeneratorfunction(module.rows) or inspect.isasyncgenfunction(module.rows)


def test_the_machine_is_described_without_its_name() -> None:
    """Processor, cores, kernel, interpreter and commit; no host name and no path."""
    machine = Machine.here()
    assert machine.cores >= 1
    assert machine.cpu
    assert "/" not in f"{machine.kernel}{machine.commit}"
    assert machine.commit in str(machine)
