"""The same job without a browser: `python -m inception_viz COMMAND`, one module a command.

Results go to standard output, progress and notices to standard error; bad input ends with exit code 2 and one clear line.
"""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from inception_viz.cli import analyze, arora, compare, construct, corpus, fetch, graph, lab, localise, models, report
from inception_viz.errors import VisitorError

BAD_INPUT = 2
COMMANDS: dict[str, ModuleType] = {
    "analyze": analyze,
    "compare": compare,
    "arora": arora,
    "graph": graph,
    "models": models,
    "fetch": fetch,
    "corpus": corpus,
    "construct": construct,
    "lab": lab,
    "localise": localise,
    "report": report,
}


def parser() -> argparse.ArgumentParser:
    """The command line as argparse sees it."""
    root = argparse.ArgumentParser(prog="python -m inception_viz", description="Look inside Inception networks.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        added = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.arguments(added)
        added.set_defaults(run=module.run, refuse=added.error)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except VisitorError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130
    return 0
