"""Writes the pages of `docs/reference` that are made from the code: `scripts/reference.py [FOLDER]`.

The spec's fields come from its JSON Schema, commands and options from click, exit codes and events from their
definitions, and codes from `deployer/ui/codes.md` with the titles and hints that `scripts/messages.py` finds.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

GENERATED = "<!-- Made by `make reference` from the code. -->\n"
_ENVELOPE = {
    "schemaVersion": 1,
    "command": "status",
    "ok": False,
    "exitCode": 3,
    "data": {"cluster": {"provider": "minikube", "phase": "Running"}},
    "errors": [
        {"code": "NOT_DEPLOYED", "title": "…", "detail": "", "where": "", "hints": ["todo-deploy up"]},
    ],
}
_SHAPES = ROOT / "docs" / "reference" / "output.schema.yaml"
_EXAMPLES = ROOT / "docs" / "reference" / "examples.yaml"


def pages() -> dict[str, str]:
    """The text of every generated page, by its file name."""
    made = {
        "spec.md": spec_page(),
        "commands.md": commands_page(),
        "codes.md": codes_page(),
        "exit-codes.md": exit_codes_page(),
        "json.md": json_page(),
        "events.md": events_page(),
    }
    return {name: f"{GENERATED}\n{text.rstrip()}\n" for name, text in made.items()}


# The spec -------------------------------------------------------------------------------------------------------------


def spec_page() -> str:
    """Every field of the spec: type, default, meaning, an example, and its line in the schema."""
    text = (ROOT / "schema" / "todo-deploy.schema.json").read_text(encoding="utf-8")
    schema, lines = json.loads(text), _lines(text)
    page = [
        "# The spec: `todo-deploy.yaml`",
        "",
        "Editors complete and check the file by its JSON Schema (`todo-deploy schema`), when its first line is",
        "`# yaml-language-server: $schema=PATH/todo-deploy.schema.json`. The number in the last column is the line of",
        "`schema/todo-deploy.schema.json` that says the same.",
        "",
        "## The whole",
        "",
        *_fields(schema, (), lines),
    ]
    for name, path in _sections(schema):
        node = schema["$defs"][name]
        page += ["", f"## {path}", "", node.get("description", ""), "", *_fields(node, ("$defs", name), lines)]
        if path in examples():
            page += ["", "```yaml", examples()[path], "```"]
    return "\n".join(page)


def _sections(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The definitions with the path at which each is written, outermost first."""
    waiting, seen = [("", schema)], set[str]()
    while waiting:
        path, node = waiting.pop(0)
        for key, value in node.get("properties", {}).items():
            for name, below in _definitions(value):
                if name not in seen:
                    seen.add(name)
                    at = ".".join(filter(None, (path, key))) + below
                    yield name, at
                    waiting.append((at, schema["$defs"][name]))


def _definitions(value: Mapping[str, Any], below: str = "") -> Iterator[tuple[str, str]]:
    if "$ref" in value:
        yield value["$ref"].rpartition("/")[2], below
    for one in value.get("anyOf", []):
        yield from _definitions(one, below)
    for one in value.get("patternProperties", {}).values():
        yield from _definitions(one, below + ".NAME")
    if isinstance(value.get("items"), dict):
        yield from _definitions(value["items"], below + "[]")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each key of a JSON text with an indent of two, by its path."""
    found: dict[tuple[str, ...], int] = {}
    path: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        key = re.match(r'( +)"([^"]+)": ', line)
        if key:
            path[len(key[1]) // 2 - 1 :] = [key[2]]
            found.setdefault(tuple(path), number)
    return found


def _fields(node: Mapping[str, Any], path: tuple[str, ...], lines: Mapping[tuple[str, ...], int]) -> list[str]:
    rows = ['<div class="fields" markdown>', ""]
    rows += ["| field | type | default | meaning | schema |", "|---|---|---|---|---|"]
    for key, value in node.get("properties", {}).items():
        meaning, line = _cell(value.get("description", "")), lines[*path, "properties", key]
        default = "required" if key in node.get("required", []) else _default(value)
        rows.append(f"| `{key}` | {_type(value)} | {default} | {meaning} | {line} |")
    return [*rows, "", "</div>"]


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if default is None:
        return "none"
    if isinstance(default, dict) and default:
        return "below"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        return "mapping"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " \\| ".join(f"`{one}`" for one in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(one) for one in value["anyOf"] if one.get("type") != "null"))
    kind = value.get("type", "")
    if kind == "array":
        return f"list of {_type(value['items'])}"
    if kind == "object":
        inner = next(iter(value.get("patternProperties", {}).values()), value.get("additionalProperties"))
        return "mapping" if not isinstance(inner, dict) else f"mapping of names to {_type(inner)}"
    return str(kind[0] if isinstance(kind, list) else kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def examples() -> dict[str, str]:
    """The examples by path: the blocks of `examples.yaml`, each below a comment `# --- PATH`."""
    blocks = re.split(r"^# --- (.+)\n", _EXAMPLES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {path: block.rstrip() for path, block in zip(blocks[::2], blocks[1::2], strict=True)}


# Commands -------------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its usage, arguments and options."""
    from deployer.cli.entry import COMMANDS, cli

    context = click.Context(cli, info_name="todo-deploy")
    shared = {one.name for one in cli.params}
    lines = ["# Commands", "", "Options that every command takes, before or after its name:", ""]
    lines += _options(cli, context, set())
    for name, (_, help_line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        lines += _command(command, click.Context(command, parent=context, info_name=name), help_line, shared, 2)
    return "\n".join(lines)


def _command(
    command: click.Command, context: click.Context, help_line: str, shared: set[str | None], level: int
) -> list[str]:
    lines = ["", f"{'#' * level} {context.command_path.removeprefix('todo-deploy ')}", "", help_line, ""]
    lines += ["```text", " ".join([context.command_path, *command.collect_usage_pieces(context)]), "```", ""]
    more = (command.help or "").strip().partition("\n\n")[2]
    lines += [" ".join(more.split()), ""] if more else []
    lines += _options(command, context, shared)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            inner = click.Context(below, parent=context, info_name=name)
            lines += _command(below, inner, below.get_short_help_str(200), shared, level + 1)
    return lines


def _options(command: click.Command, context: click.Context, shared: set[str | None]) -> list[str]:
    rows = [one.get_help_record(context) for one in command.params if one.name not in shared]
    known = [row for row in rows if row is not None]
    if not known:
        return []
    return ["| option | meaning |", "|---|---|", *(f"| `{name}` | {_cell(text)} |" for name, text in known)]


# Codes ----------------------------------------------------------------------------------------------------------------


def codes_page() -> str:
    """Every code: what `todo-deploy help CODE` prints."""
    from deployer.cli.help_ import every_code

    lines = [
        "# Codes",
        "",
        "Every error, warning, rule and cause has a code. `todo-deploy help CODE` prints the same text, offline.",
    ]
    for code, text in sorted(every_code().items()):
        lines += ["", f"## {code} {{ #{code} }}", "", text]
    return "\n".join(lines)


# Exit codes and events ------------------------------------------------------------------------------------------------


def exit_codes_page() -> str:
    """Every exit code with its meaning."""
    from deployer.core.errors import EXIT_MEANINGS

    rows = [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_MEANINGS.items()]
    return "\n".join(["# Exit codes", "", "| code | meaning |", "|---|---|", *rows])


def json_page() -> str:
    """The one document of `-o json`, and the data of each command."""
    shapes = output_shapes()
    lines = [
        "# JSON output",
        "",
        "With `-o json` a command prints exactly one document to standard output, also when it fails:",
        "",
        "```json",
        json.dumps(_ENVELOPE, indent=2, ensure_ascii=False),
        "```",
        "",
        "`errors` is empty where `ok` is true. `data` is that of the command below, and `null` where there is none.",
        "`docs/reference/output.schema.yaml` has the same as JSON Schema.",
    ]
    for command, shape in sorted((name, shape) for name, shape in shapes.items() if name != "$defs"):
        lines += ["", f"## {command}", "", "| field | always | meaning |", "|---|---|---|"]
        for name, value in shape["properties"].items():
            always = "yes" if name in shape.get("required", ()) else ""
            lines.append(f"| `{name}` | {always} | {_cell(value.get('description', ''))} |")
    return "\n".join(lines)


def output_shapes() -> dict[str, Any]:
    """The JSON Schema of each command's data, by command, and their `$defs`."""
    shapes: dict[str, Any] = YAML(typ="safe", pure=True).load(_SHAPES.read_text(encoding="utf-8"))
    return shapes


def events_page() -> str:
    """Every event with its fields."""
    from deployer.core import events

    lines = [
        "# Events",
        "",
        "`--progress json` writes one JSON object a line to standard error, and each run's record has the same lines.",
        'Every object has `"v": 1`, its `type`, and `at` (seconds since 1970).',
    ]
    for event in typing.get_args(events.Event):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()
        fields = dataclasses.fields(event)
        lines += ["", f"## {name}", "", _words(event.__doc__), "", "| field | type |", "|---|---|"]
        lines += [f"| `{one.name}` | {_cell(str(one.type))} |" for one in fields]
    return "\n".join(lines)


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def write(folder: Path) -> None:
    """The folder has every generated page as it is now."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference")
