from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode, machine_error
from deployer.core.events import Item, Log
from deployer.core.ports import BuildRequest, ImageFacts
from deployer.core.steps import Outcome, Steps
from deployer.images.delivery import IntoNodes, ThroughRegistry, Way
from deployer.images.registry import refusal
from deployer.plan import ImagePlan, ImageSource
from deployer.sources.build_context import context_files
from deployer.sources.digest import BuildInputs, FileHashes, image_digest
from deployer.stages.images import Building, BuiltImage, SourcesChanged, ensure_images, reason_to_build
from deployer.state.build_cache import Previous
from tests.fakes import FakeClock, FakeImages
from tests.fakes.images import Built
from tests.fakes.play import code, failed, items, played

GOOD = "ARG BASE\nFROM ${BASE}\nCOPY app.py /\n"


def image(root: Path, name: str = "api", *, dockerfile: str = GOOD, manifest: Mapping[str, str] | None = None,
          digest: str = "d1") -> ImagePlan:  # fmt: skip
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text("print()\n")
    (folder / "Dockerfile").write_text(dockerfile)
    return ImagePlan(
        name=name,
        repository=name,
        tag=f"1.0.0-{digest}",
        context=folder,
        dockerfile=folder / "Dockerfile",
        args={"BASE": "python:3.11-slim"},
        bases=("python:3.11-slim",),
        target=None,
        labels={"app": name},
        max_size="1m",
        source=ImageSource(digest, manifest or {}),
    )


class Supply:
    """Makes the lacking base images appear in the daemon."""

    def __init__(self, daemon: FakeImages) -> None:
        self.daemon = daemon
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, lacking: Sequence[str]) -> Steps[None]:
        self.asked.append(tuple(lacking))
        self.daemon.known |= FakeImages(lacking).known
        yield from ()


def ensure(
    images: Sequence[ImagePlan], daemon: FakeImages, *, previous: Mapping[str, Previous] | None = None,
    how: Building | None = None, supply: Supply | None = None, clock: FakeClock | None = None,
) -> Steps[Outcome[tuple[BuiltImage, ...]]]:  # fmt: skip
    return ensure_images(
        images, IntoNodes(daemon), supply or Supply(daemon), previous or {}, how or Building({}), clock or FakeClock()
    )


@pytest.mark.parametrize(
    ("ref", "manifest", "reason"),
    [
        (None, {}, "first build"),
        ("api:1.0.0-d1", {"app.py": "1"}, "it is gone from the cluster's daemon"),
        ("api:1.0.0-d0", {"app.py": "1"}, "build arguments or base image changed"),
        ("api:1.0.0-d0", {"app.py": "0"}, "app.py"),
        ("api:1.0.0-d0", {"app.py": "0", "gone.py": "1", "old.py": "1"}, "app.py and 2 more"),
    ],
)
def test_the_reason_names_what_changed(tmp_path: Path, ref: str | None, manifest: dict[str, str], reason: str) -> None:
    previous = Previous(ref, ImageSource("d0", manifest)) if ref is not None else None
    shown = reason_to_build(image(tmp_path, manifest={"app.py": "1"}), previous)
    assert shown.startswith(reason.split(" and ")[0])
    assert shown.endswith("and 2 more") is reason.endswith("and 2 more")


def test_a_missing_image_is_built_from_its_context(tmp_path: Path) -> None:
    daemon = FakeImages()
    supply = Supply(daemon)
    wanted = image(tmp_path)
    how = Building({"HTTP_PROXY": "p", "BASE": "overridden by the plan"})
    events, outcome = played(ensure([wanted], daemon, how=how, supply=supply))
    assert outcome.changed
    assert outcome.value == (BuiltImage("api", wanted.ref, True, "first build", 5000),)
    (build,) = daemon.built
    assert build.files == ("Dockerfile", "app.py")
    assert dict(build.request.args) == {"HTTP_PROXY": "p", "BASE": "python:3.11-slim"}
    assert (dict(build.request.labels), build.request.no_cache) == ({"app": "api"}, False)
    assert supply.asked == [("python:3.11-slim",)]
    steps = [(one.done, one.total) for one in events if isinstance(one, Item) and one.total]
    assert steps == [(3, 4)]
    assert any(isinstance(one, Log) and one.line == "Step 3/4 : COPY app.py /" for one in events)


def test_a_tag_names_what_was_built(tmp_path: Path) -> None:
    listed = image(tmp_path)
    inputs = BuildInputs(listed.context, context_files(listed.context), listed.dockerfile.read_bytes())
    sizes = {one.path: one.size for one in inputs.files}
    source = ImageSource("d1", image_digest(inputs, FileHashes()).manifest, {}, sizes)
    wanted = replace(listed, source=source)
    (wanted.context / "app.py").write_text("print()\nand more\n")
    (wanted.context / "new.py").write_text("print()\n")
    daemon = FakeImages()
    played(ensure([wanted], daemon))
    assert daemon.built[0].files == ("Dockerfile", "app.py")
    for path, text in (("app.py", "Print()\n"), ("app.py", None), ("Dockerfile", GOOD + "USER 1000\n")):
        image(tmp_path)
        (wanted.context / path).write_text(text) if text else (wanted.context / path).unlink()
        _, error = failed(ensure([wanted], FakeImages()))
        assert isinstance(error, SourcesChanged)
        assert (error.exit_code, code(error)) == (ExitCode.INPUT, "CONTEXT_CHANGED")
        assert path in error.problems[0].title


def test_an_image_that_is_there_is_not_built(tmp_path: Path) -> None:
    wanted = image(tmp_path)
    daemon = FakeImages([wanted.ref])
    supply = Supply(daemon)
    events, outcome = played(ensure([wanted], daemon, supply=supply))
    assert (outcome.changed, daemon.built, supply.asked) == (False, [], [])
    assert items(events) == [("api", "unchanged", wanted.ref)]
    assert outcome.value[0].size == 1000


def test_only_what_is_missing_is_built_and_the_order_is_the_specs(tmp_path: Path) -> None:
    plans = [image(tmp_path, name) for name in ("c", "a", "b")]
    daemon = FakeImages([plans[0].ref])
    _, outcome = played(ensure(plans, daemon))
    assert sorted(one.ref for one in daemon.built) == [plans[1].ref, plans[2].ref]
    assert [one.name for one in outcome.value] == ["c", "a", "b"]
    assert outcome.text == "2 built, 1 unchanged"


def test_an_image_is_built_after_the_one_that_it_is_built_on(tmp_path: Path) -> None:
    base, other = image(tmp_path, "base"), image(tmp_path, "other")
    source = ImageSource("d1", {}, {"base": base.ref}, on={"base": "base"})
    text = "FROM base\nCOPY --from=base /a /b\n"
    web = replace(image(tmp_path, "web", dockerfile=text), bases=(base.ref,), source=source)
    for known in ([], [base.ref]):
        daemon = FakeImages(known)
        played(ensure([base, other, web], daemon, supply=(supply := Supply(daemon))))
        built = [one.ref for one in daemon.built]
        assert set(built) == {base.ref, other.ref, web.ref} - set(known)
        assert known or built.index(base.ref) < built.index(web.ref)
        assert base.ref not in sum(supply.asked, ())
    content = next(one.request.content for one in daemon.built if one.ref == web.ref)
    assert content.decode() == f"FROM {base.ref}\nCOPY --from={base.ref} /a /b\n"


def test_builds_run_at_the_same_time(tmp_path: Path) -> None:
    daemon = FakeImages()
    # Each step waits until both builds have come to it: one after the other would never end.
    daemon.gate = threading.Barrier(2)
    _, outcome = played(ensure([image(tmp_path, "a"), image(tmp_path, "b")], daemon))
    assert [one.built for one in outcome.value] == [True, True]


def test_a_failed_step_is_named_with_its_line_and_its_output(tmp_path: Path) -> None:
    text = "# comment\nARG BASE\nFROM ${BASE}\n\nRUN   false\n"
    wanted = image(tmp_path, dockerfile=text)
    events, error = failed(ensure([wanted], FakeImages()))
    problem = error.problems[0]
    assert (problem.code, error.exit_code) == ("BUILD_FAILED", ExitCode.BUILD)
    assert problem.where == f"{wanted.dockerfile}:5"
    assert "returned a non-zero code: 1" in problem.detail
    assert ("api", "failed", "Step 3/4 : RUN false") in items(events)


def test_the_line_is_that_of_the_step_and_not_of_one_that_reads_alike(tmp_path: Path) -> None:
    text = "FROM scratch AS one\nRUN true \\\n  # why\n\n  && true\nFROM scratch\nRUN true\nRUN \\\n  false\n"
    wanted = image(tmp_path, dockerfile=text)
    _, error = failed(ensure([wanted], FakeImages()))
    assert error.problems[0].where == f"{wanted.dockerfile}:8"


def test_one_failure_stops_the_other_builds(tmp_path: Path) -> None:
    endless = "FROM scratch\nRUN sleep infinity\n"
    bad, other = (
        image(tmp_path, "bad", dockerfile="FROM scratch\nRUN false\n"),
        image(tmp_path, "o", dockerfile=endless),
    )
    daemon = FakeImages()
    _, error = failed(ensure([other, bad], daemon))
    assert "`bad`" in error.problems[0].title
    assert daemon.image(other.ref) is None


def test_a_full_disk_has_its_own_words(tmp_path: Path) -> None:
    wanted = image(tmp_path, dockerfile="FROM scratch\nCOPY no-space-left /\n")

    class Full(FakeImages):
        def _execute(self, *args: object) -> None:
            from deployer.core.ports import BuildFailed

            raise BuildFailed("write /var/lib/docker/tmp: no space left on device", "Step 1/2 : FROM scratch", [])

    _, error = failed(ensure([wanted], Full()))
    assert code(error) == "DISK_FULL"
    assert "todo-deploy images prune" in error.problems[0].hints


def test_a_step_that_found_no_room_is_a_full_disk_too(tmp_path: Path) -> None:
    wanted = image(tmp_path, dockerfile="FROM scratch\nRUN dd\n")

    class Full(FakeImages):
        def _execute(self, *args: object) -> None:
            from deployer.core.ports import BuildFailed

            said = "The command '/bin/sh -c dd' returned a non-zero code: 1"
            raise BuildFailed(said, "Step 2/2 : RUN dd", ["dd: error writing 'x': No space left on device"])

    _, error = failed(ensure([wanted], Full()))
    assert code(error) == "DISK_FULL"


def test_only_steps_that_do_something_are_shown(tmp_path: Path) -> None:
    wanted = image(tmp_path, dockerfile="FROM scratch\nARG A=1\nENV B=2\nCOPY . /\nUSER 1000\nLABEL c=d")
    events, _ = played(ensure([wanted], FakeImages()))
    shown = [event.text for event in events if isinstance(event, Item) and event.total is not None]
    assert shown == ["COPY . /"]


def test_an_image_that_is_too_large_is_refused_and_removed(tmp_path: Path) -> None:
    wanted = image(tmp_path)
    daemon = FakeImages()
    daemon.sizes[wanted.ref] = 2**20
    _, error = failed(ensure([wanted], daemon))
    assert (code(error), error.exit_code) == ("IMAGE_TOO_LARGE", ExitCode.BUILD)
    assert daemon.image(wanted.ref) is None


def test_an_image_may_be_of_any_size_unless_the_spec_says_otherwise(tmp_path: Path) -> None:
    wanted = replace(image(tmp_path), max_size=None)
    daemon = FakeImages()
    daemon.sizes[wanted.ref] = 2**33
    played(ensure([wanted], daemon))
    assert daemon.image(wanted.ref) is not None


def test_no_build_names_every_missing_image(tmp_path: Path) -> None:
    plans = [image(tmp_path, name) for name in ("a", "b", "c")]
    daemon = FakeImages([plans[1].ref])
    _, error = failed(ensure(plans, daemon, how=Building({}, build=False)))
    assert (code(error), error.exit_code) == ("IMAGE_MISSING", ExitCode.INPUT)
    assert error.problems[0].title.endswith(": a, c")
    assert daemon.built == []


def test_no_build_is_content_where_nothing_is_missing(tmp_path: Path) -> None:
    wanted = image(tmp_path)
    _, outcome = played(ensure([wanted], FakeImages([wanted.ref]), how=Building({}, build=False)))
    assert not outcome.changed


def test_rebuild_builds_what_is_there_without_cache(tmp_path: Path) -> None:
    wanted = image(tmp_path)
    daemon = FakeImages([wanted.ref, "python:3.11-slim"])
    _, outcome = played(ensure([wanted], daemon, how=Building({}, rebuild=True)))
    assert outcome.changed
    assert daemon.built[0].request.no_cache


class Restarted(FakeImages):
    """A daemon that goes away under the first builds and answers again some seconds later."""

    def __init__(self, clock: FakeClock, times: int, away: float = 5.0) -> None:
        super().__init__()
        self.clock, self.times, self.away = clock, times, away
        self.back_at = 0.0

    def build(self, request: BuildRequest) -> Generator[str, None, None]:
        if len(self.built) < self.times:
            self.built.append(Built(request.ref, request, ()))
            self.back_at = self.clock.monotonic() + self.away
            yield "Step 1/2 : FROM scratch"  # and nothing more: the package takes a lost connection for the end
            return
        yield from super().build(request)

    def image(self, ref: str) -> ImageFacts | None:
        if self.clock.monotonic() < self.back_at:
            raise machine_error("DOCKER_UNREACHABLE", "Docker does not answer")
        return super().image(ref)


def test_a_build_whose_daemon_is_restarted_is_begun_again(tmp_path: Path) -> None:
    clock = FakeClock()
    daemon = Restarted(clock, times=1)
    events, outcome = played(ensure([image(tmp_path, dockerfile="FROM scratch\n")], daemon, clock=clock))
    assert [one.built for one in outcome.value] == [True]
    assert len(daemon.built) == 2
    assert 5 <= clock.elapsed <= 7
    shown = [text for _, _, text in items(events)]
    assert "the daemon does not answer; waiting for it" in shown
    assert "the connection to the daemon was lost; once more" in shown


def test_a_daemon_that_is_just_being_restarted_is_waited_for(tmp_path: Path) -> None:
    clock = FakeClock()
    daemon = Restarted(clock, times=0)
    daemon.back_at = 7.0
    _, outcome = played(ensure([image(tmp_path, dockerfile="FROM scratch\n")], daemon, clock=clock))
    assert outcome.changed
    assert 7 <= clock.elapsed <= 8


def test_a_daemon_that_loses_every_build_is_named(tmp_path: Path) -> None:
    clock = FakeClock()
    _, error = failed(ensure([image(tmp_path, dockerfile="FROM scratch\n")], Restarted(clock, 9), clock=clock))
    assert (code(error), error.exit_code) == ("BUILD_LOST", ExitCode.BUILD)
    assert error.problems[0].hints[0] == "todo-deploy up"


def test_a_daemon_that_stays_away_is_named_after_a_minute(tmp_path: Path) -> None:
    clock = FakeClock()
    daemon = Restarted(clock, 9, away=3600)
    _, error = failed(ensure([image(tmp_path, dockerfile="FROM scratch\n")], daemon, clock=clock))
    assert code(error) == "DOCKER_UNREACHABLE"
    assert 60 <= clock.elapsed <= 62


@pytest.mark.parametrize("path", ["Dockerfile", "../api.Dockerfile"])
@pytest.mark.parametrize("buildkit", [True, False])
def test_a_replacement_image_takes_the_place_of_a_base_that_the_dockerfile_names(
    tmp_path: Path, path: str, buildkit: bool
) -> None:
    own = image(tmp_path)
    file = own.context / path
    file.write_text("FROM python:3.11-slim AS base\nCOPY app.py /\n")
    source = replace(own.source, bases={"python:3.11-slim": "local/python:1"})
    replaced = replace(own, dockerfile=file, args={}, bases=("local/python:1",), source=source)
    daemon = FakeImages()
    daemon.has_buildkit = buildkit
    supply = Supply(daemon)
    events, _ = played(ensure([replaced], daemon, supply=supply))
    assert supply.asked == [("local/python:1",)]
    lines = [one.line for one in events if isinstance(one, Log)]
    assert lines[0] == "Step 1/3 : FROM local/python:1 AS base"
    assert file.read_text().startswith("FROM python:3.11-slim"), "the user's own file stays as it is"


def test_a_dockerfile_that_needs_buildkit_is_refused_before_any_build_where_there_is_none(tmp_path: Path) -> None:
    good = image(tmp_path, "api")
    needing = image(tmp_path, "web", dockerfile=GOOD + "RUN --mount=type=cache,target=/x make\n")
    daemon = FakeImages()
    daemon.has_buildkit = False
    with pytest.raises(DeployError) as caught:
        played(ensure([good, needing], daemon, supply=Supply(daemon)))
    (problem,) = caught.value.problems
    line = GOOD.count("\n") + 1
    assert (problem.code, problem.where) == ("BUILDKIT_MISSING", f"{needing.dockerfile}:{line}")
    assert caught.value.exit_code is ExitCode.BUILD and not daemon.built


@pytest.mark.parametrize(("offline", "local", "kept"), [(True, False, False), (True, True, True), (False, False, True)])
def test_the_frontend_is_the_built_in_one_where_no_other_can_be_had(
    tmp_path: Path, offline: bool, local: bool, kept: bool
) -> None:
    wanted = image(tmp_path, dockerfile=f"# syntax=docker/dockerfile:1\n{GOOD}")
    daemon = FakeImages(["docker/dockerfile:1"] if local else [])
    played(ensure([wanted], daemon, how=Building({}, offline=offline), supply=Supply(daemon)))
    assert daemon.built[0].request.content.startswith(b"# syntax=") is kept


def test_the_secrets_of_a_build_are_handed_over_by_their_ids(tmp_path: Path) -> None:
    wanted = replace(image(tmp_path), secrets={"npm": "NPM_TOKEN"}, platforms=("linux/amd64",))
    daemon = FakeImages()
    played(ensure([wanted], daemon, how=Building({}, values={"NPM_TOKEN": "canary"}), supply=Supply(daemon)))
    (built,) = daemon.built
    assert (built.request.secrets, built.request.platforms) == ({"npm": "canary"}, ("linux/amd64",))
    assert "canary" not in repr(built.request)


def test_a_tag_without_its_commit_is_reported(tmp_path: Path) -> None:
    wanted = replace(image(tmp_path), tag_note="not in a git repository")
    daemon = FakeImages()
    events, _ = played(ensure([wanted], daemon, supply=Supply(daemon)))
    assert f"{wanted.ref} (no commit in the tag: not in a git repository)" in [text for _, _, text in items(events)]


PULL, PUSH = "10.0.0.1:5000/team", "localhost:5000/team"


def pushed(
    tmp_path: Path, daemon: FakeImages, *, how: Building | None = None
) -> Steps[Outcome[tuple[BuiltImage, ...]]]:
    """An image behind a registry, on its way there."""
    wanted = replace(image(tmp_path), repository=f"{PULL}/api")
    delivery = ThroughRegistry(daemon, Way("registry", "", PULL, PUSH))
    return ensure_images([wanted], delivery, Supply(daemon), {}, how or Building({}), FakeClock())


def test_an_image_is_built_here_and_pushed_and_has_the_registrys_digest(tmp_path: Path) -> None:
    daemon = FakeImages()
    events, outcome = played(pushed(tmp_path, daemon))
    (built,) = outcome.value
    assert [one.ref for one in daemon.built] == [built.ref] and built.ref.startswith(f"{PULL}/api:")
    assert daemon.published_refs == {built.ref.replace(PULL, PUSH): built.digest}
    assert any(isinstance(one, Item) and (one.done, one.total) == (1 << 20, 2 << 20) for one in events)


def test_what_the_registry_has_is_neither_built_nor_pushed(tmp_path: Path) -> None:
    daemon = FakeImages()
    ref = f"{PUSH}/{image(tmp_path).ref}"
    daemon.published_refs[ref] = "sha256:1"
    _, outcome = played(pushed(tmp_path, daemon, how=Building({}, build=False)))
    assert (outcome.changed, outcome.value[0].digest, daemon.built) == (False, "sha256:1", [])


def test_a_push_that_breaks_off_is_tried_again_and_a_refusal_is_not(tmp_path: Path) -> None:
    daemon = FakeImages()
    away, denied = refusal(f"{PUSH}/api:1", "read: connection reset by peer"), refusal(f"{PUSH}/api:1", "denied")
    daemon.refusals = [away, away]
    _, outcome = played(pushed(tmp_path, daemon))
    assert outcome.value[0].digest and len(daemon.built) == 1
    daemon.published_refs.clear()
    daemon.refusals = [denied, away]
    _, error = failed(pushed(tmp_path, daemon))
    assert (code(error), error.exit_code) == ("REGISTRY_DENIED", ExitCode.BUILD)
    assert daemon.refusals == [away] and len(daemon.built) == 1  # the build of before is sent
