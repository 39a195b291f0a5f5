"""`python -m bench.topologies`: every topology lives its whole life on the real cluster; a table, 1 where one fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.report import machine, write_result
from bench.topologies.application import Application
from bench.topologies.checklists import TOPOLOGIES
from bench.topologies.journey import travel
from bench.topologies.results import keep_journey, keep_together, kept_journeys, kept_together
from bench.topologies.table import journeys_table, together_lines
from bench.topologies.together import all_at_once
from deployer.config.load import profile_names
from tests.cluster import ensure_test_cluster
from tests.e2e.project import CHECKOUT, make_project


def main(words: list[str]) -> int:
    """0 when every journey and what runs side by side went as it must."""
    asked = _parser().parse_args(words)
    with tempfile.TemporaryDirectory(prefix="topologies-") as folder:
        results = asked.results or Path(folder) / "results"
        chosen = [path.absolute().relative_to(CHECKOUT) for path in asked.specs or all_specs()]
        if not asked.table:
            _measure(asked, chosen, Path(folder), results)
        journeys, together = kept_journeys(results, CHECKOUT, chosen), kept_together(results)
    parts = [journeys_table(journeys)] if journeys else []
    parts += ["## All at once\n\n" + together_lines(together)] if together is not None else []
    print("\n\n".join(parts))
    if journeys and together is not None and not asked.specs:
        write_result("topologies", "\n\n".join([_preface(words), *parts]))
    good = all(one.ok for one in journeys) and not (together.problems if together is not None else ())
    return 0 if parts and good else 1


def _measure(asked: argparse.Namespace, specs: Sequence[Path], folder: Path, results: Path) -> None:
    """The journeys, and what fits at once, are in the folder of results."""
    ensure_test_cluster(shown=True)
    project = make_project(folder)
    apps = []
    for path in specs:
        spec = project.root / path
        apps.append(Application(project, spec, asked.profile if asked.profile in profile_names(spec) else None))
    if not asked.together:
        for path, app in zip(specs, apps, strict=True):
            keep_journey(results, path, travel(app))
    if asked.together or asked.everything:
        keep_together(results, all_at_once(apps))


def all_specs() -> list[Path]:
    """Every spec under topologies/, and that of an application which nobody planned."""
    found = sorted(path for path in TOPOLOGIES.glob("*.yaml") if not path.name.endswith(".local.yaml"))
    return [*found, CHECKOUT / "tests" / "data" / "sixth" / "todo-deploy.yaml"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.topologies", description=__doc__)
    parser.add_argument("specs", nargs="*", type=Path, help="default: all under topologies/, and a sixth")
    parser.add_argument("--together", action="store_true", help="only start as many at once as fit")
    parser.add_argument("--everything", action="store_true", help="each by itself, and then as many at once as fit")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="keep what is measured, to go on another time")
    parser.add_argument("--table", action="store_true", help="measure nothing: only print what the results have")
    parser.add_argument("--profile", help="the spec's profile to use, where a spec has it")
    return parser


def _preface(words: list[str]) -> str:
    command = " ".join(["python -m bench.topologies", *words])
    return "\n".join(
        [
            "# Topologies on the real cluster",
            "",
            f"`{command}` on {machine()} at the end.",
            "",
            "`up`: from nothing to proven URLs. `again`: a second `up`, which must change nothing. `upgrade`: after a",
            "change in a source of one image. `rollback`: to the revision before. `down`: with volumes; then what is",
            "in the cluster is compared with what was there before. Memory is the node's, with everything in it.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
