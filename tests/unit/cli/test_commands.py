"""The small commands: urls, open, exec, restart, secrets, config, schema."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
import yaml

from deployer.cli.explain import print_timeline
from deployer.cli.running import profiled
from deployer.config.schema import spec_schema
from deployer.core.events import StageFinished, StageStarted
from deployer.stages.restart import ANNOTATION, restart_workloads
from deployer.state.runs import RunRecord
from deployer.status import WorkloadRef
from tests import ROOT
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.fakes.play import code, failed, items, played
from tests.fakes.workloads import ref, show
from tests.unit.cli.conftest import ENV, SPEC, Run, Staged


def test_urls_are_names_and_addresses(staged: Staged, run: Run) -> None:
    assert run("urls").out == "web\thttp://192.0.2.10:30100/\n"
    assert run("urls", "--all").out.splitlines()[1] == "health\thttp://192.0.2.10:30100/health"
    assert run("urls", "-o", "json").document["data"] == {
        "urls": [{"name": "web", "url": "http://192.0.2.10:30100/", "show": True}]
    }


@pytest.mark.parametrize("urls", ["", "urls:\n  health: {service: web, path: /health, show: false}\n"])
def test_no_urls_are_said(project: Path, staged: Staged, run: Run, urls: str) -> None:
    before, _, after = SPEC.partition("urls:")
    (project / "todo-deploy.yaml").write_text(before + urls + after[after.index("profiles:") :])
    ran = run("urls")
    assert (ran.code, ran.out, ran.err.count("\n")) == (0, "", 1)
    assert ("--all" in ran.err) is bool(urls)
    assert run("urls", "--quiet").err == ""


def test_no_revisions_are_said(staged: Staged, run: Run) -> None:
    ran = run("history")
    assert (ran.code, ran.out) == (0, "")
    assert "todo-deploy up" in ran.err
    assert run("history", "--quiet").err == ""


def test_a_url_that_is_not_exposed_is_said_beside_the_others(staged: Staged, run: Run) -> None:
    staged.kube.drop("Service", "default", "web")
    ran = run("urls")
    assert (ran.code, ran.out) == (0, "") and "no Service `web`" in ran.err
    assert run("open", "-o", "json").errors == ["URL_NOT_EXPOSED"]


def test_open_prints_without_a_display_and_asks_a_browser_with_one(
    staged: Staged, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("open").out == "http://192.0.2.10:30100/\n"
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho noise\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)
    ran = run("open", "health", "-o", "json")
    assert ran.document["data"] == {"name": "health", "url": "http://192.0.2.10:30100/health", "opened": True}
    assert seen.read_text() == "http://192.0.2.10:30100/health"
    near = run("open", "helth", "-o", "json")
    assert near.errors == ["URL_UNKNOWN"] and near.document["errors"][0]["hints"] == ["did you mean `health`?"]


def test_exec_runs_kubectl_against_this_cluster_and_passes_its_code_on(
    staged: Staged, run: Run, tmp_path: Path
) -> None:
    seen = tmp_path / "argv"
    staged.toolchain.kubectl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {seen}\nexit 7\n')
    staged.toolchain.kubectl.chmod(0o755)
    assert run("exec", "backend", "--", "sh", "-c", "echo -o json").code == 7
    assert seen.read_text().splitlines() == [
        "--kubeconfig", str(staged.kubeconfig), "--context", "tiny", "--namespace", "default",
        "exec", "--stdin", "backend-pod", "--container", "backend", "--", "sh", "-c", "echo -o json",
    ]  # fmt: skip
    assert run("exec", "frontend", "id", "-u").code == 7
    assert seen.read_text().splitlines()[-3:] == ["--", "id", "-u"]
    assert run("-o", "json", "exec", "-c", "sidecar", "backend", "id").errors == ["CONTAINER_UNKNOWN"]


def test_exec_takes_a_running_pod_where_none_is_ready_and_says_so(staged: Staged, run: Run) -> None:
    staged.toolchain.kubectl.write_text("#!/bin/sh\n")
    staged.toolchain.kubectl.chmod(0o755)
    show(staged.kube, "backend", ready=False)
    ran = run("exec", "backend", "--", "id")
    assert ran.code == 0 and "no pod of `backend` is ready" in ran.err
    show(staged.kube, "backend", ready=False, waiting=("ErrImageNeverPull", ""))
    assert run("-o", "json", "exec", "backend", "--", "id").errors == ["NO_RUNNING_POD"]


def test_restart_marks_the_pods_template_as_kubectl_does() -> None:
    kube = FakeKube()
    show(kube, "backend")
    events, outcome = played(restart_workloads([ref("backend")], kube, FakeClock()))
    found = kube.get("Deployment", "default", "backend")
    assert found is not None
    assert found["spec"]["template"]["metadata"]["annotations"] == {ANNOTATION: "2026-01-02T03:04:05Z"}
    assert found["spec"]["template"]["metadata"]["labels"] == {"app": "backend"}
    assert outcome.changed and items(events)[0][0] == "deployment/backend"


def test_restart_of_a_job_or_of_what_is_gone_changes_nothing() -> None:
    kube = FakeKube()
    show(kube, "backend")
    job = WorkloadRef("default", "Job", "migrate")
    assert code(failed(restart_workloads([ref("backend"), job], kube, FakeClock()))[1]) == "RESTART_JOB"
    assert not kube.writes
    assert code(failed(restart_workloads([ref("gone")], kube, FakeClock()))[1]) == "WORKLOAD_GONE"


def states(run: Run) -> dict[str, str]:
    return {row["key"]: row["state"] for row in run("secrets", "check", "-o", "json").document["data"]["keys"]}


@pytest.mark.parametrize(
    ("env", "state", "code"),
    [
        (ENV, {}, 0),
        ("", {"API_KEY": "missing", "SESSION_KEY": "generated"}, 2),
        ("API_KEY=\n", {"API_KEY": "empty", "SESSION_KEY": "generated"}, 2),
        ("API_KEY=changeme\n", {"API_KEY": "placeholder", "SESSION_KEY": "generated"}, 2),
        (ENV + "DATABASE_URL=postgresql://u:p4ssw0rdx@h/d\n", {"DATABASE_URL": "set", "PASSWORD": "off"}, 0),
        (ENV + "MAIL_KEY=m41l-5ecret\nDATABASE_PASSWORD=d4t4b4se\n", {"MAIL_KEY": "set", "PASSWORD": "set"}, 0),
    ],
)  # fmt: skip
def test_secrets_check_shows_states_and_no_value(
    env: str, state: dict[str, str], code: int, project: Path, run: Run
) -> None:
    (project / ".env").write_text(env)
    plain = {"API_KEY": "set", "DATABASE_URL": "default", "SESSION_KEY": "set", "MAIL_KEY": "empty",
             "PASSWORD": "generated"}  # fmt: skip
    assert states(run) == plain | state
    ran = run("secrets", "check")
    assert ran.code == code
    values = [line.partition("=")[2] for line in env.splitlines()]
    for said in (ran.out, ran.err, run("secrets", "check", "-o", "json").out):
        assert not [value for value in values if value and value in said]


def test_secrets_check_shows_where_and_what_is_wrong_with_the_file(project: Path, run: Run) -> None:
    (project / ".env").chmod(0o644)
    ran = run("secrets", "check")
    assert ran.code == 0 and "warning[ENV_MODE]" in ran.err
    assert ".env:1" in ran.out and "DATABASE_PASSWORD" in ran.out


def test_secrets_check_looks_at_what_git_does_with_the_file(project: Path, run: Run) -> None:
    git = f"git -C {project} -c user.name=t -c user.email=t@example.org"
    assert os.system(f"{git} init -q") == 0
    assert "ENV_NOT_IGNORED" in run("secrets", "check").err
    assert os.system(f"{git} add -f .env") == 0
    tracked = run("secrets", "check").err
    assert "ENV_TRACKED" in tracked and "ENV_NOT_IGNORED" not in tracked
    assert os.system(f"{git} rm -q --cached .env && echo .env > {project}/.gitignore") == 0
    assert not run("secrets", "check").err


def test_secrets_init_makes_a_private_file_from_the_example_once(project: Path, run: Run) -> None:
    (project / ".env").unlink()
    (project / ".env.example").write_text("# Yours.\nAPI_KEY=\nSESSION_KEY=\n")
    ran = run("secrets", "init")
    assert ran.code == 0 and "made .env from .env.example" in ran.out and "`API_KEY` is missing" in ran.err
    made = (project / ".env").read_text()
    assert (project / ".env").stat().st_mode & 0o777 == 0o600
    assert made.startswith("# Yours.\nAPI_KEY=\nSESSION_KEY=") and "DATABASE_PASSWORD=" in made
    again = run("secrets", "init", "-o", "json")
    assert (again.code, again.errors) == (7, ["ENV_EXISTS"])
    assert (project / ".env").read_text() == made


def test_config_view_is_the_merged_spec_with_its_origins(project: Path, run: Run) -> None:
    (project / "todo-deploy.local.yaml").write_text("cluster:\n  memory: 2g\n")
    words = ("config", "view", "--profile", "small", "--set", "namespace=shop")
    ran = run(*words, "--show-origin")
    document = yaml.safe_load(ran.out)
    assert document["cluster"] == {"name": "tiny", "memory": "2g", "cpus": 2} and document["namespace"] == "shop"
    assert "profiles" not in document
    notes = {line.split(":")[0].strip(): line.partition(" # ")[2] for line in ran.out.splitlines()}
    assert (notes["memory"], notes["namespace"]) == ("todo-deploy.local.yaml:2", "--set")
    profile_line = SPEC.splitlines().index("  small: {cluster: {cpus: 2}}") + 1
    assert notes["cpus"] == f"todo-deploy.yaml:{profile_line}"
    assert "#" not in run(*words).out
    data = run(*words, "--show-origin", "-o", "json").document["data"]
    assert data["spec"] == document and data["origins"]["cluster.memory"] == "todo-deploy.local.yaml:2"


def test_config_view_with_defaults_loads_again_as_the_same_spec(project: Path, run: Run) -> None:
    shown = run("config", "view", "--defaults", "--show-origin").out
    assert "driver: docker" in shown and "# default" in shown
    (project / "todo-deploy.yaml").write_text(shown)
    assert yaml.safe_load(run("config", "view", "--defaults").out) == yaml.safe_load(shown)


def test_config_profiles_are_those_of_both_files(project: Path, run: Run) -> None:
    (project / "todo-deploy.local.yaml").write_text("profiles: {mine: {namespace: mine}}\n")
    assert run("config", "profiles").out == "small\nmine\n"
    assert run("config", "profiles", "-o", "json").document["data"] == {"profiles": ["small", "mine"]}


def test_the_committed_schema_is_the_specs(run: Run) -> None:
    committed = (ROOT / "schema" / "todo-deploy.schema.json").read_text()
    assert committed == spec_schema(), "run: make schema"
    assert run("schema").out == committed
    assert run("schema", "-o", "json").document["data"] == json.loads(committed)


def test_the_schema_knows_every_key_of_our_own_spec_and_profiles() -> None:
    schema = json.loads(spec_schema())
    known = set(schema["properties"])
    for path in ROOT.glob("todo-deploy*.yaml"):
        assert set(yaml.safe_load(path.read_text())) <= known, path
    assert schema["additionalProperties"] is False
    assert schema["properties"]["profiles"]["additionalProperties"]["type"] == ["object", "null"]


def test_a_profile_names_the_functions_of_every_thread(run: Run, project: Path, tmp_path: Path) -> None:
    path = tmp_path / "profile.txt"

    def slowly() -> None:
        time.sleep(0.01)

    with profiled(path):
        thread = threading.Thread(target=slowly)
        thread.start()
        thread.join()
    assert "processor time" in path.read_text() and "(slowly)" in path.read_text()
    (project / ".env").write_text("API_KEY=\n")
    assert run("up", "--profile-run", str(path)).code == 2  # a run that is refused took its time as well
    assert "(run_up)" in path.read_text()
    refused = run("up", "-o", "json", "--profile-run", str(tmp_path / "none" / "profile.txt"))
    assert refused.code == 2 and refused.errors == ["PROFILE_UNWRITABLE"]


def test_the_timeline_of_a_run_is_beside_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = RunRecord(tmp_path, "20261129T000000Z-0000")
    for at, event in enumerate([StageStarted("cluster"), StageFinished("cluster", 5.0, True)]):
        record.write(event, 100.0 + 5 * at)
    record.close()
    print_timeline(record.folder)
    said = capsys.readouterr()
    assert said.out == "" and "critical path" in said.err and said.err.count("cluster") == 2
