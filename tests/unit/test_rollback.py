"""Going back: by hand to a chosen revision, and by itself after a failed verdict; the whole of `up` on fakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer import helmstorage
from deployer.errors import DeployError, ExitCode
from deployer.events import Event, Warned
from deployer.history import Entry
from deployer.lease import lease_name
from deployer.record import Record, save
from deployer.rollback import chosen
from tests.fakes.play import code, failed, played
from tests.fakes.shop import SPEC, Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def warned(events: list[Event]) -> list[str]:
    return [one.problem.code for one in events if isinstance(one, Warned)]


def codes(error: DeployError) -> list[str]:
    return [one.code for one in error.problems]


def entry(number: int, verdict: str) -> Entry:
    return Entry(number, f"run-{number}", 0.0, "me@here", "why", verdict=verdict)  # type: ignore[arg-type]


HISTORY = (entry(3, "verified"), entry(4, "verified"), entry(5, "failed"), entry(6, "unfinished"), entry(7, "verified"))


@pytest.mark.parametrize(("wanted", "number"), [(None, 4), (3, 3), (5, 5), (7, 7)])
def test_the_target_is_the_newest_verified_before_the_last_or_the_one_asked_for(
    wanted: int | None, number: int
) -> None:
    assert chosen(Record("salt", history=HISTORY), wanted).number == number


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
        chosen(Record("salt", history=history), wanted)
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
    found = shop.kube.get("Secret", "default", helmstorage.secret_name("web", 3))
    assert found is not None
    assert helmstorage.revisions([found], "web")[0].verdict == "verified"


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


def test_everything_that_lacks_is_named_and_nothing_is_touched(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    first = shop.record.history[0]
    image, copy = first.images["api"], first.secrets[0].copy
    shop.images.remove(image)
    shop.kube.drop("Secret", "default", copy)
    shop.kube.drop("Secret", "default", helmstorage.secret_name("web", 1))
    shop.kube.writes.clear()
    _, error = failed(shop.back())
    assert error.exit_code == ExitCode.REFUSED
    assert codes(error) == ["ROLLBACK_IMAGE", "ROLLBACK_SECRET", "ROLLBACK_RELEASE"]
    for problem, name in zip(error.problems, (f"`{image}`", f"`{copy}`", "`web` has no revision 1"), strict=True):
        assert name in problem.title
    assert {kind for _, kind, _, _ in shop.kube.writes} == {"Lease"}
    assert (shop.serves, shop.verdicts) == (("2", "token-of-2"), ["verified", "verified"])


@pytest.mark.parametrize(("dirty", "hints"), [(False, 1), (True, 0)])
def test_a_clean_commit_shows_the_way_to_build_it_again(shop: Shop, dirty: bool, hints: int) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    kept = shop.record
    first = replace(kept.history[0], commit="0123456789", dirty=dirty)
    save(shop.kube, "default", "shop", replace(kept, history=(first, *kept.history[1:])))
    shop.images.remove(first.images["api"])
    _, error = failed(shop.back())
    assert sum("git worktree add ../at-0123456 0123456" in one for one in error.problems[0].hints) == hints


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


def test_a_later_failure_goes_back_to_the_same_version_again(shop: Shop) -> None:
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
    assert (shop.serves, shop.verdicts) == (("1", "token-of-1"), ["failed"])


def test_on_failure_keep_leaves_what_failed(shop: Shop) -> None:
    played(shop.up("1"))
    shop.helm.broken = {"2"}
    _, error = failed(shop.up("2", on_failure="keep"))
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


def test_when_the_way_back_fails_too_both_problems_are_told(shop: Shop) -> None:
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
    assert (shop.helm.served("web"), shop.verdicts) == ("1", ["verified"])


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
