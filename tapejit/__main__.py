"""The command line: `python -m tapejit show|opt|run|compare FILE:NAME` and `python -m tapejit cache ls|clear`.

FILE is a Python file with a traced function NAME, or for `show`, `opt` and `run` also a text file of tensor IR. Arguments of the function
are given by `--args`, a Python expression evaluated in the names of the file (for a text: `tf` and `np`). Exit status: 0, 1 if the program failed, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from typing import Any

from tapejit.version import __version__


class UsageError(Exception):
    """Wrong arguments: reported in one line with the usage, exit status 2."""


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as e:
        return int(e.code or 0)
    try:
        return int(options.run(options) or 0)
    except UsageError as e:
        parser.print_usage(sys.stderr)
        print(f"tapejit: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    from tapejit.stages import STAGES

    parser = argparse.ArgumentParser(
        prog="python -m tapejit", description="Look at, run and compare traced functions; look after the cache."
    )
    parser.add_argument("--version", action="version", version=f"tapejit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="show|opt|run|compare|cache")

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    def on_function(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "target", metavar="FILE:NAME", help="a Python file and the name of a traced function in it, or a file of tensor IR"
        )
        sub.add_argument("--args", default=None, metavar="EXPRESSION", help="arguments, for example 'x[:32], y[:32]'")

    show = command("show", _show, "print a function at a stage of its way to native code")
    on_function(show)
    show.add_argument("--stage", choices=STAGES, default="traced")
    opt = command("opt", _opt, "print what the passes make of a function or of tensor IR")
    on_function(opt)
    opt.add_argument("--until", default="", metavar="PASS", help="stop after this pass")
    on_function(command("run", _run, "call a function on arguments and print what it returns"))
    compare = command("compare", _compare, "time a function eagerly and traced, and compare the results")
    on_function(compare)
    cache = commands.add_parser("cache", help="list or empty the cache of compiled code")
    which = cache.add_subparsers(required=True, metavar="ls|clear")
    which.add_parser("ls", help="list what is in it").set_defaults(run=_cache_ls)
    which.add_parser("clear", help="remove everything in it").set_defaults(run=_cache_clear)
    return parser


# ------------------------------------------------------------------------------------------------------ targets
def _split(target: str) -> tuple[str, str]:
    path, colon, name = target.rpartition(":")
    if not colon or (os.sep in name) or name.endswith(".py"):
        path, name = target, ""
    if not os.path.isfile(path):
        raise UsageError(f"there is no file {path!r}")
    return path, name


def _load(options: Any) -> tuple[Any, tuple[Any, ...] | None]:
    """The function a target names, traced if `--args` allow, and its arguments."""
    from tapejit.function import Function

    path, name = _split(options.target)
    if not name:
        raise UsageError(f"write FILE:NAME with the name of a traced function in {path}")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    names = runpy.run_path(path, run_name="__tapejit__")
    function = names.get(name)
    if not isinstance(function, Function):
        found = sorted(k for k, v in names.items() if isinstance(v, Function))
        raise UsageError(f"{path} has no traced function {name!r}; it has {', '.join(found) or 'none'}")
    return function, _arguments(options, names)


def _arguments(options: Any, names: dict[str, Any]) -> tuple[Any, ...] | None:
    """What `--args` says, evaluated among `names`; None if it is not given."""
    if options.args is None:
        return None
    try:
        return eval(f"({options.args},)" if options.args.strip() else "()", names)
    except Exception as e:
        raise UsageError(f"--args {options.args!r}: {type(e).__name__}: {e}") from None


def _graph(options: Any) -> Any:
    """The traced graph a target names: of a function, or read from tensor IR."""
    path, name = _split(options.target)
    if name or path.endswith(".py"):
        try:
            function, args = _load(options)
        except UsageError as usage:
            if name:
                raise
            try:
                return _parsed(path)
            except UsageError as e:
                raise UsageError(f"{usage}; or, if it is the text of a graph, {e}") from None
        if args is not None:
            return function.get_concrete_function(*args).traced
        try:
            return function.latest().traced
        except ValueError:
            raise UsageError(f"{function.name} has not been called in {path}; give its arguments with --args") from None
    return _parsed(path)


def _parsed(path: str) -> Any:
    from tapejit.ir.parser import parse

    with open(path) as f:
        text = f.read()
    try:
        return parse(text)
    except Exception as e:
        raise UsageError(f"{path}: {e}") from None


# ----------------------------------------------------------------------------------------------------- commands
def _print(text: str) -> None:
    from tapejit.ir import colour

    print(colour.for_stream(text, sys.stdout))


def _show(options: Any) -> None:
    from tapejit import stages

    _print(str(stages.show(_graph(options), options.stage)))


def _opt(options: Any) -> None:
    from tapejit.ir import printer
    from tapejit.passes import pipeline

    names = [p.__name__ for p in pipeline.PIPELINE]
    if options.until and options.until not in names:
        raise UsageError(f"there is no pass {options.until!r}; the passes are {', '.join(names)}")
    _print(printer.text(pipeline.run(_graph(options), until=options.until)))


def _run(options: Any) -> None:
    path, name = _split(options.target)
    if name or path.endswith(".py"):
        function, args = _load(options)
    else:
        import numpy as np

        import tapejit as tf
        from tapejit.from_text import from_text

        with open(path) as f:
            text = f.read()
        try:
            function = from_text(text)
        except ValueError as e:  # no graph, or one with state, which a file does not have
            raise UsageError(f"{path}: {e}") from None
        args = _arguments(options, {"tf": tf, "np": np})
    print(function(*(args or ())))


def _compare(options: Any) -> None:
    from tapejit.comparison import compare

    function, args = _load(options)
    if args is None:
        raise UsageError(f"give the arguments of {function.name} with --args")
    compare(function, *args)


def _cache_ls(options: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from tapejit.runtime import cache

    store = cache.default()
    table = Table(title=str(store.directory))
    for heading in ("program", "bytes", "last used"):
        table.add_column(heading, justify="left" if heading == "program" else "right")
    entries = sorted(store.ls(), key=lambda e: e.age)
    for e in entries:
        table.add_row(e.name, f"{e.bytes:,}", f"{e.age / 3600:.1f} h ago" if e.age >= 3600 else f"{e.age / 60:.0f} min ago")
    Console().print(table)
    print(f"{len(entries)} programs, {sum(e.bytes for e in entries):,} bytes")


def _cache_clear(options: Any) -> None:
    from tapejit.runtime import cache

    print(f"removed {cache.default().clear()} programs")


if __name__ == "__main__":
    sys.exit(main())
