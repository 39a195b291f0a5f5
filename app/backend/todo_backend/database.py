"""The connection pool and the schema's state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

# Worker threads and connections are sized together: a request never waits for the pool, and ten replicas
# (the most any deployment asks for) stay below PostgreSQL's default of 100 connections.
WORKER_THREADS = 8
POOL_SIZE, POOL_OVERFLOW = 5, 4

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x70D0  # any constant; all replicas must agree on it
LOCK_TIMEOUT = "30s"


class Database:
    """One engine, its sessions, and the migrations that belong to this version of the code."""

    def __init__(self, url: URL) -> None:
        self.engine = _engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._migrate_once = threading.Lock()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        with self._sessions.begin() as session:
            yield session

    def migrate(self) -> None:
        """The schema is at this code's head, or ahead of it; whichever replica came first has done the work.

        A schema that is ahead belongs to a newer release that was rolled back. Migrations only ever add,
        so the older code can work with it, and must: a rollback that refuses to start is no rollback.
        """
        with self._migrating() as connection:
            if self._behind(connection):
                from alembic import command

                command.upgrade(_config(connection), "head")

    def step_back(self, revision: str) -> tuple[str | None, str | None]:
        """The schema is at that earlier revision, without what later ones added; what it was at and is at now.

        Raises alembic.util.CommandError for a revision that this code does not know.
        """
        from alembic import command

        with self._migrating() as connection:
            before = _revision(connection)
            command.downgrade(_config(connection), revision)
            return before, _revision(connection)

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        """A transaction in which nobody else changes the schema."""
        with self._migrate_once, self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Held until the transaction ends, so a killed replica cannot leave it behind, and
                # a transaction-pooling proxy in front of the database does no harm.
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            yield connection

    def problem(self) -> str | None:
        """Why the database cannot serve this code, or None. Raises what the driver raises."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            if self._behind(connection):
                found, wanted = _revision(connection) or "nothing", known_revisions()[-1]
                return f"the schema is at {found}, this version needs {wanted}"
        return None

    def close(self) -> None:
        self.engine.dispose()

    @staticmethod
    def _behind(connection: Connection) -> bool:
        revision = _revision(connection)
        return revision is None or revision in known_revisions()[:-1]


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions that this version of the code knows, the newest last.

    By the names of their files: to import Alembic takes longer than all else of a start, and mostly nothing is to do.
    """
    return tuple(sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")))


def _config(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    """The revision the database says it is at; None before the first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _engine(url: URL) -> Engine:
    # hide_parameters: an error's message must not print password hashes and e-mail addresses.
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"check_same_thread": False}
        if url.database in (None, "", ":memory:"):
            options["poolclass"] = StaticPool
        engine = create_engine(url, **options)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
        return engine
    return create_engine(
        url,
        **options,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_pre_ping=True,
        pool_recycle=300,
        # A dead peer is noticed within seconds; no server-side prepared statements, which
        # transaction-pooling proxies (Neon's among them) cannot keep.
        connect_args={"connect_timeout": 2, "tcp_user_timeout": 5000, "prepare_threshold": None},
    )
