"""What a rollback brings back: a Secret's value, a pruned image, code before a migration; or why it cannot."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe

from bench.rollbacks.scene import HOLD, Scene
from deployer.core.errors import ExitCode
from tests.cluster import run_cli

_KEY = "OPENAI_API_KEY"
_MIGRATIONS = "app/backend/todo_backend/migrations/versions"
_NEWER = """\
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("colour", sa.String(20)))


def downgrade() -> None:
    op.drop_column("tasks", "colour")
"""
_BACK = re.compile(r"with the newer code: todo-deploy exec (\S+) -- (.+)")


@dataclass(frozen=True)
class Shown:
    """One thing that was tried: what came of it, and everything that was not as it must be."""

    name: str
    outcome: str
    seconds: float
    complaints: tuple[str, ...] = ()


def secret_value(scene: Scene) -> Shown:
    """A key is rotated; after the rollback the pods have the old value again."""
    old, new = f"sk-old-{token_urlsafe(8)}", f"sk-new-{token_urlsafe(8)}"
    seen = []
    for value in (old, new):
        scene.project.set_env(_KEY, value)
        scene.up()
        seen.append(scene.in_pod(_KEY) == value)
    done, document = scene.run("rollback", "--hold", HOLD)
    back = scene.in_pod(_KEY) == old
    found = [] if seen == [True, True] else [f"the rotated values did not reach the pods: {seen}"]
    found += [] if done.returncode == 0 and back else [f"exit {done.returncode}, the old value is back: {back}"]
    found += [] if new not in done.stderr + str(document) else ["the value was shown"]
    scene.project.set_env(_KEY, old)
    return Shown("changed secret value, then rollback", "the pods have the old value", done.seconds, tuple(found))


def pruned_image(scene: Scene) -> Shown:
    """The image of a committed revision was removed: it is built again from that commit, under the same tag."""
    scene.edit(f"kept {token_urlsafe(6)}")
    sha = scene.commit("one that will be pruned")
    scene.up()
    ref = scene.image()
    scene.edit(f"newer {token_urlsafe(6)}")
    scene.commit("a newer one")
    scene.up()
    _prune(scene, ref)
    done, document = scene.run("rollback", "--hold", HOLD)
    found = [] if done.returncode == 0 else [f"exit {done.returncode}: {document['errors']}"]
    found += [] if scene.image() == ref else [f"{scene.image()} serves, not {ref}"]
    label = '{{ index .Config.Labels "org.opencontainers.image.revision" }}'
    found += [] if sha in scene.project.in_node("docker", "image", "inspect", "--format", label, ref) else ["its label"]
    found += [] if f"built again from commit {sha[:7]}" in done.stderr else ["it was not said what was built"]
    scene.up()
    return Shown("pruned image, then rollback", f"built again from commit {sha[:7]}", done.seconds, tuple(found))


def pruned_uncommitted(scene: Scene) -> Shown:
    """The image was built from uncommitted changes and removed: refused with the reason, and nothing changes."""
    scene.edit(f"never committed {token_urlsafe(6)}")
    scene.up()
    ref = scene.image()
    scene.edit(f"nor this {token_urlsafe(6)}")
    scene.up()
    now, pods = scene.image(), scene.project.pods()
    _prune(scene, ref)
    done, document = scene.run("rollback", "--hold", HOLD)
    error = document["errors"][0] if document["errors"] else {"code": "", "detail": ""}
    found = [] if done.returncode == ExitCode.REFUSED else [f"exit {done.returncode}, not 7"]
    found += [] if error["code"] == "ROLLBACK_IMAGE" and "uncommitted" in error["detail"] else [f"reported {error}"]
    found += [] if scene.image() == now and not scene.project.rolled(pods) else ["something changed"]
    return Shown("pruned image of uncommitted changes", f"refused: {error['detail']}", done.seconds, tuple(found))


def moved_schema(scene: Scene) -> Shown:
    """A version brings a migration: a rollback warns and touches no data; the command that it shows steps back."""
    old = scene.up() and scene.image()
    migration = scene.project.root / _MIGRATIONS / "0002_colours.py"
    migration.write_text(_NEWER)
    found = []
    try:
        scene.up()
        found += [] if "colour" in _columns(scene) else ["the migration did not run"]
        done, _ = scene.run("rollback", "--hold", HOLD)
        hint = _BACK.search(done.stderr)
        found += [] if done.returncode == 0 and scene.image() == old else [f"exit {done.returncode}, {scene.image()}"]
        found += [] if "SCHEMA_MOVED" in done.stderr and "0002_colours.py" in done.stderr else ["it was not warned of"]
        found += [] if "colour" in _columns(scene) else ["the schema was changed unasked"]
        found += [] if "water the plants" in scene.ann.tasks() else ["a task is lost"]
        scene.up()
        words = (hint[1], "--", *hint[2].split()) if hint is not None else ()
        project = scene.project
        back = run_cli("exec", *project.settings, *words, cwd=project.root, env=project.environment)
        printed = back.stdout.strip()
        found += (
            [] if printed == "the schema was at 0002 and is at 0001" else [f"stepping back: {printed} {back.stderr}"]
        )
        again, _ = scene.run("rollback", "--hold", HOLD)
        found += [] if again.returncode == 0 and scene.image() == old else [f"exit {again.returncode}, {scene.image()}"]
        found += [] if "colour" not in _columns(scene) else ["the schema was not taken back"]
        found += [] if "water the plants" in scene.ann.tasks() else ["a task is lost"]
    finally:
        migration.unlink()
    scene.up()
    outcome = f"warned (SCHEMA_MOVED), data untouched; `{words[2:] and ' '.join(words[2:])}` then took it back"
    return Shown("a migration, then rollback", outcome, done.seconds, tuple(found))


def _columns(scene: Scene) -> str:
    """The names of the tasks' columns."""
    query = "select column_name from information_schema.columns where table_name = 'tasks'"
    words = 'PGPASSWORD="$POSTGRES_PASSWORD" psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --tuples-only'
    script = f'{words} --command "{query}"'
    return scene.project.kubectl("exec", "--namespace", "default", "statefulset/database", "--", "sh", "-c", script)


def _prune(scene: Scene, ref: str) -> None:
    """The image is gone from the cluster's daemon, once no container of it is left."""
    deadline = time.monotonic() + 60
    while scene.project.in_node("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={ref}"):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    scene.project.in_node("docker", "rmi", "--force", ref)


SHOWS: tuple[Callable[[Scene], Shown], ...] = (secret_value, pruned_image, pruned_uncommitted, moved_schema)
