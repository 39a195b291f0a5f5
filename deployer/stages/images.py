"""The images stage: every image of the plan is in the cluster's daemon under its final tag."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from deployer.config.spec import mebibytes
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, Log, Warned
from deployer.core.files import write_private
from deployer.core.ports import BuildFailed, BuildRequest, DeliveryPort, ImageFacts, ImagePort
from deployer.core.reading import Malformed, read_json
from deployer.core.steps import Clock, Outcome, Steps, merge
from deployer.core.text import first_few
from deployer.images.registry import is_passing
from deployer.images.scanner import Scan, Scanner
from deployer.plan import ImagePlan
from deployer.sources import build_context, digest
from deployer.sources.dockerfile import buildkit_needs, is_plain, syntax, with_bases, without_syntax
from deployer.sources.load import with_prelude
from deployer.state.build_cache import Previous

STAGE = "images"
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)")
# The instructions that can take time; all others only note something in the image's configuration.
_WORK = frozenset({"RUN", "COPY", "ADD"})
_PARSE_ERROR = re.compile(r"parse error (?:on )?line (\d+)")
# Builds mostly wait for package downloads, so somewhat more of them than cores are worth it.
_PARALLEL_BUILDS = 4
_BROUGHT = "from the bundle"
# A daemon that is restarted under a build takes the build with it.
_ATTEMPTS = 3
_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image where the nodes find it; `reason` says why it was built, or why not."""

    name: str
    ref: str
    built: bool
    reason: str
    size: int
    scan: str = ""
    digest: str = ""
    """Its manifest in the registry that it was pushed to."""


@dataclass(frozen=True, slots=True)
class Building:
    """How to build: extra build arguments (proxies), and whether images are built again although they are there.

    `prelude` stands before what every `RUN` does, and is not shown (deployer.sources.build_ca).
    """

    args: Mapping[str, str] = field(default_factory=dict)
    rebuild: bool = False
    build: bool = True
    prelude: str = ""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values by env key, for the secrets of builds."""
    offline: bool = False
    """Whether no container registry can be reached: BuildKit's own frontend stands in for the one of `# syntax=`."""
    brought: frozenset[str] = frozenset()
    """The images that this run has taken from a bundle, and will not build."""


class SourcesChanged(DeployError):
    """A file of a build context is not what the image's tag was made from: the tag is to be made again."""


def reason_to_build(image: ImagePlan, previous: Previous | None) -> str:
    """Why the image is not there, in the words of what changed since the last build here."""
    if previous is None:
        return "first build"
    if previous.ref == image.ref:
        return "it is gone from the cluster's daemon"
    changes = digest.changed_files(previous.source.manifest, image.source.manifest)
    if not changes:
        return "build arguments or base image changed"
    return first_few([str(one) for one in changes], 1)


def ensure_images(
    images: Sequence[ImagePlan],
    delivery: DeliveryPort,
    supply: Callable[[Sequence[str]], Steps[None]],
    previous: Mapping[str, Previous],
    how: Building,
    clock: Clock,
) -> Steps[Outcome[tuple[BuiltImage, ...]]]:
    """Every image is where the nodes find it; those that were missing were built, side by side, and sent there."""
    found: dict[str, BuiltImage] = {}
    missing: dict[str, ImagePlan] = {}
    daemon = delivery.builder
    for image in images:
        facts = None if how.rebuild else (yield from _found(image.ref, image.name, delivery.found, clock))
        if facts is not None:
            reason = _BROUGHT if image.ref in how.brought else "unchanged"
            found[image.name] = BuiltImage(image.name, image.ref, False, reason, facts.size, digest=facts.digest)
        else:
            missing[image.name] = image
    if missing and not how.build:
        names = ", ".join(missing)
        problem = Problem(
            "IMAGE_MISSING", f"--no-build, and these images are missing: {names}", hints=("todo-deploy up",)
        )
        raise DeployError(problem, ExitCode.INPUT)
    if missing and not daemon.has_buildkit:
        refuse_without_buildkit(missing.values())
    for name, kept in found.items():
        if kept.reason == _BROUGHT:
            yield Item(STAGE, name, ItemState.DONE, f"{kept.ref} {_BROUGHT}")
        else:
            yield Item(STAGE, name, ItemState.UNCHANGED, kept.ref)
    bases = sorted({base for image in missing.values() for base in image.bases} - {one.ref for one in images})
    lacking = []
    for base in bases:
        if (yield from _found(base, base, daemon.image, clock)) is None:
            lacking.append(base)
    if lacking:
        yield from supply(lacking)
    bodies = {
        name: (lambda image=image: _made(image, delivery, reason_to_build(image, previous.get(image.name)), how, clock))
        for name, image in missing.items()
    }
    built: dict[str, BuiltImage] = {}
    while left := [image for name, image in missing.items() if name not in built]:
        waiting = {image.name for image in left}
        ready = {image.name: bodies[image.name] for image in left if not waiting & set(image.source.on.values())}
        built |= yield from merge(ready, _PARALLEL_BUILDS)
    everything = tuple(found.get(image.name) or built[image.name] for image in images)
    brought, same = (sum(one.reason == reason for one in everything) for reason in (_BROUGHT, "unchanged"))
    made = len(everything) - brought - same
    counts = [f"{brought} {_BROUGHT}" * bool(brought), f"{made} built" * bool(made), f"{same} unchanged"]
    return Outcome(everything, bool(brought or made), ", ".join(filter(None, counts)))


def refuse_without_buildkit(images: Iterable[ImagePlan]) -> None:
    """The classic builder builds what the Dockerfiles say; build error, before any build, where one needs BuildKit."""
    problems = [
        Problem(
            "BUILDKIT_MISSING",
            f"image `{image.name}` needs BuildKit for `{what}`, and there is no `docker buildx`",
            "the classic builder fails here, or builds something else",
            f"{image.dockerfile}:{line}",
            ("install docker-buildx (https://docs.docker.com/go/buildx/), then: todo-deploy up",),
        )
        for image in images
        for line, what in [
            *((1, f"secrets.{name}") for name in image.secrets),
            *((1, f"--platform={name}") for name in image.platforms),
            *buildkit_needs(image.dockerfile.read_text(encoding="utf-8", errors="replace")),
        ]
    ]
    if problems:
        raise DeployError(problems, ExitCode.BUILD)


def _made(image: ImagePlan, delivery: DeliveryPort, reason: str, how: Building, clock: Clock) -> Steps[BuiltImage]:
    """The image is built, unless an earlier run got as far as that, and sent to where the nodes find it."""
    kept = None if how.rebuild else (yield from _found(image.ref, image.name, delivery.builder.image, clock))
    if kept is None:
        made = yield from _build(image, delivery.builder, reason, how, clock)
    else:
        reason = _BROUGHT if image.ref in how.brought else "was built before"
        made = BuiltImage(image.name, image.ref, False, reason, kept.size)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            for done, whole in delivery.send(image.ref):
                yield Item(STAGE, image.name, ItemState.RUNNING, delivery.doing, done, whole)
            break
        except DeployError as error:
            if not is_passing(error) or attempt == _ATTEMPTS:
                raise
            yield Item(STAGE, image.name, ItemState.RUNNING, f"{error.problems[0].title}; once more")
            clock.sleep(float(attempt**2))
    facts = delivery.found(image.ref)
    note = f" (no commit in the tag: {image.tag_note})" if image.tag_note else ""
    yield Item(STAGE, image.name, ItemState.DONE, image.ref + note)
    return replace(made, digest=facts.digest if facts is not None else "")


def _build(image: ImagePlan, daemon: ImagePort, reason: str, how: Building, clock: Clock) -> Steps[BuiltImage]:
    yield Item(STAGE, image.name, ItemState.RUNNING, reason)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            yield from _sent(image, daemon, how)
        except DeployError as error:
            if not _is_lost(error):
                raise
        facts = yield from _found(image.ref, image.name, daemon.image, clock)
        if facts is not None:
            break
        if attempt < _ATTEMPTS:
            yield Item(STAGE, image.name, ItemState.RUNNING, "the connection to the daemon was lost; once more")
    else:
        title = f"the connection to the daemon was lost in each of {_ATTEMPTS} builds of image `{image.ref}`"
        raise DeployError(Problem("BUILD_LOST", title, hints=("todo-deploy up", "todo-deploy doctor")), ExitCode.BUILD)
    if image.max_size and facts.size >= mebibytes(image.max_size) * 2**20:
        daemon.remove(image.ref)
        title = f"image `{image.ref}` has {facts.size / 2**20:.0f} MiB; at most {image.max_size} is allowed"
        hints = ("keep build tools out of the last stage", "or raise rules.maxImageSize in the spec")
        raise DeployError(Problem("IMAGE_TOO_LARGE", title, hints=hints), ExitCode.BUILD)
    return BuiltImage(image.name, image.ref, True, reason, facts.size)


def _sent(image: ImagePlan, daemon: ImagePort, how: Building) -> Steps[None]:
    """The build has ended, or the connection to its daemon was lost."""
    files, sizes = build_context.context_files(image.context, image.dockerfile), image.source.sizes
    if sizes:
        files = tuple(replace(one, size=sizes[one.path]) for one in files if one.path in sizes)
    packed = {one.path: digest.short_part(one, "") for one in files if one.kind != "file"}
    name = build_context.dockerfile_name(image.context, image.dockerfile)
    outside: Path | bytes | None = image.dockerfile if name == build_context.OUTSIDE_DOCKERFILE else None
    written = image.dockerfile.read_bytes()
    text = with_bases(written.decode(errors="surrogateescape"), image.args, image.source.bases)
    if how.offline and syntax(text) and is_plain(text) and daemon.image(syntax(text)) is None:
        text = without_syntax(text)
    content = (with_prelude(text, how.prelude) if how.prelude else text).encode(errors="surrogateescape")
    if content != written:
        outside, name = content, build_context.OUTSIDE_DOCKERFILE
    sent_apart = None if daemon.has_buildkit else outside

    def packed_as(file: build_context.ContextFile, sha256: str) -> None:
        if file.kind == "file" and sha256:
            packed[file.path] = digest.short_part(file, sha256)

    with build_context.context_tar(image.context, files, sent_apart, packed_as) as tar:
        refuse_other_content(image, {**packed, "/Dockerfile": digest.dockerfile_part(written)})
        request = BuildRequest(
            ref=image.ref,
            context=tar,
            dockerfile=name,
            args={**how.args, **image.args},
            labels=image.labels,
            target=image.target,
            no_cache=how.rebuild,
            platforms=image.platforms,
            secrets={name: how.values.get(key, "") for name, key in image.secrets.items()},
            content=content,
            ignore=build_context.ignore_file(image.context, image.dockerfile)[0],
        )
        try:
            with closing(daemon.build(request)) as lines:
                for line in (one.replace(how.prelude, "") for one in lines):
                    step = _STEP.match(line)
                    if step is not None and step[3].split(" ", 1)[0].upper() in _WORK:
                        yield Item(STAGE, image.name, ItemState.RUNNING, step[3], float(step[1]), float(step[2]))
                    yield Log(STAGE, image.name, line)
        except BuildFailed as error:
            failed = _without(error, how.prelude)
            yield Item(STAGE, image.name, ItemState.FAILED, failed.step)
            raise DeployError(_build_problem(image, failed), ExitCode.BUILD) from None


def refuse_other_content(image: ImagePlan, packed: Mapping[str, str]) -> None:
    """The tag names what is sent to the builder; SourcesChanged where a file has other content than when it was read.

    `packed` has the short digests of what is sent by path, as a manifest has them.
    """
    known = image.source.manifest
    changed = sorted(
        path for path, part in known.items()
        if (not path.startswith("/") or path in packed) and packed.get(path) != part
    )  # fmt: skip
    if changed:
        first = changed[0].removeprefix("/")
        title = f"image `{image.name}`: `{first}` in its build context changed after its tag was made"
        hints = (f"add `{first}` to .dockerignore, if no image needs it", "or end what writes it, then: todo-deploy up")
        raise SourcesChanged(Problem("CONTEXT_CHANGED", title, where=str(image.context), hints=hints), ExitCode.INPUT)


def _found(ref: str, item: str, look: Callable[[str], ImageFacts | None], clock: Clock) -> Steps[ImageFacts | None]:
    """What is there of that name, once the daemon answers again; its error after a minute without an answer."""
    deadline, shown = clock.monotonic() + _LIMIT_SECONDS, False
    while True:
        try:
            return look(ref)
        except DeployError as error:
            if not _is_lost(error) or clock.monotonic() > deadline:
                raise
        if not shown:
            shown = True
            yield Item(STAGE, item, ItemState.RUNNING, "the daemon does not answer; waiting for it")
        clock.sleep(1.0)


def _is_lost(error: DeployError) -> bool:
    return error.problems[0].code == "DOCKER_UNREACHABLE"


def _without(failed: BuildFailed, prelude: str) -> BuildFailed:
    tail = [line.replace(prelude, "") for line in failed.tail]
    return BuildFailed(str(failed).replace(prelude, ""), failed.step.replace(prelude, ""), tail, failed.line)


def _build_problem(image: ImagePlan, failed: BuildFailed) -> Problem:
    step = _STEP.match(failed.step)
    where = _dockerfile_line(image.dockerfile, int(step[1])) if step else str(image.dockerfile)
    where = f"{image.dockerfile}:{failed.line}" if failed.line else where
    unread = _PARSE_ERROR.search(str(failed))
    if unread is not None:
        where = f"{image.dockerfile}:{unread[1]}"
    said = "\n".join([str(failed), *failed.tail[-10:]]).lower()
    code = "DISK_FULL" if "no space left on device" in said else "BUILD_FAILED"
    hints = (
        ("todo-deploy images prune", "docker system df") if code == "DISK_FULL" else (f"todo-deploy up {image.name}",)
    )
    detail = "\n".join(filter(None, [failed.step, *failed.tail[-10:], str(failed)]))
    return Problem(code, f"image `{image.name}` could not be built", detail, where, hints)


def _dockerfile_line(dockerfile: Path, number: int) -> str:
    """The Dockerfile's line at which its instruction of that number begins; its first line where that cannot be found.

    The builder counts every instruction, `ARG` before `FROM` included; comments and empty lines end no instruction.
    """
    lines = dockerfile.read_text(encoding="utf-8", errors="replace").splitlines() if dockerfile.is_file() else []
    count, goes_on = 0, False
    for at, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        count += not goes_on
        if count == number:
            return f"{dockerfile}:{at}"
        goes_on = text.endswith("\\")
    return f"{dockerfile}:1"


# Of a deploy no more than this is spent on a database that does not come; less where an earlier one has spent it.
_DATABASE_SECONDS, _WITHOUT_BUILD_SECONDS = 120.0, 10.0
# The databases of vulnerabilities change daily.
_FRESH_SECONDS = 86_400.0


def scan_images(
    images: Sequence[BuiltImage],
    daemon: ImagePort,
    scanner: Scanner | None,
    mode: Literal["report", "block"],
    memory: Path,
    clock: Clock,
) -> Steps[tuple[BuiltImage, ...]]:
    """Every image has the verdict of its scan; with `block`, none has a critical vulnerability. `scanner` may be None.

    The scan of an image that has not changed is taken from `memory` for a day, unless it would block and can be made
    anew. The scanner is asked once whether it can scan: what keeps it from it (a database that cannot be downloaded) is
    waited for once and not for each image.
    """
    known, shown, scans, said = _recall(memory, clock), [], {}, set[str]()
    unready = None if scanner is not None else "neither trivy nor grype is on PATH"
    for image in images:
        facts = daemon.image(image.ref)
        key = facts.id if facts is not None else image.ref
        found = known.get(key)
        if found is None or (mode == "block" and found.critical and scanner is not None):
            if scanner is not None:
                yield Item(STAGE, image.name, ItemState.RUNNING, f"{scanner.name} looks for vulnerabilities")
                limit = _DATABASE_SECONDS if any(one.built for one in images) else _WITHOUT_BUILD_SECONDS
                unready = scanner.unready(limit) if unready is None else unready
            new = scanner.scan(image.ref) if scanner is not None and not unready else Scan(why=unready or "")
            found = new if new.scanner or found is None else found
            words = found.words if found.scanner or found.why not in said else "not scanned, for the same reason"
            said.add(found.why)
            yield Item(STAGE, image.name, ItemState.DONE if found.scanner else ItemState.UNCHANGED, words)
        if found.scanner:
            scans[key] = found
        shown.append((image, found))
    _remember(memory, known, scans, clock)
    without = sorted({found.why for image, found in shown if not found.scanner and image.built})
    if without:
        way = "install trivy or grype" if scanner is None else f"`{' '.join(scanner.renewal)}` downloads its database"
        yield Warned(Problem("NOT_SCANNED", "images were not scanned for vulnerabilities", "\n".join(without),
                             hints=(f"{way}; `rules.scan: off` asks for no scan",)))  # fmt: skip
    bad = [(image, found) for image, found in shown if found.critical]
    if bad and mode == "block":
        raise DeployError([_vulnerable(image, found) for image, found in bad], ExitCode.BUILD)
    return tuple(replace(image, scan=found.verdict) for image, found in shown)


def _vulnerable(image: BuiltImage, found: Scan) -> Problem:
    many = "a critical vulnerability" if len(found.critical) == 1 else f"{len(found.critical)} critical vulnerabilities"
    title = f"image `{image.ref}` has {many} ({found.scanner})"
    hints = ("build it on a newer base image, or update the packages; `rules.scan: report` only reports them",)
    return Problem("IMAGE_VULNERABLE", title, "\n".join(found.critical[:20]), hints=hints)


@dataclass(frozen=True, slots=True)
class _Memory:
    """The file: when its day began, and the scans by image."""

    at: float
    scans: Mapping[str, Scan]


def _recall(path: Path, clock: Clock) -> dict[str, Scan]:
    try:
        known = read_json(path, _Memory)
    except (OSError, Malformed):
        return {}
    return dict(known.scans) if known.at + _FRESH_SECONDS >= clock.now() else {}


def _remember(path: Path, known: Mapping[str, Scan], scans: Mapping[str, Scan], clock: Clock) -> None:
    """The scans of these images are remembered; the day begins anew only when all of them are new."""
    if all(known.get(key) == one for key, one in scans.items()):
        return
    with suppress(OSError, Malformed):
        at = read_json(path, _Memory).at if known else clock.now()
        document = {"at": at, "scans": {key: asdict(one) for key, one in {**known, **scans}.items()}}
        write_private(path, json.dumps(document))
