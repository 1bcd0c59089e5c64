"""pyproject.toml pins, environment.yml repeats, the code imports nothing else, the Makefile offers what is promised."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = {
    "torch": "2.13.0",
    "transformers": "5.17.0",
    "trl": "1.14.2",
    "datasets": "4.8.5",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "math-verify": "0.9.0",
    "vendi-score": "0.0.3",
}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_environment_repeats_the_dependencies_and_every_line_says_who_needs_it():
    text = (ROOT / "environment.yml").read_text()
    sections = [item for item in yaml.safe_load(text)["dependencies"] if isinstance(item, dict)]
    assert sections == [{"pip": PROJECT["dependencies"]}]
    packages = [line for line in text.splitlines() if re.match(r" +- [a-z]", line) and not line.endswith("pip:")]
    assert len(packages) == len(PROJECT["dependencies"]) + 3
    assert [line for line in packages if not re.search(r"  # \S", line)] == []


def test_pins_that_install_together():
    pins = {Requirement(line).name: str(Requirement(line).specifier) for line in PROJECT["dependencies"]}
    assert {name: pins[name] for name in REQUIRED} == {name: f"=={version}" for name, version in REQUIRED.items()}
    assert (EXTRAS["unsloth"], EXTRAS["vllm"]) == (["unsloth==2026.10.9"], ["vllm==0.32.0"])


@pytest.mark.parametrize("line", PROJECT["dependencies"] + EXTRAS["test"])
def test_installed_version_meets_the_pin(line):
    requirement = Requirement(line)
    # A local version such as 2.13.0+cpu meets ==2.13.0.
    assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)


def test_the_locked_packages_are_all_that_is_needed_each_with_its_hashes():
    """Of each system and Python from 3.11 on: what this environment asks for is in it, and what pyproject.toml pins."""
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.findall(r"^(\S+==[^\\\n]+?) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", text, re.MULTILINE)
    locked = [Requirement(line) for line, _ in blocks]
    assert len(blocks) == len(re.findall("^[a-z]", text, re.MULTILINE)) > 150
    for line in PROJECT["dependencies"] + EXTRAS["test"]:
        asked = Requirement(line)
        name = canonicalize_name(asked.name)
        found = [str(one.specifier)[2:] for one in locked if canonicalize_name(one.name) == name]
        assert found and all(asked.specifier.contains(version) for version in found), line
    wanted, left = {"soar-lib"}, [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["test"]]
    while left:
        asked = left.pop()
        here = any(asked.marker is None or asked.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
        if here and canonicalize_name(asked.name) not in wanted:
            wanted.add(canonicalize_name(asked.name))
            left += map(Requirement, importlib.metadata.requires(asked.name) or ())
    assert wanted - {"soar-lib"} <= {canonicalize_name(one.name) for one in locked}


def imports(path: Path, everywhere: bool) -> set[str]:
    """First parts of the modules a file imports: at its top level, or in functions too."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if everywhere else tree.body
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.split(".")[0] for name in plain | members}


def undeclared(folder: str, everywhere: bool, declared: set[str]) -> set[tuple[str, str]]:
    """(file, module) of third-party imports from no declared distribution; an absent module goes by its own name."""
    provided = importlib.metadata.packages_distributions()
    own = set(sys.stdlib_module_names) | {"soar_lib"}
    if folder != "soar_lib":  # which is installed alone
        own |= {"tests", "tools"}
        own |= {path.stem for place in ("tests", "notebooks", "benchmarks") for path in (ROOT / place).glob("*.py")}
    return {
        (str(path.relative_to(ROOT)), module)
        for path in (ROOT / folder).rglob("*.py")
        for module in imports(path, everywhere) - own
        if not {canonicalize_name(name) for name in provided.get(module, [module])} & declared
    }


def test_every_import_is_a_declared_dependency():
    core = names(PROJECT["dependencies"])
    optional = names([line for extra in EXTRAS.values() for line in extra])
    assert undeclared("soar_lib", everywhere=False, declared=core) == set()
    assert undeclared("soar_lib", everywhere=True, declared=core | optional) == set()
    assert undeclared("benchmarks", everywhere=True, declared=core) == set()
    # packaging comes with pip's own tools and with transformers; this file and tools/audit.py read it.
    assert undeclared("tools", everywhere=True, declared=core | names(EXTRAS["test"]) | {"packaging"}) == set()
    assert undeclared("tests", everywhere=True, declared=core | optional | {"packaging"}) == set()


def test_make_targets_have_help():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    helped = dict(re.findall(r"^make (\w+) +(\S.*)$", listed, re.MULTILINE))
    assert {"env", "test", "demo", "lab", "figures", "lint"} <= helped.keys()
    for target in helped:
        dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr


def test_torch_is_installed_first_at_its_pin():
    plan = subprocess.run(["make", "-Bn", "env"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    installs = [line for line in plan.splitlines() if "pip install" in line]
    assert installs[0].endswith(f"torch=={REQUIRED['torch']}") and "--editable '.[test]'" in installs[1]


def test_too_old_a_python_is_said_before_anything_is_made(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    old = tmp_path / "python3.9"
    code = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[2])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    old.chmod(0o755)
    done = subprocess.run(["make", "env", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_calls_make_test_alone():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    commands = [line for line in script.read_text().splitlines() if re.search(r"\b(make|python3?|pytest|pip)\b", line)]
    assert [line for line in commands if not re.search(r"missing|^ *#", line)] == ["exec make test </dev/null"]
    assert "missing+=(chromium)" in script.read_text() and "\nexport SOAR_REQUIRE_BROWSER=1" in script.read_text()


def test_all_that_is_not_code_is_package_data():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    data = settings["package-data"].items()
    listed = {
        path for package, globs in data for glob in globs for path in ROOT.glob(f"{package.replace('.', '/')}/{glob}")
    }
    found = {path for path in (ROOT / "soar_lib").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert found == listed and ROOT / "soar_lib" / "nano" / "weights" / "model.safetensors" in found
    assert settings["packages"]["find"]["include"] == ["soar_lib*"]


def test_citation_names_what_the_project_stands_on():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PROJECT["version"]
    urls = " ".join(reference["url"] for reference in citation["references"])
    for key in ("2601.18778", "2503.00735", "2508.14029", "2210.02410", "huggingface/trl", "unslothai/unsloth"):
        assert key in urls
