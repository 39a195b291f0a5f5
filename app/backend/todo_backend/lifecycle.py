"""Where the process is in its life, and the background task that brings it to `migrated`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import OperationalError

from todo_backend.database import Database

log = logging.getLogger(__name__)

READY_TIMEOUT = 2.0  # below the probes' own three seconds, so that the reason is told and not a time-out


class Lifecycle:
    """starting → migrated → draining. Only `migrated` and not `draining` serves traffic."""

    def __init__(self, database: Database) -> None:
        self.migrated = False
        self.draining = False
        self.reason = "starting: the migrations have not run yet"
        self._database = database
        # One thread of its own: requests cannot starve the probe, and a database that hangs costs one thread, not all.
        self._prober = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ready")
        self._probe: asyncio.Future[str | None] | None = None

    async def migrate(self) -> None:
        """Returns once the schema fits; until then tries again, for ever, a second apart at most."""
        for delay in backoff():
            try:
                await asyncio.to_thread(self._database.migrate)
            except OperationalError as error:
                self.reason = "waiting for the database"
                log.warning("%s: %s (next try in %.2g s)", self.reason, first_line(error), delay)
            except Exception:
                self.reason = "the migrations failed; the log has the traceback"
                log.exception("migrations failed (next try in %.2g s)", delay)
            else:
                self.migrated = True
                self.reason = ""
                log.info("the schema is up to date")
                return
            await asyncio.sleep(delay)

    async def not_ready(self) -> str | None:
        """Why no traffic should come here, or None. Answers within READY_TIMEOUT whatever the database does."""
        if self.draining:
            return "shutting down"
        if not self.migrated:
            return self.reason
        loop = asyncio.get_running_loop()
        if self._probe is None or self._probe.done():
            self._probe = loop.run_in_executor(self._prober, self._database_problem)
        try:
            return await asyncio.wait_for(asyncio.shield(self._probe), READY_TIMEOUT)
        except TimeoutError:
            return f"the database did not answer within {READY_TIMEOUT:g} s"

    def close(self) -> None:
        self._prober.shutdown(wait=False, cancel_futures=True)

    def _database_problem(self) -> str | None:
        try:
            return self._database.problem()
        except Exception as error:
            # Probes answer anybody, and a driver names hosts, roles and addresses.
            log.warning("the database cannot be asked: %s", first_line(error))
            return "the database cannot be asked"


def backoff(first: float = 0.2, limit: float = 1.0) -> Iterator[float]:
    """Delays that double from `first` up to `limit`, without end."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 2, limit)


def first_line(error: Exception) -> str:
    """The driver's own words, short enough for a line of the log."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
