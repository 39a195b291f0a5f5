"""`python -m bench.parity [CASE…]`: every case by hand and by `up`, side by side; 1 where a row has a flaw."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.parity.case import CHECKOUT, Case, all_cases
from bench.parity.hand import Machine, clear
from bench.parity.row import Place, Row, live
from bench.parity.running import Runner
from bench.parity.table import merged, preface, summary, table
from bench.report import RESULTS, write_result
from deployer.composition import this_machine
from deployer.toolchain import Toolchain, locate_toolchain
from deployer.toolchain.locate import HELM_VARIABLE
from deployer.toolchain.source.base_images import replacement_of
from tests.helm3 import helm3

ELSEWHERE = CHECKOUT.parent / "shared" / "cases"


def main(words: Sequence[str] | None = None) -> int:
    """The table is printed; 0 where no row has a flaw."""
    asked = _parser().parse_args(words)
    if not asked.also.is_dir():
        print(f"no folder {asked.also}: its cases are left out", file=sys.stderr)
    cases = chosen(all_cases(asked.also), asked.cases)
    if not cases:
        print("no such case", file=sys.stderr)
        return 2
    if asked.helm3:
        os.environ[HELM_VARIABLE] = str(helm3())
    begun, helm = time.monotonic(), _tools().versions["helm"]

    def text_of(rows: Sequence[Row]) -> str:
        return f"{preface(rows, time.monotonic() - begun, helm)}\n\n{table(rows)}\n"

    def keep(rows: Sequence[Row]) -> None:
        if asked.table:
            asked.table.write_text(text_of(rows))

    rows = run_cases(cases, asked.profile, asked.output, asked.prefix, asked.jobs, keep)
    text = text_of(rows)
    print(text)
    if asked.merge:
        write_result("parity", merged((RESULTS / "parity.md").read_text(), rows, asked.merge))
    elif not asked.cases and not asked.helm3 and asked.also.is_dir():
        write_result("parity", text)
    return 1 if any(row.flaws for row in rows) else 0


def chosen(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    """The cases whose name, or number, is asked; all where none is."""
    return [case for case in cases if not names or any(_is(case, name) for name in names)]


def _is(case: Case, name: str) -> bool:
    number = case.name.partition("-")[0]
    return name in (case.name, case.name.partition("/")[0], number, case.number)


def run_cases(
    cases: Sequence[Case],
    profile: str,
    output: Path | None,
    prefix: str,
    jobs: int,
    keep: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> list[Row]:
    """The rows, in the order of the cases; `keep` has them as they come, the folder what programs print."""
    work = output or Path(tempfile.mkdtemp(prefix="parity-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"output: {work}", file=sys.stderr)
    tools = _tools()
    place = Place(tools, profile, work, prefix, _kubeconfig(tools, profile, work))
    place = replace(place, bases=_bases(place.machine(work, work / "begin")))
    lock, done = threading.Lock(), list[Row]()

    def one(case: Case) -> Row:
        row = live(case, place)
        with lock:
            print(summary(row), file=sys.stderr, flush=True)
            done.append(row)
            keep(sorted(done, key=lambda row: row.case.name))
        return row

    try:
        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, cases))
    finally:
        for left in (place.hand_prefix, place.prefix):
            clear(place.machine(work, work / "end"), left)


def _tools() -> Toolchain:
    tools = locate_toolchain("auto", this_machine().cache_dir)
    if tools is None:
        raise SystemExit("no toolchain yet: run `todo-deploy up` once")
    return tools


def _bases(machine: Machine) -> frozenset[str]:
    """The replacement images that the node has, those of this machine's Docker that the cases need among them."""
    listing = ("docker", "images", "--format", "{{.Repository}}:{{.Tag}}")
    found = set(machine.node(*listing).out.split())
    here = machine.runner.run("images", [machine.tools.docker, *listing[1:]]).out.split()
    for ref in {str(replacement_of("python:3.11-slim"))} & set(here) - found:
        load = f"docker save {ref} | docker exec -i {machine.profile} docker load"
        if machine.runner.run("load", ["sh", "-c", load], limit=300).code == 0:
            found.add(ref)
    return frozenset(found)


def _kubeconfig(tools: Toolchain, profile: str, work: Path) -> Path:
    """A kubeconfig with this cluster alone: what a case does to its copy is nothing to the user's."""
    words: list[str | Path] = [tools.kubectl, "config", "view", "--raw", "--flatten", "--minify", "--context", profile]
    ended = Runner(work, work, {}).run("kubeconfig", words)
    if ended.code != 0:
        raise SystemExit(f"no context {profile}: {ended.last}")
    path = work / "kubeconfig"
    path.touch(0o600)
    path.write_text(ended.out)
    (work / "01-kubeconfig.log").unlink()  # it has keys
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="numbers or names, such as 04 or 02-buildkit-syntax/mount"
    )
    parser.add_argument(
        "--also", type=Path, default=ELSEWHERE, metavar="FOLDER", help="more cases (default: %(default)s)"
    )
    parser.add_argument("--profile", default="todo-deploy", help="Minikube profile that runs (default: %(default)s)")
    parser.add_argument("--helm3", action="store_true", help="both ways with Helm 3 (default: the toolchain's helm)")
    parser.add_argument("--jobs", type=int, default=3, help="cases at once (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where copies and output are kept")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the table there, row by row")
    parser.add_argument("--merge", metavar="WHY", help="put the rows into the last result, with this reason")
    parser.add_argument(
        "--prefix",
        default=f"parity{os.getpid()}",
        help="of all names, to run twice at once (default: by process)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
