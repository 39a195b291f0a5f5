"""Every message that the tool can print, as a table: code, title, hint, and the line of the source that makes it.

    python scripts/messages.py [WORD]

Read from the source: calls that make a problem (code, title, …), the causes of failed rollouts, and rules with their
violations. What is only known when it runs is shown as {name}. With a word, only the rows that contain it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
PACKAGE = Path(__file__).parents[1] / "deployer"
MAKERS = ("Problem", "input_error", "machine_error", "refused")
CAUSES_FILE = "deployer/diagnosis/causes.py"
RULES_FOLDER = "deployer/preflight/rules"
Scope = ast.Module | ast.FunctionDef


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its kind is the function that makes it, and its place the file and line."""

    code: str
    kind: str
    title: str
    hint: str
    place: str


def messages(package: Path = PACKAGE) -> tuple[Message, ...]:
    """Every message of the package, by code."""
    from deployer.diagnosis.causes import CAUSES
    from deployer.preflight.rules.judging import RULES

    found = [one for path in sorted(package.rglob("*.py")) for one in _of_file(path, package)]
    seen = {one.code for one in found}
    found += [
        Message(one.name, one.tier, one.sentence, one.hint, RULES_FOLDER) for one in RULES if one.name not in seen
    ]
    found += [Message(one.code, "cause", one.title, " / ".join(one.hints), CAUSES_FILE) for one in CAUSES.values()]
    return tuple(sorted(found, key=lambda one: (one.code, one.place)))


def _of_file(path: Path, package: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shown = path.relative_to(package.parent).as_posix()
    for call, scopes in _calls(tree, (tree,)):
        kind = _name(call.func)
        if kind == "rule":
            continue
        rule = next((one for scope in scopes if (one := _rule(scope))), None)
        place = f"{shown}:{call.lineno}"
        if rule is not None and kind in ("Violation", "violation"):
            at = call.args[0] if call.args else None
            name, tier, hint = rule
            yield Message(name, tier, _text(at, scopes), _hint(call, scopes) or hint, place)
        elif kind in MAKERS and shown != CAUSES_FILE:
            yield _message(call, kind, scopes, place)


def _message(call: ast.Call, kind: str, scopes: Sequence[Scope], place: str) -> Message:
    given = dict(zip(("code", "title"), call.args, strict=False)) | {one.arg: one.value for one in call.keywords}
    return Message(
        _text(given.get("code"), scopes), kind, _text(given.get("title"), scopes), _hint(call, scopes), place
    )


def _calls(node: ast.AST, scopes: tuple[Scope, ...]) -> Iterator[tuple[ast.Call, tuple[Scope, ...]]]:
    """Every call below the node, with the functions around it, innermost first."""
    for child in ast.iter_child_nodes(node):
        inside = (child, *scopes) if isinstance(child, ast.FunctionDef) else scopes
        if isinstance(child, ast.Call):
            yield child, inside
        yield from _calls(child, inside)


def _rule(scope: Scope) -> tuple[str, str, str] | None:
    """The name, tier and hint of the rule that the function is."""
    for one in scope.decorator_list if isinstance(scope, ast.FunctionDef) else ():
        if isinstance(one, ast.Call) and _name(one.func) == "rule":
            name, tier = (_text(at, (scope,)) for at in one.args[:2])
            return name, tier, _hint(one, (scope,))
    return None


def _hint(call: ast.Call, scopes: Sequence[Scope]) -> str:
    for one in call.keywords:
        if one.arg in ("hints", "hint"):
            return _text(one.value, scopes)
    at = {"Problem": 4, "Violation": 3}.get(_name(call.func))
    return _text(call.args[at], scopes) if at is not None and len(call.args) > at else ""


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.AST | None, scopes: Sequence[Scope], depth: int = 0) -> str:
    """The text that the expression makes; names are looked up in the functions around it and in the module."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value) if node.value is not None else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(one, scopes, depth) for one in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.Tuple | ast.List):
        return " / ".join(filter(None, (_text(one, scopes, depth) for one in node.elts)))
    if isinstance(node, ast.IfExp):
        return " | ".join(filter(None, (_text(one, scopes, depth) for one in (node.body, node.orelse))))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, scopes, depth) + _text(node.right, scopes, depth)
    if isinstance(node, ast.Name) and depth < 3:
        known = (value for scope in scopes if (value := _assigned(scope, node.id, node.lineno)) is not None)
        value = next(known, None)
        if value is not None:
            return _text(value, scopes, depth + 1)
    return "{" + ast.unparse(node) + "}"


def _assigned(scope: Scope, name: str, before: int) -> ast.expr | None:
    """What was last assigned to the name above the line: in the function, or in the module itself."""
    found = None
    for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else scope.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id == name for one in targets) and node.lineno <= before:
                found = node.value if found is None or node.lineno > found.lineno else found
    return found


def main(words: Sequence[str]) -> None:
    """The table, as Markdown, on stdout."""
    print("| code | kind | title | hint | place |\n|---|---|---|---|---|")
    for one in messages():
        cells = (one.code, one.kind, one.title, one.hint, one.place)
        row = "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
        if all(word.lower() in row.lower() for word in words):
            print(row)


if __name__ == "__main__":
    main(sys.argv[1:])
