"""Where a configuration comes from: flags before the environment, the environment before the file, all before defaults.

    MISSIONGATE__LIMITS__STEPS_MAX=500      [limits] steps_max = 500
    MISSIONGATE__TOKENS='[{"sha256": …}]'   lists and tables whole, as JSON

The layers are laid over each other and validated once, so a rule holds whoever has written the value; and every broken
rule is told with the place where it can be mended. What must not be shown (`Field(repr=False)`) is not taken from the
environment: other processes of the user can read that, and files have modes.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from gateway.errors import ConfigProblem, ConfigurationError
from gateway.section import Section

ENVIRONMENT_PREFIX: Final = "MISSIONGATE__"
FILE_BYTES_MAX: Final = 1024 * 1024
VARIABLES_MAX: Final = 1_000
_DELIMITER: Final = "__"
_HIDDEN_RULE: Final = "may hold a secret, and those are not taken from the environment"

Path_ = tuple[str | int, ...]
M = TypeVar("M", bound=Section)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What each place says, before any rule was looked at."""

    file_path: Path
    file: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[Path_, str] = field(default_factory=dict)  # which variable has said what of `environment`
    flags: Mapping[str, Any] = field(default_factory=dict)  # by key; only top-level ones have a flag
    problems: tuple[ConfigProblem, ...] = ()  # of the environment, found on the way

    def merged(self) -> dict[str, Any]:
        """Return the value that counts of each key; lists are taken whole."""
        return _laid_over(_laid_over(self.file, self.environment), self.flags)

    def origin(self, where: Path_) -> str:
        """Return `flag`, `env`, `file` or `default`: who has the last word on a key."""
        return next((name for name, layer in self._named() if _depth(layer, where) == len(where)), "default")

    def place(self, where: Path_) -> str:
        """Return where somebody mends a key: an option, a variable, or the file."""
        best, found = 0, "file"
        for name, layer in self._named():
            if (depth := _depth(layer, where)) > best:
                best, found = depth, name
        if found == "flag":
            return f"--{where[0]}"
        if found == "env":
            near = {_common(path, where): name for path, name in sorted(self.variables.items())}
            return near[max(near)]
        return str(self.file_path)

    def _named(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield "flag", self.flags
        yield "env", self.environment
        yield "file", self.file


def read_layers(model: type[Section], path: Path, *, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Layers:
    """Read the file and the environment; flags that are None were not given.

    Raises:
        ConfigurationError: the file is missing, unreadable, too large or no TOML.
    """
    found = _Environment(model)
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            found.take(name, environ[name])
    return Layers(
        file_path=path,
        file=_read_file(path),
        environment=found.values,
        variables=found.variables,
        problems=tuple(found.problems),
        flags={name: value for name, value in flags.items() if value is not None},
    )


def validated(model: type[M], layers: Layers) -> M:
    """Return the configuration, or refuse it with everything that is wrong.

    Raises:
        ConfigurationError: `config.invalid`, with a problem for each broken rule.
    """
    problems = list(layers.problems)
    try:
        config = model.model_validate(layers.merged())
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            where = tuple(found["loc"])
            unknown = found["type"] == "extra_forbidden"
            rule = "unknown key" if unknown else found["msg"].removeprefix("Value error, ")
            problems.append(ConfigProblem(field=dotted(where), rule=rule, place=layers.place(where)))
    else:
        if not problems:
            return config
    first = problems[0]
    in_file = first.place == str(layers.file_path)
    message = f"{first.place}: {first.field}: {first.rule}" if in_file else f"{first.place}: {first.rule}"
    if len(problems) > 1:
        message += f" (and {len(problems) - 1} more: missiongate config check lists them)"
    raise ConfigurationError(message, code="config.invalid", problems=problems)


def dotted(where: Sequence[str | int]) -> str:
    """Return a key as people write it."""
    return ".".join(str(part) for part in where) or "file"


def leaves(section: BaseModel, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo, Any]]:
    """Yield (key, field, value) of every value that is no table of its own; lists are one value."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*before, name))
        else:
            yield (*before, name), info, value


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror}); `missiongate init` makes one", code="config.unreadable"
        ) from error
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigurationError(f"{path}: larger than {FILE_BYTES_MAX} bytes", code="config.too_large")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}", code="config.syntax") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: nested too deeply", code="config.syntax") from error


class _Environment:
    """Turns variables into values, one at a time: of two that are wrong both are told."""

    def __init__(self, model: type[Section]) -> None:
        self._model = model
        self._read: Callable[[str, str], dict[str, Any]] | None = None
        self.values: dict[str, Any] = {}
        self.variables: dict[Path_, str] = {}
        self.problems: list[ConfigProblem] = []

    def take(self, name: str, value: str) -> None:
        """Take a variable over, or note why not."""
        path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split(_DELIMITER))
        if len(self.variables) >= VARIABLES_MAX:
            return self._refuse(name, path, f"more than {VARIABLES_MAX} variables")
        info = _field_at(self._model, path)
        if path[0] not in self._model.model_fields or "" in path:
            return self._refuse(name, path, "unknown key")
        if info is not None and not info.repr:
            return self._refuse(name, path, _HIDDEN_RULE)
        if self._read is None:
            self._read = _reader(self._model)
        try:
            read = self._read(name, value)
        except (ValueError, RecursionError):
            return self._refuse(name, path, "is no JSON, as which lists and tables are written")
        if _holds_secret(self._model, read):
            return self._refuse(name, path, _HIDDEN_RULE)
        self.values = _laid_over(self.values, read)
        self.variables[path] = name
        return None

    def _refuse(self, name: str, path: Sequence[str], rule: str) -> None:
        self.problems.append(ConfigProblem(field=dotted(path), rule=rule, place=name))


def _reader(model: type[Section]) -> Callable[[str, str], dict[str, Any]]:
    """Return what reads one variable, in the types of its key; it raises ValueError where that takes JSON."""
    from pydantic_settings import BaseSettings, EnvSettingsSource  # noqa: PLC0415 - most starts have no variable
    from pydantic_settings.exceptions import SettingsError  # noqa: PLC0415

    made = create_model("Settings", __base__=(BaseSettings, model))
    settings = cast("type[BaseSettings]", made)

    def read(name: str, value: str) -> dict[str, Any]:
        class OneVariable(EnvSettingsSource):
            """An environment in which there is one variable."""

            def _load_env_vars(self) -> Mapping[str, str | None]:
                return {name.lower(): value}

        try:
            return OneVariable(settings, env_prefix=ENVIRONMENT_PREFIX.lower(), env_nested_delimiter=_DELIMITER)()
        except SettingsError as error:
            raise ValueError(name) from error

    return read


def _field_at(model: type[BaseModel], path: Sequence[str]) -> FieldInfo | None:
    """Return the field that a path leads to or through, as far as there is one."""
    info: FieldInfo | None = None
    for part in path:
        info = model.model_fields.get(part)
        if info is None or not (isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)):
            return info
        model = info.annotation
    return info


def _holds_secret(model: type[BaseModel], values: Mapping[str, Any]) -> bool:
    """Return whether a table says something of a key that must not be shown; entries of lists are names, and hashes."""
    for name, value in values.items():
        info = model.model_fields.get(name)
        if info is None:
            continue
        if not info.repr:
            return True
        table = info.annotation
        if not (isinstance(table, type) and issubclass(table, BaseModel) and isinstance(value, Mapping)):
            continue
        if _holds_secret(table, value):
            return True
    return False


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with what `above` says; tables are merged."""
    merged = dict(below)
    for name, value in above.items():
        present = merged.get(name)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            merged[name] = _laid_over(present, value)
        else:
            merged[name] = value
    return merged


def _common(path: Path_, where: Path_) -> int:
    """Return how many parts two paths have in common."""
    return next((n for n, (a, b) in enumerate(zip(path, where, strict=False)) if a != b), min(len(path), len(where)))


def _depth(layer: Any, where: Path_) -> int:
    """Return how much of a path a layer has."""
    depth = 0
    for part in where:
        in_table = isinstance(layer, Mapping) and part in layer
        in_list = isinstance(layer, list) and isinstance(part, int) and part < len(layer)
        if not in_table and not in_list:
            break
        layer = layer[part]
        depth += 1
    return depth
