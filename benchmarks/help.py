"""CPU seconds that help takes, user and system of the whole process: least and median of some repeats.

    python benchmarks/help.py

`ostinato --help` and `--version` are to stay below 0.3 s, `ostinato COMMAND --help` below 0.8 s. The exit
code is 1 where a median does not.
"""

import argparse
import os
import statistics
import subprocess
import sys

from ostinato.cli.main import LINES

ROOT_LIMIT, COMMAND_LIMIT = 0.3, 0.8


def cpu_seconds(arguments: list[str]) -> float:
    before = os.times()
    command = [sys.executable, "-m", "ostinato", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="times that each page is printed")
    repeat = parser.parse_args().repeat
    pages = [(["--help"], ROOT_LIMIT), (["--version"], ROOT_LIMIT)]
    pages += [([name, "--help"], COMMAND_LIMIT) for name in LINES]
    print(f"{'ostinato ...':<24}{'least':>8}{'median':>8}{'limit':>8}")
    slow = False
    for arguments, limit in pages:
        seconds = [cpu_seconds(arguments) for _ in range(repeat)]
        median = statistics.median(seconds)
        slow |= median >= limit
        print(f"{' '.join(arguments):<24}{min(seconds):8.2f}{median:8.2f}{limit:8.1f}")
    sys.exit(int(slow))


if __name__ == "__main__":
    main()
