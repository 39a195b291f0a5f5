"""`python -m tests.topologies`: every topology lives its whole life on the real cluster; a table, 1 where one fails."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from deployer import world
from deployer.specfile import profile_names
from tests.cluster import ensure_test_cluster
from tests.e2e.project import CHECKOUT, make_project
from tests.topologies.application import Application
from tests.topologies.checklists import TOPOLOGIES
from tests.topologies.journey import points_of, travel
from tests.topologies.table import journeys_table, together_lines
from tests.topologies.together import all_at_once


def main(words: list[str]) -> int:
    """0 when every journey and what runs side by side went as it must."""
    asked = _parser().parse_args(words)
    ensure_test_cluster(shown=True)
    with tempfile.TemporaryDirectory(prefix="topologies-") as folder:
        project = make_project(Path(folder))
        chosen = [path.absolute().relative_to(CHECKOUT) for path in asked.specs or all_specs()]
        apps = []
        for path in chosen:
            spec = project.root / path
            known = profile_names(spec)
            apps.append(Application(project, spec, asked.profile if asked.profile in known else None))
        parts, ok = [], True
        if not asked.together:
            journeys = [travel(app) for app in apps]
            # Of the checkout, not of the copy that was deployed: lists are about tests, which do not travel.
            journeys = [
                replace(one, points=points_of(CHECKOUT / path)) for one, path in zip(journeys, chosen, strict=True)
            ]
            parts.append(journeys_table(journeys))
            ok &= all(one.ok for one in journeys)
        if asked.together or asked.everything:
            result = all_at_once(apps)
            parts.append("## All at once\n\n" + together_lines(result))
            ok &= not result.problems
    print("\n\n".join(parts))
    if asked.markdown is not None:
        asked.markdown.write_text("\n\n".join([_preface(words), *parts]) + "\n")
    return 0 if ok else 1


def all_specs() -> list[Path]:
    """Every spec under topologies/, and that of an application which nobody planned."""
    found = sorted(path for path in TOPOLOGIES.glob("*.yaml") if not path.name.endswith(".local.yaml"))
    return [*found, CHECKOUT / "tests" / "data" / "sixth" / "todo-deploy.yaml"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.topologies", description=__doc__)
    parser.add_argument("specs", nargs="*", type=Path, help="default: all under topologies/, and a sixth")
    parser.add_argument("--together", action="store_true", help="only start as many at once as fit")
    parser.add_argument("--everything", action="store_true", help="each by itself, and then as many at once as fit")
    parser.add_argument("--profile", help="the spec's profile to use, where a spec has it")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write what is printed to a file")
    return parser


def _preface(words: list[str]) -> str:
    host = world.host()
    command = " ".join(["python -m tests.topologies", *words])
    return "\n".join(
        [
            "# Topologies on the real cluster",
            "",
            f"`{command}`",
            f"on {platform.system()}, {host.cpus} cores, {host.memory_mib // 1024} GiB of memory.",
            "",
            "`up`: from nothing to proven URLs. `again`: a second `up`, which must change nothing. `upgrade`: after a",
            "change in a source of one image. `rollback`: to the revision before. `down`: with volumes; then what is",
            "in the cluster is compared with what was there before. Memory is the node's, with everything in it.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
