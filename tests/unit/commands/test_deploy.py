"""From a plan to a verdict: what is applied, what the record learns of it, and what is never shown."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from deployer.commands.deploy import (
    Asked,
    Deployed,
    RolloutFailed,
    Serving,
    deploy,
    verified,
)
from deployer.commands.planning import Planned, ensure_record
from deployer.config.spec import FailFast
from deployer.core.errors import ExitCode
from deployer.core.events import Event, StageFinished, StageStarted, to_wire
from deployer.core.ports import ObjectRef, PodAnswer
from deployer.core.steps import Steps
from deployer.helm import storage
from deployer.plan import CorsPlan, ImagePlan, ImageSource, Plan, ReleasePlan, SecretPlan, UrlPlan
from deployer.plan.tags import Commit
from deployer.rollout.stage import Limits
from deployer.stages.secrets import ensure_secrets
from deployer.state import history
from deployer.state.history import KeptSecretRef
from deployer.state.record import Record, load, new_record
from tests.fakes import FakeClock, FakeKube
from tests.fakes.cluster import RUNNING
from tests.fakes.play import code, failed, items, played
from tests.fakes.scene import BACK_OFF, LivingHelm, connected
from tests.fakes.workloads import show

CANARY = "kq/canary+7f3=?&"
HERE = Path("api")
JUDGING = Limits(60.0, 0.0, FailFast.BALANCED)


def image(tag: str) -> ImagePlan:
    source = ImageSource(f"digest-{tag}", {})
    return ImagePlan("api", "shop/api", tag, HERE, HERE / "Dockerfile", {}, (), None, {}, "1m", source)


def secret(value: str) -> SecretPlan:
    return SecretPlan(
        "app", "default", f"app-{len(value)}", "app", "Opaque", {}, "sum", {"TOKEN": "x"}, {"TOKEN": value}
    )


def release(name: str, version: str, *needs: str, timeout: float = 60.0) -> ReleasePlan:
    return ReleasePlan(name, "default", Path("chart"), {"version": version}, f"{name}-{version}", ("api",), ("app",),
                       needs, timeout)  # fmt: skip


def plan(version: str, *releases: ReleasePlan, namespace: str = "default", urls: tuple[UrlPlan, ...] = ()) -> Plan:
    return Plan("shop", namespace, (image(version),), (secret(CANARY),), releases or (release("web", version),), urls)


@dataclass
class Shop:
    """An application and the cluster it is deployed to."""

    kube: FakeKube = field(default_factory=lambda: FakeKube(FakeClock()))
    helm: LivingHelm = field(init=False)

    def __post_init__(self) -> None:
        self.helm = LivingHelm(self.kube)

    @property
    def clock(self) -> FakeClock:
        return self.kube.clock

    @property
    def record(self) -> Record:
        return load(self.kube, "default", "shop")

    def planned(self, wanted: Plan, commit: Commit | None = None) -> Planned:
        known = load(self.kube, wanted.namespace, "shop")
        return played(ensure_record(Planned(wanted, known, commit), self.kube))[1]

    def deploy(self, wanted: Plan, run: str = "run-1", commit: Commit | None = None) -> Deployed:
        on = connected(self.kube, self.helm, run=run)
        return played(deploy(on, self.planned(wanted, commit), JUDGING))[1].value

    def settling(
        self, deployed: Deployed, urls: tuple[UrlPlan, ...] = (), hold: float = 5.0, cors: tuple[CorsPlan, ...] = ()
    ) -> Steps[Serving]:
        limits, since = Limits(60.0, hold, FailFast.BALANCED), self.clock.now()
        on = connected(self.kube, self.helm, replace(RUNNING, node_ip="127.0.0.1"))
        return (yield from verified(on, deployed, limits, since, Asked(urls, cors)))

    def up(self, version: str) -> list[Event]:
        return played(self.settling(self.deploy(plan(version))))[0]

    def revision(self, number: int) -> tuple[str, str, str]:
        """A Helm revision's status, verdict and description."""
        stored = self.kube.get("Secret", "default", storage.secret_name("web", number))
        assert stored is not None
        (one,) = storage.revisions([stored], "web")
        return one.status, one.verdict, storage.decode(stored)["info"]["description"]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def held(events: list[Event]) -> str:
    """What the stage of stability said at its end."""
    (end,) = [one for one in events if isinstance(one, StageFinished) and one.stage == "stability"]
    return end.text


def stages(events: list[Event]) -> list[str]:
    return [one.stage for one in events if isinstance(one, StageStarted)]


def test_an_application_gets_its_namespace_and_its_record_once(shop: Shop) -> None:
    fresh = Planned(plan("1", namespace="shop"), new_record(), None)
    events, known = played(ensure_record(fresh, shop.kube))
    assert ("namespace shop", "done", "created") in items(events)
    stored = load(shop.kube, "shop", "shop")
    assert (stored.salt, stored.version) == (fresh.record.salt, known.record.version)
    shop.kube.writes.clear()
    events, again = played(ensure_record(known, shop.kube))
    assert (events, again, shop.kube.writes) == ([], known, [])


def test_two_first_runs_do_not_take_each_others_record_away(shop: Shop) -> None:
    played(ensure_record(Planned(plan("1"), new_record(), None), shop.kube))
    before = shop.record.salt
    _, error = failed(ensure_record(Planned(plan("1"), new_record(), None), shop.kube))
    assert (error.exit_code, shop.record.salt) == (ExitCode.REFUSED, before)


def test_the_record_learns_objects_tags_and_a_revision(shop: Shop) -> None:
    shop.deploy(plan("1"), "run-7", Commit("abc", False))
    known = shop.record
    web = known.releases["web"]
    assert (web.revision, web.inputs) == (1, "web-1")
    assert set(web.objects) == {ObjectRef("Deployment", "default", "web"), ObjectRef("ConfigMap", "default", "web")}
    assert known.tags == {"shop/api": {"1": "digest-1"}}
    (entry,) = known.history
    assert (entry.number, entry.run, entry.verdict, entry.why) == (1, "run-7", "unfinished", "web: first install")
    assert (entry.commit, entry.dirty, entry.images, entry.releases) == ("abc", True, {"api": "shop/api:1"}, {"web": 1})
    assert entry.secrets == (KeptSecretRef("default", "app", secret(CANARY).copy),)


def test_what_was_deployed_already_is_not_written_again(shop: Shop) -> None:
    first = shop.deploy(plan("1"))
    shop.kube.writes.clear()
    again = shop.deploy(plan("1"), "run-2")
    assert shop.kube.writes == []
    assert [one.changed for one in again.releases] == [False]
    assert (again.record, len(shop.helm.requests)) == (first.record, 1)


def test_a_new_tag_alone_is_remembered_but_is_no_revision(shop: Shop) -> None:
    shop.deploy(plan("1"))
    shop.deploy(replace(plan("1"), images=(image("2"),)), "run-2")
    assert shop.record.tags == {"shop/api": {"1": "digest-1", "2": "digest-2"}}
    assert [one.run for one in shop.record.history] == ["run-1"]


def test_a_release_waits_for_those_it_needs(shop: Shop) -> None:
    planned = shop.planned(plan("1", release("web", "1", "db"), release("db", "slow")))
    shop.helm.slow = {"slow"}
    applied: list[list[str]] = []

    def ready() -> None:
        applied.append([one.release for one in shop.helm.requests])
        show(shop.kube, "db")

    shop.clock.at(20, ready)
    _, outcome = played(deploy(connected(shop.kube, shop.helm), planned, JUDGING))
    assert applied == [["db"]]
    assert [one.release for one in shop.helm.requests] == ["db", "web"]
    assert {one.name: one.revision for one in outcome.value.releases} == {"db": 1, "web": 1}


def test_a_release_is_not_touched_when_what_it_needs_fails(shop: Shop) -> None:
    shop.helm.broken = {"bad"}
    planned = shop.planned(plan("1", release("db", "bad"), release("web", "1", "db")))
    _, error = failed(deploy(connected(shop.kube, shop.helm), planned, JUDGING))
    assert [one.release for one in shop.helm.requests] == ["db"]
    assert (code(error), error.exit_code) == ("CRASH_LOOP", ExitCode.NOTHING_SERVES)
    assert isinstance(error, RolloutFailed)
    (entry,) = shop.record.history
    assert (entry.verdict, entry.releases) == ("failed", {"db": 1})
    assert entry.cause.startswith("CRASH_LOOP")


def test_a_stable_rollout_is_verified_in_helm_and_in_the_history(shop: Shop) -> None:
    events = shop.up("1")
    assert stages(events) == ["rollout", "urls", "stability"]
    assert held(events) == "1 workload available, 1/1 pods ready"
    assert 5 <= shop.clock.elapsed < 8
    assert shop.revision(1)[:2] == ("deployed", "verified")
    (entry,) = shop.record.history
    assert (entry.verdict, entry.cause) == ("verified", "")
    assert entry.seconds == pytest.approx(shop.clock.elapsed, abs=0.1)


def test_nothing_is_verified_before_it_was_held(shop: Shop) -> None:
    deployed = shop.deploy(plan("1"))
    shop.clock.at(2, lambda: seen.append((shop.revision(1)[1], shop.record.history[-1].verdict)))
    seen: list[tuple[str, str]] = []
    played(shop.settling(deployed))
    assert seen == [("unfinished", "unfinished")]


def test_a_failed_rollout_is_reported_by_helm_and_by_the_history(shop: Shop) -> None:
    shop.up("1")
    shop.helm.broken = {"2"}
    _, error = failed(shop.settling(shop.deploy(plan("2"), "run-2")))
    assert isinstance(error, RolloutFailed)
    assert (code(error), error.exit_code) == ("CRASH_LOOP", ExitCode.NOTHING_SERVES)
    status, verdict, description = shop.revision(2)
    assert (status, verdict) == ("failed", "failed")
    assert description == f"CRASH_LOOP: {error.problems[0].title}"
    assert shop.revision(1)[1] == "verified"
    assert [(one.verdict, one.cause) for one in shop.record.history] == [("verified", ""), ("failed", "CRASH_LOOP")]


def test_a_failure_while_it_is_held_is_a_failure(shop: Shop) -> None:
    deployed = shop.deploy(plan("1"))
    shop.clock.at(2, lambda: show(shop.kube, "web", ready=False, restarts=3, waiting=BACK_OFF, crashed=1))
    events, error = failed(shop.settling(deployed))
    assert isinstance(error, RolloutFailed)
    assert stages(events) == ["rollout", "urls", "stability"]
    assert shop.record.history[-1].verdict == "failed"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_url_that_does_not_answer_fails_the_revision(shop: Shop) -> None:
    ports = [{"name": "http", "port": 80, "nodePort": closed_port()}]
    shop.kube.put({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
                   "spec": {"type": "NodePort", "ports": ports}})  # fmt: skip
    url = UrlPlan("web", "default", "web", None, None, "/", 200, True)
    events, error = failed(shop.settling(shop.deploy(plan("1")), (url,)))
    assert isinstance(error, RolloutFailed)
    assert (code(error), stages(events)) == ("URL_FAILED", ["rollout", "urls"])
    assert shop.revision(1)[:2] == ("failed", "failed")
    assert (shop.record.history[-1].verdict, shop.record.history[-1].cause) == ("failed", "URL_FAILED")


def test_a_service_that_refuses_an_origin_fails_the_revision_and_is_asked_only_after_a_change(shop: Shop) -> None:
    labels = {"kubernetes.io/service-name": "web"}
    ready = {"targetRef": {"kind": "Pod", "name": "web-0"}, "conditions": {"ready": True}}
    shop.kube.put({"kind": "EndpointSlice", "metadata": {"name": "web-1", "namespace": "default", "labels": labels},
                   "ports": [{"port": 8000}], "endpoints": [ready]})  # fmt: skip
    asked: list[str] = []
    shop.kube.pod_servers["default", "web-0", 8000] = lambda method, *_: (asked.append(method), PodAnswer(400, {}))[1]
    cors = (CorsPlan("web", "default", "web", None, "/", ("http://localhost:3000",), (), "values.origins"),)
    events, error = failed(shop.settling(shop.deploy(plan("1")), cors=cors))
    assert (code(error), stages(events)) == ("CORS_REFUSED", ["rollout", "urls", "stability"])
    assert (shop.record.history[-1].verdict, asked) == ("failed", ["OPTIONS"])
    shop.up("2")
    played(shop.settling(shop.deploy(plan("2")), cors=cors))
    assert asked == ["OPTIONS"]


def test_what_was_verified_and_did_not_change_is_not_held_again(shop: Shop) -> None:
    shop.up("1")
    shop.kube.writes.clear()
    before = shop.clock.elapsed
    assert held(shop.up("1")) == "was verified before"
    assert (shop.clock.elapsed, shop.kube.writes) == (before, [])


def test_an_unfinished_revision_is_held_and_verified_by_the_next_run(shop: Shop) -> None:
    shop.deploy(plan("1"))  # and the run ended there
    before = shop.clock.elapsed
    shop.up("1")
    assert shop.clock.elapsed - before >= 5
    assert (len(shop.helm.requests), shop.revision(1)[1]) == (1, "verified")
    assert [one.verdict for one in shop.record.history] == ["verified"]


def test_an_unfinished_revision_that_fails_is_made_anew_once_it_is_healed(shop: Shop) -> None:
    shop.helm.broken = {"1"}
    shop.deploy(plan("1"))  # and the run ended there
    failed(shop.settling(shop.deploy(plan("1"), "run-2")))
    assert shop.revision(1)[:2] == ("failed", "failed")
    shop.helm.broken = set()
    shop.up("1")
    assert shop.revision(2)[:2] == ("deployed", "verified")
    assert [one.verdict for one in shop.record.history] == ["failed", "verified"]


def test_a_failure_of_the_surroundings_leaves_the_verdict_of_before(shop: Shop) -> None:
    shop.up("1")
    show(shop.kube, "web", ready=False, waiting=("ErrImageNeverPull", "not present with pull policy of Never"))
    failed(shop.settling(shop.deploy(plan("1"), "run-2")))
    assert shop.revision(1)[:2] == ("deployed", "verified")
    assert [one.verdict for one in shop.record.history] == ["verified"]


@pytest.mark.parametrize("ready", [False, True])
def test_a_failure_of_its_own_takes_the_verdict_back(shop: Shop, ready: bool) -> None:
    """Also where the container happens to run at the moment of the look."""
    shop.up("1")
    show(shop.kube, "web", ready=ready, restarts=3, waiting=None if ready else BACK_OFF, crashed=1)
    back_off(shop)
    _, error = failed(shop.settling(shop.deploy(plan("1"), "run-2")))
    assert code(error) == "CRASH_LOOP"
    assert shop.revision(1)[:2] == ("failed", "failed")
    assert [(one.verdict, one.cause) for one in shop.record.history] == [("failed", "CRASH_LOOP")]


def test_one_crash_of_what_was_verified_takes_nothing_back(shop: Shop) -> None:
    shop.up("1")
    show(shop.kube, "web", restarts=1, crashed=1)
    shop.up("1")
    assert [one.verdict for one in shop.record.history] == ["verified"]


def test_a_crash_of_long_ago_takes_nothing_back(shop: Shop) -> None:
    shop.up("1")
    show(shop.kube, "web", restarts=5, crashed=1)
    back_off(shop)
    shop.clock.sleep(1000)
    shop.up("1")
    assert [one.verdict for one in shop.record.history] == ["verified"]


def test_no_rollback_returns_to_what_fails_by_the_time_of_the_next_change(shop: Shop) -> None:
    shop.up("1")
    show(shop.kube, "web", restarts=3, crashed=1)
    back_off(shop)
    deployed = shop.deploy(plan("2"), "run-2")
    assert [one.verdict for one in deployed.record.history] == ["failed", "unfinished"]
    assert history.target(shop.record.history) is None


def back_off(shop: Shop) -> None:
    """The kubelet has said that it backs off from starting the container."""
    about = {"kind": "Pod", "name": "web-pod", "uid": "pod-web", "fieldPath": "spec.containers{web}"}
    shop.kube.put({"kind": "Event", "metadata": {"name": "web.1", "namespace": "default"}, "reason": "BackOff",
                   "message": "Back-off restarting failed container", "involvedObject": about, "count": 2,
                   "lastTimestamp": shop.clock.stamp(shop.clock.elapsed)})  # fmt: skip


def test_without_a_hold_the_first_moment_counts(shop: Shop) -> None:
    events, _ = played(shop.settling(shop.deploy(plan("1")), hold=0.0))
    assert (held(events), shop.clock.elapsed) == ("not held (--hold 0)", 0.0)
    assert stages(events) == ["rollout", "urls", "stability"]
    assert shop.record.history[-1].verdict == "verified"


def test_a_part_of_the_application_makes_a_revision_of_the_whole(shop: Shop) -> None:
    whole = plan("1", release("web", "1"), release("db", "1"))
    played(shop.settling(shop.deploy(whole)))
    planned = replace(shop.planned(replace(plan("2", release("web", "2")), images=())), partial=True)
    played(deploy(connected(shop.kube, shop.helm, run="run-2"), planned, JUDGING))
    entry = shop.record.history[-1]
    assert entry.releases == {"web": 2, "db": 1}
    assert entry.images == {"api": "shop/api:1"}


def test_no_secret_value_is_shown_or_kept_anywhere_but_in_secrets(shop: Shop) -> None:
    """The way of `up` with a canary in the env file, once well and once into a failure."""
    reported: list[Event] = []
    made: list[object] = []
    for version, broken in (("1", set[str]()), ("2", {"2"})):
        shop.helm.broken = broken
        wanted = plan(version)
        planned = shop.planned(wanted, Commit("abc", True))
        events, kept = played(ensure_secrets(wanted, shop.kube, adopt=False))
        deployed = shop.deploy(wanted, f"run-{version}", Commit("abc", True))
        more, result = failed(shop.settling(deployed)) if broken else played(shop.settling(deployed))
        reported += [*events, *more]
        made += [planned, wanted, *wanted.secrets, kept, deployed, result]
        made += list(result.problems) if isinstance(result, RolloutFailed) else []
    made += [shop.record, shop.helm.requests, connected(shop.kube, shop.helm)]
    outside = [json.dumps(to_wire(one), default=str) for one in reported] + [repr(one) for one in made]
    inside = 0
    for one in shop.kube:
        data = one.pop("data", {}) if one["kind"] == "Secret" else {}
        outside.append(json.dumps(one, ensure_ascii=False))
        if one["metadata"]["name"].startswith("sh.helm."):
            outside.append(json.dumps(storage.decode({"data": data})))
        elif "record" in data:
            outside.append(base64.b64decode(data["record"]).decode())
        else:
            inside += data == {"TOKEN": base64.b64encode(CANARY.encode()).decode()}
    text = "\n".join(outside)
    assert inside == 2, "the documented Secret and its copy hold the value"
    assert len(reported) > 10
    for form in (CANARY, repr(CANARY)[1:-1], quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode()):
        assert form not in text
