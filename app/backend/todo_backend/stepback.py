"""`python -m todo_backend.stepback REVISION`: takes the schema back, with what later migrations added.

For before an older version serves again. Only the version that brought a migration knows how to undo it, so this runs
in a pod of the newer one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from todo_backend.database import Database
from todo_backend.settings import Settings, SettingsError


def main(words: Sequence[str], env: Mapping[str, str]) -> int:
    """0 when the schema is at the revision; 2 for wrong words, settings or revisions, with nothing changed."""
    from alembic.util import CommandError

    if len(words) != 1 or words[0].startswith("-"):
        print("usage: python -m todo_backend.stepback REVISION (base: before the first migration)", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_env(env)
    except SettingsError as error:
        print(f"todo-backend: {error}", file=sys.stderr)
        return 2
    database = Database(settings.database_url)
    try:
        before, now = database.step_back(words[0])
    except CommandError as error:
        print(f"todo-backend: {error}", file=sys.stderr)
        return 2
    finally:
        database.close()
    print(f"the schema was at {before or 'nothing'} and is at {now or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
