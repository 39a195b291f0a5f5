"""The design's import table and house rules (design §4), read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from deployer.core.errors import EXIT_MEANINGS, ExitCode

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "deployer").rglob("*.py"))
}

# What is decided without looking at the machine: plain values in, plain values out.
PURE = (
    "causes", "context", "diagnosis", "digest", "dockerfile", "dotenv", "drafting.composing", "drafting.matching",
    "drafting.model", "drafting.naming", "drafting.needs", "drafting.reading", "drafting.slots", "drafting.waiving",
    "drafting.writing", "errors", "events", "helmstorage", "history", "plan", "ports", "record", "redact", "spec",
    "status", "steps", "tags",
)  # fmt: skip
# What sees or changes the world, or draws it: nothing pure knows of these.
IMPURE = ("adapters", "cli", "forwarding", "pipeline", "stages", "toolchain", "tooling", "ui", "world")

# Third-party package → the modules that may import it. A package is known in one place, so that it can be replaced.
DOORS: dict[str, tuple[str, ...]] = {
    "click": ("cli",),
    "docker": ("adapters.docker_engine",),
    "requests": ("adapters.docker_engine",),  # the docker package raises its errors
    "kubernetes": ("adapters.kube",),
    "websocket": ("adapters.podstream",),  # what the kubernetes package itself speaks websocket with
    "urllib3": ("adapters.docker_engine", "adapters.kube"),  # docker and kubernetes let its errors out
    "pyhelm3": ("adapters.helm",),
    "semver": ("adapters.helm",),  # the type of pyhelm3's client_version
    "tenacity": ("adapters.retrying",),
    "yaml": ("adapters.fastyaml",),
    "rich": ("ui.console", "ui.draw", "ui.live", "ui.tables"),
    "pydantic": ("schema", "spec", "specfile"),
    "pydantic_core": ("schema",),
    "ruamel": ("origins", "specfile"),
    "dotenv": ("dotenv",),
    "platformdirs": ("runs", "toolchain.__main__", "world"),
}

# Adapters that stand behind a port are made by the composition root alone; the others are ways to do a thing.
PORT_ADAPTERS = ("clock", "context", "docker_engine", "helm", "kube", "minikube", "scanner")
TOOLS = ("fastyaml", "podstream", "process", "refusals", "retrying")

LONGEST = 320
# Longer files, each with its reason; one that has become short enough is to be taken off the list.
LONG: dict[str, str] = {}

# Command lines of their own: scripts/setup and tests call `python -m deployer.toolchain`.
PRINTS = ("deployer.cli", "deployer.ui", "deployer.toolchain.__main__")

SLOW = ("docker", "kubernetes", "pyhelm3", "pydantic", "requests", "rich", "ruamel", "yaml")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that is imported, at the top or when a function runs, with its full name."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            base = node.module or ""
            found |= {name if (name := f"{base}.{alias.name}") in MODULES else base for alias in node.names}
    return frozenset(found)


def within(module: str, *parts: str) -> bool:
    """Whether the module is one of these parts of the package, or lies in one."""
    return any(module == f"deployer.{part}" or module.startswith(f"deployer.{part}.") for part in parts)


def third_party(module: str) -> Iterator[str]:
    for name in imports(module):
        package = name.split(".")[0]
        if package not in sys.stdlib_module_names and package != "deployer":
            yield package


def test_the_table_is_of_modules_that_exist() -> None:
    named = {*PURE, *IMPURE, *(one for doors in DOORS.values() for one in doors)}
    named |= {f"adapters.{one}" for one in (*PORT_ADAPTERS, *TOOLS)}
    assert not [one for one in sorted(named) if f"deployer.{one}" not in MODULES]
    adapters = {name.removeprefix("deployer.adapters.") for name in MODULES if name.startswith("deployer.adapters.")}
    assert adapters == {*PORT_ADAPTERS, *TOOLS}


def test_pure_modules_know_nothing_of_the_world() -> None:
    wrong = {
        module: sorted(name for name in imports(module) if within(name, *IMPURE))
        for module in MODULES if within(module, *PURE)
    }  # fmt: skip
    assert {module: names for module, names in wrong.items() if names} == {}


def test_pure_modules_start_no_process_and_open_no_connection() -> None:
    doing = {"asyncio", "http.client", "socket", "subprocess", "urllib.request"}
    assert {module: imports(module) & doing for module in MODULES
            if within(module, *PURE) and imports(module) & doing} == {}  # fmt: skip


def test_a_stage_knows_neither_another_stage_nor_an_adapter() -> None:
    wrong = {
        module: sorted(name for name in imports(module)
                       if within(name, "adapters", "cli", "pipeline", "stages", "ui", "world"))
        for module in MODULES if within(module, "stages")
    }  # fmt: skip
    assert {module: names for module, names in wrong.items() if names} == {}


def test_the_ui_draws_events_and_knows_nothing_that_acts() -> None:
    wrong = {
        module: sorted(name for name in imports(module)
                       if within(name, "adapters", "cli", "pipeline", "stages", "toolchain", "tooling", "world"))
        for module in MODULES if within(module, "ui")
    }  # fmt: skip
    assert {module: names for module, names in wrong.items() if names} == {}


def test_adapters_know_nothing_above_them() -> None:
    wrong = {
        module: sorted(name for name in imports(module) if within(name, "cli", "pipeline", "stages", "ui", "world"))
        for module in MODULES if within(module, "adapters")
    }  # fmt: skip
    assert {module: names for module, names in wrong.items() if names} == {}


def test_the_command_line_is_imported_by_nothing_below_it() -> None:
    wrong = [module for module in MODULES if not within(module, "cli", "__main__")
             and any(within(name, "cli") for name in imports(module))]  # fmt: skip
    assert wrong == []


def test_only_the_composition_root_makes_adapters_of_ports() -> None:
    ports = [f"adapters.{one}" for one in PORT_ADAPTERS]
    users = {module for module in MODULES if any(within(name, *ports) for name in imports(module))}
    assert users == {"deployer.world"}


@pytest.mark.parametrize("package", sorted(DOORS))
def test_a_package_has_its_doors_alone(package: str) -> None:
    users = {module for module in MODULES if package in third_party(module)}
    assert users, f"{package} is not used any more"
    assert [module for module in users if not within(module, *DOORS[package])] == []


def test_every_third_party_package_is_in_the_table() -> None:
    used = {package for module in MODULES for package in third_party(module)}
    assert used == set(DOORS)


def test_every_package_of_the_table_is_declared_or_comes_with_one() -> None:
    declared = (ROOT / "pyproject.toml").read_text().lower()
    with_others = {"requests", "urllib3", "websocket", "semver", "pydantic_core", "yaml", "ruamel", "dotenv"}
    assert [package for package in DOORS if package not in with_others and f'"{package}>=' not in declared] == []
    for distribution in ("pyyaml", "ruamel.yaml", "python-dotenv"):
        assert f'"{distribution}>=' in declared


def test_the_command_line_starts_without_slow_imports() -> None:
    words = f"import sys, deployer.cli; print(*(set(sys.modules) & {set(SLOW)!r}))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_nothing_prints_but_the_command_line_and_the_ui() -> None:
    prints = {
        module for module in MODULES for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }  # fmt: skip
    assert sorted(module for module in prints if not module.startswith(PRINTS)) == []


def test_text_is_read_and_written_as_utf_8_whatever_the_machine_prefers() -> None:
    unsaid = [
        f"{module}:{node.lineno}" for module in MODULES for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("read_text", "write_text")
        and len(node.args) <= (node.func.attr == "write_text") and "encoding" not in {one.arg for one in node.keywords}
    ]  # fmt: skip
    assert unsaid == []


def test_only_the_entry_ends_the_process() -> None:
    def ends(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return (node.value.id, node.attr) in (("sys", "exit"), ("os", "_exit"))
        return isinstance(node, ast.Name) and node.id in ("exit", "quit", "SystemExit")

    users = {module for module in MODULES if any(ends(node) for node in ast.walk(tree(module)))}
    assert sorted(users - {"deployer.cli.entry", "deployer.forwarding.__main__", "deployer.toolchain.__main__"}) == []


def test_files_are_short() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    too_long = {module for module, length in lengths.items() if length > LONGEST}
    assert too_long == set(LONG), {module: lengths[module] for module in too_long ^ set(LONG)}


CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}


def changed_names(module: str) -> Iterator[str]:
    """Names of the module's own level that one of its functions binds anew or changes in place."""
    own = {
        target.id
        for node in tree(module).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    functions = [node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in (inner for function in functions for inner in ast.walk(function)):
        if isinstance(node, ast.Global):
            yield from node.names
        place = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            place = node.func.value
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            place = node.value
        if isinstance(place, ast.Name) and place.id in own:
            yield place.id


def test_no_module_keeps_state() -> None:
    kept = {module: sorted(set(changed_names(module))) for module in MODULES}
    assert {module: names for module, names in kept.items() if names} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        module for module in MODULES if MODULES[module].read_text().strip() and not ast.get_docstring(tree(module))
    ]
    assert silent == []


def test_modules_are_named_by_what_they_are_about() -> None:
    vague = ("manager", "helper", "util", "common", "misc")
    assert [module for module in MODULES if any(word in module.rpartition(".")[2] for word in vague)] == []


def test_there_are_at_most_ten_exit_codes_and_no_two_alike() -> None:
    names = ExitCode.__members__
    assert len(names) == len({int(code) for code in names.values()}) <= 10
    assert set(EXIT_MEANINGS) == set(ExitCode)
    assert len(set(EXIT_MEANINGS.values())) == len(EXIT_MEANINGS)
    assert all(0 <= code < 256 for code in ExitCode)


def test_a_run_that_changes_nothing_loads_neither_diagnosis_nor_evidence() -> None:
    """The quiet path: everything that `up` imports before it knows whether there is anything to do."""
    code = (
        "import sys, deployer.cli.up, deployer.cli.running, deployer.adapters.kube\n"
        "print([name for name in sys.modules if name.startswith(('deployer.diagnosis', 'deployer.evidence.capture',"
        " 'deployer.watching', 'deployer.validation', 'deployer.explain'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
