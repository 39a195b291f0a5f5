from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from deployer.core.events import Log, RunStarted, StageFinished, StageStarted, to_wire
from deployer.core.redact import Redactor
from deployer.state import runs


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_record_is_one_json_line_an_event_with_its_time(tmp_path: Path) -> None:
    record = runs.RunRecord(tmp_path, "run-1")
    record.write(StageStarted("images"), 12.34567)
    record.write(Log("images", "api", "zwei\nZeilen"), 13.0)
    record.close()
    lines = (tmp_path / "runs" / "run-1" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"at": 12.346, **to_wire(StageStarted("images"))},
        {"at": 13.0, **to_wire(Log("images", "api", "zwei\nZeilen"))},
    ]


def test_events_are_on_disk_as_they_happen(tmp_path: Path) -> None:
    record = runs.RunRecord(tmp_path, "run-1")
    record.write(StageStarted("images"), 1.0)
    assert (record.folder / "events.jsonl").read_text().count("\n") == 1
    record.close()


def test_only_its_owner_may_read_a_record(tmp_path: Path) -> None:
    record = runs.RunRecord(tmp_path, "run-1")
    record.close()
    assert mode(record.folder / "events.jsonl") == 0o600
    assert mode(record.folder) == 0o700


def test_old_records_are_removed_and_the_new_ones_stay(tmp_path: Path) -> None:
    names = [runs.new_run_id(second * 1000.0) for second in range(30)]
    for name in names:
        runs.RunRecord(tmp_path, name).close()
    kept = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert kept == names[-20:]


def test_records_are_kept_per_application_and_failed_ones_longer(tmp_path: Path) -> None:
    def ran(at: int, application: str, outcome: str) -> str:
        record = runs.RunRecord(tmp_path, runs.new_run_id(at * 1000.0))
        record.write(RunStarted("up", application, ()), 1.0)
        record.close()
        runs.RunFolder(record.folder, Redactor()).write_json(runs.SUMMARY, {"outcome": outcome})
        return record.folder.name

    rare = ran(1, "rare", "ok")
    failed = [ran(at, "busy", "failed") for at in range(2, 5)]
    well = [ran(at, "busy", "ok") for at in range(5, 35)]
    runs.RunRecord(tmp_path, runs.new_run_id(90_000_000.0)).close()
    kept = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert kept[:-1] == [rare, *failed, *well[-20:]]


def test_it_is_learned_how_long_a_stage_takes_when_it_has_something_to_do(tmp_path: Path) -> None:
    seconds = [(90.0, True)] + [(float(number), True) for number in range(1, 6)] + [(0.1, False)]
    for number, (took, changed) in enumerate(seconds):
        for application, command, factor in (("shop", "up", 1), ("other", "up", 10), ("shop", "down", 10)):
            record = runs.RunRecord(tmp_path, f"2026-{number:02}-{application}-{command}")
            record.write(RunStarted(command, application, ("rollout",)), 1.0)
            record.write(StageFinished("rollout", took * factor, changed, "done"), 2.0)
            record.close()
            record.folder.joinpath(runs.SUMMARY).write_text("{}")
    assert runs.usual_seconds(tmp_path, "shop", "up") == {"rollout": 3.5}
    assert runs.usual_seconds(tmp_path / "none", "shop", "up") == {}


def test_names_sort_by_time_and_are_not_shared() -> None:
    first, second, later = runs.new_run_id(0.0), runs.new_run_id(0.0), runs.new_run_id(86400.0)
    assert first != second
    assert max(first, second) < later


def test_a_state_folder_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    record = runs.RunRecord(tmp_path, "run-1")
    record.write(StageStarted("images"), 1.0)
    record.close()


def test_a_trace_is_kept_privately(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = runs.keep_trace("the trace")
    assert path is not None
    assert path.read_text() == "the trace"
    assert mode(path) == 0o600
    assert path.is_relative_to(tmp_path)


def test_a_trace_that_cannot_be_kept_is_no_second_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    assert runs.keep_trace("the trace") is None
