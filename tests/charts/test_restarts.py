"""What restarts pods: exactly the changes that they read, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.charts.conftest import Chart
from tests.charts.staging import stage

CHECKSUMS = {"DATABASE_URL": "a" * 64, "BETTER_AUTH_SECRET": "b" * 64, "OPENAI_API_KEY": "c" * 64}
ALL = {"backend", "frontend-web", "frontend-chatbot", "database"}


def with_checksums(**changed: str) -> dict[str, Any]:
    return {"global": {"secretChecksums": {"app-secrets": CHECKSUMS | changed}}, "database": {"enabled": True}}


def restarted(before: Chart, after: Chart, old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    """Names of the components whose pod template differs between the two renderings."""
    first, second = before.render(old), after.render(new)
    return {name for name in ALL if first.pod(name) != second.pod(name)}


@pytest.mark.parametrize(
    ("key", "users"),
    [
        ("OPENAI_API_KEY", {"backend", "frontend-chatbot"}),
        ("BETTER_AUTH_SECRET", {"backend", "frontend-web"}),
        ("DATABASE_URL", {"backend"}),
    ],
)
def test_a_rotated_key_restarts_its_users_only(todo_app: Chart, key: str, users: set[str]) -> None:
    assert restarted(todo_app, todo_app, with_checksums(), with_checksums(**{key: "d" * 64})) == users


def test_a_key_that_nobody_uses_restarts_nobody(todo_app: Chart) -> None:
    assert restarted(todo_app, todo_app, with_checksums(), with_checksums(UNUSED="d" * 64)) == set()


def test_without_checksums_there_is_no_annotation(todo_app: Chart) -> None:
    assert set(todo_app.render().pod("backend")["metadata"]["annotations"]) == {"checksum/config"}


def test_changed_configuration_restarts_its_component_only(todo_app: Chart) -> None:
    new = with_checksums() | {"backend": {"config": {"data": {"LOG_LEVEL": "DEBUG"}}}}
    assert restarted(todo_app, todo_app, with_checksums(), new) == {"backend"}


def test_a_new_image_restarts_its_component_only(todo_app: Chart) -> None:
    new = with_checksums() | {"frontend-web": {"image": {"tag": "1.0.0-bbbbbbbbbbbb"}}}
    assert restarted(todo_app, todo_app, with_checksums(), new) == {"frontend-web"}


def test_scaling_and_metadata_restart_nobody(todo_app: Chart) -> None:
    backend = {"replicaCount": 3, "labels": {"team": "x"}, "annotations": {"a": "b"}, "service": {"type": "NodePort"}}
    assert restarted(todo_app, todo_app, with_checksums(), with_checksums() | {"backend": backend}) == set()


def test_a_new_version_of_the_charts_restarts_nobody(todo_app: Chart, tmp_path: Path) -> None:
    newer = stage(todo_app.path, tmp_path)
    for metadata in newer.rglob("Chart.yaml"):
        text = metadata.read_text()
        text = text.replace("version: 0.1.0", "version: 0.2.0").replace("appVersion: 1.0.0", "appVersion: 2.0.0")
        metadata.write_text(text)
    new_chart = Chart(todo_app.helm, newer, todo_app.base)

    assert restarted(todo_app, new_chart, with_checksums(), with_checksums()) == set()
    labels = new_chart.render()["Deployment", "backend"]["metadata"]["labels"]
    assert labels["helm.sh/chart"] == "backend-0.2.0"


def test_a_whole_secret_counts_with_all_its_keys(workload: Chart) -> None:
    def annotations(**checksums: str) -> dict[str, str]:
        values = {"envFromSecrets": ["todo-secrets"], "global": {"secretChecksums": {"todo-secrets": checksums}}}
        result: dict[str, str] = workload.render(values).pod("web")["metadata"]["annotations"]
        return result

    first = annotations(A="a" * 64, B="b" * 64)
    assert first == annotations(B="b" * 64, A="a" * 64)
    assert first != annotations(A="a" * 64, B="c" * 64)
    assert first != annotations(A="a" * 64)


def test_secrets_may_be_renamed_in_one_place(todo_app: Chart) -> None:
    renamed = todo_app.render({"global": {"secretNames": {"app-secrets": "app-secrets-0123abcd"}}})
    for name in ("backend", "frontend-web", "frontend-chatbot"):
        references = [v["valueFrom"]["secretKeyRef"]["name"] for v in renamed.container(name)["env"]]
        assert set(references) == {"app-secrets-0123abcd"}


def test_components_that_share_a_configmap_restart_together(workload: Chart, staged: Callable[[str], Path]) -> None:
    """One creates it, the other only reads it; both carry the checksum of the shared data."""

    def render(level: str, create: bool) -> Any:
        config = {"enabled": True, "create": create, "name": "todo-config"}
        return workload.render({"config": config, "global": {"configData": {"todo-config": {"LOG_LEVEL": level}}}})

    owner, reader = render("info", True), render("info", False)
    assert owner["ConfigMap", "todo-config"]["data"] == {"LOG_LEVEL": "info"}
    assert not [key for key in reader if key[0] == "ConfigMap"]
    assert reader.container("web")["envFrom"] == [{"configMapRef": {"name": "todo-config"}}]
    assert owner.pod("web") == reader.pod("web")
    assert reader.pod("web") != render("debug", False).pod("web")
