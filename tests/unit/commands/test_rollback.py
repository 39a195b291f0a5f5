"""Going back: by hand to a chosen revision, and by itself after a failed verdict; the whole of `up` on fakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.commands.rollback import target
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Event, StageStarted, Warned
from deployer.core.ports import INPUTS_LABEL
from deployer.core.steps import Steps
from deployer.helm import storage
from deployer.stages import urls as urls_stage
from deployer.state.history import Entry
from deployer.state.lock import LockLost, lease_name
from deployer.state.record import Record, save
from tests.fakes.play import code, failed, items, played
from tests.fakes.scene import BACK_OFF
from tests.fakes.shop import SPEC, Shop
from tests.fakes.workloads import show


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def warned(events: list[Event]) -> list[str]:
    return [one.problem.code for one in events if isinstance(one, Warned)]


def kept_words(events: list[Event]) -> str:
    """Why what failed is kept, with a way to go on."""
    (warning,) = [one.problem for one in events if isinstance(one, Warned) and one.problem.code == "FAILED_KEPT"]
    assert warning.hints
    return warning.title


def codes(error: DeployError) -> list[str]:
    return [one.code for one in error.problems]


def entry(number: int, verdict: str) -> Entry:
    return Entry(number, f"run-{number}", 0.0, "me@here", "why", verdict=verdict)  # type: ignore[arg-type]


HISTORY = (entry(3, "verified"), entry(4, "verified"), entry(5, "failed"), entry(6, "unfinished"), entry(7, "verified"))


@pytest.mark.parametrize(("wanted", "number"), [(None, 4), (3, 3), (5, 5), (7, 7)])
def test_the_target_is_the_newest_verified_before_the_last_or_the_one_asked_for(
    wanted: int | None, number: int
) -> None:
    assert target(Record("salt", history=HISTORY), wanted).number == number


@pytest.mark.parametrize(
    ("history", "wanted", "title", "detail"),
    [
        (HISTORY, 2, "no revision 2", "3 (verified), 4 (verified), 5 (failed), 6 (unfinished), 7 (verified)"),
        (HISTORY[2:], None, "no earlier revision was verified healthy", "5 (failed), 6 (unfinished), 7 (verified)"),
        ((), None, "no earlier revision was verified healthy", "none"),
    ],
)
def test_without_a_target_it_is_refused_with_what_there_is(
    history: tuple[Entry, ...], wanted: int | None, title: str, detail: str
) -> None:
    with pytest.raises(DeployError) as caught:
        target(Record("salt", history=history), wanted)
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("ROLLBACK_NO_TARGET", ExitCode.REFUSED)
    assert (problem.title, problem.detail) == (title, f"revisions: {detail}")


def test_code_and_secrets_of_the_revision_before_serve_again(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    assert shop.serves == ("2", "token-of-2")
    _, done = played(shop.back())
    assert shop.serves == ("1", "token-of-1")
    assert (done.target.number, [one.revision for one in done.releases]) == (1, [3])
    first, _, third = shop.record.history
    assert (third.number, third.run, third.why) == (3, "run-back", "rollback to revision 1")
    assert (third.verdict, third.images, third.secrets) == ("verified", first.images, first.secrets)
    assert third.releases == {"web": 3}
    found = shop.kube.get("Secret", "default", storage.secret_name("web", 3))
    assert found is not None
    assert storage.revisions([found], "web")[0].verdict == "verified"


class Answers:
    """What the addresses of the cluster answer, by path."""

    def __init__(self, shop: Shop, patch: pytest.MonkeyPatch) -> None:
        self.status: dict[str, int] = {}
        patch.setattr(urls_stage, "ask", self.ask)
        ports = [{"port": 80, "nodePort": 30080}]
        for name in ("web", "admin"):
            shop.kube.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
                           "spec": {"type": "NodePort", "ports": ports}})  # fmt: skip

    def ask(self, address: str, *_: object, **__: object) -> urls_stage.Answer:
        return urls_stage.Answer(self.status.get("/" + address.rpartition("/")[2], 404), {}, "")


def test_a_broken_new_url_is_not_asked_of_the_revision_before(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path, answers = shop.root / "todo-deploy.yaml", Answers(shop, monkeypatch)
    answers.status = {"/": 200}
    path.write_text(SPEC + "forward: never\nurls: {web: {service: web, path: /}}\n")
    played(shop.up("1"))
    path.write_text(
        SPEC + "forward: never\nurls: {web: {service: web, path: /}, admin: {service: admin, path: /new}}\n"
    )
    _, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["URL_FAILED", "ROLLED_BACK"], ExitCode.PREVIOUS_SERVES)
    assert shop.verdicts == ["verified", "failed", "verified"]
    assert [[one.name for one in entry.urls or ()] for entry in shop.record.history] == [
        ["web"], ["web", "admin"], ["web"],
    ]  # fmt: skip


def test_a_url_that_the_spec_no_longer_has_is_asked_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path, answers = shop.root / "todo-deploy.yaml", Answers(shop, monkeypatch)
    answers.status = {"/old": 200}
    path.write_text(SPEC + "forward: never\nurls: {web: {service: web, path: /old}}\n")
    played(shop.up("1"))
    path.write_text(SPEC)
    played(shop.up("2"))
    answers.status = {}
    _, error = failed(shop.back())
    assert code(error) == "URL_FAILED"


def test_of_a_revision_that_an_earlier_version_recorded_only_services_that_it_has_are_asked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answers(shop, monkeypatch)
    played(shop.up("1"))
    played(shop.up("2"))
    kept = shop.record
    save(shop.kube, "default", "shop", replace(kept, history=tuple(replace(one, urls=None) for one in kept.history)))
    (shop.root / "todo-deploy.yaml").write_text(SPEC + "forward: never\nurls: {admin: {service: admin, path: /new}}\n")
    _, done = played(shop.back())
    assert done.urls == ()


def test_a_rollback_is_judged_as_the_revision_was(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC + "rollout: {timeout: 90s, hold: 7s, failFast: patient}\n")
    played(shop.up("1"))
    path.write_text(SPEC + "rollout: {timeout: 1s, hold: 0s, failFast: strict}\n")
    played(shop.up("2"))
    events, _ = played(shop.back())
    assert ("stability", "done", "stable for 7 s") in items(events)
    shop.helm.slow = {"2"}
    before = shop.kube.clock.elapsed
    _, error = failed(shop.back())
    assert (code(error), shop.kube.clock.elapsed - before < 30) == ("DEADLINE", True)


def test_a_second_rollback_returns_to_where_one_was(shop: Shop) -> None:
    for steps in (shop.up("1"), shop.up("2")):
        played(steps)  # type: ignore[arg-type]
    played(shop.back())
    played(shop.back())
    assert shop.serves == ("2", "token-of-2")


def test_any_kept_revision_can_be_asked_for(shop: Shop) -> None:
    for version in ("1", "2", "3"):
        played(shop.up(version))
    played(shop.back(1))
    assert shop.serves == ("1", "token-of-1")


def test_the_next_up_goes_on_from_a_rollback(shop: Shop) -> None:
    for version in ("1", "2"):
        played(shop.up(version))
    played(shop.back())
    _, again = played(shop.up("2"))
    assert (again.changed, shop.serves) == (True, ("2", "token-of-2"))
    assert [one.verdict for one in shop.record.history] == ["verified"] * 4


def test_after_a_rollback_an_up_of_the_same_changes_nothing(shop: Shop) -> None:
    for version in ("1", "2"):
        played(shop.up(version))
    played(shop.back())
    requests = len(shop.helm.requests)
    played(shop.up("1"))
    assert (len(shop.helm.requests), shop.verdicts) == (requests, ["verified"] * 3)


def cut_off(steps: Steps[object], after: int) -> bool:
    """The steps were given up after so many events; whether they had more to do."""
    for _ in range(after):
        try:
            next(steps)
        except StopIteration:
            return False
    steps.close()
    return True


def test_a_rollback_that_was_cut_off_anywhere_leads_to_the_same_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for after in range(1, 60):
        shop = Shop(tmp_path / str(after), monkeypatch)
        played(shop.up("1"))
        played(shop.up("2"))
        if not cut_off(shop.back(), after):
            break
        played(shop.back())
        assert (shop.serves, shop.verdicts[-1]) == (("1", "token-of-1"), "verified"), f"after {after} events"
    assert after > 5


def test_after_an_up_that_was_cut_off_anywhere_a_rollback_leads_to_what_was_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = set()
    for after in range(1, 60):
        shop = Shop(tmp_path / str(after), monkeypatch)
        played(shop.up("1"))
        played(shop.up("2"))
        if not cut_off(shop.up("3"), after):
            break
        began = shop.helm.served("web") == "3"
        played(shop.back())
        served.add((began, shop.serves[0]))
    # Before helm was at work, revision 2 was the last and is left behind; afterwards it is the one to roll back to.
    assert served == {(False, "1"), (True, "2")}


def test_everything_that_lacks_is_named_and_nothing_is_touched(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    first = shop.record.history[0]
    image, copy = first.images["api"], first.secrets[0].copy
    shop.images.remove(image)
    shop.kube.drop("Secret", "default", copy)
    shop.kube.drop("Secret", "default", storage.secret_name("web", 1))
    shop.kube.writes.clear()
    _, error = failed(shop.back())
    assert error.exit_code == ExitCode.REFUSED
    assert codes(error) == ["ROLLBACK_IMAGE", "ROLLBACK_SECRET", "ROLLBACK_RELEASE"]
    for problem, name in zip(error.problems, (f"`{image}`", f"`{copy}`", "`web` has no revision 1"), strict=True):
        assert name in problem.title
    assert {kind for _, kind, _, _ in shop.kube.writes} == {"Lease"}
    assert (shop.serves, shop.verdicts) == (("2", "token-of-2"), ["verified", "verified"])


def test_a_rollback_that_fails_is_a_failed_revision(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    shop.helm.broken = {"1"}
    _, error = failed(shop.back())
    assert (code(error), error.exit_code) == ("CRASH_LOOP", ExitCode.NOTHING_SERVES)
    assert shop.verdicts == ["verified", "verified", "failed"]


def test_after_a_failed_verdict_the_previous_version_serves(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.broken = {"2"}
    events, error = failed(shop.up("2"))
    assert error.exit_code == ExitCode.PREVIOUS_SERVES
    assert codes(error) == ["CRASH_LOOP", "ROLLED_BACK"]
    assert "ROLLING_BACK" in warned(events)
    assert shop.serves == ("1", "token-of-1")
    assert shop.verdicts == ["verified", "failed", "verified"]
    assert [one.why for one in shop.record.history][2] == "rollback to revision 1"


def test_a_later_failure_is_rolled_back_to_the_same_version(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.broken = {"2", "3"}
    failed(shop.up("2"))
    _, error = failed(shop.up("3"))
    assert error.exit_code == ExitCode.PREVIOUS_SERVES
    assert shop.serves == ("1", "token-of-1")


def test_a_first_install_that_fails_is_kept_to_be_looked_at(shop: Shop) -> None:
    shop.helm.broken = {"1"}
    events, error = failed(shop.up("1"))
    assert (codes(error), error.exit_code) == (["CRASH_LOOP"], ExitCode.NOTHING_SERVES)
    assert "ROLLING_BACK" not in warned(events)
    assert "no revision was verified" in kept_words(events)
    assert (shop.serves, shop.verdicts) == (("1", "token-of-1"), ["failed"])


def test_on_failure_keep_leaves_what_failed(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.broken = {"2"}
    events, error = failed(shop.up("2", on_failure="keep"))
    assert "revision 1" in kept_words(events)
    assert (codes(error), error.exit_code) == (["CRASH_LOOP"], ExitCode.NOTHING_SERVES)
    assert (shop.serves, shop.verdicts) == (("2", "token-of-2"), ["verified", "failed"])


def test_what_was_asked_for_wins_over_the_spec(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC + "rollout: {onFailure: keep}\n")
    played(shop.up("1"))
    shop.helm.broken = {"2", "3"}
    _, kept = failed(shop.up("2"))
    assert (kept.exit_code, shop.serves[0]) == (ExitCode.NOTHING_SERVES, "2")
    _, back = failed(shop.up("3", on_failure="rollback"))
    assert (back.exit_code, shop.serves[0]) == (ExitCode.PREVIOUS_SERVES, "1")


def test_when_the_way_back_fails_too_both_problems_are_reported(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.broken = {"1", "2"}
    _, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["CRASH_LOOP", "CRASH_LOOP"], ExitCode.NOTHING_SERVES)
    assert shop.verdicts == ["verified", "failed", "failed"]


def test_a_way_back_that_lacks_something_names_it_beside_the_failure(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.broken = {"2"}
    shop.images.remove(shop.record.history[0].images["api"])
    _, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["CRASH_LOOP", "ROLLBACK_IMAGE"], ExitCode.NOTHING_SERVES)
    assert shop.serves[0] == "2"


def test_a_failure_before_anything_was_applied_brings_nothing_back(shop: Shop) -> None:
    played(shop.up("1"))
    _, error = failed(shop.up("2", build=False))
    assert (codes(error), error.exit_code) == (["IMAGE_MISSING"], ExitCode.INPUT)
    assert (shop.serves, shop.verdicts) == (("1", "token-of-1"), ["verified"])


@pytest.mark.parametrize("broken", [set(), {"2"}])
def test_the_hold_on_the_application_is_given_back(shop: Shop, broken: set[str]) -> None:
    played(shop.up("1"))
    shop.helm.broken = broken
    seen: list[bool] = []
    steps = shop.up("2")
    try:
        for event in steps:
            if getattr(event, "stage", "") in ("releases", "rollback"):
                seen.append(shop.kube.get("Lease", "default", lease_name("shop")) is not None)
    except DeployError:
        assert broken
    assert seen
    assert all(seen)
    assert shop.kube.get("Lease", "default", lease_name("shop")) is None


def test_a_part_that_was_updated_by_itself_does_not_hide_the_rest_on_the_way_back(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC + '  db: {chart: chart, values: {version: "1"}}\n')
    for version, services in (("1", ()), ("2", ("web",))):
        played(shop.up(version, services=services))
    assert shop.record.history[-1].releases == {"web": 2, "db": 1}
    path.write_text(path.read_text().replace('values: {version: "1"}}', 'values: {version: "broken"}}'))
    shop.helm.broken = {"broken"}
    _, error = failed(shop.up("3"))
    assert error.exit_code == ExitCode.PREVIOUS_SERVES
    assert (shop.helm.served("web"), shop.helm.served("db")) == ("2", "1")


HELM_SAYS = DeployError(Problem("HELM_FAILED", "helm could not deploy release `web`"), ExitCode.INPUT)


def test_a_helm_that_fails_midway_is_a_failed_revision_and_is_rolled_back(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.failures = [HELM_SAYS]
    events, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["HELM_FAILED", "ROLLED_BACK"], ExitCode.PREVIOUS_SERVES)
    assert "ROLLING_BACK" in warned(events)
    assert shop.serves == ("1", "token-of-1")
    assert [(one.verdict, one.cause) for one in shop.record.history] == [
        ("verified", ""), ("failed", "HELM_FAILED"), ("verified", ""),
    ]  # fmt: skip
    found = shop.kube.get("Secret", "default", storage.secret_name("web", 2))
    assert found is not None
    assert storage.decode(found)["info"]["description"] == "HELM_FAILED: helm could not deploy release `web`"
    assert storage.revisions([found], "web")[0].verdict == "failed"


def test_a_first_helm_that_fails_midway_is_kept(shop: Shop) -> None:
    shop.helm.failures = [HELM_SAYS]
    _, error = failed(shop.up("1"))
    assert (codes(error), error.exit_code) == (["HELM_FAILED"], ExitCode.NOTHING_SERVES)
    assert shop.verdicts == ["failed"]


def test_a_helm_that_touched_nothing_is_reported_as_such(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    played(shop.up("1"))
    foreign = DeployError(Problem("OBJECT_FOREIGN", "somebody else's"), ExitCode.REFUSED)

    def upgrade(_: object) -> None:
        raise foreign

    monkeypatch.setattr(shop.helm, "upgrade", upgrade)
    _, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["OBJECT_FOREIGN"], ExitCode.REFUSED)
    assert shop.verdicts == ["verified"]


def test_an_api_server_that_is_away_is_no_verdict(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.failures = [DeployError(Problem("API_UNREACHABLE", "away"), ExitCode.MACHINE)] * 3
    _, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["API_UNREACHABLE"], ExitCode.MACHINE)
    assert shop.verdicts == ["verified"]
    played(shop.up("2"))
    assert (shop.serves[0], shop.verdicts) == ("2", ["verified", "verified"])


def test_a_lost_hold_writes_no_verdict_and_brings_nothing_back(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.slow = {"2"}
    steps = shop.up("2")
    with pytest.raises(LockLost):
        for event in steps:
            if isinstance(event, StageStarted) and event.stage == "rollout":
                lost = DeployError(Problem("LEASE_LOST", "lost"), ExitCode.REFUSED)
                steps.throw(LockLost(lost.problems, lost.exit_code))
    assert shop.verdicts == ["verified", "unfinished"]
    assert shop.helm.served("web") == "2"


def test_what_was_verified_and_breaks_without_a_change_is_reported_and_stays(shop: Shop) -> None:
    """The inputs are the same: an older version was not asked for, and need not be better."""
    played(shop.up("1"))
    played(shop.up("2"))
    show(shop.kube, "web", ready=False, restarts=3, waiting=BACK_OFF, crashed=1)
    events, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["CRASH_LOOP"], ExitCode.NOTHING_SERVES)
    assert "was verified before" in error.problems[0].detail
    assert any(hint.startswith("todo-deploy rollback") for hint in error.problems[0].hints)
    assert "ROLLING_BACK" not in warned(events)
    assert (shop.serves[0], shop.verdicts) == ("2", ["verified", "failed"])


def test_an_object_that_comes_back_broken_does_not_bring_an_older_version(shop: Shop) -> None:
    """A revision is made again with the same inputs: the one before it was made of other ones."""
    played(shop.up("1"))
    played(shop.up("2"))
    shop.kube.drop("ConfigMap", "default", "web")
    shop.helm.broken = {"2"}
    events, error = failed(shop.up("2"))
    assert (codes(error), error.exit_code) == (["CRASH_LOOP"], ExitCode.NOTHING_SERVES)
    assert "ROLLING_BACK" not in warned(events)
    assert "nothing had changed since revision 2 was verified" in kept_words(events)
    assert (shop.serves[0], shop.verdicts) == ("2", ["verified", "verified", "failed"])


def test_after_ten_failures_that_were_kept_the_verified_revision_can_still_be_gone_back_to(shop: Shop) -> None:
    played(shop.up("0"))
    shop.helm.broken = {str(number) for number in range(1, 13)}
    for number in range(1, 13):
        failed(shop.up(str(number), on_failure="keep"))
    assert shop.record.history[0].number == 1
    stored = storage.revisions(shop.kube.list("Secret", "default", labels="owner=helm"), "web")
    assert [one.revision for one in stored] == [1, *range(4, 14)]
    _, done = played(shop.back())
    assert (done.target.number, shop.serves) == (1, ("0", "token-of-0"))


def test_a_release_that_was_uninstalled_by_hand_does_not_pass_for_its_earlier_revisions(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    shop.helm.uninstall("web", "default")
    played(shop.up("3"))
    assert [one.releases for one in shop.record.history] == [{"web": 1}]
    _, error = failed(shop.back())
    assert codes(error) == ["ROLLBACK_NO_TARGET"]


def test_a_release_that_somebody_made_anew_is_not_gone_back_to(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    shop.helm.uninstall("web", "default")
    request = shop.helm.requests[-1]
    shop.helm.upgrade(replace(request, labels={}, values={"version": "by hand"}))
    _, error = failed(shop.back())
    assert codes(error) == ["RELEASE_FOREIGN"]
    shop.helm.uninstall("web", "default")
    shop.helm.upgrade(replace(request, labels={INPUTS_LABEL: "others"}, values={"version": "of another machine"}))
    _, error = failed(shop.back())
    assert codes(error) == ["ROLLBACK_RELEASE"]
    assert "uninstalled since" in error.problems[0].title


def test_what_a_part_carried_over_is_not_called_verified(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC + '  db: {chart: chart, values: {version: "1"}}\n')
    shop.helm.broken = {"1"}
    failed(shop.up("0"))
    played(shop.up("0", services=("web",)))
    last = shop.record.history[-1]
    assert (last.verdict, last.unproven, last.verdict_text) == ("verified", ("db",), "verified but for db")
    failed(shop.up("2"))
    assert shop.helm.served("web") == "2", "there is no verified revision to roll back to"


def test_a_release_that_came_later_stays_and_is_reported(shop: Shop) -> None:
    played(shop.up("1"))
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC + '  db: {chart: chart, values: {version: "1"}}\n')
    played(shop.up("2"))
    events, _ = played(shop.back())
    assert "ROLLBACK_EXTRA" in warned(events)
    assert (shop.helm.served("web"), shop.helm.served("db")) == ("1", "1")


def test_a_helm_that_fails_on_the_way_back_is_no_wrong_input(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    played(shop.up("1"))
    played(shop.up("2"))

    def rollback(*_: object, **__: object) -> None:
        raise DeployError(HELM_SAYS.problems, HELM_SAYS.exit_code)

    monkeypatch.setattr(shop.helm, "rollback", rollback)
    _, error = failed(shop.back())
    assert (codes(error), error.exit_code) == (["HELM_FAILED"], ExitCode.PREVIOUS_SERVES)
    assert shop.verdicts == ["verified", "verified"]


def test_a_schema_that_moved_is_reported_before_older_code_meets_it(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    wanted = "{repository: shop/api, context: api, migrations: {folder: migrations, back: 'migrate {revision}'}}"
    path.write_text(SPEC.replace("{repository: shop/api, context: api}", wanted))
    folder = shop.root / "api/migrations"
    folder.mkdir()
    (folder / "0001_users.sql").write_text("create")
    played(shop.up("1"))
    (folder / "0002_tasks.sql").write_text("create")
    played(shop.up("2"))
    assert list(shop.record.history[-1].schema["api"]) == ["0001_users.sql", "0002_tasks.sql"]
    events, _ = played(shop.back())
    (warning,) = [one.problem for one in events if isinstance(one, Warned) and one.problem.code == "SCHEMA_MOVED"]
    assert "0002_tasks.sql" in warning.detail
    assert warning.hints == ("with the newer code: todo-deploy exec api -- migrate 0001",)
