"""The command `callboard`."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from callboard.cli.dead import app as dead
from callboard.cli.dev import dev
from callboard.cli.doctor import doctor
from callboard.cli.mailboxes import mailboxes, pause, resume
from callboard.cli.permissions import permissions
from callboard.cli.publish import publish
from callboard.cli.request import request
from callboard.cli.run import run
from callboard.cli.spec import spec
from callboard.cli.topology import app as topology
from callboard.errors import CallboardError
from callboard.system.exitcode import ExitCode, exit_code_of

__all__ = ["app", "main"]

app = typer.Typer(
    name="callboard",
    help="Topic handlers as supervised actors on NATS JetStream.",
    no_args_is_help=False,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(dev)
app.command()(publish)
app.command()(request)
app.command()(mailboxes)
app.command()(pause)
app.command()(resume)
app.command()(doctor)
app.command()(spec)
app.command()(permissions)
app.add_typer(topology)
app.add_typer(dead)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"callboard {version('callboard')}")
        raise typer.Exit


@app.callback()
def options(
    _version_: Annotated[  # noqa: FBT002 - typer's way to a flag
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run a command. An error is one line on standard error and an exit code; a traceback is a bug."""
    sys.exit(_run())


def _run() -> int:
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    try:
        return int(app(standalone_mode=False) or 0)
    except typer.Abort:
        return 130
    except _UsageError as error:
        return _fail(f"{error.format_message()}{_hint(error)}", ExitCode.WRONG_USE)
    except CallboardError as error:
        return _fail(str(error), exit_code_of(error) or ExitCode.REFUSED)


# typer brings its own copy of click; its errors are reached through the one that it exports.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


def _hint(error: typer.BadParameter) -> str:
    return f"; see '{error.ctx.command_path} --help'" if error.ctx is not None else ""


def _fail(text: str, code: ExitCode) -> int:
    sys.stderr.write(f"callboard: {text}\n")
    return int(code)
