"""Progress as JSON lines: the events' wire form, each with the time it was told (no rich)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from deployer.core.events import Event, to_wire
from deployer.core.steps import Clock
from deployer.ui.text import Lines


class JsonlSink:
    """Every event is one line of JSON on the stream, flushed at once."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._lines = Lines(stream)
        self._clock = clock

    def __enter__(self) -> JsonlSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds")
        wire = to_wire(event)
        head = {"v": wire.pop("v"), "type": wire.pop("type"), "at": at.replace("+00:00", "Z")}
        self._lines.write(json.dumps({**head, **wire}))
