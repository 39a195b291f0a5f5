"""The benchmark's own parts: what it serves is what the tool expects, and its table has the measured figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.crowd import Crowd, objects
from bench.report import RESULTS, recorded
from bench.watching import table, watch
from deployer.status import Phase, Snapshot, workload_status


def test_the_crowd_is_not_available_at_first_and_is_at_last() -> None:
    crowd = Crowd(workloads=3, pods=12, seconds=10.0)

    def phases(now: float) -> set[Phase]:
        kinds = ("deployments", "replicasets", "pods", "events")
        snapshot = Snapshot(**{kind: tuple(objects(crowd, kind, 1000.0, now)) for kind in kinds})
        return {workload_status(ref, snapshot, now).phase for ref in crowd.refs}

    assert phases(1001.0) == {Phase.PROGRESSING}
    assert phases(1010.0) == {Phase.AVAILABLE}


def test_a_small_crowd_is_watched_to_its_end() -> None:
    found = watch(Crowd(workloads=2, pods=4, seconds=1.0), hold=0.5)
    assert found.asked["pods"] == found.asked["deployments"] >= 2
    assert 0 < found.cpu < found.seconds
    assert f"| {found.per_second:.2f} | ≤ 5 |" in table(found)


def test_a_whole_run_replaces_the_result_and_a_part_of_it_does_not(tmp_path: Path) -> None:
    with recorded("race", "A race", "make bench", folder=tmp_path):
        print("| first |")
    with recorded("race", "A race", "make bench", whole=False, folder=tmp_path):
        print("| a part |")
    with pytest.raises(RuntimeError), recorded("race", "A race", "make bench", folder=tmp_path):
        print("| cut short |")
        raise RuntimeError
    text = (tmp_path / "race.md").read_text()
    assert text.startswith("# A race\n") and text.endswith("| first |\n")


def test_results_carry_no_dates_in_their_names() -> None:
    assert [path.name for path in RESULTS.iterdir() if path.suffix != ".md" or any(map(str.isdigit, path.name))] == []
