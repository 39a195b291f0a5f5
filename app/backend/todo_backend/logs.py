"""Logging to stdout that cannot print a secret."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

# Probes ask every few seconds; their answers matter only when they change, and the kubelet reports that.
PROBE_PATHS = ("/health", "/ready", "/startup")


class RedactingFormatter(logging.Formatter):
    """Formats a record, traceback included, with every known secret replaced by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line


class QuietProbes(logging.Filter):
    """Drops access-log lines of the health routes."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        path = str(args[2]).split("?")[0] if isinstance(args, tuple) and len(args) > 2 else ""
        return not path.endswith(PROBE_PATHS)


def configure(level: str, secrets: Iterable[str]) -> None:
    """All loggers write to stdout through one redacting handler, from `level` up."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(RedactingFormatter(secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    access = logging.getLogger("uvicorn.access")
    for old in [f for f in access.filters if isinstance(f, QuietProbes)]:
        access.removeFilter(old)
    if level != "DEBUG":
        access.addFilter(QuietProbes())
    # Their DEBUG lines carry request headers; their INFO lines repeat our own.
    for name in ("httpx", "httpcore", "mcp"):
        logging.getLogger(name).setLevel(logging.WARNING)
