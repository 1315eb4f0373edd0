"""What screens in front of a secured step cost: whole missions with 0, 1 and 3 of them, in turn, in the same run.

Three real gateways side by side, each with two sandbox workers, one policy worker and, where there are screens, one
worker for those. Each screen is a hook of its own with the module of `no_private_key_material`, which reads the whole
document and allows it.

Run it: `python -m benchmarks.bench_hooks`
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from benchmarks.bench_gateway import STEPS, secured
from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, Work, costs_in_turn
from gateway.assembly import Gateway, running_gateway
from gateway.config import CONFIG_NAME, load_config
from gateway.home import make_home
from gateway.sandbox.hooks import shipped_hooks

TITLE: Final = "hooks: screens in front of every step"
SCREENS: Final = (0, 1, 3)
_MODULE: Final = "no_private_key_material"


def add_screen(home: Path, name: str) -> None:
    """Add a screen of the site's own, which has the shipped module."""
    hook = shipped_hooks()[_MODULE]
    folder = home / "hooks" / name
    folder.mkdir(parents=True)
    (folder / "module.wasm").write_bytes(hook.module)
    (folder / "hook.toml").write_text(
        f'name = "{name}"\nversion = "1.0.0"\nabi = 1\nkind = "screen"\nat = "step"\nprofile = "wasm"\n'
    )
    with (home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[[hooks]]\npath = "hooks/{name}"\nsha256 = "{hook.sha256}"\n')


async def screened_gateway(stack: AsyncExitStack, folder: Path, screens: int) -> Gateway:
    """Start a gateway with so many screens of steps."""
    made = make_home(folder / f"home{screens}", listen="127.0.0.1:0")
    for number in range(screens):
        add_screen(made.home, f"screen{number}")
    return await stack.enter_async_context(running_gateway(made.home, load_config(made.home)))


async def rows(effort: Effort = FULL) -> AsyncIterator[Row]:
    """Measure every figure."""
    names = map(str, count())

    async def mission(gateway: Gateway) -> None:
        await secured(gateway, next(names))

    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            gateways = [await screened_gateway(stack, Path(folder), screens) for screens in SCREENS]
            without, *others = await costs_in_turn(effort, *(Work(partial(mission, each), STEPS) for each in gateways))
    for screens, cost in zip(SCREENS[1:], others, strict=True):
        what = f"a secured step with {screens} screen{'s' if screens > 1 else ''}"
        yield timed_row(what, "µs/step", cost.wall, against="one without", peer=without.wall)
        yield timed_row(f"{what}: CPU of the gateway", "µs/step", cost.cpu, against="one without", peer=without.cpu)


if __name__ == "__main__":
    raise SystemExit(main(only="hooks"))
