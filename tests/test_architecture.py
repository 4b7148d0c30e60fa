"""The layout: imports run one way, between files and between folders, and light parts stay light."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not any(
        part.startswith(".") or part in ("tests", "data", "benchmarks", "venv", "outputs")
        for part in path.relative_to(ROOT).parts
    )
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PRODUCT if path.name != "__init__.py"
}


def imports(path: Path) -> set[str]:
    """Modules of the project that a file imports anywhere, those for type checkers alone left out."""
    found = set()
    tree = ast.parse(path.read_text("utf-8"))
    hidden = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for part in branch.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(MODULES)


def cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_circle_of_imports_between_files():
    assert not cycle({name: imports(path) for name, path in MODULES.items()})


def test_no_circle_of_imports_between_folders():
    """A file beside folders, as at the top and in model, is a room of its own, since each of them has one job."""
    nested = {name.split(".")[0] for name in MODULES if name.count(".") > 1}

    def room(name: str) -> str:
        folder, _, rest = name.partition(".")
        return ".".join(name.split(".")[:2]) if folder in nested else folder

    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        graph.setdefault(room(name), set()).update(room(other) for other in imports(path) if room(other) != room(name))
    assert not cycle(graph)


def test_settings_import_no_project_module():
    assert not imports(MODULES["configs"])


def test_one_file_alone_imports_tiny_cuda_nn():
    found = [
        name
        for name, path in MODULES.items()
        if any(
            isinstance(node, ast.Import) and any(alias.name == "tinycudann" for alias in node.names)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    ]
    assert found == ["model.backends.tcnn_backend"]


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if name.startswith(("formats.", "runtime."))]
    + ["configs", "dataset", "images.reading", "utils.files", "reporting.console"],
)
def test_what_reads_files_does_not_load_torch(name):
    code = f"import sys, {name}; sys.exit('torch' in sys.modules or 'benchmarks' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def imported_roots(path: Path) -> set[str]:
    """First parts of all modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_the_product_does_not_import_the_benchmarks_or_the_tests():
    for name, path in MODULES.items():
        assert not imported_roots(path) & {"benchmarks", "tests"}, name


def test_the_benchmarks_do_not_import_the_tests():
    found = list((ROOT / "benchmarks").rglob("*.py"))
    assert found
    for path in found:
        assert "tests" not in imported_roots(path), path.name


def test_the_data_set_does_not_know_the_model():
    reached, todo = set(), {"dataset"}
    while todo:
        name = todo.pop()
        reached.add(name)
        todo |= imports(MODULES[name]) - reached
    assert not [name for name in reached if name.startswith(("model.", "training."))]
