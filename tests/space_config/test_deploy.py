"""space_config/: the staged Space, what is pushed to the Hub (see loopback_hub.py), and the page that it serves."""

import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard, constants
from packaging.requirements import Requirement
from PIL import Image

from psp_hub.config import GeneratorReference, PSPConfig
from psp_hub.generators.fetch import ENVIRONMENT_VARIABLE
from tests.browser import OPENER, ROOT, serve
from tests.loopback_hub import OWNER, READER, LoopbackHub, Repo

sys.path.insert(0, str(ROOT / "space_config"))
import deploy
import staging

SPACE = "me/faces"
GENERATOR = "me/generator"
CARD = """---
title: A title
emoji: 🎨
colorFrom: red
colorTo: blue
sdk: gradio
sdk_version: 6.0.0
python_version: "3.12"
app_file: app.py
short_description: Short
license: other
suggested_hardware: cpu-basic
---
Text
"""


@pytest.fixture(scope="module")
def served() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def hub(served: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LoopbackHub:
    """Empty, and the Hub for this process, whose token is the owner's."""
    served.offline = False
    served.repos.clear()
    served.requests.clear()
    monkeypatch.setattr(constants, "ENDPOINT", served.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", OWNER)
    return served


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In place of the project: one of the same layout with a few small files."""
    files = {
        "app.py": "import gradio\nfrom psp_hub.part import thing\n",
        "LICENSE": "Apache",
        "README.md": "not the card of the Space",
        "space_config/README.md": CARD,
        "space_config/requirements.txt": "torch>=2.8  # a comment\n",
        "psp_hub/__init__.py": "import json\n",
        "psp_hub/part.py": "import torch.nn\n\nthing = 1\n",
        "psp_hub/__pycache__/part.cpython-311.pyc": "",
        "psp_hub/.hidden": "",
        "psp_hub/starters/sketch/config.json": '{"task": "sketch", "base_generator": "mobilestylegan-ffhq"}',
        "psp_hub/starters/sketch/encoder/config.json": "{}",
        "psp_hub/starters/sketch/encoder/weights.safetensors": "weights",
        "psp_hub/starters/face-parser/config.json": '{"width": 8}',
        "training/train.py": "",
        "tests/test_it.py": "",
    }
    root = tmp_path / "project"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(staging, "ROOT", root)
    return root


OWN_FILES = {"LICENSE", "README.md", "app.py", "psp_hub", "requirements.txt"}
LIGHT_FILES = {
    "LICENSE",
    "README.md",
    "app.py",
    "psp_hub/__init__.py",
    "psp_hub/part.py",
    "psp_hub/starters/face-parser/config.json",
    "psp_hub/starters/sketch/config.json",
    "psp_hub/starters/sketch/encoder/config.json",
    "psp_hub/starters/sketch/encoder/weights.safetensors",
    "requirements.txt",
}


def run(*arguments: str) -> None:
    deploy.main(["--repo-id", SPACE, *arguments])


def fails(*arguments: str) -> str:
    """The message, which is one line."""
    with pytest.raises(SystemExit) as caught:
        deploy.main([*arguments] if "--repo-id" in arguments else ["--repo-id", SPACE, *arguments])
    message = str(caught.value)
    assert message.startswith("deploy.py: ") and "\n" not in message
    return message


def test_the_space_of_this_project(tmp_path):
    staging.stage(tmp_path)
    files = staging.list_files(tmp_path)
    assert {name.split("/")[0] for name in files} == OWN_FILES
    suffixes = {Path(name).suffix for name in files if name.startswith("psp_hub/")}
    assert suffixes <= {".py", ".json", ".md", ".safetensors", ".png", ".css", ".html", ".js", ".pyi", ".typed"}
    assert {"psp_hub/starters/sketch/encoder/config.json", "psp_hub/demo/page.py"} <= set(files)
    assert max(path.stat().st_size for path in files.values()) <= 24 * 2**20
    for name, path in files.items():
        assert "__pycache__" not in name
        source = {"README.md": "space_config/README.md", "requirements.txt": "space_config/requirements.txt"}
        assert path.read_bytes() == (ROOT / source.get(name, name)).read_bytes()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of a study."""
    root = tmp_path_factory.mktemp("kinds")
    for kind in ("sketch", "segmentation"):
        for column in ("inputs", "psp", "spade"):
            (root / kind / column).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(root / kind / column / "1.png")
    return [root / "sketch", root / "segmentation"]


def test_a_study(hub, kinds, capsys):
    """What a study needs, and no more; deployed over the demo, it takes its place."""
    run("--study", *map(str, kinds))
    files = hub.repos[f"spaces/{SPACE}"].files
    tops = {name.split("/")[0] for name in files}
    assert tops == {
        ".gitattributes",
        "LICENSE",
        "README.md",
        "app.py",
        "psp_hub",
        "requirements.txt",
        "study",
        "training",
    }
    assert {name for name in files if name.startswith("study/")} == {
        f"study/{kind}/{column}/1.png" for kind in ("sketch", "segmentation") for column in ("inputs", "psp", "spade")
    }
    assert {name.split("/")[1] for name in files if name.startswith("training/")} == {"__init__.py", "voting"}
    assert not any(name.startswith("psp_hub/starters/") for name in files)
    assert files["app.py"] == (ROOT / "space_config/study/app.py").read_bytes()
    assert hub.repos[f"spaces/{SPACE}"].messages[-1] == "Deploy a study"
    assert "there is no folder missing" in fails("--study", "missing")
    assert "needs no --generator-repo" in fails("--study", str(kinds[0]), "--generator-repo", GENERATOR)


@pytest.mark.slow
def test_a_staged_study_serves(kinds, tmp_path):
    """As a Space does, from its own files."""
    (tmp_path / "space").mkdir()
    staging.stage_study(tmp_path / "space", kinds)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["GRADIO_TEMP_DIR"] = str(tmp_path / "gradio")
    log = tmp_path / "log.txt"
    start = START.replace("print(psp_hub", "import training; print(training.__file__, psp_hub")
    with serve(log=log, environment=environment, program=("-c", start), folder=tmp_path / "space", pause=0.1) as url:
        assert "Which is better?" in OPENER.open(url, timeout=60).read().decode()
    assert log.read_text().count(str(tmp_path / "space")) >= 2 and "Traceback" not in log.read_text()


def test_versions_agree():
    """The Space requires what the package does, and has the gradio that the demo is tested with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "space_config/requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert sorted(map(str, map(Requirement, lines))) == sorted(map(str, map(Requirement, project["dependencies"])))
    for path in ("space_config/README.md", "space_config/study/README.md"):
        card = SpaceCard.load(ROOT / path).data
        assert f"gradio=={card.sdk_version}" in (ROOT / "requirements.txt").read_text().splitlines()
        needed = re.fullmatch(r">=3\.(\d+)", project["requires-python"])[1]
        assert int(card.python_version.split(".")[1]) >= int(needed)


def test_a_new_space(hub, light, capsys):
    run()
    repo = hub.repos[f"spaces/{SPACE}"]
    assert set(repo.files) == LIGHT_FILES | {".gitattributes"}
    assert repo.files["README.md"] == (light / "space_config/README.md").read_bytes()
    assert repo.files["psp_hub/part.py"] == (light / "psp_hub/part.py").read_bytes()
    assert repo.messages == ["initial commit", "Deploy the demo"]
    assert (repo.sdk, repo.hardware, repo.secrets, repo.private) == ("gradio", None, {}, False)
    assert f"{hub.url}/spaces/{SPACE}" in capsys.readouterr().out.splitlines()
    assert SPACE not in hub.repos, "no model repository"


def test_the_second_time(hub, light, capsys):
    run("--hardware", "t4-small", "--secret", "KEY=first")
    repo = hub.repos[f"spaces/{SPACE}"]
    repo.commit("main", {**repo.files, "psp_hub/old.py": b"", "README.md": b"edited"}, "stale")
    (light / "app.py").write_text("import gradio\n")
    hub.requests.clear()
    run()
    assert repo.messages == ["initial commit", "Deploy the demo", "stale", "Deploy the demo"]
    assert set(repo.files) == LIGHT_FILES | {".gitattributes"}
    assert repo.files["app.py"] == b"import gradio\n"
    assert repo.files["README.md"] == CARD.encode()
    assert (repo.hardware, repo.secrets) == ("t4-small", {"KEY": "first"})
    assert not any(re.search("/(secrets|hardware|create)", request) for request in hub.requests)
    capsys.readouterr()
    run()
    assert len(repo.messages) == 4
    assert f"{hub.url}/spaces/{SPACE} (nothing had changed)" in capsys.readouterr().out


def test_settings(hub, light, monkeypatch, capsys):
    monkeypatch.setenv("FROM_ENVIRONMENT", "hidden = 2")
    run("--private", "--hardware", "zero-a10g", "--secret", "A=x=1", "FROM_ENVIRONMENT", "--secret", "EMPTY=")
    repo = hub.repos[f"spaces/{SPACE}"]
    assert (repo.private, repo.hardware) == (True, "zero-a10g")
    assert repo.secrets == {"A": "x=1", "FROM_ENVIRONMENT": "hidden = 2", "EMPTY": ""}
    run("--private", "--hardware", "cpu-basic", "--secret", "A=2", "B=3")
    assert repo.hardware == "cpu-basic"
    assert repo.secrets == {"A": "2", "FROM_ENVIRONMENT": "hidden = 2", "EMPTY": "", "B": "3"}
    assert "hidden" not in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--dry-run", "--dry_run"])
def test_dry_run(hub, light, monkeypatch, capsys, flag):
    monkeypatch.delenv("HF_TOKEN")
    run(flag, "--hardware", "cpu-basic", "--secret", "A=1")
    *files, total = (line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {name for _, name in files} == LIGHT_FILES
    sizes = {name: int(size) for size, name in files}
    assert sizes["psp_hub/starters/sketch/encoder/weights.safetensors"] == len("weights")
    assert total == [f"{sum(sizes.values()):,}", f"bytes in {len(sizes)} files"]
    assert hub.requests == []


def add_generator(hub: LoopbackHub, *names: str, **state: bool) -> str:
    """A model repository with those files; returns its commit."""
    repo = hub.repos[GENERATOR] = Repo(GENERATOR, **state)
    return repo.commit("main", {name: b"{}" for name in names}, "generator")


@pytest.mark.parametrize("state", [{}, {"private": True}, {"gated": True}], ids=["public", "private", "gated"])
def test_a_generator_of_its_own_repository(hub, light, capsys, state):
    commit = add_generator(hub, *staging.GENERATOR_FILES, **state)
    run("--generator-repo", GENERATOR)
    files = hub.repos[f"spaces/{SPACE}"].files
    assert "the Space needs a secret HF_TOKEN" in capsys.readouterr().out or not state
    (light / "config.json").write_bytes(files["psp_hub/starters/sketch/config.json"])
    assert PSPConfig.load(light).base_generator == GeneratorReference(GENERATOR, revision=commit)
    assert json.loads(files["psp_hub/starters/face-parser/config.json"]) == {"width": 8}
    card = SpaceCard(files["README.md"].decode())
    assert (card.data.models, card.data.title, card.text.strip()) == ([GENERATOR], "A title", "Text")
    preloaded = [f"{GENERATOR} config.json,diffusion_pytorch_model.safetensors {commit}"]
    assert card.data.to_dict().get("preload_from_hub") == (None if state else preloaded)


def test_no_generator(hub, light):
    assert "there is no folder and no model repository me/generator" in fails("--generator-repo", GENERATOR)
    add_generator(hub, "config.json")
    assert "it has no diffusion_pytorch_model.safetensors" in fails("--generator-repo", GENERATOR)
    assert "expected owner/name" in fails("--generator-repo", "generator")
    assert list(hub.repos) == [GENERATOR]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repo-id", "faces"], "the Space is 'faces', expected owner/name"),
        (["--repo-id", "me/faces/x"], "the Space is 'me/faces/x', expected owner/name"),
        (["--hardware", "gpu"], "the hardware is 'gpu', expected one of cpu-basic, .*zero-a10g"),
        (["--secret", "1=2"], "a secret has no proper name"),
        (["--secret", "NOT_THERE"], "the secret NOT_THERE has no value"),
    ],
)
def test_bad_arguments(hub, light, arguments, message):
    assert re.search(message, fails(*arguments))
    assert hub.requests == []


def test_access(hub, light, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "deploying to me/faces needs a token: log in with" in fails()
    assert hub.requests == []
    assert "this token may not write to me/faces" in fails("--token", READER)
    run("--token", OWNER)
    assert "this token may not write to me/faces" in fails("--token", READER)
    assert "exists and is public" in fails("--token", OWNER, "--private")
    hub.offline = True
    assert "no connection to the Hub" in fails("--token", OWNER)
    assert len(hub.repos[f"spaces/{SPACE}"].commits) == 2


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return change


def grow(root: Path) -> None:
    with open(root / "psp_hub/starters/sketch/encoder/weights.safetensors", "wb") as file:
        file.truncate(24 * 2**20 + 1)


CARD_FILE, REQUIREMENTS = "space_config/README.md", "space_config/requirements.txt"
BREAKAGES = {
    "weights.safetensors has 24.0 MiB, expected at most 24 MiB": grow,
    "app.py imports psp_hub.missing.x, which": replace("app.py", "import gradio", "from psp_hub.missing import x"),
    "app.py imports psp_hub.part.other, which": replace("app.py", "import thing", "import other"),
    "app.py imports training.train, which": replace("app.py", "import gradio", "import training.train"),
    "part.py imports torch.nn, which is neither": replace(REQUIREMENTS, "torch>=2.8", "numpy"),
    "requirements.txt has 'torch==2.13.0.cpu'": replace(REQUIREMENTS, "torch>=2.8", "torch==2.13.0+cpu"),
    "requirements.txt has '-e .'": replace(REQUIREMENTS, "torch", "-e .\ntorch"),
    "requirements.txt has 'torch @ https": replace(
        REQUIREMENTS, "torch>=2.8", "torch @ https://example.org/torch.whl"
    ),
    'requirements.txt has "torch; ': replace(REQUIREMENTS, "torch>=2.8", "torch; sys_platform == 'linux'"),
    "are not valid YAML": replace(CARD_FILE, "title: A title", "title: [A title"),
    "title of the Space's card is ''": replace(CARD_FILE, "title: A title\n", ""),
    "colorTo of the Space's card is 'black', expected": replace(CARD_FILE, "blue", "black"),
    "short_description of the": replace(CARD_FILE, "Short", 61 * "x"),
    "suggested_hardware of the": replace(CARD_FILE, "cpu-basic", "laptop"),
    "app_file of the Space's card is 'page.py'": replace(CARD_FILE, "app.py", "page.py"),
    "LICENSE is missing": lambda root: (root / "LICENSE").unlink(),
}


@pytest.mark.parametrize(("message", "breaks"), BREAKAGES.items(), ids=BREAKAGES)
def test_a_space_that_could_not_run_is_not_pushed(hub, light, message, breaks):
    breaks(light)
    assert re.search(message, fails())
    assert hub.requests == []


def test_an_optional_import(light, tmp_path):
    (light / "app.py").write_text("try:\n    import spaces\nexcept ImportError:\n    spaces = None\n")
    (tmp_path / "staged").mkdir()
    staging.stage(tmp_path / "staged")


# Runs app.py as a Space does, in an environment that has the libraries, but not this project.
START = f"""
import runpy, sys
sys.path[:] = ["", *(path for path in sys.path if path and not path.startswith({str(ROOT)!r}))]
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
import psp_hub
print(psp_hub.__file__, flush=True)
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.mark.slow
def test_the_staged_space_serves_a_face(first_start, tmp_path):
    stage = tmp_path / "space"
    stage.mkdir()
    staging.stage(stage)
    environment = {k: v for k, v in os.environ.items() if k not in (ENVIRONMENT_VARIABLE, "PYTHONPATH")}
    environment |= {"HF_ASSETS_CACHE": str(first_start.assets), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    environment |= {"SYSTEM": "spaces", "SPACE_ID": SPACE}
    log = tmp_path / "log.txt"
    with serve(log=log, environment=environment, program=("-c", START), folder=stage) as url:
        # Only answers if the page listens on all addresses of the machine.
        client = Client(
            url.replace("127.0.0.1", "127.0.0.2"),
            verbose=False,
            download_files=tmp_path / "results",
            httpx_kwargs={"timeout": 180},  # one busy core is enough
        )
        example = stage / "psp_hub/starters/sketch/examples/child.png"
        face, *_ = client.predict(handle_file(example), 1, 1, 1.0, 1.0, api_name="/draw_to_face")
        with Image.open(face) as image:
            assert (image.format, image.size) == ("PNG", (1024, 1024))
    text = log.read_text()
    assert text.startswith(str(stage / "psp_hub/__init__.py"))
    assert "gradio.live" not in text
    # gradio has tracebacks of its own on what it takes for a Space; ours would name our files.
    assert 'File "app.py"' not in text and f'File "{stage}' not in text
