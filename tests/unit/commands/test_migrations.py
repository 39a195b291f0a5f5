"""Whether the schema may have moved since a revision, by build contexts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.commands.rebuild import Moved, migrations_of, moved_since, warning
from deployer.config.spec import Spec
from deployer.plan import ImagePlan, ImageSource
from deployer.state.history import Entry

SPEC: dict[str, Any] = {
    "apiVersion": "todo-deploy/v1",
    "application": "shop",
    "images": {"api": {"repository": "api", "context": "api"}},
    "releases": {"web": {"chart": "chart"}},
}


def image(manifest: dict[str, str], folder: str | None = "db/migrations") -> ImagePlan:
    source = ImageSource("digest", manifest)
    return ImagePlan(
        "api", "api", "1", Path("api"), Path("api/Dockerfile"), {}, (), None, {}, "1m", source, migrations=folder
    )  # fmt: skip


def entry(number: int, **names: str) -> Entry:
    return Entry(number, "run", 0.0, "me@here", "why", schema={"api": names} if names else {})


def spec(back: str | None) -> Spec:
    migrations = {"folder": "db/migrations"} | ({"back": back} if back else {})
    images = {"api": {**SPEC["images"]["api"], "migrations": migrations}}
    return Spec.model_validate({**SPEC, "images": images})


def test_each_file_or_folder_is_a_migration_and_nothing_else_is() -> None:
    manifest = {
        "app.py": "1", "db/migrations/0001_users.py": "2", "db/migrations/0002_tasks/up.sql": "3",
        "db/migrations/0002_tasks/down.sql": "4", "db/migrations/__init__.py": "5", "db/migrations/.keep": "6",
        "db/migrations": "7", "/Dockerfile": "8", "db/models.py": "9",
    }  # fmt: skip
    found = migrations_of(image(manifest))
    assert list(found) == ["0001_users.py", "0002_tasks"]
    again = migrations_of(image({**manifest, "db/migrations/0002_tasks/down.sql": "x"}))
    assert [name for name in found if found[name] != again[name]] == ["0002_tasks"]
    assert migrations_of(image(manifest, None)) == {}


def test_what_a_later_revision_brought_is_newer_even_when_it_is_not_the_last() -> None:
    history = (entry(1, a="1"), entry(2, a="1", b="2", c="3"), entry(3, a="1"))
    assert moved_since(history, history[0]) == (Moved("api", ("b", "c"), (), "a"),)
    assert moved_since(history, history[1]) == ()


def test_an_edited_migration_is_reported() -> None:
    history = (entry(1, a="1"), entry(2, a="2"))
    assert moved_since(history, history[0]) == (Moved("api", (), ("a",), "a"),)


def test_a_revision_without_migrations_is_before_all_of_them() -> None:
    history = (entry(1), entry(2, a="1"))
    assert moved_since(history, history[0]) == (Moved("api", ("a",), (), ""),)


def test_an_older_migration_that_is_remembered_again_did_not_come_since() -> None:
    history = (entry(1, b="1"), entry(2, a="1", b="1"))
    assert moved_since(history, history[0]) == ()


def test_the_way_back_is_a_command_of_the_spec_that_nobody_runs_unasked() -> None:
    moved = (Moved("api", ("0002_tasks.py", "0003_tags.py"), (), "0001_users.py"),)
    found = warning(moved[0], spec("alembic downgrade {revision}"), 4)
    assert found.code == "SCHEMA_MOVED" and "`api`" in found.title and "revision 4" in found.title
    assert "newer: 0002_tasks.py, 0003_tags.py" in found.detail
    assert found.hints == ("with the newer code: todo-deploy exec api -- alembic downgrade 0001",)
    steps = warning(moved[0], spec("migrate down {steps}"), 4)
    assert steps.hints[0].endswith("-- migrate down 2")


def test_before_the_first_migration_is_the_base() -> None:
    found = warning(Moved("api", ("0001_a.py",), (), ""), spec("alembic downgrade {revision}"), 1)
    assert found.hints[0].endswith("alembic downgrade base")


def test_without_a_command_it_is_said_where_one_would_stand() -> None:
    found = warning(Moved("api", ("0002.py",), (), "0001.py"), spec(None), 1)
    assert "migrations.back" in found.hints[0]
    edited = warning(Moved("api", (), ("0001.py",), "0001.py"), spec("back {revision}"), 1)
    assert edited.hints == ()
