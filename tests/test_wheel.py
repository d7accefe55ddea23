"""The wheel: what is in it, and that it works in an environment that knows no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "psp_hub", folder / "project" / "psp_hub", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "project")
    (folder / "project" / "training").mkdir()
    (folder / "project" / "training" / "__init__.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(folder / "project")]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_it_holds_the_package_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"psp_hub"}  # and psp_hub-VERSION.dist-info
    inside = {path.relative_to(ROOT).as_posix() for path in (ROOT / "psp_hub").rglob("*") if path.is_file()}
    assert {name for name in inside if "__pycache__" not in name and not name.endswith(".pyi")} <= set(names)
    assert "psp_hub/py.typed" in names


@pytest.mark.slow
def test_the_command_of_an_installed_wheel(wheel, model_dir, tmp_path):
    """The libraries are those of this environment; the package is found in the new one alone."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "env")}))
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = [python, "-c", "import importlib.util as u; print(u.find_spec('psp_hub').origin, u.find_spec('training'))"]
    found = subprocess.run(where, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    assert found.split() == [str(own / "psp_hub" / "__init__.py"), "None"]

    drawing = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(drawing).ellipse((12, 6, 52, 58), outline=0, width=2)
    drawing.save(tmp_path / "drawing.png")
    command = [python.with_name("psp-hub"), "translate", "drawing.png", "-o", "face.png", "--model", str(model_dir)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    with Image.open(tmp_path / "face.png") as face:
        assert face.mode == "RGB" and face.width == face.height
