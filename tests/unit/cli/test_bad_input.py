"""Bad input: every command says what is wrong with a code and an exit code, as text and as one JSON document."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deployer.core.errors import ExitCode
from deployer.core.ports import ClusterFacts
from deployer.state.record import record_name
from deployer.status import ClusterPhase
from tests.unit.cli.conftest import SPEC, Run, Staged


@dataclass(frozen=True)
class Case:
    """A project with these files, a command, and what must come of it."""

    words: str
    code: ExitCode
    error: str
    spec: str | None = SPEC
    env: str | None = None
    says: str = ""

    def __str__(self) -> str:
        return f"{self.words} {self.error}"


WRONG_KEY = SPEC.replace("application:", "aplication: x\napplication:")
CASES = [
    Case("urls", ExitCode.INPUT, "SPEC_MISSING", spec=None),
    Case("logs", ExitCode.INPUT, "SPEC_MISSING", spec=None),
    Case("config profiles", ExitCode.INPUT, "SPEC_MISSING", spec=None),
    Case("secrets check", ExitCode.INPUT, "SPEC_MISSING", spec=None),
    Case("--file nowhere.yaml config view", ExitCode.INPUT, "SPEC_MISSING"),
    Case("config view", ExitCode.INPUT, "SPEC_YAML", spec="a: [", says="todo-deploy.yaml:"),
    Case("config view", ExitCode.INPUT, "SPEC_UNKNOWN_KEY", spec=WRONG_KEY, says="todo-deploy.yaml:2"),
    Case("env", ExitCode.INPUT, "SPEC_UNKNOWN_KEY", spec=WRONG_KEY, says="application"),
    Case("config view --profile smal", ExitCode.INPUT, "PROFILE_UNKNOWN", says="small"),
    Case("config view --set cpus", ExitCode.INPUT, "SET_MALFORMED"),
    Case("logs", ExitCode.INPUT, "ENV_QUOTES", env="API_KEY='open\n", says=".env:1"),
    Case("restart backend", ExitCode.INPUT, "ENV_SYNTAX", env="A=1\nAPI_KEY: 2\n", says=".env:2"),
    Case("secrets check", ExitCode.INPUT, "ENV_DUPLICATE", env="API_KEY=1\nAPI_KEY=2\n", says=".env:2"),
    Case("secrets check", ExitCode.INPUT, "ENV_FILE_MISSING", env="", says="secrets init"),
    Case("secrets init", ExitCode.REFUSED, "ENV_EXISTS", says="never overwritten"),
    Case("logs --follow", ExitCode.INPUT, "USAGE"),
    Case("exec backend", ExitCode.INPUT, "USAGE", says="-- sh"),
    Case("exec", ExitCode.INPUT, "USAGE"),
    Case("restart", ExitCode.INPUT, "USAGE"),
    Case("env --shell tcsh", ExitCode.INPUT, "USAGE"),
    Case("completion tcsh", ExitCode.INPUT, "USAGE"),
    Case("config vew", ExitCode.INPUT, "USAGE"),
    Case("--timeout 5m up", ExitCode.INPUT, "USAGE", says="todo-deploy up --timeout DURATION"),
    Case("--to=3 rollback", ExitCode.INPUT, "USAGE", says="todo-deploy rollback --to"),
    Case("--tail 3", ExitCode.INPUT, "USAGE", says="todo-deploy logs --tail"),
    *(Case(words, ExitCode.MACHINE, "CLUSTER_MISSING", says="todo-deploy up")
      for words in ("urls", "open", "logs", "logs backend", "exec backend -- id", "restart backend", "env")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_error_has_its_code_and_one_document(case: Case, project: Path, run: Run) -> None:
    if case.spec is None:
        (project / "todo-deploy.yaml").unlink()
    else:
        (project / "todo-deploy.yaml").write_text(case.spec)
    if case.env is not None:
        (project / ".env").write_text(case.env)
    if case.error == "ENV_FILE_MISSING":
        (project / ".env").unlink()
    ran = run("-o", "json", *case.words.split())
    assert ran.code == case.code
    assert ran.document["exitCode"] == case.code and ran.document["ok"] is False
    assert case.error in ran.errors
    assert case.says in json.dumps(ran.document["errors"])
    assert set(ran.document) == {"schemaVersion", "command", "ok", "exitCode", "data", "errors"}


@pytest.mark.parametrize("case", [case for case in CASES if case.words != "logs --follow"], ids=str)
def test_the_same_as_text(case: Case, project: Path, run: Run) -> None:
    (project / "todo-deploy.yaml").write_text(case.spec or "")
    if case.spec is None:
        (project / "todo-deploy.yaml").unlink()
    if case.env is not None:
        (project / ".env").write_text(case.env)
    if case.error == "ENV_FILE_MISSING":
        (project / ".env").unlink()
    ran = run(*case.words.split())
    assert ran.code == case.code
    assert f"error[{case.error}]: " in ran.err
    assert not ran.out


@pytest.mark.parametrize("phase", [ClusterPhase.STOPPED, ClusterPhase.PAUSED, ClusterPhase.BROKEN])
@pytest.mark.parametrize("words", ["urls", "logs", "exec backend -- id", "restart backend", "env"])
def test_a_cluster_that_does_not_run_is_never_started(
    words: str, phase: ClusterPhase, staged: Staged, run: Run
) -> None:
    staged.cluster.current = ClusterFacts(phase)
    ran = run(*words.split(), "-o", "json") if "exec" not in words else run("-o", "json", *words.split())
    assert (ran.code, ran.errors) == (ExitCode.MACHINE, [f"CLUSTER_{phase.name}"])
    assert ran.document["errors"][0]["hints"] == ["todo-deploy up"]
    assert not staged.cluster.starts


def test_no_cluster_is_started_for_an_unknown_service(staged: Staged, run: Run) -> None:
    staged.cluster.current = ClusterFacts(ClusterPhase.STOPPED)
    ran = run("up", "bakend", "-o", "json")
    assert (ran.code, ran.errors) == (ExitCode.INPUT, ["SERVICE_UNKNOWN"])
    assert not staged.cluster.starts


@pytest.mark.parametrize("words", ["urls", "open", "logs", "exec backend -- id", "restart backend"])
def test_a_cluster_without_the_application(words: str, staged: Staged, run: Run) -> None:
    staged.kube.drop("Secret", "default", record_name("shop"))
    ran = run("-o", "json", *words.split())
    assert (ran.code, ran.errors) == (ExitCode.MACHINE, ["NOT_DEPLOYED"])


@pytest.mark.parametrize("words", ["logs bakend", "exec bakend -- id", "restart frontend bakend"])
def test_an_unknown_service_is_answered_with_the_nearest(words: str, staged: Staged, run: Run) -> None:
    ran = run("-o", "json", *words.split())
    assert (ran.code, ran.errors) == (ExitCode.INPUT, ["SERVICE_UNKNOWN"])
    error = ran.document["errors"][0]
    assert error["detail"] == "it has: backend, frontend"
    assert error["hints"] == ["did you mean `backend`?"]
    assert not [write for write in staged.kube.writes if write[0] == "patch"]


@pytest.mark.parametrize("words", ["env", "exec backend -- id"])
def test_without_programs_the_way_to_them_is_shown(
    words: str, staged: Staged, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.commands.connection.locate_toolchain", lambda *_: None)
    ran = run("-o", "json", *words.split())
    assert (ran.code, ran.errors) == (ExitCode.MACHINE, ["TOOLCHAIN_MISSING"])


def test_a_named_context_that_does_not_answer_is_not_ours_to_start(staged: Staged, run: Run) -> None:
    staged.cluster.current = replace(staged.cluster.current, phase=ClusterPhase.STOPPED)
    ran = run("--context", "work", "-o", "json", "urls")
    assert ran.code == ExitCode.MACHINE
    assert ran.document["errors"][0]["hints"] == ["kubectl --context work get nodes"]


@pytest.mark.parametrize("words", ["history", "status", "urls", "images list", "plan", "restart backend"])
@pytest.mark.parametrize(
    ("document", "code"), [({"format": 99}, "RECORD_NEWER"), ({"salt": 1}, "RECORD_DAMAGED"), ([], "RECORD_DAMAGED")]
)
def test_a_record_that_cannot_be_read_is_refused(
    words: str, document: object, code: str, staged: Staged, run: Run, project: Path
) -> None:
    (project / "chart").mkdir(exist_ok=True)
    (project / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    found = staged.kube.get("Secret", "default", record_name("shop"))
    assert found is not None
    staged.kube.put({**found, "data": {"record": base64.b64encode(json.dumps(document).encode()).decode()}})
    ended = run("-o", "json", *words.split())
    assert (ended.code, ended.errors) == (ExitCode.REFUSED, [code])
