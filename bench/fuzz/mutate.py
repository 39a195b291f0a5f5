"""Mutations of values, texts and bytes; every choice comes from the given random numbers."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**40, 2**70, 1.5, -1e300, "", " ", "text", "1", "true", "2026-02-30", "=", "~",
    "a\nb", "\x1b[31mred\x07", "\u202e", "é" * 3, "x" * 5000, "../../../etc/passwd", "/", "${HOME}", "{{ .Values.x }}",
    "{ref}", "{", "%s", "a.b.c", "a\\.b", "999999999999999999999999", "1e999", "100m", "1Gi", "-5", "10s", "http://[",
    "*", "sha256:0", "name:tag@sha256:x", "\ufffd", [], {}, [None], [[]], [{}], {"": None}, {"name": {}}, [1, "a", {}],
    {"a": {"b": {"c": [1]}}}, [{"name": None}], ["a", "a"], "2026-11-20T14:48:42Z",
    "9999-12-31T23:59:59Z", "0001-01-01",
)  # fmt: skip

TOKENS = (
    "\t", "\x00", "\ufeff", "\r", "\u2028", "'", '"', "\\", "=", ":", "- ", "? ", "&a", "*a", "<<: *a", "!!int x",
    "!!timestamp x", "!!binary x", "!own {}", "---", "...", "%YAML 1.1", "{", "}", "[", "]", "{{", "}}", "${", "$X",
    "#", "|", ">", "2026-02-30", "0o17", "0x1F", ".nan", ".inf", "1e999", "yes", "~", "é", "\x1b[2J", "<html>", "<<EOF",
    "COPY --from=x", "ARG", "FROM", "\\\n", "  ", "{% raw %}", "null", "[" * 60, "{a: " * 60,
)  # fmt: skip


def value(random: Random, sample: Any, times: int | None = None) -> Any:
    """The sample with some of its parts replaced, removed, repeated or renamed."""
    made = copy.deepcopy(sample)
    for _ in range(times or random.randint(1, 3)):
        made = _once(random, made)
    return made


def text(random: Random, sample: str) -> str:
    """The sample with some of its lines and characters changed."""
    made = sample
    for _ in range(random.randint(1, 4)):
        made = _text_once(random, made)
    return made


def raw(random: Random, sample: bytes) -> bytes:
    """The sample with some of its bytes changed, or cut."""
    made = bytearray(sample)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(made))
        way = random.randint(0, 3)
        if way == 0:
            made[at : at + 1] = bytes([random.randint(0, 255)])
        elif way == 1:
            made[at:at] = random.choice((b"\xe9", b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\x80", b"\n"))
        elif way == 2:
            del made[at : at + random.randint(1, 20)]
        else:
            del made[at:]
    return bytes(made)


def _paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        found += _paths(inner, (*at, key))
    return found


def _once(random: Random, node: Any) -> Any:
    paths = _paths(node)
    if not paths or random.random() < 0.01:
        return copy.deepcopy(random.choice(STRANGE))
    path = random.choice(paths)
    holder = node
    for key in path[:-1]:
        holder = holder[key]
    last, way = path[-1], random.randint(0, 9)
    if way <= 5:
        holder[last] = copy.deepcopy(random.choice(STRANGE))
    elif way == 6:
        del holder[last]
    elif way == 7:
        other = node
        for key in random.choice(paths):
            other = other[key]
        holder[last] = copy.deepcopy(other)
    elif way == 8 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif isinstance(holder, dict):
        name = random.choice(("", "unknown", f"{last}x", str(last).upper(), "a.b", "\x07"))
        holder[name] = holder[last] if way == 8 else copy.deepcopy(random.choice(STRANGE))
    else:
        holder[last] = [holder[last]]
    return node


def _text_once(random: Random, sample: str) -> str:
    lines = sample.split("\n")
    at, way = random.randint(0, len(lines) - 1), random.randint(0, 7)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(at, lines[random.randint(0, len(lines) - 1)])
    elif way == 2:
        lines[at] = random.choice((" ", "  ", "\t", "-")) + lines[at]
    elif way == 3:
        lines.insert(at, random.choice(TOKENS))
    elif way == 4:
        lines = lines[: at + 1]
    elif way == 5:
        other = random.randint(0, len(lines) - 1)
        lines[at], lines[other] = lines[other], lines[at]
    else:
        line = lines[at]
        column = random.randint(0, len(line))
        cut = column + random.randint(0, 3) * (way == 7)
        lines[at] = line[:column] + random.choice(TOKENS) + line[cut:]
    return "\n".join(lines)
