"""Run all benchmarks, or the named ones, each in a process of its own."""

import argparse
import importlib
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks import _yardstick as yardstick

APART = {"load"}  # minutes, with a server: `make load`
NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_") and p.stem not in APART)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=f"which (default: all): {', '.join(NAMES)}")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(yardstick.told(), flush=True)
        importlib.import_module(f"benchmarks.{arguments.names[0]}").main()
        print(yardstick.told())
        return
    print(f"Python {platform.python_version()}, {platform.machine()}", flush=True)
    for name in arguments.names or NAMES:
        print(f"\n## {name}", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks", "--here", name], check=True)


if __name__ == "__main__":
    main()
