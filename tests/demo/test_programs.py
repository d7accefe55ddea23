"""The examples of docs/programs.md, against a running page."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from psp_hub.generators.fetch import ENVIRONMENT_VARIABLE
from tests.browser import OPENER, ROOT, serve
from tests.documents import blocks


@pytest.fixture
def page(first_start, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != ENVIRONMENT_VARIABLE}
    environment |= {"HF_ASSETS_CACHE": str(first_start.assets), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    with serve("--model", "sketch", log=tmp_path / "log.txt", environment=environment) as url:
        yield url.rstrip("/")


@pytest.mark.slow
def test_programs_of_the_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    document = ROOT / "docs" / "programs.md"
    (python,), (bash,) = blocks(document, "python"), blocks(document, "bash")
    names: dict = {}
    exec(compile(python.replace("http://127.0.0.1:7860", page), document.name, "exec"), names)
    assert Image.open(names["face"]).size == Image.open(names["edited"]).size == (1024, 1024)
    assert len(names["variations"]) == 4 and json.loads(Path(names["recipe"]).read_text())["steps"]["smile"] == 1.5

    if shutil.which("curl") is None:
        if os.environ.get("CI_REQUIRE_BROWSER"):
            pytest.fail("there is no curl")
        pytest.skip("there is no curl")
    command = shlex.split(bash.replace("http://127.0.0.1:7860", page).replace("\\\n", " "))
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    event = json.loads(answer)["event_id"]
    with OPENER.open(f"{page}/gradio_api/call/edit_face/{event}", timeout=120) as stream:
        lines = stream.read().decode().strip().splitlines()
    assert lines[-2] == "event: complete"
    face, recipe = json.loads(lines[-1].removeprefix("data: "))
    with OPENER.open(face["url"], timeout=30) as file:
        Image.open(file).verify()
    assert Path(recipe["path"]).suffix == ".json"
