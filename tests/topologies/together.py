"""As many applications as fit on the cluster at the same time, and the tool's own words on those that do not."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from deployer import inputs, validation, world
from deployer.opening import see_cluster
from deployer.rules import capacity
from deployer.rules.quantities import shown
from deployer.specfile import profile_names
from tests.topologies.application import Application, Broken, everything
from tests.topologies.journey import SMALL, left_behind

_CODES = {"CAPACITY", "LIMIT_SHARE"}


@dataclass(frozen=True, slots=True)
class Together:
    """Which applications run side by side, why the others were refused, and what was wrong."""

    running: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    urls: int
    limits: str
    problems: tuple[str, ...]


def all_at_once(apps: Sequence[Application]) -> Together:
    """The applications, those that request the least first, are started as long as they fit; then all are removed.

    Under their profiles for small machines, where they have one: as many as possible are to fit.

    A problem is: a refusal for another reason than capacity, an address that does not answer while all of them
    run, or something that is left behind.
    """
    problems: list[str] = []
    apps = [replace(app, profile=SMALL) if SMALL in profile_names(app.spec) else app for app in apps]
    for app in apps:
        app.data("down", "--volumes", "--yes")
    before = everything(apps[0].project)
    running: list[tuple[Application, dict[str, object]]] = []
    refused: list[tuple[str, str]] = []
    urls = 0
    try:
        for app in sorted(apps, key=requested):
            done, document = app.told("up")
            errors = document["errors"]
            if done.returncode == 0:
                running.append((app, document["data"]))
                _tell(f"{app.name}: runs, {done.seconds:.0f} s")
            elif errors and {one["code"] for one in errors} <= _CODES:
                words = "\n".join(f"{one['code']}: {one['title']}\n{one['detail']}" for one in errors)
                refused.append((app.name, words))
                _tell(f"{app.name}: refused\n{words}")
            else:
                problems.append(f"{app.name}: " + "; ".join(f"{one['code']} {one['title']}" for one in errors))
                _tell(problems[-1])
        for app, data in running:
            urls += app.check_urls(data)
            again = app.data("up")[1]
            if again["changed"]:
                problems.append(f"{app.name}: another application changed something of it")
    except (Broken, OSError) as error:
        problems.append(str(error))
    finally:
        limits = limit_line(apps[0])
        for app, _ in reversed(running):
            app.run("down", "--volumes", "--yes")
    left = left_behind(apps[0], before)
    problems += [f"left behind: {', '.join(sorted(left))}"] if left else []
    return Together(tuple(app.name for app, _ in running), tuple(refused), urls, limits, tuple(problems))


def requested(app: Application) -> Fraction:
    """The CPU that its pods request together, as the tool's own rule counts it."""
    here = world.this_world()
    loaded = app.loaded
    env = inputs.values_of(inputs.load_env(loaded)) or inputs.example_values(loaded)
    seen = see_cluster(loaded, here)
    assert seen.toolchain is not None, "the cluster of the tests runs, so its toolchain is known"
    plan = validation.offline_plan(loaded, env, {}, here)
    helm = world.open_helm(here, loaded.spec.cluster, seen.toolchain, seen.facts)
    subject = validation.gather(loaded, plan, helm, None, here, thorough=False)
    return sum((one.pods * one.one.get("cpu", Fraction(0)) for one in capacity.loads(subject)), Fraction(0))


def limit_line(app: Application) -> str:
    """What all pods of the node request and may use together, as the node itself counts it."""
    pods = json.loads(app.project.kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]
    (node,) = json.loads(app.project.kubectl("get", "nodes", "-o", "json"))["items"]
    has = capacity.amounts(node["status"]["allocatable"])
    told = []
    for field in ("requests", "limits"):
        total = {"cpu": Fraction(0), "memory": Fraction(0)}
        for pod in pods:
            if pod["metadata"]["namespace"] == "kube-system" and field == "limits":
                continue
            found = capacity.pod_sum(pod["spec"], field)
            total = {key: total[key] + found.get(key, Fraction(0)) for key in total}
        told += [f"{field} {shown(total[key], key)} of {shown(has[key], key)} {key}" for key in total]
    return "; ".join(told)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
