"""`python -m todo_backend`: serves until SIGTERM, then drains."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from types import FrameType

import uvicorn

from todo_backend import __version__, logs
from todo_backend.app import create_app
from todo_backend.lifecycle import Lifecycle
from todo_backend.settings import MIN_SECRET_LENGTH, Settings, SettingsError

GRACE_SECONDS = 20  # for requests in flight; with the drain it stays below Kubernetes' 30 s

log = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """Keeps serving for a while after SIGTERM, but no longer ready, so that nobody is sent to a closed port."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM drains; any other or further signal stops at once."""
        if sig != signal.SIGTERM or self._lifecycle.draining:
            return super().handle_exit(sig, frame)
        self._lifecycle.draining = True
        log.info("SIGTERM: not ready any more, closing in %g s", self._drain_seconds)
        # Deliberately not super().handle_exit later: it would have uvicorn raise the signal again and exit with 143.
        asyncio.get_running_loop().call_later(self._drain_seconds, self._close)

    def _close(self) -> None:
        self.should_exit = True


def main() -> int:
    """0 after a clean shutdown, 2 when the settings are wrong."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(f"todo-backend: {error}", file=sys.stderr)
        return 2
    logs.configure(settings.log_level, settings.secrets)
    log.info(
        "todo-backend %s: %s, provider %s",
        __version__,
        settings.environment,
        settings.provider.name if settings.provider else "none (grammar)",
    )
    if len(settings.auth_secret) < MIN_SECRET_LENGTH:
        log.warning("BETTER_AUTH_SECRET is shorter than %d characters; production refuses it", MIN_SECRET_LENGTH)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    DrainingServer(config, app.state.lifecycle, settings.drain_seconds).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
