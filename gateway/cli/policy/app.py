"""The `policy` group of commands."""

import typer

from gateway.cli.policy import check, evaluate, inputs, signing, testing

app = typer.Typer(help="Policy: check, test, evaluate and explain a bundle.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Policy: check, test, evaluate and explain a bundle."""


app.command("check")(check.check)
app.command("test")(testing.run_suite)
app.command("eval")(evaluate.evaluate)
app.command("input")(inputs.input_document)
app.command("schema")(inputs.schema)
app.command("sign")(signing.sign)
