"""The command line: one verb a file. `tellapart VERB` imports that file and no other.

A verb is a function of the name of its file. What words can explain ends in one line on standard error and the exit
code 2; Ctrl-C ends with 130, and the same command goes on where it was.
"""

from __future__ import annotations

import ast
import errno
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from tellapart.core.errors import TellapartError

FAILED = 2
INTERRUPTED = 130
OS_WORDS = {
    errno.ENOSPC: "the disk is full. Free some room and run the same command again to go on",
    errno.EDQUOT: "the disk quota is used up. Free some room and run the same command again to go on",
    errno.EFBIG: "a file would be larger than this disk or account allows. Give another folder with --out",
    errno.EIO: "the disk could not be read or written. Check it, and run the same command again to go on",
    errno.EROFS: "the file system is read-only. Give a folder that can be written with --out",
    errno.EACCES: "no permission. Give another path, or change who may use this one",
    errno.EPERM: "no permission. Give another path, or change who may use this one",
    errno.EMFILE: "too many files are open. Raise the limit with: ulimit -n 4096",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a file stands where a folder is needed. Give another path",
    errno.EISDIR: "a folder stands where a file is needed. Give another path",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EADDRINUSE: "the port is in use. Give another with --port",
}


def verbs() -> dict[str, str]:
    """Every verb with the first line of its help, read from the sources without importing them."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        function = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == file.stem), None)
        if function is None:
            raise TypeError(f"{file} must hold a function named {file.stem}")
        found[file.stem] = (ast.get_docstring(function) or "").split("\n", 1)[0]
    return found


def app(arguments: Sequence[str]) -> typer.Typer:
    """The application for one command line: the verb that is called, or else all of them as lines of help."""
    made = typer.Typer(
        help="A search and a classifier you can trust on a collection you have.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_main)
    called = next((a for a in arguments if not a.startswith("-")), "")
    if called and (Path(__file__).parent / f"{called}.py").is_file() and not called.startswith("_"):
        module = importlib.import_module(f"tellapart.cli.{called}")
        made.command(called)(in_words(getattr(module, called)))
        return made
    for name, line in verbs().items():
        made.command(name, help=line)(lambda: None)
    return made


def main() -> None:
    """Run the command line of this process."""
    try:
        app(sys.argv[1:])(prog_name="tellapart")
    except KeyboardInterrupt:
        _stopped()
        sys.exit(INTERRUPTED)


def in_words(verb: Callable[..., Any]) -> Callable[..., None]:
    """The verb with every foreseen failure turned into one line and an exit code."""

    @functools.wraps(verb)
    def guarded(*args: Any, **options: Any) -> None:
        try:
            verb(*args, **options)
            sys.stdout.flush()
        except TellapartError as error:
            _complain(str(error))
        except KeyboardInterrupt:
            _stopped()
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read the output has gone; what is left in the buffer must not be tried again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except MemoryError:
            _complain("there is not enough memory for this. Use a smaller batch_size, or a machine with more")
        except OSError as error:
            if error.errno not in OS_WORDS:
                raise
            _complain(f"{error.filename}: {OS_WORDS[error.errno]}" if error.filename else OS_WORDS[error.errno])
        else:
            return
        raise typer.Exit(FAILED)

    return guarded


def _complain(message: str) -> None:
    typer.secho(f"tellapart: {' '.join(message.split())}", err=True)


def _stopped() -> None:
    typer.secho("stopped; run the same command again to go on", err=True)


def _version(asked: bool) -> None:
    if asked:
        from tellapart.cli._say import out
        from tellapart.core.version import VERSION

        out(f"tellapart {VERSION}")
        raise typer.Exit


def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass
