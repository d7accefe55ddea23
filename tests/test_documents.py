"""What the documents say is so: commands can be typed, code runs, links lead somewhere, and what is named exists."""

import ast
import importlib
import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.documents import DOCUMENTS, IN_VENV, ROOT, SCRIPTS, blocks, check_command, provide, recorded
from tests.test_imports import LEVELS

LINK = re.compile(r"\]\(([^)\s]+)\)")
NAME = re.compile(r"`((?:psp_hub|training)(?:\.\w+)+)`")
FILE = re.compile(r"`((?:benchmarks|docs|psp_hub|space_config|tests|training)/[\w./-]*)`")


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


def with_code(kind: str) -> list[Path]:
    return [path for path in DOCUMENTS if blocks(path, kind)]


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each(with_code("bash"))
def test_commands_can_be_typed(path, tmp_path, monkeypatch):
    """Each program is there, and has the flags that the document gives it."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(path, "bash"):
        for command in recorded(block, tmp_path):
            provide(command, tmp_path)
            check_command(command)


@each(SCRIPTS)
def test_recipes_can_be_run(path, tmp_path, monkeypatch):
    """As `test_commands_can_be_typed`, for the scripts beside the history of the starters."""
    monkeypatch.chdir(tmp_path)
    script = path.read_text(encoding="utf-8")
    assert script.startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in script
    assert os.access(path, os.X_OK) and path.with_suffix(".md").is_file()
    commands = recorded(script, tmp_path)
    assert any("training/train.py" in command for command in commands)
    for command in commands:
        assert not [word for word in command if word.startswith("/")], "a path of one machine"
        provide(command, tmp_path)
        check_command(command)


@each(with_code("python"))
def test_code_imports_what_there_is(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {', '.join(missing)}"


@pytest.mark.slow
@each([ROOT / "README.md", ROOT / "docs" / "directions.md"])
def test_code_runs(path, default_generator, tmp_path, monkeypatch):
    """As it stands there, but for the number of steps. That of other documents is run beside what it is about."""
    (tmp_path / "psp_hub").symlink_to(ROOT / "psp_hub")
    monkeypatch.chdir(tmp_path)
    for block in blocks(path, "python"):
        exec(compile(block.replace("steps=40", "steps=1"), path.name, "exec"), {})


@each(DOCUMENTS)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@each(DOCUMENTS)
def test_what_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    for name in NAME.findall(text):
        module, _, attribute = name.rpartition(".")
        try:
            found = hasattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError:  # an attribute of a class
            module, _, owner = module.rpartition(".")
            found = hasattr(getattr(importlib.import_module(module), owner), attribute)
        assert found or importlib.import_module(name), f"there is no {name}"
    for file in FILE.findall(text):
        assert (ROOT / file).exists(), f"there is no {file}"


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 180
    assert any(line.startswith("![") for line in lines[:25]), "a face comes first"


def test_the_levels_of_the_architecture_are_those_that_are_checked():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE))
    named = [set(re.findall(r"`(\w+)`", rows[str(i + 1)])) for i in range(len(LEVELS))]
    assert named == [level - {"__init__"} for level in LEVELS]


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_workflow_runs_what_ci_runs_on_every_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["ci"]
    (command,) = [step for step in job["steps"] if "run" in step]
    assert os.access(ROOT / command["run"], os.X_OK)
    assert command["env"] == {"PYTHON": "python${{ matrix.python }}"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={job['strategy']['matrix']['python'][0]}"


def test_the_hooks_are_tools_of_the_environment():
    (own,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert own["repo"] == "local"
    for hook in own["hooks"]:
        assert hook["language"] == "system" and hook["entry"].split()[0] in IN_VENV
