"""hook new, build, test and bench: a plugin author's loop, on the author's machine, without a gateway."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

import typer
from rich.text import Text

from engine.constraints import ExecutionConstraints
from engine.errors import EngineError
from gateway.cli.hook.bench import RUNS_MAX, Distribution, measure
from gateway.cli.hook.bench_view import bench_document, print_bench
from gateway.cli.hook.cases import Case, read_cases
from gateway.cli.hook.compilers import build_module
from gateway.cli.hook.folder import HookFolder, Language, open_folder, read_file
from gateway.cli.hook.scaffold import make_hook
from gateway.cli.hook.trial import Tried, constraints_of, only, registered_shape, trial
from gateway.cli.hook.trial_view import hook_document, print_trial, size, title, trial_document
from gateway.cli.options import OutputOption
from gateway.cli.output import ERR, OUT, Exit, Output, errors_document, fail, fail_with, print_facts, print_json, said
from gateway.errors import ConfigurationError, HookRefusedError
from gateway.sandbox.compile import MODULE_BYTES_MAX
from gateway.sandbox.manifest import Manifest
from gateway.sandbox.shape import Shape

_T = TypeVar("_T")
_BUILD_FAILED: Final = "hook.build_failed"


class Kind(StrEnum):
    """The kinds of hook."""

    STEP = "step"
    SCREEN = "screen"
    REWRITE = "rewrite"
    OBSERVE = "observe"


FolderArgument = Annotated[Path, typer.Argument(help="The hook's folder.", metavar="FOLDER")]
CompilerOption = Annotated[
    Path | None,
    typer.Option(help="The compiler to use: a zig, asc or rustc. ZIG, ASC and RUSTC name one, too.", metavar="PATH"),
]
BuildOption = Annotated[bool, typer.Option(help="Compile the source first, where there is one.")]
ProfileOption = Annotated[str | None, typer.Option(help="Limits to run under, instead of the manifest's profile.")]
HomeOption = Annotated[
    Path | None, typer.Option(envvar="MISSIONGATE_HOME", help="Take profiles from this gateway's policy.")
]
CaseOption = Annotated[list[str] | None, typer.Option(help="Only the case of this name; may be given again.")]


def new(
    name: Annotated[str, typer.Argument(help="The hook's name: a lower-case identifier.", metavar="NAME")],
    *,
    language: Annotated[Language, typer.Option("--language", "-l", help="What to write it in.")],
    kind: Annotated[Kind, typer.Option("--kind", "-k", help="What it is to do.")] = Kind.STEP,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make a folder NAME with a hook that builds, and whose cases pass; it is for you to change."""
    folder = _made(output, lambda: make_hook(Path(), name, language, kind.value))
    if output is Output.JSON:
        print_json({"folder": str(folder.resolve()), "kind": kind.value, "language": language.value})
        return
    OUT.print(Text.assemble(("✓ ", "green"), f"{folder}: a {kind.value} in {language.value}"))
    before = " && npm ci" if language is Language.ASSEMBLYSCRIPT else ""
    OUT.print(said(f"  → cd {folder}{before} && missiongate hook test", "dim"))


def build(
    folder: FolderArgument = Path(),
    *,
    compiler: CompilerOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Compile the hook into module.wasm, and say whether a gateway would accept it."""
    hook = _made(output, lambda: open_folder(folder))
    module = _compiled(hook, compiler, output)
    shape = _made(output, lambda: asyncio.run(registered_shape(module)))
    _print_built(hook.manifest, module, shape, output)


def run_cases(
    folder: FolderArgument = Path(),
    *,
    compiler: CompilerOption = None,
    build: BuildOption = True,
    profile: ProfileOption = None,
    home: HomeOption = None,
    case: CaseOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run cases.json in the sandbox: exit 1 if an answer is not as expected, and show what each case took."""
    hook, cases, limits = _made(output, lambda: _to_run(folder, case or (), profile, home))
    module = _module(hook, compiler, output, builds=build)
    tried = _made(output, lambda: asyncio.run(_try(module, hook.manifest, limits, cases)))
    if output is Output.JSON:
        print_json(trial_document(hook.manifest, limits, tried))
    else:
        print_trial(hook.manifest, limits, tried)
    if not all(one.passed for one in tried):
        raise typer.Exit(Exit.FAILED)


def bench(
    folder: FolderArgument = Path(),
    *,
    runs: Annotated[int, typer.Option(help="How often each case is run.", min=1, max=RUNS_MAX)] = 200,
    compiler: CompilerOption = None,
    build: BuildOption = True,
    profile: ProfileOption = None,
    home: HomeOption = None,
    case: CaseOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run each case many times, and draw how long it took; fuel and memory are the same in every run."""
    hook, cases, limits = _made(output, lambda: _to_run(folder, case or (), profile, home))
    module = _module(hook, compiler, output, builds=build)
    measured = _made(output, lambda: asyncio.run(_measure(module, hook.manifest, limits, cases, runs)))
    if output is Output.JSON:
        print_json(bench_document(hook.manifest, limits, measured, runs))
    else:
        print_bench(hook.manifest, limits, measured, runs)
    if any(not one.wall_us or one.differs for one in measured):
        raise typer.Exit(Exit.FAILED)


async def _try(module: bytes, manifest: Manifest, limits: ExecutionConstraints, cases: Sequence[Case]) -> list[Tried]:
    async with trial(module, manifest, limits) as running:
        return [await running.run(case) for case in cases]


async def _measure(
    module: bytes, manifest: Manifest, limits: ExecutionConstraints, cases: Sequence[Case], runs: int
) -> list[Distribution]:
    async with trial(module, manifest, limits) as running:
        return [await measure(running, case, runs) for case in cases]


def _to_run(
    folder: Path, names: Sequence[str], profile: str | None, home: Path | None
) -> tuple[HookFolder, Sequence[Case], ExecutionConstraints]:
    """Return the hook of a folder, its cases, of those names where there are any, and what a run of it gets."""
    hook = open_folder(folder)
    return hook, only(read_cases(hook), names), constraints_of(hook.manifest, profile=profile, home=home)


def _module(hook: HookFolder, compiler: Path | None, output: Output, *, builds: bool) -> bytes:
    """Return the module to run: made from the source, or the one that is there."""
    if builds and hook.language is not None:
        return _compiled(hook, compiler, output)
    return _made(output, lambda: read_file(hook.module, MODULE_BYTES_MAX))


def _compiled(hook: HookFolder, compiler: Path | None, output: Output) -> bytes:
    """Compile the source, and put the module beside it; leave with code 1 where the compiler refuses it."""
    if (language := hook.language) is None:
        sources = ", ".join(each.source for each in Language)
        fail(ConfigurationError(f"{hook.path.name} holds none of {sources}", code="hook.folder"), output)
    module = _made(output, lambda: build_module(hook, language, compiler))
    _made(output, lambda: _put(hook.module, module))
    return module


def _put(path: Path, module: bytes) -> None:
    """Write a module, whole or not at all."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(module)
        os.replace(fresh, path)  # noqa: PTH105 - the atomic one
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", code="hook.folder") from error


def _made(output: Output, make: Callable[[], _T]) -> _T:
    """Return what `make` makes; print what goes wrong, and leave with its exit code."""
    try:
        return make()
    except HookRefusedError as error:
        _refuse(error, output)
    except EngineError as error:
        fail(error, output)


def _refuse(error: HookRefusedError, output: Output) -> NoReturn:
    """Leave with code 1; a compiler's words are lines of their own."""
    errors = errors_document(error)
    if error.code == _BUILD_FAILED and output is Output.TEXT:
        for line in error.message.splitlines():
            ERR.print(said(line))
        errors[0]["message"] = "the compiler refuses the source"
    fail_with(errors, Exit.FAILED, output)


def _print_built(manifest: Manifest, module: bytes, shape: Shape, output: Output) -> None:
    digest = hashlib.sha256(module).hexdigest()
    if output is Output.JSON:
        facts = {"bytes": len(module), "sha256": digest, "memory_bytes_min": shape.memory_bytes_min}
        print_json({**hook_document(manifest), **facts, "exports": dict(shape.exports)})
        return
    OUT.print(title(manifest))
    exports = "  ".join(name if type_ == "memory" else f"{name}{type_}" for name, type_ in shape.exports.items())
    print_facts(
        {
            "module": f"module.wasm, {len(module):,} bytes",
            "sha256": digest,
            "memory": f"{size(shape.memory_bytes_min)} to begin with",
            "exports": exports.replace(" -> ", "→"),
        }
    )
    OUT.print(Text.assemble(("✓ ", "green"), "a gateway would accept it"))
