"""The benchmark's own parts: what it serves is what the tool expects, and its table has the measured figures."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from bench import commands, digests, race
from bench.crowd import Crowd, objects
from bench.load_application import Answer, Memory, Visits, row, send
from bench.race import Lap
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
    assert f"| API requests a second | 5 for 500 pods | {found.per_second:.2f} |" in table([found])


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


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_large_body_is_sent_until_it_is_refused(stubborn: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            # The client may be gone before any of these lines: that is no failure of the server's.
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\n\r\n")
                while stubborn and connection.recv(65_536):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.recv(65_536)

        thread = threading.Thread(target=refuse)
        thread.start()
        answer = send(server.getsockname()[1], chunked=True, stubborn=stubborn)
        thread.join()
    assert answer.sent < 100_000_000 and answer.status in ((413, 0) if stubborn else (413,))


def test_the_row_of_a_service_has_the_measured_figures() -> None:
    answers = [Answer(413, 0.5, 3_000_000), Answer(0, 1.5, 5_000_000)]
    memory = Memory(before=2**20, highest=3 * 2**20, limit=512 * 2**20, resident=2 * 2**20)
    cells = row("backend", answers, memory, Visits([0.2, 0.1, 0.3], ["503"]), restarted=1).split(" | ")
    assert cells[1:6] == ["1 x 413, 1 x closed", "4.0 of 200 MB", "1.5 s", "1 → 3, 512 MiB", "2 MiB"]
    assert cells[6:] == ["1", "3, median 200 ms, slowest 300 ms", "1 x 503 |"]


def test_a_command_is_measured_with_what_it_asks_and_starts(tmp_path: Path) -> None:
    found = commands.run(("--help",), tmp_path)
    assert found.cpu > 0 and found.memory > 5 and (found.requests, found.processes) == (0, 0)
    with pytest.raises(RuntimeError, match="status ended with 2"):
        commands.run(("status",), tmp_path)


def test_the_digest_of_a_tree_is_measured(tmp_path: Path) -> None:
    digests.tree(tmp_path / "tree", 120)
    first = digests.digest(tmp_path / "tree", tmp_path / "cache")
    assert digests.digest(tmp_path / "tree", tmp_path / "cache") == first
    assert sum(one.is_file() for one in (tmp_path / "tree").rglob("*")) == 120


def test_the_table_of_the_race_has_least_and_median_of_each(tmp_path: Path) -> None:
    laps = {
        "nothing changed": {
            race.Script.name: [Lap(2.0, ()), Lap(4.0, ()), Lap(3.0, ())],
            race.Tool.name: [Lap(1.0, ()), Lap(1.5, ("backend",)), Lap(3.0, ())],
        }
    }
    assert "| nothing changed | 2.00 / 3.00 | 1.00 / 1.50 (0.50) |" in race.table(laps)
    assert "| pods replaced | none | backend |" in race.table(laps)
