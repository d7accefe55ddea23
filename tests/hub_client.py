"""A process that talks to a Hub, driven from the tests.

huggingface_hub reads its environment when it is imported, and the process of the tests is cut off from the Hub. So
calls are sent to a process of their own, as lines of JSON:

    with HubClient(hub.url, folder) as client:
        client.load("org/model", revision="v1", output="loaded")
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class CallError(Exception):
    """The call raised; `kinds` has the names of the error's class and its bases."""

    def __init__(self, kinds: list[str], message: str, cause: str):
        super().__init__(f"{kinds[0]}: {message}")
        self.kinds, self.message, self.cause = kinds, message, cause


class HubClient:
    """Each method of `Calls` is one of this class: `push`, `load`, ..."""

    def __init__(self, endpoint: str, home: Path, token: str | None = None, **environment: str):
        variables = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
        kept = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=kept | variables | quiet | ({"HF_TOKEN": token} if token else {}) | environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()  # an interpreter with torch in it takes seconds to end by itself
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __getattr__(self, name: str) -> Any:
        def call(*values: Any, **arguments: Any) -> Any:
            self.process.stdin.write(json.dumps([name, values, arguments], default=str) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            if "error" in answer:
                raise CallError(**answer["error"])
            return answer["value"]

        return call


class Calls:
    """What a client can ask for, by name; what it needs is imported in its process alone."""

    def __init__(self) -> None:
        self.generators: dict[str, Any] = {}  # by the name under which `load` kept them
        self.chdir = os.chdir

    def prepared(self, options: dict[str, Any]) -> dict[str, Any]:
        """JSON has no dtypes, no references and no networks."""
        import torch

        from psp_hub.config import GeneratorReference

        options = dict(options)
        if "torch_dtype" in options:
            options["torch_dtype"] = getattr(torch, options["torch_dtype"])
        if isinstance(options.get("generator"), dict):
            options["generator"] = GeneratorReference(**options["generator"])
        options["generator"] = self.generators.get(options.get("generator"), options.get("generator"))
        return options

    def load(self, name: str, keep: str | None = None, output: str | None = None, **options: Any) -> dict[str, Any]:
        """Load, write weights and pictures of a fixed input to `output`, keep the generator under a name."""
        import torch
        from safetensors.torch import save_file

        from psp_hub import PSPModel
        from psp_hub.config import GeneratorReference

        options = self.prepared(options)
        model = PSPModel.from_pretrained(name, **options)
        if keep:
            self.generators[keep] = model.generator
        if output:
            with torch.no_grad():
                images = model(torch.linspace(0, 1, 65536).reshape(1, 1, 256, 256).sin()).images
            save_file({"images": images, **{k: v.contiguous() for k, v in model.state_dict().items()}}, output)
        reference = model.config.base_generator
        return {
            "base_generator": vars(reference) if isinstance(reference, GeneratorReference) else reference,
            "dtypes": sorted({str(parameter.dtype) for parameter in model.parameters()}),
            "shared": model.generator is options["generator"],
        }

    def push(self, folder: str, repo_id: str, generator: Any = None, **options: Any) -> dict[str, Any]:
        from psp_hub import PSPModel

        model = PSPModel.from_pretrained(folder, **self.prepared({"generator": generator}))
        commit = model.push_to_hub(repo_id, **options)
        return {"url": str(commit), "oid": commit.oid}

    def push_a_generator(self, folder: str, repo_id: str, **options: Any) -> str:
        from psp_hub.generators import load_generator, push_generator

        return push_generator(load_generator(folder), repo_id, **options).oid

    def edit(self, repo_id: str, path: str, content: str) -> None:
        from huggingface_hub import HfApi

        HfApi().upload_file(repo_id=repo_id, path_in_repo=path, path_or_fileobj=content.encode())

    def run(self, code: str, folder: str) -> None:
        """Run Python code, with a `model` that was loaded from a folder."""
        from psp_hub import PSPModel

        exec(code, {"model": PSPModel.from_pretrained(folder)})

    def command(self, words: list[str]) -> int:
        from psp_hub.cli.main import main

        return main(words)


def serve() -> None:
    """Answer the calls of a HubClient; what the calls themselves print goes to stderr."""
    calls = Calls()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, values, arguments = json.loads(line)
        try:
            answer = {"value": getattr(calls, name)(*values, **arguments)}
        except Exception as error:  # noqa: BLE001 - the test looks at it
            kinds = [kind.__name__ for kind in type(error).__mro__]
            cause = type(error.__cause__).__name__
            answer = {"error": {"kinds": kinds, "message": str(error), "cause": cause}}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
