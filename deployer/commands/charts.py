"""Charts in registries and repositories: fetched into the cache, pinned in the lock file, offline from then on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deployer.commands import connection
from deployer.composition import Machine, Run
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, Problem, input_error, machine_error
from deployer.core.events import Event, Item, ItemState, Warned
from deployer.core.steps import Outcome, Steps, drive, merge
from deployer.helm.pull import Fetching, fetch
from deployer.sources import load
from deployer.sources.charts import STAGE, Dependency
from deployer.sources.pins import UPDATE, Key, Pin, Pins, lock_file, read_lock, write_lock
from deployer.toolchain import Toolchain

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Change:
    """A chart that `update` pinned: its version before, empty for a new one, and now; one that is gone has no `now`."""

    name: str
    repository: str
    requested: str
    before: str
    now: str


def ensure_charts(run: Run, tools: Toolchain) -> Steps[Outcome[Run]]:
    """Every chart of the run is in the cache, and pinned in the lock file."""
    loaded = yield from resolved(run.loaded, run.machine, tools)
    path = lock_file(loaded.path)
    before = read_lock(path)
    pins = {**before, **(loaded.pins or {})}
    try:
        changed = write_lock(path, pins)
    except OSError as error:
        yield Warned(Problem(
            "LOCK_UNWRITTEN", f"cannot write `{path.name}`: the versions of charts are not pinned",
            detail=error.strerror or "", where=str(path), hints=(f"{UPDATE}, where the folder can be written",),
        ))  # fmt: skip
        changed = False
    for key, pin in (loaded.pins or {}).items():
        state = ItemState.UNCHANGED if before.get(key) == pin else ItemState.DONE
        yield Item(STAGE, pin.name, state, pin.version)
    text = f"pinned in {path.name}" if changed else "unchanged"
    return Outcome(replace(run, loaded=loaded), False, text)


def unseen(event: Event) -> None:
    """No event is reported."""


def ready(loaded: LoadedSpec, here: Machine, report: Callable[[Event], None] = unseen) -> LoadedSpec:
    """The spec whose charts are all in the cache; the lock file stays as it is."""
    return drive(resolved(loaded, here, connection.known_tools(here)), report)


def resolved(
    loaded: LoadedSpec, here: Machine, tools: Toolchain | None, renew: Collection[str] | None = None
) -> Steps[LoadedSpec]:
    """The spec with what each chart that it fetches is pinned to; their archives are in the cache.

    `renew`: the names of charts whose pins do not count; empty for all. Input error as of `fetch`.
    """
    known = load.known_pins(loaded)
    kept = {key: pin for key, pin in known.items() if renew is None or (renew and pin.name not in renew)}
    certificates, plain = load.ca_certificates(loaded), loaded.spec.build.plain_http
    pins = yield from fetched(load.fetched_charts(loaded), kept, here, tools, certificates, plain)
    _check_digests(loaded, pins)
    return replace(loaded, pins=pins)


def fetched(
    wanted: Sequence[Dependency], kept: Pins, here: Machine, tools: Toolchain | None, certificates: str = "",
    plain_http: tuple[str, ...] = (),
) -> Steps[Pins]:  # fmt: skip
    """What each of the charts is pinned to, as in `kept` where that has it; their archives are in the cache.

    `certificates`: further CA certificates (PEM); `plain_http`: registries that speak no TLS.
    """
    cache = here.cache_dir / "charts"
    by_key = {one.key: one for one in wanted}
    lacking = {key: one for key, one in by_key.items() if key not in kept or not kept[key].is_cached(cache)}
    if not lacking:
        return {key: kept[key] for key in by_key}
    first = next(iter(lacking.values()))
    if tools is None or not tools.helm.is_file():
        raise machine_error(
            "HELM_MISSING", f"the chart `{first.name}` is fetched by helm, which is not on this machine yet",
            where=first.where, hints=("todo-deploy doctor --fix, which gets the toolchain",),
        )  # fmt: skip
    how = Fetching(tools.helm, cache, certificates, plain_http)
    works = {key: partial(fetch, one, kept.get(key), how) for key, one in lacking.items()}
    found: dict[Key, Pin] = yield from merge(works, _AT_ONCE)
    return {key: found.get(key) or kept[key] for key in by_key}


def update(specs: Sequence[LoadedSpec], here: Machine, names: Collection[str]) -> Steps[tuple[Change, ...]]:
    """The lock file has the newest versions that the specs, which are profiles of one, allow; returns what changed.

    `names`: only these charts; input error for one that is not fetched.
    """
    path = lock_file(specs[0].path)
    before = _readable(path)
    pins: dict[Key, Pin] = {}
    for loaded in specs:
        found = yield from resolved(replace(loaded, pins=before), here, connection.known_tools(here), frozenset(names))
        pins |= found.pins or {}
    for name in names:
        if name not in {pin.name for pin in pins.values()}:
            raise input_error(
                "SERVICE_UNKNOWN", f"no chart `{name}` is fetched",
                detail="fetched are: " + (", ".join(sorted({pin.name for pin in pins.values()})) or "none"),
                hints=(UPDATE,),
            )  # fmt: skip
    write_lock(path, pins)
    return tuple(_changes(before, pins))


def _readable(path: Path) -> Pins:
    """What the lock file pins; nothing where it cannot be used, for it is written anew."""
    try:
        return read_lock(path)
    except DeployError as error:
        if error.problems[0].code != "LOCK_INVALID":
            raise
        return {}


def _changes(before: Mapping[Key, Pin], now: Mapping[Key, Pin]) -> list[Change]:
    found = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old != new:
            one = new or old
            assert one is not None
            versions = (old.version if old else "", new.version if new else "")
            found.append(Change(one.name, one.repository, one.requested, *versions))
    return found


def _check_digests(loaded: LoadedSpec, pins: Pins) -> None:
    """What the spec says that a chart must be, it is."""
    for name, release in loaded.spec.releases.items():
        if release.digest is None:
            continue
        pin = pins[load.addressed(loaded, name).key]
        if release.digest not in (pin.digest, pin.manifest):
            shown = f"; its manifest is {pin.manifest}" if pin.manifest else ""
            raise input_error(
                "CHART_DIGEST", f"release `{name}`: {pin.name} {pin.version} has another digest than the spec says",
                detail=f"its archive is {pin.digest}{shown}", where=str(loaded.origin("releases", name, "digest")),
                hints=("correct releases.*.digest, or ask the repository's maintainers why the chart changed",),
            )  # fmt: skip
