"""Makes the folder of a new hook, from templates that come with the program: it builds, and its cases pass, at once."""

import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway.cli.hook.folder import SDK_FOLDER, Language, packaged_sdk
from gateway.errors import ConfigurationError

KINDS: Final = ("step", "screen", "rewrite", "observe")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")  # as in a manifest
_SCHEMA_ROW: Final = "| `parameters.schema.json` | the JSON Schema of its parameters |\n"
_BEFORE: Final = {Language.ASSEMBLYSCRIPT: "    npm ci                    # installs the compiler, once\n"}
_SDKS: Final = {  # the folders of the SDKs that a language is built with
    Language.ZIG: ("zig",),
    Language.C: ("c", "zig"),
    Language.ASSEMBLYSCRIPT: ("assemblyscript",),
    Language.RUST: ("rust",),
}
_RENAMED: Final = {"gitignore": ".gitignore", "cargo/config.toml": ".cargo/config.toml"}


def make_hook(parent: Path, name: str, language: Language, kind: str) -> Path:
    """Make `parent/name`, all of it or nothing, and return it.

    Raises:
        ConfigurationError: `hook.name`, the name is none that a manifest may have; `hook.exists`, there is something
            of that name; `hook.folder`, it cannot be written.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r}: a name is a lower-case identifier of at most 64 characters"
        raise ConfigurationError(message, code="hook.name")
    folder = parent / name
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise ConfigurationError(f"{folder} is there already; nothing was changed", code="hook.exists") from error
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}", code="hook.folder") from error
    try:
        _fill(folder, name, language, kind)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigurationError(f"{folder}: {error.strerror}", code="hook.folder") from error
    return folder


def _fill(folder: Path, name: str, language: Language, kind: str) -> None:
    words = {
        "@NAME@": name,
        "@KIND@": kind,
        "@LANGUAGE@": language.value,
        "@SOURCE@": language.source,
        "@SCHEMA@": _SCHEMA_ROW if kind == "step" else "",
        "@BEFORE@\n": _BEFORE.get(language, ""),
    }
    for target, template in _templates(language, kind):
        path = folder / target
        path.parent.mkdir(exist_ok=True)
        path.write_text(_replaced(template.read_text("utf-8"), words), "utf-8")
    for sdk in _SDKS[language]:
        shutil.copytree(packaged_sdk() / sdk, folder / SDK_FOLDER / sdk)
    if language is Language.ASSEMBLYSCRIPT:
        for file in ("package.json", "package-lock.json"):
            shutil.move(folder / SDK_FOLDER / language.value / file, folder / file)


def _templates(language: Language, kind: str) -> Iterator[tuple[str, Path]]:
    """Yield where each file goes, and its template."""
    root = Path(str(files("gateway.cli.hook"))) / "templates"
    source = f"{kind}{Path(language.source).suffix}"
    others = {f"{other}{Path(language.source).suffix}" for other in KINDS} - {source}
    for group in (root / kind, root / language.value):
        for path in sorted(group.rglob("*")):
            if path.is_file() and path.name not in others:
                target = str(path.relative_to(group))
                yield (language.source if target == source else _RENAMED.get(target, target)), path
    yield "README.md", root / "README.md"
    yield _RENAMED["gitignore"], root / "gitignore"


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for word, by in words.items():
        text = text.replace(word, by)
    return text
