"""The house stays thin: its size, who may import whom, and what the parts by name are."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import soar_lib

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "soar_lib").rglob("*.py"))
METHODS = ("soar", "ladder", "svs")
TRAINING = [f"soar_lib.{method}.run" for method in METHODS] + ["soar_lib.soar.teacher", "soar_lib.soar.rewards"]
READING = {"report", "figures", "explorer", "run_explorer", "question_map", "names"}


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): ast.parse(path.read_text()) for path in FILES}


def imports(name: str) -> set[str]:
    """Our modules that a module imports anywhere, in functions too; absolute imports alone are in use."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name}: a relative import"
            asked = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else node.module for full in asked}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {other for other in found if other.split(".")[0] in ("soar_lib", "tools")} - {name}


GRAPH = {name: imports(name) for name in MODULES}


def reached(name: str) -> set[str]:
    """Everything that a module imports, directly or not."""
    found, left = set(), [name]
    while left:
        new = GRAPH.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def folder(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_imports_go_in_no_circle_and_leave_tools_alone():
    assert list(TopologicalSorter(GRAPH).static_order())  # raises CycleError with the circle
    assert {name for name in MODULES if any(other.startswith("tools") for other in GRAPH[name])} == set()


def test_methods_do_not_import_each_other():
    crossing = {
        (name, other)
        for name in MODULES
        for other in reached(name)
        if folder(name) in METHODS and folder(other) in METHODS and folder(name) != folder(other)
    }
    assert crossing == set()


@pytest.mark.parametrize("name", TRAINING)
def test_what_trains_neither_measures_nor_draws(name):
    others = reached(name)
    assert {other for other in others if folder(other) in ("measure", "cli", "give_away", "cluster")} == set()
    assert {other for other in others if other.split(".")[-1] in READING} == set()


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_soar_run_loads_few_modules_and_nothing_that_draws():
    found = loaded("import soar_lib.soar.run")
    ours = {name for name in found if name.startswith("soar_lib.") and name in MODULES and not is_package(name)}
    assert len(ours) <= 25, sorted(ours)
    assert {"ray", "matplotlib", "plotly", "trl", "vllm"}.isdisjoint(found)


def is_package(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


def test_importing_the_package_loads_nothing_heavy():
    assert {"torch", "transformers", "pandas"}.isdisjoint(loaded("import soar_lib"))


@pytest.mark.parametrize("name", soar_lib.PRIMITIVES)
def test_a_part_by_name_is_there_and_documented(name):
    part = getattr(soar_lib, name)
    assert len(part.__doc__) > 40 and name in dir(soar_lib)


def public(node: ast.AST, path: str) -> list[tuple[str, ast.AST]]:
    """(path, node) of the classes, functions and methods below `node` whose paths have no leading underscore."""
    kinds, found = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, []
    for child in ast.iter_child_nodes(node):
        own = isinstance(child, kinds)
        if own and not child.name.startswith("_"):
            found += [(f"{path}.{child.name}", child)]
            found += public(child, f"{path}.{child.name}") if isinstance(child, ast.ClassDef) else []
        elif not own:
            found += public(child, path)
    return found


def test_every_public_class_function_and_method_has_a_docstring():
    every = [pair for name, tree in MODULES.items() for pair in public(tree, name)]
    assert len(every) > 500 and [path for path, node in every if not ast.get_docstring(node)] == []
    found = public(ast.parse("if 1:\n class A:\n  def b(self): 0\n  def _c(self): 0\nclass _D:\n def e(self): 0"), "m")
    assert [path for path, _ in found] == ["m.A", "m.A.b"]


def test_no_docstring_leans_on_its_neighbour():
    """`help` shows one at a time. A file without docstrings of functions would pass, hence the count."""
    kinds = ast.FunctionDef | ast.ClassDef
    every = [(name, node) for name, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, kinds)]
    said = [(f"{name}.{node.name}", text) for name, node in every if (text := ast.get_docstring(node))]
    alone = r"(The same[;,.]|As above|See |Ditto)|.*(\b(rule|function|class) (above|below)\b|\b(as of|otherwise as) `)"
    leaning = re.compile(alone, re.DOTALL)
    assert len(said) > 500 and [name for name, text in said if leaning.match(text)] == []


def test_an_unknown_part_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'teach'"):
        soar_lib.teach


def functions():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
                yield f"{name}.{node.name}", [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def test_no_function_takes_more_than_seven_arguments():
    assert {name: given for name, given in functions() if len(given) > 7} == {}


def test_files_are_short_and_the_whole_is_thin():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 320} == {}
    soar = [f"soar_lib/soar/{name}.py" for name in ("run", "rewards", "teacher", "settings")]
    assert sum(lines[name] for name in (*soar, "soar_lib/student/train.py")) < 1_000  # README.md
    assert sum(lines.values()) <= 15_067  # may only fall; the second embedded world costs 396 until the first one goes
