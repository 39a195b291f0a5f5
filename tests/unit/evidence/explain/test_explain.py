from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployer.cli.entry import cli
from deployer.core.errors import DeployError, Problem
from deployer.core.text import ASCII
from deployer.diagnosis.causes import CAUSES
from deployer.evidence.explain.lines import Line, ago, list_lines, rule_lines, verdict_lines
from deployer.evidence.explain.page import html, tick_step, waterfall
from deployer.evidence.explain.run import Run, TextFile, find_run, list_runs, read_run
from deployer.evidence.timeline import Row, Segment, Sighting, Timeline

EVIL = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e"
CAUSE = Problem(
    "CRASH_LOOP", "deployment/api: `api` ended with exit code 3", "line 1\nKeyError: PORT\nevidence: /state/runs/x",
    "deployment/api/api-7f5-x/api", ("kubectl logs api-7f5-x --previous", "todo-deploy explain"),
)  # fmt: skip
TIMELINE = Timeline(
    1000.0,
    1010.0,
    (
        Row("images", "stage", (Segment("done", 1000.0, 1004.0),)),
        Row("api", "item", (Segment("done", 1000.0, 1004.0),)),
        Row("rollout", "stage", (Segment("failed", 1004.0, 1010.0),)),
        Row("deployment/api", "workload", (Segment("Progressing", 1004.0, 1010.0, "Rollout"),)),
        Row("api-7f5-x", "pod", (Segment("Pending", 1004.0, 1005.0), Segment("Failed", 1005.0, 1010.0))),
    ),
    (Sighting("CRASH_LOOP", "it ended", "deployment/api", 1006.0, 1007.5, 1.5),),
)
RUN = Run(
    id="20260102T030405Z-ab12",
    path=Path("/state/runs/20260102T030405Z-ab12"),
    command="up",
    application="todo",
    outcome="failed",
    exit_code=6,
    changed=True,
    seconds=10.0,
    timeline=TIMELINE,
    problems=(CAUSE,),
    warnings=(CAUSE, Problem("CLUSTER_DIFFERS", "kept as it is")),
    commit="0123456789",
    dirty=True,
    releases=({"name": "app", "namespace": "todo", "revision": 2, "verdict": "failed", "changed": True},),
    images=({"name": "api", "ref": "api:1", "state": "done", "id": "sha256:aa"},),
    diff="--- r 1: deployment/api\n+++ r 2: deployment/api\n@@ -1 +1 @@\n-image: api:1\n+image: api:2\n",
    logs=(TextFile("other.other.log", "fine\n"), TextFile("api-7f5-x.api.previous.log", f"{EVIL}\nKeyError\n")),
    events=f"SEEN  TYPE  REASON\n03:04:05  Warning  {EVIL}\n",
    descriptions=(TextFile("pod.api-7f5-x.txt", f"pod/{EVIL}\n"),),
    nodes=(
        {
            "name": "n", "kubelet": "v1", "taints": [], "pods": 3, "podCapacity": "110",
            "conditions": [{"type": "MemoryPressure", "status": "True", "reason": "r", "message": EVIL}],
            "allocatable": {"cpu": 2.0, "memory": 2.0**30}, "requests": {"cpu": 1.95, "memory": 2.0**29},
            "limits": {"cpu": 3.0, "memory": 2.0**30},
        },
    ),
)  # fmt: skip


def text(lines: list[Line]) -> list[str]:
    return ["".join(words for words, _ in line).rstrip() for line in lines]


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_cause_comes_first_then_evidence_then_the_next_command() -> None:
    lines = text(verdict_lines(RUN))
    assert lines[0].startswith("✗ up of todo failed (exit code 6")
    order = [
        lines.index("error[CRASH_LOOP]: deployment/api: `api` ended with exit code 3"),
        lines.index("  --> deployment/api/api-7f5-x/api"),
        lines.index("  KeyError: PORT"),
        lines.index("  → kubectl logs api-7f5-x --previous"),
        lines.index("warning[CLUSTER_DIFFERS]: kept as it is"),
        next(number for number, line in enumerate(lines) if line.startswith("timeline")),
        next(number for number, line in enumerate(lines) if line.startswith("evidence")),
    ]
    assert order == sorted(order)
    assert sum("CRASH_LOOP" in line for line in lines) == 2, "once as the error, once in the timeline"
    assert "todo-deploy explain" not in [line.strip("→ ") for line in lines]


def test_the_timeline_is_drawn_to_scale() -> None:
    lines = text(verdict_lines(RUN, width=78))
    bars = {line.split()[0]: line for line in lines if "━" in line}
    images, rollout = (bars[name].count("━") for name in ("images", "rollout"))
    assert images / rollout == pytest.approx(4 / 6, abs=0.1)
    assert bars["rollout"].index("━") - bars["images"].index("━") == images
    assert any("known to Kubernetes at 6.0 s, named at 7.5 s: at most 1.5 s later" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_ascii_terminals_get_ascii() -> None:
    assert all(line.isascii() for line in text(verdict_lines(RUN, glyphs=ASCII)))


@pytest.mark.parametrize("outcome", ["ok", "failed", "interrupted", "unfinished"])
def test_every_outcome_is_shown(outcome: str) -> None:
    run = replace(RUN, outcome=outcome, problems=(), exit_code=None, timeline=Timeline(0, 0), logs=(), nodes=())
    assert text(verdict_lines(run))[0]
    assert "<!doctype html>" in html(run)


def test_foreign_text_cannot_leave_its_place() -> None:
    hostile = replace(
        RUN,
        application=EVIL,
        problems=(Problem(EVIL, EVIL, EVIL, EVIL, (EVIL,)),),
        warnings=(Problem(EVIL, EVIL, EVIL, EVIL, (EVIL,)),),
        spec=EVIL,
        commit=EVIL,
        outcome=EVIL,
        diff=f"+{EVIL}\n",
        notes=EVIL,
        files=(EVIL,),
        releases=({"name": EVIL, "revision": EVIL},),
        images=({"ref": EVIL},),
        logs=(TextFile(EVIL, EVIL),),
        timeline=replace(
            TIMELINE,
            rows=(Row(EVIL, "pod", (Segment(EVIL, 1000.0, 1001.0, EVIL),)),),
            sightings=(Sighting(EVIL, EVIL, EVIL, None, 1001.0, None),),
        ),
    )
    page = html(hostile)
    tags = Tags(page)
    assert "img" not in tags.tags
    assert tags.tags.count("script") == 1
    assert not any(name.startswith("on") for name, _ in tags.attributes)
    assert "\x1b" not in page and "\u202e" not in page
    assert page.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") >= 10


def test_the_page_needs_no_network() -> None:
    page = html(RUN)
    assert "default-src 'none'" in page
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'", page)
    loaded = [name for name, _ in Tags(page).attributes if name in ("src", "href", "srcset", "action")]
    assert loaded == []
    assert "@import" not in page and "url(" not in page


def test_the_page_has_everything() -> None:
    page = html(RUN)
    for words in ("What the revision changed", "Logs", "Events", "Nodes", "Releases and images", "search", "98%"):
        assert words in page
    first, second = (page.index(f"<summary>{name}") for name in ("api-7f5-x.api.previous", "other.other"))
    assert first < second, "the logs of what failed come first"
    assert page.count("<details data-search open>") == 1
    assert "prefers-color-scheme: dark" in page
    assert '<span class="l add">+image: api:2</span>' in page


@pytest.mark.parametrize(
    ("line", "tone"),
    [
        ("KeyError: PORT", " bad"),
        ("2026-11-21 13:12:48 ERROR app it broke", " bad"),
        ("java.lang.IllegalStateException: no", " bad"),
        ("2026-11-21 13:12:48 WARNING app it is slow", " warn"),
        ("2026-11-21 13:12:48 INFO uvicorn.error Application startup complete.", ""),
        ('{"level":"info","logger":"error","msg":"up"}', ""),
        ("level=debug caller=fatal.go", ""),
        ("no errors were found", ""),
    ],
)
def test_a_log_line_has_the_colour_of_what_it_says(line: str, tone: str) -> None:
    page = html(replace(RUN, logs=(TextFile("a.a.log", line + "\n"),)))
    assert f'<span class="l{tone}">{escape(line)}</span>' in page.replace("&#34;", "&quot;")


def test_the_waterfall_is_to_scale() -> None:
    chart = waterfall(TIMELINE)
    assert "left:40.000%;width:60.000%" in chart
    assert "left:75.000%" in chart, "where it was named"
    assert chart.count("<span style=") == 5, "0, 2, 4, 6 and 8 s"


@pytest.mark.parametrize(("seconds", "step"), [(0.001, 0.1), (3.7, 0.5), (10, 2), (79, 10), (1800, 500)])
def test_ticks_are_round_numbers(seconds: float, step: float) -> None:
    assert tick_step(seconds) == pytest.approx(step)


def test_rules_have_a_line_for_every_cause() -> None:
    lines = text(rule_lines())
    assert len(lines) == 1 + len(CAUSES)
    assert lines[0].split()[:4] == ["CODE", "STRICT", "BALANCED", "PATIENT"]


def test_how_long_ago() -> None:
    assert [ago(seconds) for seconds in (-1, 5, 61, 7200, 200000)] == [
        "0 s ago",
        "5 s ago",
        "1 m ago",
        "2 h ago",
        "2 d ago",
    ]


def record(state: Path, name: str, *events: dict[str, object], summary: dict[str, object] | None = None) -> Path:
    folder = state / "runs" / name
    folder.mkdir(parents=True)
    lines = [json.dumps({"v": 1, "at": 1000.0 + number, **one}) for number, one in enumerate(events)]
    (folder / "events.jsonl").write_text("\n".join(lines))
    if summary is not None:
        (folder / "run.json").write_text(json.dumps(summary))
    return folder


STARTED = {"type": "run_started", "command": "up", "application": "todo", "stages": ["rollout"]}


def finished(outcome: str, *, changed: bool = False) -> dict[str, object]:
    return {"type": "run_finished", "outcome": outcome, "exit_code": 0, "changed": changed, "seconds": 1.5}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    problem = {"code": "CRASH_LOOP", "title": "it ended", "detail": "twice\ntwice", "where": "", "hints": ["look"]}
    failed = {"type": "stage_failed", "stage": "rollout", "seconds": 1.0, "problems": [problem]}
    record(tmp_path, "20260101T000000Z-aaaa", STARTED, failed, finished("failed"))
    record(tmp_path, "20260102T000000Z-bbbb", STARTED, finished("ok"))
    summary = {"command": "up", "application": "todo", "outcome": "ok", "seconds": 1.5, "began": 1000.0}
    record(tmp_path, "20260103T000000Z-cccc", STARTED, finished("ok", changed=True), summary=summary)
    record(tmp_path, "20260104T000000Z-dddd", STARTED)
    return tmp_path


def test_runs_are_listed_newest_first(state: Path) -> None:
    runs = list_runs(state)
    assert [one.outcome for one in runs] == ["unfinished", "ok", "unchanged", "failed"]
    assert runs[-1].cause == "CRASH_LOOP"
    assert text(list_lines(runs, 1060.0))[1].split()[:3] == ["20260104T000000Z-dddd", "up", "todo"]


def test_the_newest_failure_is_meant_unless_said(state: Path) -> None:
    runs = list_runs(state)
    assert find_run(runs, None).id == "20260101T000000Z-aaaa"
    assert find_run(runs[:2], None).id == "20260104T000000Z-dddd"
    assert find_run(runs, "20260103").id == "20260103T000000Z-cccc"
    assert find_run(runs, "bbbb").id == "20260102T000000Z-bbbb"


@pytest.mark.parametrize(("wanted", "code"), [("2026", "RUN_AMBIGUOUS"), ("1999", "RUN_UNKNOWN")])
def test_a_run_that_is_not_meant_uniquely_is_an_error(state: Path, wanted: str, code: str) -> None:
    with pytest.raises(DeployError) as caught:
        find_run(list_runs(state), wanted)
    assert caught.value.problems[0].code == code


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no run is recorded"):
        find_run(list_runs(tmp_path), None)


def test_a_run_without_a_summary_is_read_from_its_events(state: Path) -> None:
    run = read_run(state / "runs" / "20260101T000000Z-aaaa")
    assert (run.command, run.application, run.outcome, run.seconds) == ("up", "todo", "failed", 1.5)
    assert run.problems == (Problem("CRASH_LOOP", "it ended", "twice", "", ("look",)),)


def test_a_spoilt_record_is_still_read(state: Path) -> None:
    folder = state / "runs" / "20260103T000000Z-cccc"
    (folder / "timeline.json").write_text('{"begun": 1}')
    (folder / "cluster").mkdir()
    (folder / "cluster" / "nodes.json").write_text("not json")
    run = read_run(folder)
    assert run.outcome == "ok" and run.nodes == ()


def test_the_logs_of_hooks_stand_before_those_of_the_rollout(state: Path) -> None:
    folder = state / "runs" / "20260103T000000Z-cccc"
    for name in ("hooks/migrate-x.m.log", "cluster/logs/web-y.web.log"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"said in {name}\n")
    assert [one.name for one in read_run(folder).logs] == ["migrate-x.m.log", "web-y.web.log"]


def test_the_command(state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("deployer.cli.explain.this_machine", lambda: _World(state))
    result = CliRunner().invoke(cli, ["explain"])
    assert result.exit_code == 0 and "error[CRASH_LOOP]: it ended" in result.output
    document = json.loads(CliRunner().invoke(cli, ["explain", "aaaa", "-o", "json"]).output)
    assert (document["command"], document["ok"], document["data"]["cause"]["code"]) == ("explain", True, "CRASH_LOOP")
    assert "RUN" in CliRunner().invoke(cli, ["explain", "--list"]).output
    listed = json.loads(CliRunner().invoke(cli, ["explain", "--list", "-o", "json"]).output)
    assert len(listed["data"]["runs"]) == 4
    rules = json.loads(CliRunner().invoke(cli, ["explain", "--rules", "-o", "json"]).output)
    assert {one["code"] for one in rules["data"]["causes"]} == set(CAUSES)
    page = tmp_path / "run.html"
    assert CliRunner().invoke(cli, ["explain", "--html", str(page)]).exit_code == 0
    assert "it ended" in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert isinstance(CliRunner().invoke(cli, ["explain", "--list", "--rules"]).exception, DeployError)
    assert isinstance(CliRunner().invoke(cli, ["explain", "--html", str(tmp_path / "no" / "x")]).exception, DeployError)


class _World:
    def __init__(self, state: Path) -> None:
        from deployer.core.steps import SystemClock

        self.state_dir, self.env, self.clock = state, dict[str, str](), SystemClock()


def test_without_a_run_the_application_at_hand_is_meant(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("deployer.cli.explain.this_machine", lambda: _World(state))
    other = {**STARTED, "application": "other"}
    record(state, "20260105T000000Z-eeee", other, finished("failed"))
    spec = tmp_path / "spec.yaml"
    spec.write_text("apiVersion: todo-deploy/v1\napplication: todo\nreleases: {web: {chart: chart}}\n")

    def shown(*words: str) -> str:
        return str(json.loads(CliRunner().invoke(cli, ["explain", "-o", "json", *words]).output)["data"]["run"])

    assert shown("-f", str(spec)) == "20260101T000000Z-aaaa"
    assert shown("-f", str(tmp_path / "none.yaml")) == "20260105T000000Z-eeee"
