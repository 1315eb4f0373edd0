"""The `hook` group of commands."""

import typer

from gateway.cli.hook import registry

app = typer.Typer(help="Hooks: sign, publish, put in force.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Hooks: sign, publish, put in force."""


app.command("sign")(registry.sign)
app.command("push")(registry.push)
app.command("list")(registry.list_hooks)
app.command("enable")(registry.enable)
app.command("disable")(registry.disable)
app.command("rollback")(registry.rollback)
