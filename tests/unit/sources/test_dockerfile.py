"""Dockerfiles are read as Docker reads them, and other bases take the place of those they name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.sources import dockerfile
from deployer.sources.dockerfile import (
    arguments,
    base_images,
    buildkit_needs,
    copied,
    copied_words,
    declared_values,
    exposed_ports,
    global_args,
    health_check,
    instructions,
    is_plain,
    last_base,
    reaches,
    stages,
    started,
    syntax,
    with_bases,
    without_syntax,
)

STAGES = """\
# syntax=docker/dockerfile:1
ARG NODE_VERSION=18
ARG BASE=python:3.11-slim
FROM --platform=$BUILDPLATFORM node:${NODE_VERSION}-alpine AS Build
RUN npm ci && \\
    # a comment between continued lines
    npm run build
FROM ${BASE} as runtime
COPY --from=build /out /srv
COPY --from=0 /out /srv
COPY --chown=1001 --from=busybox:1.36 /bin/busybox /bin/
EXPOSE 3000/tcp
FROM runtime
ENV PORT=9292
expose $PORT 9293/udp
"""


def test_bases_are_what_comes_from_outside() -> None:
    found = base_images(STAGES, {})
    assert [(one.ref, one.argument) for one in found] == [
        ("node:18-alpine", ""),
        ("python:3.11-slim", "BASE"),
        ("busybox:1.36", ""),
    ]


def test_arguments_that_are_given_win_over_defaults() -> None:
    found = base_images(STAGES, {"NODE_VERSION": "20", "BASE": "local/python:1", "UNDECLARED": "x"})
    assert [one.ref for one in found][:2] == ["node:20-alpine", "local/python:1"]
    assert global_args(STAGES) == {"NODE_VERSION": "18", "BASE": "python:3.11-slim"}


@pytest.mark.parametrize(
    ("line", "ref"),
    [
        ("FROM scratch", None),
        ("from\tAlpine:3", "Alpine:3"),
        ("FROM ${TAG:-debian:12}", "debian:12"),
        ("FROM debian${SUFFIX:+:12}", "debian"),
        ("FROM \\\n  debian:12 \\\n  AS x", "debian:12"),
        ("ARG A=v12-slim-x\nARG B=${A%-*}\nFROM debian:${B#v}", "debian:12-slim"),
        ("ARG A=a/b/c\nFROM x:${A##*/}${A%%/*}", "x:ca"),
        ("ARG A=12-x-x\nFROM d:${A/-x/}${A//x/y}${A/1?-*/z}", "d:12-x12-y-yz"),
        ("ARG A\nFROM x${A%y}${A/y/z}", "x"),
    ],
)
def test_forms_of_from(line: str, ref: str | None) -> None:
    assert [one.ref for one in base_images(line, {})] == ([] if ref is None else [ref])


def test_what_a_here_document_holds_is_no_instruction() -> None:
    text = "FROM a:1\nRUN <<EOF cat <<-'END'\nFROM b:1\nEOF\nFROM c:1\nEND\nUSER 1001\n"
    assert [one.word for one in instructions(text)] == ["FROM", "RUN", "USER"]
    text = "FROM a:1\nONBUILD COPY <<EOF /x\nFROM b:1\nEOF\nonbuild run x\nUSER 1001\n"
    assert [one.word for one in instructions(text)] == ["FROM", "ONBUILD", "ONBUILD", "USER"]


@pytest.mark.parametrize("separator", ["\u2028", "\x0c", "\x85", "\x1e", "\r"])
def test_only_a_line_feed_ends_a_line(separator: str) -> None:
    text = f"# a{separator}FROM b\nFROM c\n# syntax=d\nRUN e{separator}FROM f\r\nUSER 1\n"
    assert [(one.word, one.first) for one in instructions(text)] == [("FROM", 1), ("RUN", 3), ("USER", 4)]
    assert with_bases(text, {}, {"c": "z"}) == text.replace("FROM c", "FROM z")


def test_images_of_mounts_are_bases() -> None:
    text = """\
FROM a AS one
RUN --mount=from=b:1,target=/b --mount=type=cache,target=/c,from=c@sha256:1 cp b:1 /x
RUN --mount=type=bind,from=one,target=/o --mount=type=bind,from=0,target=/p \\
  --mount=target=/q,from=b:1 true
COPY --from="d" /a /b
"""
    assert [one.ref for one in base_images(text, {})] == ["a", "b:1", "c@sha256:1", "b:1", "d"]
    changed = with_bases(text, {}, {"b:1": "y", "c@sha256:1": "z", "d": "w"})
    assert "--mount=from=y,target=/b --mount=type=cache,target=/c,from=z cp b:1 /x" in changed
    assert "--mount=target=/q,from=y true" in changed and "COPY --from=w /a" in changed


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("ARG V=3.11\nARG I=python:${V}-slim\nFROM ${I}\n", "python:3.11-slim"),
        ('ARG V=3.11\nARG I="python:$V"\nFROM $I-slim\n', "python:3.12-slim"),
        ("ARG A\nFROM x:${A-1}\n", "x:1"),
        ("ARG B=2\nFROM x:${A:-${B}}\n", "x:2"),
        ("# syntax=docker/dockerfile:1\n# escape=`\nARG A=1\nFROM `\n  x:$A\n", "x:1"),
    ],
)
def test_defaults_may_name_arguments_before_them(text: str, ref: str) -> None:
    args = {"V": "3.12"} if "3.12" in ref else {}
    assert [one.ref for one in base_images(text, args)] == [ref]


def test_instructions_and_bases_are_those_of_buildkit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`buildkit_dockerfiles.jsonl`: Dockerfiles, arguments, and what BuildKit v0.34.2 reads (its packages `parser`,
    `instructions` and `shell`): the instructions with their lines, and the name of each stage's base."""
    monkeypatch.setattr(dockerfile, "_platform", dict)  # its packages know no platform
    instructions_compared, bases_compared, different = 0, 0, []
    for line in (Path(__file__).parents[2] / "data" / "buildkit_dockerfiles.jsonl").read_text("utf-8").splitlines():
        one = json.loads(line)
        text = one["text"]
        instructions_compared += 1
        if [[read.word, read.first + 1, read.last + 1] for read in instructions(text)] != one["instructions"]:
            different.append(text)
        if "from" in one:
            bases_compared += len(one["from"])
            stages = {read.first for read in instructions(text) if read.word == "FROM"}
            found = [read.ref for read in base_images(text, one["args"] or {}) if read.first in stages]
            different += [text] if found != list(filter(None, one["from"])) else []
    with capsys.disabled():
        print(f" [Dockerfile: {instructions_compared} files and {bases_compared} bases compared with BuildKit, "
              f"{len(different)} different]", end="")  # fmt: skip
    assert instructions_compared > 500 and different == []


def test_a_stage_and_those_that_it_is_made_from_say_what_is_exposed() -> None:
    assert exposed_ports(STAGES) == (9292, 3000)
    assert exposed_ports("FROM a\nEXPOSE 80\nFROM b\n") == ()
    base = "ARG P=1\nFROM a AS base\nEXPOSE 80 81/udp\n"
    text = base + "FROM b AS dev\nEXPOSE $P\nARG P\nEXPOSE 9000-9002 $P\nFROM base AS final\n"
    assert exposed_ports(text) == (80,)
    assert exposed_ports(text, {}, "dev") == (9000, 9001, 9002, 1) == exposed_ports(text, {}, "1")


def test_a_stage_has_the_health_check_of_those_that_it_is_made_from() -> None:
    text = "FROM a AS base\nHEALTHCHECK CMD x\nFROM b AS other\nHEALTHCHECK CMD y\nFROM base\n"
    assert (health_check(text), health_check(text, "other")) == ("CMD x", "CMD y")
    assert health_check(text + "healthcheck none\n") == "" == health_check("FROM a\n")


def test_buildkit_gives_every_stage_the_platform() -> None:
    """As in `FROM build-${TARGETARCH}`, which is a stage and no image."""
    arch = "FROM a AS b-amd64\nFROM a AS b-arm64\nFROM b-${TARGETARCH} AS c\n"
    assert {one.ref for one in base_images(arch, {})} == {"a"}
    assert [one.ref for one in base_images("ARG TARGETARCH\n" + arch, {"TARGETARCH": "x"})] == ["a", "a", "b-x"]
    assert [one.ref for one in base_images("ARG TARGETOS=y\nFROM b-$TARGETOS\n", {})] == ["b-y"]


def test_every_declaration_of_an_argument_counts() -> None:
    text = "ARG A=1\nFROM x\nARG A B C='2 3'\nARG B=4\nARG D=\n"
    assert arguments(text) == {"A": "1", "B": "4", "C": "2 3", "D": ""}


def test_what_is_copied_is_read_in_each_form() -> None:
    text = """\
FROM x
COPY --link --chown=1:1 ["a b", "c", "/to"]
COPY --from=x d /to
ADD https://example.com/e git@github.com:acme/f.git g /to
COPY <<END h /to
text
END
"""
    assert copied_words(text) == ("a b", "c", "g", "h")


def test_other_bases_take_their_place_and_nothing_else_changes() -> None:
    others = {"node:18-alpine": "local/node:18-1", "busybox:1.36": "local/busybox:1", "python:3.11-slim": "local/py:1"}
    changed = with_bases(STAGES, {}, others)
    assert [one.ref for one in base_images(changed, {})] == ["local/node:18-1", "local/py:1", "local/busybox:1"]
    assert "FROM --platform=$BUILDPLATFORM local/node:18-1 AS Build" in changed
    pairs = zip(STAGES.splitlines(), changed.splitlines(), strict=True)
    assert [old for old, new in pairs if old != new] == [
        "FROM --platform=$BUILDPLATFORM node:${NODE_VERSION}-alpine AS Build",
        "FROM ${BASE} as runtime",
        "COPY --chown=1001 --from=busybox:1.36 /bin/busybox /bin/",
    ]
    assert with_bases(STAGES, {}, {}) == STAGES


def test_a_base_is_replaced_wherever_its_lines_break() -> None:
    text = "FR\\\nOM a:\\\n  # a:1\n1 \\\n  AS b\nCOPY \\\n  # of c:1\n  --from=c:1 \\\n  /x /\nUSER 1\n"
    changed = with_bases(text, {}, {"a:1": "z:1", "c:1": "y:1"})
    assert [(one.word, one.rest, one.first) for one in instructions(changed)] == [
        ("FROM", "z:1   AS b", 0), ("COPY", "  --from=y:1   /x /".strip(), 5), ("USER", "1", 9),
    ]  # fmt: skip
    assert "  # of c:1\n" in changed


def test_a_base_that_an_argument_already_replaced_stays() -> None:
    others = {"python:3.11-slim": "local/py:1"}
    assert with_bases(STAGES, {"BASE": "local/py:1"}, others) == STAGES


def test_declared_values_are_those_of_the_build() -> None:
    text = (
        "FROM node\nARG VITE_API_URL=http://localhost:8000\nARG HOST=api\n"
        "ENV NEXT_PUBLIC_API=http://${HOST}:1 OTHER=x\n"
    )
    assert declared_values(text, {}) == (
        ("VITE_API_URL", "http://localhost:8000", 2), ("HOST", "api", 3), ("NEXT_PUBLIC_API", "http://api:1", 4),
        ("OTHER", "x", 4),
    )  # fmt: skip
    given = declared_values(text, {"HOST": "web", "VITE_API_URL": "/api"})
    assert [value for _, value, _ in given] == ["/api", "web", "http://web:1", "x"]


@pytest.mark.parametrize(
    ("instruction", "need"),
    [
        ("RUN --mount=type=cache,target=/x make", "RUN --mount"),
        ("RUN --network=none make", "RUN --network"),
        ("RUN --security=insecure make", "RUN --security"),
        ("RUN <<EOT\nmake\nEOT", "RUN <<"),
        ("COPY <<EOT /x\ntext\nEOT", "COPY <<"),
        ("COPY --link a b", "COPY --link"),
        ("COPY --chown=1 --chmod=0444 a b", "COPY --chmod"),
        ("COPY --parents a b", "COPY --parents"),
        ("COPY --exclude=*.md a b", "COPY --exclude"),
        ("ADD --checksum=sha256:1 https://x/y /y", "ADD --checksum"),
        ("ARG TARGETARCH", "ARG TARGETARCH"),
        ("FROM --platform=$BUILDPLATFORM b", "FROM --platform=$BUILDPLATFORM"),
        ("FROM --platform=linux/amd64 b", None),
        ("ARG TARGETARCH=amd64", None),
        ("RUN echo --mount=x", None),
        ("RUN cat <<< x", None),
        ("COPY --from=a --chown=1 x y", None),
        ('LABEL a="<<EOT"', None),
    ],
)
def test_what_only_buildkit_builds_is_named_with_its_line(instruction: str, need: str | None) -> None:
    expected = () if need is None else ((3, need),)
    assert buildkit_needs(f"# syntax=docker/dockerfile:1\nFROM a\n{instruction}\nUSER 1\n") == expected


def test_the_frontend_of_the_first_line_can_be_left_out() -> None:
    text = "#syntax = docker/dockerfile:1.7\nFROM a\n"
    assert syntax(text) == "docker/dockerfile:1.7" and syntax(STAGES) == "docker/dockerfile:1"
    assert without_syntax(text) == "# frontend=builtin\nFROM a\n" and without_syntax("FROM a\n") == "FROM a\n"
    assert syntax("# comment\n# syntax=x\nFROM a\n") == ""
    assert syntax("# check=skip=A, B\n# syntax = x more\nFROM a\n") == "x"


@pytest.mark.parametrize(
    ("frontend", "plain"),
    [
        ("docker/dockerfile", True), ("docker/dockerfile:1.7-labs", True), ("docker.io/docker/dockerfile:1", True),
        (f"docker/dockerfile:1@sha256:{'a' * 64}", True), ("docker/dockerfile-upstream:master", True),
        ("tonistiigi/llb-gen", False), ("ghcr.io/docker/dockerfile:1", False),
    ],
)  # fmt: skip
def test_other_frontends_have_languages_of_their_own(frontend: str, plain: bool) -> None:
    assert is_plain(f"# syntax={frontend}\nFROM a\n") is plain and is_plain("FROM a\n")


def test_a_stage_is_known_by_its_name_or_else_by_its_number() -> None:
    assert stages("FROM a\nFROM --platform=x b AS Run\nFROM c\n") == ("0", "run", "2") and stages("ARG A\n") == ()


@pytest.mark.parametrize(
    ("instruction", "sources"),
    [
        ("COPY . .", [""]),
        ("COPY ./src /app/./x /to/", ["src", "app/x"]),
        ('COPY ["a b", "/to"]', ["a b"]),
        ("COPY --chown=1:1 --link *.py conf/ /to/", ["*.py", "conf"]),
        ("COPY --from=build /x /y", []),
        ("COPY <<EOF a /x/\n.git\nEOF", ["a"]),
        ("ADD https://host/x git@host:r .git /y", [".git"]),
        ("ARG D=src\nCOPY ${D}/x $UNSET /y/", ["src/x", ""]),
        ("RUN --mount=type=bind,source=app,target=/x make", ["app"]),
        ("RUN --mount=target=/src make", [""]),
        ("RUN --mount=type=cache,target=/x --mount=from=build,source=/a,target=/b make", []),
        ("RUN cp -r . /x", []),
        ("COPY $UNSET/x a/b$UNSET/c ${UNSET:-d}/e /y/", ["", "a", "d/e"]),
        ("ARG A=b/c.x\nCOPY ${A%.x}.py /y/", ["b/c.py"]),
        ("ONBUILD COPY a /y", ["a"]),
        ("ARG U=https://x/y\nARG V\nADD $U a-$V b/c-$V /y/", ["", "b"]),
    ],
)
def test_what_is_taken_of_the_context(instruction: str, sources: list[str]) -> None:
    assert [source for source, _ in copied(f"FROM a\n{instruction}\n", {})] == sources


def test_an_argument_before_the_first_stage_is_one_of_a_stage_that_declares_it() -> None:
    text = "ARG D=src\nFROM a\nCOPY b/${D}/x /\nARG D\nCOPY ${D}/x /\nENV D=c\nCOPY $D /\n"
    assert [source for source, _ in copied(text, {})] == ["b", "src/x", "c"]
    assert [source for source, _ in copied(text, {}, certain=True)] == ["src/x", "c"]


@pytest.mark.parametrize(
    ("source", "path", "reached"),
    [
        ("", ".git/HEAD", True),
        (".git", ".git/HEAD", True),
        (".git/HEAD", ".git", True),  # part of it
        ("*", ".git/HEAD", True),
        ("*.yaml", "todo-deploy.yaml", True),
        ("src", "todo-deploy.yaml", False),
        ("src/*", "src/.env", True),
        ("**/a.txt", "chart/b/a.txt", True),
        ("src/**/a", "src/.env", True),
        ("src/**/a", "chart/b/a", False),
        ("sr", "src/.env", False),
    ],
)
def test_what_a_source_reaches(source: str, path: str, reached: bool) -> None:
    assert reaches(source, path) is reached


@pytest.mark.parametrize(
    ("target", "base"), [(None, "scratch"), ("dev", "python:3.11"), ("BUILD", "golang:1.25"), ("unknown", "scratch")]
)
def test_what_a_stage_is_made_of_in_the_end(target: str | None, base: str) -> None:
    text = "ARG BASE=python:3.11\nFROM golang:1.25 AS build\nFROM $BASE AS base\nFROM base AS dev\nFROM scratch\n"
    assert last_base(text, {}, target) == base


@pytest.mark.parametrize(
    ("rest", "program"),
    [
        ('ENTRYPOINT ["/run.sh"]\nCMD ["serve"]', "/run.sh"),
        ("ENTRYPOINT exec ./run.sh --port 80", "./run.sh"),
        ('ENTRYPOINT ["tini", "--", "/app/start"]', "/app/start"),
        ('CMD ["sh", "run.sh"]', "sh"),
        ("ENTRYPOINT []\nCMD ./run.sh", "./run.sh"),
        ("RUN ./run.sh", ""),
    ],
)
def test_what_an_image_starts(rest: str, program: str) -> None:
    assert started(f"FROM a\n{rest}\n") == (program, _line_of(rest, program))


def _line_of(rest: str, program: str) -> int:
    lines = [at for at, line in enumerate(rest.splitlines()) if program and program in line]
    return lines[0] + 2 if lines else 0


@pytest.mark.parametrize(("target", "program"), [(None, "./b"), ("one", "./a"), ("two", "./b"), ("three", "./b")])
def test_a_stage_starts_what_the_one_before_it_starts(target: str | None, program: str) -> None:
    text = "FROM x AS one\nCMD ./a\nFROM one AS two\nCMD ./b\nFROM two AS three\nRUN true\n"
    assert started(text, target)[0] == program
