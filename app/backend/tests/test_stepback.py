"""The schema is taken back by hand, and only to where this code knows the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from conftest import SECRET
from todo_backend.database import MIGRATIONS, Database, known_revisions
from todo_backend.settings import database_url
from todo_backend.stepback import main


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The settings of a backend whose database is at this code's head."""
    url = f"sqlite:///{tmp_path}/todo.db"
    database = Database(database_url(url))
    database.migrate()
    database.close()
    return {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}


def tables(env: dict[str, str]) -> set[str]:
    database = Database(database_url(env["DATABASE_URL"]))
    try:
        return set(inspect(database.engine).get_table_names())
    finally:
        database.close()


def test_the_schema_is_taken_back_to_before_the_first_migration(
    env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"users", "tasks"} <= tables(env)
    assert main(["base"], env) == 0
    assert capsys.readouterr().out == "the schema was at 0001 and is at nothing\n"
    assert not {"users", "tasks"} & tables(env)


def test_a_revision_that_nobody_knows_changes_nothing(env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["0042"], env) == 2
    assert "0042" in capsys.readouterr().err
    assert {"users", "tasks"} <= tables(env)


@pytest.mark.parametrize("words", [[], ["--help"], ["0001", "0002"]])
def test_wrong_words_change_nothing(words: list[str], env: dict[str, str]) -> None:
    assert main(words, env) == 2
    assert {"users", "tasks"} <= tables(env)


def test_wrong_settings_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base"], {}) == 2
    assert "BETTER_AUTH_SECRET is not set" in capsys.readouterr().err


def test_the_files_of_migrations_are_named_and_ordered_as_alembic_orders_them() -> None:
    directory = ScriptDirectory(str(MIGRATIONS))
    assert known_revisions() == tuple(one.revision for one in directory.walk_revisions())[::-1]
    assert known_revisions()[-1] == directory.get_current_head()
