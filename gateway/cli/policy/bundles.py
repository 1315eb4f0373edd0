"""Bundles for the commands: which one is meant, its files as they are, and the vetted bundle itself."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from engine.errors import EngineError
from gateway.cli.output import Output, fail
from gateway.config import load_config
from gateway.errors import PolicyInvalidError
from gateway.policy.authoring.sources import Sources
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import FILE_BYTES_MAX, FILES_MAX
from gateway.rules import bundled_policies

_T = TypeVar("_T")
_DATA_BYTES_MAX: Final = 8 * 1024 * 1024

BundleArgument = Annotated[Path, typer.Argument(help="The bundle: a folder.", metavar="BUNDLE", show_default="here")]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle", "-b", help="The bundle: a folder; else the home's, else the default one.", metavar="BUNDLE"
    ),
]
BundleHomeOption = Annotated[
    Path | None, typer.Option("--home", envvar="MISSIONGATE_HOME", help="Take the bundle of this gateway's home.")
]


def bundle_path(bundle: Path | None, home: Path | None) -> Path:
    """Return where the bundle is that is meant: the one named, a home's, or the default one.

    Raises:
        ConfigurationError: the home's configuration is not in order.
    """
    if bundle is not None:
        return bundle
    return bundled_policies() if home is None else home / load_config(home).policy.source


def read_sources(path: Path) -> Sources:
    """Return all files of a bundle, whatever is wrong with them.

    Raises:
        PolicyInvalidError: there is no such folder, or it has too many files, or too large ones.
    """
    if not path.is_dir():
        raise PolicyInvalidError("there is no such folder", code="policy.no_bundle", file=str(path))
    files: dict[str, bytes] = {}
    for found in sorted(path.rglob("*")):
        if found.is_symlink() or not found.is_file():
            continue
        name = found.relative_to(path).as_posix()
        if len(files) == FILES_MAX:
            raise PolicyInvalidError(f"more than {FILES_MAX} files", code="policy.too_large", file=str(path))
        maximum = _DATA_BYTES_MAX if name.endswith(".json") else FILE_BYTES_MAX
        try:
            with found.open("rb") as file:
                files[name] = file.read(maximum + 1)
        except OSError as error:
            raise PolicyInvalidError(error.strerror or "unreadable", code="policy.unreadable", file=name) from error
        if len(files[name]) > maximum:
            raise PolicyInvalidError(f"is over {maximum} bytes", code="policy.too_large", file=name)
    return Sources(files)


def load_bundle(path: Path) -> Bundle:
    """Return the vetted bundle.

    Raises:
        PolicyInvalidError: it is not accepted.
    """
    return Bundle.load(path)


def made(output: Output, make: Callable[[], _T]) -> _T:
    """Return what `make` makes; print what goes wrong, and leave with its exit code."""
    try:
        return make()
    except EngineError as error:
        fail(error, output)


def quiet_workers() -> None:
    """Leave out what the log says of workers that are ended at a deadline: the command itself says it."""
    logging.getLogger("gateway.workers").setLevel(logging.ERROR)
