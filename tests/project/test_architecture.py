"""The layers of the package and the rules of the house, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from deployer.core.errors import EXIT_MEANINGS, ExitCode
from tests import ROOT

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "deployer").rglob("*.py"))
}

# From the bottom up: a package imports only those in a row below its own, or left of it in the same row.
LAYERS = (
    ("status", "core"),
    ("config", "plan", "sources", "diagnosis"),
    ("kube", "state", "helm", "toolchain", "images", "cluster"),
    ("rollout", "stages"),
    ("evidence", "forwarding", "preflight", "init"),
    ("composition", "commands"),
    ("ui", "cli", "__main__"),
)
ORDER = [name for row in LAYERS for name in row]

# Third-party package → the one module, or the one package, that may import it, so that it can be replaced there.
CLIENTS: dict[str, str] = {
    "backports": "toolchain.bundle",  # zstd, which the standard library has as `compression` from Python 3.14 on
    "click": "cli",
    "docker": "images.docker",
    "jinja2": "evidence.explain.page",
    "kubernetes": "kube.client",
    "markupsafe": "evidence.explain.page",
    "platformdirs": "core.files",
    "pydantic": "config",
    "pydantic_core": "config.schema",
    "pyhelm3": "helm.client",
    "requests": "images.docker",  # the docker package raises its errors
    "rich": "ui",
    "tenacity": "core.retry",
    "urllib3": "core.retry",  # its errors, which the docker and kubernetes packages let out
    "watchfiles": "sources.watch",
    "websocket": "kube.portforward",  # what the kubernetes package itself speaks websocket with
    "yaml": "core.yaml",
}

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
        if package not in {*sys.stdlib_module_names, "compression"} and package != "deployer":
            yield package


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def package_imports() -> dict[tuple[str, str], set[str]]:
    """(importing package, imported package) → the modules that do; imports inside functions included.

    Only programs of their own (`__main__`) compose, wherever they lie.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for module in MODULES:
        if module.endswith(".__main__"):
            continue
        for name in imports(module):
            if name.startswith("deployer.") and package_of(name) in ORDER and package_of(name) != package_of(module):
                found.setdefault((package_of(module), package_of(name)), set()).add(module)
    return found


def cycles(edges: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The groups of nodes that reach each other (Tarjan's strongly connected components of more than one)."""
    reach: dict[str, set[str]] = {}
    for node in {one for edge in edges for one in edge}:
        seen: set[str] = set()
        todo = [node]
        while todo:
            for source, target in edges:
                if source == todo[-1] and target not in seen:
                    seen.add(target)
                    todo.insert(0, target)
            todo.pop()
        reach[node] = seen
    return sorted({tuple(sorted(b for b in reach if b in reach[a] and a in reach[b])) for a in reach if a in reach[a]})


def test_every_package_has_its_place_in_the_layers() -> None:
    packages = {package_of(module) for module in MODULES} - {""}
    assert packages == set(ORDER)


def test_no_package_imports_one_above_it() -> None:
    wrong = {
        edge: sorted(users) for edge, users in package_imports().items() if ORDER.index(edge[0]) < ORDER.index(edge[1])
    }
    assert wrong == {}


def test_no_cycle_between_packages() -> None:
    assert cycles(set(package_imports())) == []


def test_the_search_for_cycles_finds_one() -> None:
    assert cycles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == [("a", "b", "c")]
    assert cycles({("a", "b"), ("b", "c")}) == []


@pytest.mark.parametrize("package", sorted(CLIENTS))
def test_a_third_party_package_is_imported_in_one_place(package: str) -> None:
    users = {module for module in MODULES if package in third_party(module)}
    assert users, f"{package} is not used any more"
    assert [module for module in users if not within(module, CLIENTS[package])] == []


def test_every_third_party_package_is_in_the_table() -> None:
    used = {package for module in MODULES for package in third_party(module)}
    assert used == set(CLIENTS)


def test_every_package_of_the_table_is_declared_or_comes_with_one() -> None:
    declared = (ROOT / "pyproject.toml").read_text().lower()
    with_others = {"backports", "markupsafe", "requests", "urllib3", "websocket", "pydantic_core", "yaml"}
    assert [package for package in CLIENTS if package not in with_others and f'"{package}>=' not in declared] == []
    assert '"pyyaml>=' in declared and '"backports.zstd>=' in declared


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


# Modules that write files themselves: streams that grow (logs, locks, records), and the toolchain's builds, whose names
# come from our own tables. All else is written by `core.files`, whole, private, and not outside its folder.
WRITERS = ("core.files", "core.process", "state.lock", "state.runs", "forwarding.ports", "toolchain")
WRITES = {
    "write_text",
    "write_bytes",
    "copyfile",
    "copy",
    "copy2",
    "copytree",
    "move",
    "symlink_to",
    "mkstemp",
    "touch",
}


def test_files_are_written_in_one_place() -> None:
    def writes(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return False
        modes = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        opens = node.func.attr == "open" and any(set(mode) & set("wax+") for mode in modes if len(mode) < 4)
        return opens or (node.func.attr in WRITES and not (node.func.attr == "copy" and not node.args))

    users = {module for module in MODULES if any(writes(node) for node in ast.walk(tree(module)))}
    assert sorted(module for module in users if not within(module, *WRITERS)) == []


def test_only_the_entry_ends_the_process() -> None:
    def ends(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return (node.value.id, node.attr) in (("sys", "exit"), ("os", "_exit"))
        return isinstance(node, ast.Name) and node.id in ("exit", "quit", "SystemExit")

    users = {module for module in MODULES if any(ends(node) for node in ast.walk(tree(module)))}
    assert sorted(users - {"deployer.cli.entry", "deployer.forwarding.__main__", "deployer.toolchain.__main__"}) == []


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
        "import sys, deployer.cli.up, deployer.cli.running, deployer.kube.client\n"
        "print([name for name in sys.modules if name.startswith(('deployer.diagnosis', 'deployer.evidence.capture',"
        " 'deployer.rollout.watch', 'deployer.preflight', 'deployer.evidence.explain'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
