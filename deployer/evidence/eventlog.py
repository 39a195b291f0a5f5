"""Kubernetes' events as the table that `kubectl get events` prints, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployer.core.text import one_line, table_lines
from deployer.diagnosis.finding import event_time, first_time
from deployer.status import Object
from deployer.status.objects import dig, number

_HEAD = ("SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")


def sorted_events(events: Iterable[Object]) -> tuple[Object, ...]:
    """The events by the time at which they last happened."""
    return tuple(sorted(events, key=lambda event: (event_time(event) or 0.0, first_time([event]) or 0.0)))


def event_lines(events: Sequence[Object], *, about: bool = True) -> list[str]:
    """One aligned line an event, with its count; `about` names the object."""
    rows = [_HEAD, *(_row(event) for event in sorted_events(events))]
    if len(rows) == 1:
        return ["no events"]
    return table_lines([row if about else (*row[:3], row[4]) for row in rows])


def clock_time(stamp: object) -> str:
    """The time of day of a Kubernetes timestamp, in UTC as it is written."""
    text = str(stamp or "")
    return text[11:19] if len(text) >= 19 else "?"


def _row(event: Object) -> tuple[str, ...]:
    stamp = (
        dig(event, "series", "lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or dig(event, "metadata", "creationTimestamp")
    )
    count = max(number(event, "count", default=1), number(event, "series", "count", default=1))
    first = event.get("firstTimestamp")
    again = f" (x{count} since {clock_time(first)})" if count > 1 and first else f" (x{count})" if count > 1 else ""
    who = dig(event, "involvedObject") or dig(event, "regarding") or {}
    name = f"{str(who.get('kind', '?')).lower()}/{who.get('name', '?')}"
    return (
        clock_time(stamp),
        str(event.get("type") or "?"),
        str(event.get("reason") or "?"),
        name,
        one_line(event.get("message") or event.get("note") or "", 1000) + again,
    )
