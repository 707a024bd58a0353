"""What `import tapejit` takes beyond `import numpy`: the median of fresh processes, the two kinds alternating.

python examples/bench_import.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

TARGET = 0.15

TIMED = "import time; started = time.perf_counter(); import {}; print(time.perf_counter() - started)"


def seconds(module: str) -> float:
    """Seconds that `import module` takes in a new process, which may keep its byte code as processes usually do."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", TIMED.format(module)], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def main(argv: list[str] | None = None) -> float:
    """Run the command line; returns the median of the differences in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=10)
    options = parser.parse_args(argv)
    seconds("tapejit")  # writes the byte code
    rounds = [(seconds("numpy"), seconds("tapejit")) for _ in range(options.processes)]
    numpy, both = (statistics.median(column) for column in zip(*rounds, strict=True))
    beyond = statistics.median(b - a for a, b in rounds)
    print(f"import numpy {numpy:.3f} s, import tapejit {both:.3f} s: {beyond:.3f} s beyond NumPy (aim: at most {TARGET} s)")
    return beyond


if __name__ == "__main__":
    main()
