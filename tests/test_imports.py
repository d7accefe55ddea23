"""Who may import whom, and what `import psp_hub` brings along."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import psp_hub

ROOT = Path(__file__).parents[1]
# A room (a folder, or a module beside them) imports from lower rows only; what is in a folder also from each other. A
# new one needs a place here.
LEVELS = [
    {"config", "face_weights"},
    {"latents", "layers", "precision", "staging", "tasks", "trunk"},
    {"directions", "hub", "images", "wanted"},
    {"face_parser", "heads", "model_names"},
    {"alignment", "encoder", "generators"},
    {"latents_file", "passes", "pretrained", "refinement", "mixing"},
    {"model"},
    {"conversion"},
    {"__init__", "cli", "demo"},
]
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}
# Of the demo, the training and the tests.
OPTIONAL = ("gradio", "accelerate", "datasets", "lpips", "torchvision", "tensorboard")


def imports(path: Path) -> set[str]:
    """All that a file imports, in functions too, as dotted names: `from a.b import c` is `a.b.c`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("psp_hub"), ids=lambda path: str(path.relative_to(ROOT)))
def test_levels(path):
    module = path.relative_to(ROOT / "psp_hub").parts[0].removesuffix(".py")
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package != "psp_hub":
            continue
        other = rest.split(".")[0]
        assert other in LEVEL, f"{path} imports {name}, expected a module of psp_hub"
        assert module == other or LEVEL[other] < LEVEL[module], f"{path} must not import {name}"


@pytest.mark.parametrize("path", files("psp_hub"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_needs_neither_training_nor_app_nor_their_libraries(path):
    page = {"gradio"} if "demo" in path.parts else set()
    assert tops(path).isdisjoint({"training", "app", "tests", "space_config", *OPTIONAL} - page)


@pytest.mark.parametrize("path", files("training"), ids=lambda path: str(path.relative_to(ROOT)))
def test_training_does_not_import_the_app(path):
    page = {"gradio"} if path.parent.name == "voting" else set()  # the page of a study
    assert tops(path).isdisjoint({"app", "gradio", "tests"} - page)


@pytest.mark.parametrize("path", files("space_config"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_space_imports_neither_training_nor_the_app(path):
    study = {"training"} if path.parent.name == "study" else set()  # it is copied along
    assert tops(path).isdisjoint({"training", "app", "tests", "accelerate", "lpips", "torchvision"} - study)


def test_no_program_hides_a_library():
    """`python training/train.py` looks into training/ first, whatever is imported, by libraries too."""
    libraries = importlib.metadata.packages_distributions().keys() | sys.stdlib_module_names
    assert {path.stem for path in (ROOT / "training").iterdir()}.isdisjoint(libraries - {"training"})


@pytest.mark.parametrize("path", sorted(ROOT.glob("app*.py")), ids=lambda path: path.name)
def test_the_app_does_not_import_training(path):
    assert tops(path).isdisjoint({"training", "accelerate", "lpips", "torchvision", "tests"})


def run_python(code: str) -> str:
    """stdout and stderr together."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_import_is_silent_and_light(tmp_path):
    """Help is said without torch, which takes seconds; and nothing brings the optional libraries along."""
    modules = tmp_path / "modules"
    code = f"import sys, psp_hub, psp_hub.cli.main; open({str(modules)!r}, 'w').write(' '.join(sys.modules))"
    assert run_python(code) == ""
    assert set(modules.read_text().split()).isdisjoint({*OPTIONAL, "training", "app", "torch"} - {"accelerate"})


@pytest.mark.slow
def test_import_works_without_the_optional_libraries():
    hidden = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL!r}))"  # None: as if not installed
    assert run_python(f"{hidden}; import psp_hub, psp_hub.cli.main") == ""


@pytest.mark.slow
def test_the_compiler_of_torch_is_imported_when_it_is_needed():
    """It takes as long as torch; but what diffusers marks for it is marked in the end, in any order of imports."""
    code = """
import sys
from psp_hub import PSPModel
from psp_hub.hub import diffusers_parts
assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
with diffusers_parts.compiler_later():
    from torch._dynamo import allow_in_graph, config
import torch
from diffusers.utils import torch_utils
assert isinstance(config, type(torch._dynamo.config)) and torch._dynamo is sys.modules["torch._dynamo"]
assert torch._dynamo.allow_in_graph is not allow_in_graph is torch_utils.maybe_allow_in_graph
from torch._dynamo import trace_rules
function = torch_utils.maybe_allow_in_graph(lambda x: x)
assert id(function) in trace_rules._allowed_callable_ids.function_ids
print("done")
"""
    assert run_python(code) == "done\n"


def test_exports():
    assert set(psp_hub.__all__) == {
        "Latents",
        "PSPConfig",
        "PSPModel",
        "PSPOutput",
        "TASKS",
        "__version__",
        "load_latents",
        "save_latents",
    }
    assert all(hasattr(psp_hub, name) for name in psp_hub.__all__)
    assert psp_hub.__version__ == importlib.metadata.version("psp-hub")
