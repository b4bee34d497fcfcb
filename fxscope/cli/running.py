"""How verbs run: what they may print where, and what becomes of an error.

stdout has the answer alone. Everything else that is printed (warnings, progress, what a user's own file
prints) goes to stderr. An error is one paragraph there; the exit code is 2 if the command line is wrong, 1 if
something else is, and 130 after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import click

from ..errors import FxscopeError, PlaceError, PlaceIndexError, PolicyError, said

USAGE = (PlaceError, PlaceIndexError, PolicyError)  # they are about what an option says
_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())  # click < 8.2 has none


class Verb(click.Command):
    """A verb, which keeps stdout for its answer."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed, for a verb that says how to go on."""
        ctx.meta["fxscope.arguments"] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; ``ctx.obj`` is the real stdout meanwhile."""
        ctx.obj = sys.stdout
        with contextlib.redirect_stdout(sys.stderr), _told_warnings():
            return super().invoke(ctx)


class Verbs(click.Group):
    """The group of all verbs; no error leaves it but as a paragraph and an exit code."""

    def main(self, args: Any = None, prog_name: str | None = None, *rest: Any, **extra: Any) -> Any:
        """Run the command line, and exit."""
        try:
            code = super().main(args, prog_name or "fxscope", standalone_mode=False)
        except _HELP as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            name = error.ctx.command_path if error.ctx else "fxscope"
            code = _told(f"{name}: {error.format_message()} ({name} --help lists the options)", 2)
        except click.ClickException as error:
            code = _told(f"fxscope: {error.format_message()}", error.exit_code)
        except click.exceptions.Abort:
            code = _told("fxscope: interrupted", 130)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, and name every error that is not click's own."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.exceptions.Abort, BrokenPipeError):
            raise
        except USAGE as error:
            return _told(f"fxscope: {error}", 2)
        except FxscopeError as error:
            return _told(f"fxscope: {error}", 1)
        except Exception as error:
            if ctx.params["traceback"]:
                traceback.print_exc(file=sys.stderr)
            where = f"fxscope --traceback {ctx.invoked_subcommand} ... shows where"
            return _told(f"fxscope: unexpected {said(error)}; {where}", 1)


def usage(message: str, option: str | None = None) -> click.UsageError:
    """An error about the command line, to be raised; ``option`` is the one that it is about."""
    return click.UsageError(f"{option}: {message}" if option else message, click.get_current_context())


def note(text: str) -> None:
    """Say something on stderr, in one paragraph."""
    click.echo("\n".join(line for line in text.splitlines() if line.strip()), err=True)


def _told(text: str, code: int) -> int:
    note(text)
    return code


@contextlib.contextmanager
def _told_warnings() -> Iterator[None]:
    """Warnings as a paragraph each, without the line of fxscope that gives them."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        note(f"fxscope: warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
