"""`cleverbetter alerts`: whether each channel takes what is sent to it."""

from dataclasses import dataclass

import typer
from rich.text import Text

from cleverbetter_dagster.cli.options import AsJson
from cleverbetter_dagster.cli.output import ExitCode, ResultTable, print_json, progress_console, result_console
from cleverbetter_dagster.errors import SettingsError
from cleverbetter_dagster.settings import load_settings, variable_of

app = typer.Typer(help="Alerts: where they go, and whether they arrive.", no_args_is_help=True)

TEST_TEXT = "This is a test by `cleverbetter alerts test`. Alerts of this deployment arrive here."


@dataclass(frozen=True)
class Tried:
    """One channel. `trouble` is None if it took the test message."""

    channel: str
    setting: str
    trouble: str | None


@app.callback()
def alerts() -> None:
    """Makes `test` a command of its own, though it is the only one."""


@app.command("test", epilog="[bold]Example[/]\ncleverbetter alerts test --json")
def send_test(as_json: AsJson = False) -> None:
    """Send a test message to the webhook and to every URL of Apprise, and say which of them took it."""
    from cleverbetter_dagster.store.channels.channel import channels_of

    channels = channels_of(load_settings())
    if not channels:
        urls, webhook = variable_of("alert_urls"), variable_of("alert_webhook")
        raise SettingsError(f"No alert channel is set. Set {urls} (URLs of Apprise) or {webhook}.")
    tried = []
    for channel in channels:
        with progress_console(quiet=as_json).status(f"sending to {channel.name}"):
            tried.append(Tried(channel.name, channel.setting, channel.send(TEST_TEXT)))
    if as_json:
        print_json(tried)
    else:
        result_console().print(_table(tried))
    failed = [one for one in tried if one.trouble]
    if failed:
        progress_console().print(
            f"{len(failed)} of {len(tried)} channels did not take it: mend their address in "
            f"{' and '.join(sorted({one.setting for one in failed}))}, or try again later.",
            soft_wrap=True,
        )
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _table(tried: list[Tried]) -> ResultTable:
    table = ResultTable("Test of the alert channels", ("channel", "setting", "result"))
    for one in tried:
        result = Text(one.trouble, style="red") if one.trouble else Text("took it", style="green")
        table.add_row(one.channel, Text(one.setting), result)
    return table
