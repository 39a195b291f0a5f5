from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployer.config.load import LoadedSpec, dockerfile_of, load_spec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.redact import KNOWN, MASK
from deployer.plan.tags import Commit
from deployer.sources import digest
from deployer.sources import git as repository
from deployer.sources import load as inputs

SPEC = """\
apiVersion: todo-deploy/v1
application: todo
switches: {database: {whenUnset: DATABASE_URL}}
images:
  api: {repository: api, context: api}
  db: {repository: db, context: db, when: database}
secrets:
  app:
    keys:
      NEEDED: {}
      TOKEN: {kind: generated, length: 20}
      KEY: {kind: optional, from: API_KEY}
releases:
  app: {chart: chart}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for folder in ("api", "db", "chart/templates"):
        (project / folder).mkdir(parents=True)
    for name in ("api", "db"):
        (project / name / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (project / name / "main.py").write_text("print()\n")
    (project / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 0.1.0\n")
    (project / "chart" / "templates" / "x.yaml").write_text("")
    (project / ".env.example").write_text("# example\nNEEDED=\nTOKEN=\nAPI_KEY=your-key-here\n")
    return project


def load(root: Path, text: str = SPEC) -> LoadedSpec:
    (root / "todo-deploy.yaml").write_text(text)
    return load_spec(root / "todo-deploy.yaml")


def env(root: Path) -> dict[str, str]:
    return inputs.values_of(inputs.load_env(load(root)))


def sources(root: Path, text: str = SPEC, **values: str) -> inputs.Sources:
    return inputs.read_sources(load(root, text), values, {}, root.parent / "cache")


def refusal(*arguments: Any, **values: str) -> DeployError:
    with pytest.raises(DeployError) as caught:
        sources(*arguments, **values)
    assert caught.value.exit_code is ExitCode.INPUT
    return caught.value


def test_each_repository_remembers_its_own_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_RACY_NS", 0)
    other = root.parent / "other"
    shutil.copytree(root, other)
    for folder in (root, other):
        assert sources(folder).images
    kept = [file.read_text(errors="replace") for file in (root.parent / "cache/hashes").iterdir()]
    assert len(kept) == 2
    assert not any(f"{root}/" in text and f"{other}/" in text for text in kept)


def test_later_env_files_win(root: Path) -> None:
    loaded = load(root, SPEC + "env: {files: [.env, .env.local]}\n")
    (root / ".env").write_text("A=1\nB=1\n")
    (root / ".env.local").write_text("B=2\n")
    merged = inputs.load_env(loaded)
    assert inputs.values_of(merged) == {"A": "1", "B": "2"}
    assert merged["B"].where == ".env.local:1"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("NEEDED=store:9100", True),
        ("API_KEY=store:9100", True),
        ("STORE_IMAGE=python:3.11-slim", False),
        ("GREETING=hello there", False),
        ("DB_PWD=correct-horse", True),
        ("OTHER_TOKEN=correct-horse", True),
        ("ADDRESS=redis://u:correct-horse@store", True),
        ("ID=ghp0123456789abcdefgh", True),
        ("FOLDER=/var/lib/store", False),
    ],
)
def test_lines_that_the_spec_does_not_use_are_masked_where_they_look_secret(
    root: Path, line: str, secret: bool
) -> None:
    (root / ".env").write_text(f"{line}\n")
    env(root)
    value = line.partition("=")[2]
    assert (value not in KNOWN(f"the value {value} is here")) is secret


def test_an_account_that_is_called_like_the_application_is_shown(root: Path) -> None:
    application = load(root).spec.application
    (root / ".env").write_text(f"DB_USER={application}\nDB_PASSWORD=hunter2-hunter2\n")
    env(root)
    assert KNOWN(f"{application} hunter2-hunter2") == f"{application} {MASK}"
    (root / ".env").write_text(f"DB_USER={application}\nDB_PASSWORD={application}\n")
    env(root)
    assert application not in KNOWN(application)


def test_no_env_file_is_an_empty_one(root: Path) -> None:
    assert env(root) == {}


def test_a_first_env_file_is_made_from_the_example_with_generated_values(root: Path) -> None:
    (notice,) = inputs.ensure_env(load(root))
    made = root / ".env"
    assert ".env.example" in notice and "TOKEN" in notice
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    values = env(root)
    assert len(values["TOKEN"]) == 20
    assert values["TOKEN"] not in notice
    assert made.read_text().startswith("# example\n")


def test_an_env_file_is_completed_and_otherwise_left_as_it_is(root: Path) -> None:
    (root / ".env").write_text("# mine\nNEEDED='x y'\n")
    (notice,) = inputs.ensure_env(load(root))
    assert "TOKEN" in notice
    text = (root / ".env").read_text()
    assert text.startswith("# mine\nNEEDED='x y'\n")
    assert inputs.ensure_env(load(root)) == ()
    assert (root / ".env").read_text() == text


def test_two_made_files_have_different_secrets(root: Path) -> None:
    seen = set()
    for _ in range(2):
        inputs.ensure_env(load(root))
        seen.add(env(root)["TOKEN"])
        (root / ".env").unlink()
    assert len(seen) == 2


def test_a_spec_without_secrets_makes_no_env_file(root: Path) -> None:
    text = SPEC.replace(SPEC[SPEC.index("secrets:") : SPEC.index("releases:")], "")
    assert inputs.ensure_env(load(root, text)) == ()
    assert not (root / ".env").exists()


def test_a_first_env_file_is_made_where_only_a_later_one_exists(root: Path) -> None:
    text = SPEC.replace("images:", "env: {files: [.env, .env.local]}\nimages:")
    (root / ".env.local").write_text("NEEDED=1\nTOKEN=given\n")
    assert inputs.env_change(load(root, text)) is None and inputs.ensure_env(load(root, text)) == ()
    (root / ".env.local").write_text("NEEDED=1\n")
    change = inputs.env_change(load(root, text))
    assert change is not None and (change.creates, list(change.generated)) == (True, ["TOKEN"])
    inputs.ensure_env(load(root, text))
    assert inputs.env_change(load(root, text)) is None and (root / ".env").stat().st_mode & 0o777 == 0o600
    assert inputs.values_of(inputs.load_env(load(root, text)))["NEEDED"] == "1"


EXPANDING = """\
apiVersion: todo-deploy/v1
application: todo
env: {expand: true}
images:
  api:
    repository: api
    context: api
    args: {BASE: "${HOST}:$$8080/${PATH_OF:-v1}"}
secrets: {app: {keys: {TOKEN: {}}}}
releases:
  app:
    chart: chart
    values: {list: ["${HOST}", "${url:web}/x", 7], mode: "a$1"}
"""


def filled(root: Path, text: str) -> LoadedSpec:
    loaded = load(root, text)
    return inputs.filled(loaded, inputs.values_of(inputs.load_env(loaded)))


def test_references_in_the_spec_are_filled_in_where_it_asks_for_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOST", raising=False)
    (root / ".env").write_text("HOST=shop\nTOKEN=c7\nURL=${HOST}/x\n")
    spec = filled(root, EXPANDING).spec
    assert spec.images["api"].args == {"BASE": "shop:$8080/v1"}
    assert spec.releases["app"].values == {"list": ["shop", "${url:web}/x", 7], "mode": "a$1"}
    monkeypatch.setenv("HOST", "other")  # as for Compose, the environment comes first
    assert filled(root, EXPANDING).spec.releases["app"].values["list"][0] == "other"
    assert env(root) == {"HOST": "shop", "TOKEN": "c7", "URL": "${HOST}/x"}


@pytest.mark.parametrize(("reference", "line"), [("${TOKEN}", 8), ("${X:-$TOKEN}", 8), ("${X:?why}", 8), ("${", 8)])
def test_what_cannot_be_filled_in_is_refused_with_its_line(root: Path, reference: str, line: int) -> None:
    (root / ".env").write_text("TOKEN=c7-canary\n")
    with pytest.raises(DeployError) as caught:
        filled(root, EXPANDING.replace("${HOST}:$$8080", reference))
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("SPEC_REFERENCE", f"todo-deploy.yaml:{line}")
    assert "canary" not in str(problem.to_wire())


def test_a_reference_in_a_build_argument_is_refused_where_nothing_is_filled_in(root: Path) -> None:
    (root / ".env").write_text("TOKEN=c7\n")
    loaded = load(root, EXPANDING.replace("{expand: true}", "{}"))
    (problem,) = inputs.env_problems(loaded, inputs.load_env(loaded))
    assert (problem.code, problem.where) == ("SPEC_REFERENCE", "todo-deploy.yaml:8")


def test_a_missing_key_is_named_with_who_needs_it(root: Path) -> None:
    (root / ".env").write_text("TOKEN=x\n")
    loaded = load(root)
    (problem,) = inputs.env_problems(loaded, inputs.load_env(loaded))
    assert problem.code == "ENV_KEY_MISSING"
    assert "`NEEDED`" in problem.title and "`app`" in problem.title
    assert problem.where == "todo-deploy.yaml:10"


def test_a_near_miss_is_pointed_at(root: Path) -> None:
    (root / ".env").write_text("TOKEN=x\nNEEDEDD=value\n")
    loaded = load(root)
    (problem,) = inputs.env_problems(loaded, inputs.load_env(loaded))
    assert problem.where == ".env:2"
    assert any("did you mean `NEEDED`?" in hint for hint in problem.hints)


def test_a_placeholder_is_a_problem_with_its_line_and_without_its_value(root: Path) -> None:
    (root / ".env").write_text("NEEDED=x\nTOKEN=x\nAPI_KEY=your-key-here\n")
    loaded = load(root)
    (problem,) = inputs.env_problems(loaded, inputs.load_env(loaded))
    assert (problem.code, problem.where) == ("ENV_PLACEHOLDER", ".env:3")


def test_a_complete_env_file_has_no_problem(root: Path) -> None:
    (root / ".env").write_text("NEEDED=x\nTOKEN=y\n")
    loaded = load(root)
    assert inputs.env_problems(loaded, inputs.load_env(loaded)) == []


def test_sources_are_digests_of_what_would_be_sent(root: Path) -> None:
    before = sources(root)
    assert set(before.images) == {"api", "db"}
    assert "main.py" in before.images["api"].manifest
    (root / "api" / "main.py").write_text("print(1)\n")
    after = sources(root)
    assert after.images["api"].digest != before.images["api"].digest
    assert after.images["db"] == before.images["db"]
    assert after.charts["app"].digest == before.charts["app"].digest


def test_an_ignored_file_changes_nothing(root: Path) -> None:
    (root / "api" / ".dockerignore").write_text("*.log\n")
    before = sources(root)
    (root / "api" / "x.log").write_text("x")
    assert sources(root) == before


WHOLE = """\
apiVersion: todo-deploy/v1
application: todo
images: {api: {repository: api, context: .}}
releases: {app: {chart: chart, valuesFiles: [values/a.yaml]}}
"""
CHART = "apiVersion: v2\nname: app\nversion: 0.1.0\n"
BESIDE = (".git/HEAD", "todo-deploy.local.yaml", ".env", "chart/Chart.yaml", "values/a.yaml", "api/.git")


@pytest.mark.parametrize(
    ("copies", "reached"),
    [("COPY api /", {"api/.git"}), ("COPY . /", set(BESIDE)), ("COPY *.yaml /", {"todo-deploy.local.yaml"})],
)
def test_what_stands_beside_the_content_is_none_unless_it_is_copied(root: Path, copies: str, reached: set[str]) -> None:
    (root / "Dockerfile").write_text(f"FROM scratch\n{copies}\n")
    for path in BESIDE:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text("application: todo\n" if "local" in path else CHART)
    load(root, WHOLE)
    before = sources(root, WHOLE).images["api"]
    assert {path for path in BESIDE if path in before.manifest} == reached
    assert "api/main.py" in before.manifest
    (problem,) = inputs.shipped(load(root, WHOLE), {})
    assert (problem.code, problem.where) == ("CONTEXT_SHIPS", "Dockerfile:2")
    (root / ".git" / "HEAD").write_text("another commit")
    assert (sources(root, WHOLE).images["api"].digest != before.digest) is (".git/HEAD" in reached)
    (root / ".dockerignore").write_text(".git\n**/.git\n.env\n*.yaml\nchart\nvalues\n")
    assert inputs.shipped(load(root, WHOLE), {}) == []


def test_what_is_beside_the_content_is_neither_sent_nor_measured(root: Path) -> None:
    (root / "Dockerfile").write_text("FROM scratch\nCOPY api /\n")
    (root / ".git").mkdir()
    (root / ".git" / "pack").write_bytes(b"x" * 2**21)
    text = WHOLE.replace(", valuesFiles: [values/a.yaml]", "") + "rules: {maxContextSize: 1m}\n"
    sizes = sources(root, text).images["api"].sizes
    assert {"Dockerfile", "api", "api/main.py"} <= set(sizes) and not any(path.startswith(".git") for path in sizes)
    (root / "Dockerfile").write_text("FROM scratch\nRUN --mount=target=/src true\n")
    assert refusal(root, text).problems[0].code == "CONTEXT_TOO_LARGE"


@pytest.mark.parametrize(
    ("dockerfile", "target", "found"),
    [
        ("", "", [("DOCKERFILE_EMPTY", "api/Dockerfile:1")]),
        ("ARG A\n", "", [("DOCKERFILE_EMPTY", "api/Dockerfile:1")]),
        ("# syntax=example/other\nWHATEVER\n", "x", []),
        ("FROM a AS one\nFROM b AS two\n", "ONE", []),
        ("FROM a AS one\nFROM b\n", "1", []),
        ("FROM a AS one\nFROM b AS two\n", "tow", [("TARGET_MISSING", "todo-deploy.yaml:5")]),
        ("FROM a\nCOPY gone mian.py ./\n", "",
         [("COPY_MISSING", "api/Dockerfile:2"), ("COPY_MISSING", "api/Dockerfile:2")]),
        ("FROM a\nCOPY main.py . ./ sub/deep/ ../main.py *.gone $A /x/\nONBUILD COPY gone .\nCOPY link/x /\n", "", []),
        ("FROM a AS one\nCOPY gone .\nFROM b AS two\nCOPY --from=one gone /\n", "two", []),
        ("FROM a AS one\nCOPY gone .\nFROM one AS two\n", "two", [("COPY_MISSING", "api/Dockerfile:2")]),
        ("FROM a\nRUN --mount=source=gone,target=/x true\n", "", [("COPY_MISSING", "api/Dockerfile:2")]),
    ],
)  # fmt: skip
def test_what_a_build_would_certainly_miss_is_named(
    root: Path, dockerfile: str, target: str, found: list[tuple[str, str]]
) -> None:
    (root / "api" / "Dockerfile").write_text(dockerfile)
    (root / "api" / "sub" / "deep").mkdir(parents=True)
    (root / "api" / "link").symlink_to("sub")
    text = SPEC.replace("context: api}", f"context: api, target: '{target}'}}")
    if not found:
        assert sources(root, text).images["api"].digest
        return
    problems = refusal(root, text).problems
    assert [(one.code, one.where) for one in problems] == found and all(one.hints for one in problems)


@pytest.mark.parametrize(
    ("named", "meant"),
    [("db", True), ("db:latest", True), ("db:1.2.3", True), ("db:1.2.4", False), ("x/db", False), ("api", False),
     (f"db@sha256:{'a' * 64}", False)],
)  # fmt: skip
def test_an_image_of_the_spec_may_be_the_base_of_another(root: Path, named: str, meant: bool) -> None:
    text = SPEC.replace("{repository: db,", "{repository: db, version: 1.2.3,")
    (root / "api" / "Dockerfile").write_text(f"ARG BASE={named}\nFROM $BASE\n")
    before = sources(root, text).images
    assert before["api"].on == ({named: "db"} if meant else {})
    assert list(before) == (["db", "api"] if meant else ["api", "db"])
    (root / "db" / "main.py").write_text("print('changed')\n")
    after = sources(root, text).images
    assert (after["api"].digest != before["api"].digest) is meant
    assert (f"/bases/{named}" in after["api"].manifest) is meant


def test_images_that_are_built_on_each_other_are_refused(root: Path) -> None:
    (root / "api" / "Dockerfile").write_text("FROM db\n")
    (root / "db" / "Dockerfile").write_text("FROM scratch\nCOPY --from=api /a /b\n")
    assert refusal(root).problems[0].code == "IMAGES_CIRCLE"


def test_a_file_that_goes_while_it_is_read_is_noticed_by_the_build(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = inputs.build_context.context_files

    def then_gone(*words: Any) -> Any:
        found = listed(*words)
        (root / "api" / "main.py").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(inputs.build_context, "context_files", then_gone)
    assert "main.py" in sources(root).images["api"].manifest


def test_what_an_ignore_file_leaves_out_is_named_so(root: Path) -> None:
    (root / "api" / "Dockerfile").write_text("FROM a\nCOPY main.py .\n")
    (root / "api" / ".dockerignore").write_text("*.py\n")
    assert ".dockerignore" in refusal(root).problems[0].title


def test_a_dockerfile_in_lower_case_is_found_as_by_docker(root: Path) -> None:
    usual = root / "api" / "Dockerfile"
    usual.rename(usual.with_name("dockerfile"))
    loaded = load(root)
    assert dockerfile_of(root, loaded.spec.images["api"]).name == "dockerfile"
    assert sources(root).images["api"].digest
    usual.write_text("FROM scratch\n")
    assert dockerfile_of(root, loaded.spec.images["api"]) == usual


def test_a_secret_of_a_build_is_in_no_tag_by_its_value(root: Path) -> None:
    text = SPEC.replace("context: api}", "context: api, secrets: {npm: NPM_TOKEN}, platforms: [linux/amd64]}")
    loaded = load(root, text)
    (root / ".env").write_text("NEEDED=1\nTOKEN=2\n")
    missing = [one.where for one in inputs.env_problems(loaded, inputs.load_env(loaded))]
    assert missing == ["todo-deploy.yaml:5"]
    made = [sources(root, text, NPM_TOKEN=value).images["api"] for value in ("one", "two")]
    assert made[0] == made[1] and made[0].digest != sources(root).images["api"].digest
    assert {"/secrets/npm", "/platform"} <= set(made[0].manifest)


def test_a_replacement_image_is_part_of_the_digest(root: Path) -> None:
    text = SPEC.replace("context: api}", "context: api, bases: {BASE: 'python:3'}}")
    loaded = load(root, text)
    one = inputs.read_sources(loaded, {}, {}, root.parent / "cache")
    two = inputs.read_sources(loaded, {}, {"python:3": "local:1"}, root.parent / "cache")
    assert one.images["api"].digest != two.images["api"].digest


def test_what_is_switched_off_is_not_looked_at(root: Path) -> None:
    (root / "db" / "Dockerfile").unlink()
    assert set(sources(root, DATABASE_URL="given").images) == {"api"}


def test_a_changed_chart_is_another_chart(root: Path) -> None:
    before = sources(root)
    (root / "chart" / "templates" / "x.yaml").write_text("# changed\n")
    assert sources(root).charts["app"].digest != before.charts["app"].digest


@pytest.mark.parametrize(
    ("absent", "code", "line"),
    [("api", "CONTEXT_MISSING_FOLDER", 5), ("chart", "CHART_MISSING", 14), ("api/Dockerfile", "DOCKERFILE_MISSING", 5)],
)
def test_what_is_not_there_is_named_with_the_specs_line(root: Path, absent: str, code: str, line: int) -> None:
    (root / absent).rename(root.parent / "away")
    (problem,) = refusal(root).problems
    assert (problem.code, problem.where) == (code, f"todo-deploy.yaml:{line}")


def test_a_context_that_is_too_large_lists_its_biggest_entries(root: Path) -> None:
    (root / "api" / "model.bin").write_bytes(b"x" * 2**21)
    (problem,) = refusal(root, SPEC + "rules: {maxContextSize: 1m}\n").problems
    assert problem.code == "CONTEXT_TOO_LARGE"
    assert "model.bin" in problem.detail


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_read_with_whether_all_is_committed(root: Path) -> None:
    assert repository.read_commit(root) is None
    git(root, "init", "-q")
    assert repository.read_commit(root) is None
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    sha = git(root, "rev-parse", "HEAD")
    assert repository.read_commit(root) == Commit(sha, True)
    (root / "new").write_text("x")
    assert repository.read_commit(root) == Commit(sha, False)


def test_a_git_that_does_not_answer_is_no_commit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*words: object, **more: object) -> str:
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr(repository, "run", slow)
    assert repository.read_commit(root) is None


def test_base_images_come_from_the_spec_and_from_the_dockerfiles(root: Path) -> None:
    (root / "api" / "Dockerfile").write_text(
        "ARG NODE=18\nARG PYTHON\nFROM node:${NODE}-alpine AS build\nFROM ${PYTHON}\nCOPY --from=build /a /a\n"
    )
    (root / "db" / "Dockerfile").write_text("FROM postgres:15-alpine\n")
    text = SPEC.replace("context: api}", "context: api, bases: {PYTHON: 'python:3.11-slim'}}")
    loaded = load(root, text)
    assert inputs.wanted_bases(loaded, {}) == ("node:18-alpine", "postgres:15-alpine", "python:3.11-slim")
    assert inputs.wanted_bases(loaded, {"DATABASE_URL": "x"}) == ("node:18-alpine", "python:3.11-slim")
    plain = sources(root, text)
    replacements = {"node:18-alpine": "local/node:1", "python:3.11-slim": "local/python:1"}
    replaced = inputs.read_sources(loaded, {}, replacements, root.parent / "cache")
    assert plain.images["api"].bases == {}
    assert replaced.images["api"].bases == {"node:18-alpine": "local/node:1"}, "the other one is a build argument"
    assert replaced.images["api"].digest != plain.images["api"].digest
    assert replaced.images["db"] == plain.images["db"]


def test_values_files_are_read_later_ones_over_earlier_ones(root: Path) -> None:
    (root / "one.yaml").write_text("replicas: 1\nimage: {pullPolicy: Never}\n")
    (root / "two.yaml").write_text("image: {name: x}\nreplicas: 3\n")
    text = SPEC.replace("{chart: chart}", "{chart: chart, valuesFiles: [one.yaml, two.yaml]}")
    found = sources(root, text).charts["app"].values
    assert found == {"replicas": 3, "image": {"pullPolicy": "Never", "name": "x"}}


@pytest.mark.parametrize(
    ("content", "code", "where"),
    [
        (None, "VALUES_MISSING", "todo-deploy.yaml:14"),
        (b"a: [", "VALUES_YAML", "one.yaml:1"),
        (b"a: 1\n\tb: 2\n", "VALUES_YAML", "one.yaml:2"),
        (b"a: 1\nb: caf\xe9\n", "VALUES_YAML", "one.yaml:2"),
        (b"a: 1\nb: !!int x\n", "VALUES_YAML", "one.yaml:2"),
        (b"a: 1\nb: .nan\n", "VALUES_YAML", "one.yaml:2"),
        (b"- a\n", "VALUES_YAML", "todo-deploy.yaml:14"),
    ],
)
def test_a_values_file_that_cannot_be_read_is_refused_at_its_line(
    root: Path, content: bytes | None, code: str, where: str
) -> None:
    if content is not None:
        (root / "one.yaml").write_bytes(content)
    error = refusal(root, SPEC.replace("{chart: chart}", "{chart: chart, valuesFiles: [one.yaml]}"))
    assert (error.problems[0].code, error.problems[0].where) == (code, where)


def test_dates_and_signs_in_a_values_file_are_texts(root: Path) -> None:
    (root / "one.yaml").write_text("day: 2026-02-30\nsign: =\nat: 12:30\n")
    found = sources(root, SPEC.replace("{chart: chart}", "{chart: chart, valuesFiles: [one.yaml]}"))
    assert found.charts["app"].values == {"day": "2026-02-30", "sign": "=", "at": "12:30"}


def test_a_dependency_that_only_a_repository_has_is_refused_at_its_line(root: Path) -> None:
    chart = root / "chart/Chart.yaml"
    chart.write_text(
        chart.read_text() + "dependencies:\n  - {name: redis, version: 1.0.0, repository: oci://r.invalid}\n"
    )
    (problem,) = refusal(root, DATABASE_URL="x").problems
    assert problem.code == "CHART_DEPENDENCY" and problem.where.endswith("chart/Chart.yaml:5")
    assert "oci://r.invalid" in problem.title and "todo-deploy validate" in problem.hints[0]
    (root / "chart/charts/redis").mkdir(parents=True)
    (root / "chart/charts/redis/Chart.yaml").write_text("apiVersion: v2\nname: redis\nversion: 1.0.0\n")
    assert sources(root, DATABASE_URL="x").charts["app"].defaults == {}


def test_the_charts_own_values_are_read_where_a_list_of_them_is_mapped(root: Path) -> None:
    (root / "chart/charts/part").mkdir(parents=True)
    (root / "chart/charts/part/Chart.yaml").write_text("apiVersion: v2\nname: part\nversion: 1.0.0\n")
    (root / "chart/charts/part/values.yaml").write_text("services: [{name: web}]\n")
    spec = SPEC.replace("{chart: chart}", '{chart: chart, images: {api: {"part.services[0].tag": "{tag}"}}}')
    assert sources(root, spec, DATABASE_URL="x").charts["app"].defaults == {"part": {"services": [{"name": "web"}]}}


def test_the_builtin_chart_is_staged_with_its_library(root: Path) -> None:
    made = sources(root, SPEC.replace("{chart: chart}", "{chart: 'builtin:component'}"), DATABASE_URL="x").charts["app"]
    assert (made.folder / "values.yaml").is_file() and (made.folder / "charts/component/Chart.yaml").is_file()


def test_a_placeholder_of_the_example_is_generated_where_it_can_be(root: Path) -> None:
    text = SPEC.replace("secrets:\n", "secrets:\n  more: {keys: {SIGNING_SECRET: {kind: generated}}}\n", 1)
    (root / ".env.example").write_text("SIGNING_SECRET=changeme\nOTHER=changeme\n")
    loaded = load(root, text)
    example = inputs.env_or_example(loaded)
    assert not [one for one in inputs.env_problems(loaded, example) if "SIGNING_SECRET" in one.title]
    inputs.ensure_env(loaded)
    made = inputs.values_of(inputs.load_env(loaded))
    assert made["SIGNING_SECRET"] not in ("", "changeme") and made["OTHER"] == "changeme"
