"""The command's frame: its name, its version and its verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .bench import bench
from .certificate import certificate
from .check import check
from .claims import claims
from .compare import compare
from .demo import demo
from .heal import heal
from .prune import prune
from .report import report
from .show import show
from .status import ACT_HELP, CERTIFICATE_HELP, HELP, PLAIN_HELP, VERIFY_HELP
from .verify import verify

__all__ = ["app"]

# Plain text, so that help and errors read the same in a terminal, a log and a pipe.
app = typer.Typer(
    name="rectifier",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"rectifier {__version__}")
        raise typer.Exit


@app.callback()
def frame(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Rectified linear units: exact functions, and a check-up of the networks built on them.

    Start with: rectifier demo
    """


app.command(epilog=PLAIN_HELP)(demo)
app.command(epilog=HELP)(check)
app.command(epilog=CERTIFICATE_HELP)(certificate)
app.command(epilog=ACT_HELP)(heal)
app.command(epilog=ACT_HELP)(prune)
app.command(epilog=HELP)(report)
app.command(epilog=PLAIN_HELP)(show)
app.command(epilog=PLAIN_HELP)(compare)
app.command(epilog=VERIFY_HELP)(verify)
app.command(epilog=PLAIN_HELP)(bench)
app.add_typer(claims)
