"""Dockerfiles as far as the tool reads them: base images, build arguments, ports, and other bases in their place.

The grammar is that of docs.docker.com/reference/dockerfile: continued lines, here-documents, arguments before the
first `FROM`, stages by name or number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_HEREDOC = re.compile(r"<<-?([\"']?)(\w+)\1")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")
_ESCAPE = re.compile(r"^#\s*escape\s*=\s*(\S)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word in capitals, the rest without continuations, and its lines (from 0, both included)."""

    word: str
    rest: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image from outside that a stage is made from or copies from; `argument` where one alone names it."""

    ref: str
    written: str
    first: int
    last: int
    argument: str = ""


def instructions(text: str) -> tuple[Instruction, ...]:
    """The instructions in their order; comments and what a here-document holds are none."""
    lines = text.splitlines()
    mark = next((match[1] for line in lines[:1] if (match := _ESCAPE.match(line))), "\\")
    found = []
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        first, words = at, ""
        while at < len(lines):
            line = lines[at].rstrip()
            comment = at > first and line.lstrip().startswith("#")
            at += 1
            if comment:
                continue
            words += line.removesuffix(mark) if line.endswith(mark) else line
            if not line.endswith(mark):
                break
        match = _INSTRUCTION.match(words)
        if match is None:
            continue
        if match[1].upper() in ("RUN", "COPY", "ADD"):
            for _, end in _HEREDOC.findall(match[2]):
                while at < len(lines) and lines[at].strip() != end:
                    at += 1
                at += 1
        found.append(Instruction(match[1].upper(), match[2].strip(), first, at - 1))
    return tuple(found)


_FLAG = re.compile(r"--([a-z-]+)(?:=|\s|$)")
_NEWER_FLAGS = {
    "RUN": {"mount", "network", "security", "device"},
    "COPY": {"link", "chmod", "parents", "exclude"},
    "ADD": {"link", "chmod", "checksum", "keep-git-dir", "exclude", "unpack"},
}
_PLATFORM = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)")
_SYNTAX = re.compile(r"#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)


def buildkit_needs(text: str) -> tuple[tuple[int, str], ...]:
    """What the classic builder refuses or takes for something else: the lines (from 1), and what it is there."""
    return tuple(sorted({(one.first + 1, need) for one in instructions(text) for need in _needs(one)}))


def _needs(one: Instruction) -> Iterator[str]:
    flags = {match[1] for word in _leading_flags(one.rest) if (match := _FLAG.match(word))}
    yield from (f"{one.word} --{flag}" for flag in flags & _NEWER_FLAGS.get(one.word, set()))
    if one.word in ("RUN", "COPY", "ADD") and _HEREDOC.search(one.rest):
        yield f"{one.word} <<"
    if one.word == "ARG":
        yield from (
            f"ARG {name}" for name, value in _declared(one.rest).items() if _PLATFORM.fullmatch(name) and not value
        )
    if one.word == "FROM" and (found := re.search(r"\$\{?(\w+)", one.rest)) and _PLATFORM.fullmatch(found[1]):
        yield f"FROM --platform=${found[1]}"


def _leading_flags(rest: str) -> list[str]:
    words = rest.split()
    return words[: next((at for at, word in enumerate(words) if not word.startswith("--")), len(words))]


def syntax(text: str) -> str:
    """The image of the frontend that the first line asks for, as it is written; empty where none is."""
    first = text.removeprefix("\ufeff").partition("\n")[0]
    match = _SYNTAX.match(first.strip())
    return match[1] if match is not None else ""


def without_syntax(text: str) -> str:
    """The Dockerfile read by the frontend that BuildKit has built in; every line keeps its number."""
    return "#" + text[text.index("\n") :] if syntax(text) and "\n" in text else text


def base_images(text: str, args: Mapping[str, str]) -> tuple[BaseImage, ...]:
    """Every image that the Dockerfile takes from outside under these build arguments, in its order."""
    return tuple(_bases(text, args))


def global_args(text: str) -> dict[str, str]:
    """The arguments that are declared before the first stage, with their defaults."""
    found: dict[str, str] = {}
    for one in instructions(text):
        if one.word == "FROM":
            break
        if one.word == "ARG":
            found |= _declared(one.rest)
    return found


def declared_values(text: str, args: Mapping[str, str]) -> tuple[tuple[str, str, int], ...]:
    """Every ARG and ENV with its value under these build arguments, and its line (from 1)."""
    values: dict[str, str] = {}
    found: list[tuple[str, str, int]] = []
    for one in instructions(text):
        if one.word in ("ARG", "ENV"):
            for name, value in _declared(one.rest).items():
                values[name] = args[name] if one.word == "ARG" and name in args else _expanded(value, values)
                found.append((name, values[name], one.first + 1))
    return tuple(found)


def exposed_ports(text: str) -> tuple[int, ...]:
    """The ports that the last stage says it listens on."""
    ports: list[int] = []
    values: dict[str, str] = {}
    for one in instructions(text):
        if one.word == "FROM":
            ports = []
        elif one.word in ("ARG", "ENV"):
            values |= _declared(one.rest)
        elif one.word == "EXPOSE":
            names = (_expanded(word, values).partition("/")[0] for word in one.rest.split())
            ports += [int(name) for name in names if name.isdigit()]
    return tuple(dict.fromkeys(ports))


def with_bases(text: str, args: Mapping[str, str], others: Mapping[str, str]) -> str:
    """The Dockerfile with `others` in the place of the images of those names; every line keeps its number."""
    lines = text.splitlines(keepends=True)
    for base in _bases(text, args):
        if base.ref not in others:
            continue
        written = re.compile(rf"((?:^|\s)(?:--from=)?){re.escape(base.written)}(?=\s|$)")
        for at in range(base.first, base.last + 1):
            lines[at], count = written.subn(lambda match, new=others[base.ref]: match[1] + new, lines[at], count=1)  # type: ignore[misc]
            if count:
                break
    return "".join(lines)


def _bases(text: str, args: Mapping[str, str]) -> Iterator[BaseImage]:
    values = {name: args.get(name, default) for name, default in global_args(text).items()}
    stages: set[str] = {"scratch"}
    for one in instructions(text):
        words = [word for word in one.rest.split() if not word.startswith("--")]
        if one.word == "FROM" and words:
            ref = _expanded(words[0], values)
            if ref and ref.lower() not in stages:
                alone = _VARIABLE.fullmatch(words[0])
                argument = (alone[1] or alone[2]) if alone is not None else ""
                yield BaseImage(ref, words[0], one.first, one.last, argument)
            stages.add(words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else "")
        elif one.word in ("COPY", "ADD"):
            for word in one.rest.split():
                source = word.removeprefix("--from=")
                if source != word and not source.isdigit() and source.lower() not in stages:
                    yield BaseImage(source, source, one.first, one.last)


def _declared(rest: str) -> dict[str, str]:
    """`NAME=value NAME2="value 2"`, or the old `NAME value`."""
    pairs = re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S*)", rest)
    if pairs:
        return {name: value.strip("\"'") for name, value in pairs}
    name, _, value = rest.partition(" ")
    return {name: value.strip()}


def _expanded(word: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        given = values.get(match[1] or match[2], "")
        if match[3] == "-":
            return given or match[4]
        if match[3] == "+":
            return match[4] if given else ""
        return given

    return _VARIABLE.sub(value, word)
