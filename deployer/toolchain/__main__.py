"""`python -m deployer.toolchain`: the toolchain alone, in plain lines. For trying out a changed pin or recipe."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item, Log, Warned
from deployer.core.files import cache_folder, state_folder
from deployer.core.steps import Steps, drive
from deployer.toolchain import Toolchain, ensure_docker, ensure_replacements, ensure_toolchain


def main() -> int:
    """Runs Docker, the toolchain and the replacement images that are asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployer.toolchain", description=__doc__)
    parser.add_argument("--setting", choices=("auto", "path", "download", "source"), default="auto")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--state", type=Path, default=state_folder())
    parser.add_argument("--replacement", action="append", default=[], metavar="IMAGE")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    begun = time.monotonic()

    def show(event: Event) -> None:
        at = f"{time.monotonic() - begun:7.1f}s"
        if isinstance(event, Item):
            print(at, event.item, event.state.value, event.text, flush=True)
        elif isinstance(event, Warned):
            print(at, "warning:", event.problem.title, flush=True)
        elif isinstance(event, Log) and given.verbose:
            print(at, event.item, "|", event.line, flush=True)

    def steps() -> Steps[Toolchain]:
        environment = dict(os.environ)
        docker = yield from ensure_docker(given.cache, given.state, environment)
        toolchain = yield from ensure_toolchain(given.setting, given.cache, environment, docker)
        yield from ensure_replacements(given.replacement, toolchain, given.cache, environment)
        return toolchain

    try:
        print(drive(steps(), show))
    except DeployError as error:
        for problem in error.problems:
            print(problem.code, problem.title, problem.detail, *problem.hints, sep="\n  ", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
