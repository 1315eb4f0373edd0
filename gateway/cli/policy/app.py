"""The `policy` group of commands."""

import typer

from gateway.cli.policy import check, evaluate, explaining, inputs, remote, replay, signing, testing

app = typer.Typer(help="Policy: check, test and explain a bundle, and put it in force.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Policy: check, test and explain a bundle, and put it in force."""


app.command("check")(check.check)
app.command("test")(testing.run_suite)
app.command("eval")(evaluate.evaluate)
app.command("explain")(explaining.explain)
app.command("input")(inputs.input_document)
app.command("schema")(inputs.schema)
app.command("replay")(replay.replay)
app.command("sign")(signing.sign)
app.command("push")(remote.push)
app.command("list")(remote.list_bundles)
app.command("status")(remote.status)
app.command("activate")(remote.activate)
app.command("rollback")(remote.rollback)
app.command("follow")(remote.follow)
