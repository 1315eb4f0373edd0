"""The `hook` group of commands."""

import typer

from gateway.cli.hook import authoring, registry

app = typer.Typer(help="Hooks: make, build, test, measure, sign, publish, put in force.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Hooks: make, build, test, measure, sign, publish, put in force."""


app.command("new")(authoring.new)
app.command("build")(authoring.build)
app.command("test")(authoring.run_cases)
app.command("bench")(authoring.bench)
app.command("sign")(registry.sign)
app.command("push")(registry.push)
app.command("list")(registry.list_hooks)
app.command("enable")(registry.enable)
app.command("disable")(registry.disable)
app.command("rollback")(registry.rollback)
