"""As many applications as fit on the cluster at the same time, and the tool's own words on those that do not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from bench.topologies.application import Application, Broken, Object, everything
from bench.topologies.journey import SMALL, left_behind
from deployer import composition
from deployer.commands.connection import see_cluster
from deployer.commands.validate import offline_plan
from deployer.config.load import profile_names
from deployer.preflight.gather import Target, gather
from deployer.preflight.rules import capacity
from deployer.sources import load
from tests.cluster import ensure_addons

_CODES = {"CAPACITY", "LIMIT_SHARE"}


@dataclass(slots=True)
class Together:
    """Which applications run side by side, the tool's words on those that it refused, and what was wrong."""

    within: list[str] = field(default_factory=list)
    """Within the share of limits that the documents allow (`rules.capacity: strict`)."""
    running: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    urls: int = 0
    shares: str = ""
    problems: list[str] = field(default_factory=list)


def all_at_once(apps: Sequence[Application]) -> Together:
    """The applications, those that request the least first, are started as long as they fit; then all are removed.

    Under their profiles for small machines, where they have one: as many as possible are to fit. Each is tried within
    the documents' share of limits first, then without. A problem is: a refusal for another reason than capacity, an
    address that does not answer while all of them run, or something that is left behind.
    """
    result = Together()
    apps = [replace(app, profile=SMALL) if SMALL in profile_names(app.spec) else app for app in apps]
    for app in apps:
        app.run("secrets", "init")  # refused where there is an env file already
        app.data("down", "--volumes", "--yes")
    ensure_addons(sorted({addon for app in apps for addon in app.loaded.spec.cluster.addons}))
    before = everything(apps[0].project)
    running: list[tuple[Application, Object]] = []
    try:
        for app in sorted(apps, key=requested):
            data = _started(app, result)
            if data is not None:
                running.append((app, data))
        for app, data in running:
            result.urls += app.check_urls(data)
            if app.data("up")[1]["changed"]:
                result.problems.append(f"{app.name}: another application changed something of it")
        result.shares = limit_shares(running[-1][0]) if running else ""
    except (Broken, OSError) as error:
        result.problems.append(str(error))
    finally:
        for app in reversed(apps):  # also those that failed midway
            app.run("down", "--volumes", "--yes")
    left = left_behind(apps[0], before)
    result.problems += [f"left behind: {', '.join(sorted(left))}"] if left else []
    return result


def _started(app: Application, result: Together) -> Object | None:
    """The data of an `up` that ended well; None where the application was refused or failed, which is noted."""
    done, document = app.run_json("up", "--set", "rules.capacity=strict")
    codes = {one["code"] for one in document["errors"]}
    words = "\n".join(f"{one['code']}: {one['title']}\n{one['detail']}" for one in document["errors"])
    if done.returncode == 0:
        result.within.append(app.name)
    elif codes <= _CODES:
        result.refused.append((app.name, words))
        _show(f"{app.name}: refused\n{words}")
        if codes == {"LIMIT_SHARE"}:
            done, document = app.run_json("up")
    if done.returncode == 0:
        result.running.append(app.name)
        _show(f"{app.name}: runs, {done.seconds:.0f} s")
        data: Object = document["data"]
        return data
    if not {one["code"] for one in document["errors"]} <= _CODES:
        result.problems.append(f"{app.name}: {words}")
        _show(result.problems[-1])
    return None


def requested(app: Application) -> Fraction:
    """The CPU that its pods request together, as the tool's own rule counts it."""
    here = composition.this_machine()
    loaded = app.loaded
    env = load.values_of(load.load_env(loaded)) or load.example_values(loaded)
    seen = see_cluster(loaded, here)
    assert seen.toolchain is not None, "the cluster of the tests runs, so its toolchain is known"
    plan = offline_plan(loaded, env, {}, here)
    helm = composition.open_helm(here, loaded.spec.cluster, seen.toolchain, seen.facts)
    subject = gather(loaded, plan, Target(composition.host(), here.cache_dir, helm), thorough=False)
    return sum((one.pods * one.one.get("cpu", Fraction(0)) for one in capacity.loads(subject)), Fraction(0))


def limit_shares(app: Application) -> str:
    """What the tool says of the limits of everything that runs now, from where this application stands."""
    findings = app.run_json("validate")[1]["data"]["findings"]
    return "\n".join(f"{one['title']}\n{one['detail']}" for one in findings if one["rule"] == "LIMIT_SHARE")


def _show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
