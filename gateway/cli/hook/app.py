"""The command group `hook`."""

import typer

from gateway.cli.hook import authoring

app = typer.Typer(help="Hooks: make, build, test and measure them.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Hooks: make, build, test and measure them."""


app.command("new")(authoring.new)
app.command("build")(authoring.build)
app.command("test")(authoring.run_cases)
app.command("bench")(authoring.bench)
