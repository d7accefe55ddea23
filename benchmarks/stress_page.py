"""Many clients, bad clients and hostile ones at the page: `python benchmarks/stress_page.py`.

    python benchmarks/stress_page.py --clients 16 --requests 5 --memory_requests 200
    python benchmarks/stress_page.py --model FOLDER

Starts app.py, then: clients that ask at the same time, each answer compared, byte for byte, with what a single client
gets for its seed; more requests than the queue holds; cancelled requests; clients that leave or never read; uploads
that are too large or have hostile names; addresses and files of the server where an upload is expected. Prints what
was seen, with the memory of the server over many requests. Exits with 1 if anything is wrong.
"""

import argparse
import json
import os
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from benchmarks.hostile.verdict import exit_with
from psp_hub.model_names import STARTERS
from tests.browser import OPENER, serve

ENDPOINT = "/draw_to_face"
DRAWING = next(iter(sorted((STARTERS / "sketch" / "examples").glob("*.png"))))
MAX_UPLOAD = 20 * 2**20  # what the page accepts
HOSTILE_NAMES = (
    "../psp-hub-escaped.png",
    "..\\..\\psp-hub-escaped.png",
    "<img src=x onerror=alert(1)>.png",
    "face\x01\n.png",
    "a" * 500 + ".png",
    ".png",
    "face.png\u202egnp.exe",
    "$(touch psp-hub-escaped).png",
)


@dataclass
class Page:
    """A running page and its log."""

    url: str
    folder: Path
    log: Path

    def client(self) -> Client:
        return Client(self.url, verbose=False, download_files=self.folder / "downloads")

    def ask(self, client: Client, seed: int, variations: int = 1) -> list[bytes]:
        """The face for a seed, then its variations."""
        face, gallery, *_ = client.predict(handle_file(DRAWING), seed, variations, 0.5, 1.0, api_name=ENDPOINT)
        return [Path(path).read_bytes() for path in (face, *(item["image"] for item in gallery))]

    def post(self, path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
        """Status and answer."""
        request = urllib.request.Request(f"{self.url}gradio_api/{path}", body, {"Content-Type": kind})
        try:
            with OPENER.open(request, timeout=600) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with OPENER.open(f"{self.url}gradio_api/{path}", timeout=600) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def upload(self, name: str, content: bytes) -> tuple[int, bytes]:
        """A form with a file of this name, as it would be sent by hand."""
        head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode()
        body = head + b'"\r\nContent-Type: image/png\r\n\r\n' + content + b"\r\n--cut--\r\n"
        return self.post("upload", body, "multipart/form-data; boundary=cut")

    def call(self, file: object, seed: int = 0) -> bytes:
        """Ask with any JSON in the place of the file; returns the events of the answer."""
        body = json.dumps({"data": [file, seed, 1, 0.5, 1.0]}).encode()
        status, answer = self.post(f"call{ENDPOINT}", body)
        if status != 200:
            return b"event: error refused " + answer
        return self.get(f"call{ENDPOINT}/{json.loads(answer)['event_id']}")[1]


def many_clients(page: Page, clients: int, requests: int) -> list[str]:
    """All ask at the same time, in turns of their own; each answer is what a single client gets for its seed."""
    alone = page.client()
    expected = {seed: page.ask(alone, seed) for seed in range(requests)}
    if len({answer[0] for answer in expected.values()}) != requests:
        return ["two seeds gave the same face"]

    def work(i: int) -> list[str]:
        client, wrong = page.client(), []
        for step in range(requests):
            seed = (i + step) % requests
            try:
                if page.ask(client, seed) != expected[seed]:
                    wrong.append(f"client {i}, seed {seed}: another answer than for a single client")
            except AppError as error:
                wrong.append(f"client {i}, seed {seed}: {error}")
        return wrong

    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        wrong = sum(pool.map(work, range(clients)), [])
    seconds = time.perf_counter() - begin
    print(f"{clients} clients x {requests} requests: {clients * requests - len(wrong)} right, {seconds:.1f} s")
    return wrong


def full_queue(page: Page, requests: int) -> list[str]:
    """More requests at once than the queue holds: some are told so, all others are answered."""
    client = page.client()
    jobs = [client.submit(handle_file(DRAWING), seed, 1, 0.5, 1.0, api_name=ENDPOINT) for seed in range(requests)]
    answered, full, wrong = 0, 0, []
    for job in jobs:
        try:
            job.result(timeout=900)
            answered += 1
        except Exception as error:  # noqa: BLE001 - the client raises several kinds
            full += "queue" in str(error).lower()
            wrong += [] if "queue" in str(error).lower() else [f"full queue: {error!r}"]
    print(f"{requests} requests at once: {answered} answered, {full} told that the queue is full")
    return wrong + (["the queue answered nothing"] if not answered else [])


def leave_early(page: Page, times: int) -> list[str]:
    """Requests that are cancelled, connections that are closed, and clients that never read."""
    client, expected = page.client(), page.ask(page.client(), 1)
    for seed in range(times):
        job = client.submit(handle_file(DRAWING), seed, 8, 0.5, 1.0, api_name=ENDPOINT)
        time.sleep(0.1)
        job.cancel()
    address, silent = urlsplit(page.url), []
    uploaded = json.loads(page.upload("face.png", DRAWING.read_bytes())[1])[0]
    for seed in range(times):
        file = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
        _, answer = page.post(f"call{ENDPOINT}", json.dumps({"data": [file, seed, 2, 0.5, 1.0]}).encode())
        reader = socket.create_connection((address.hostname, address.port))
        path = f"/gradio_api/call{ENDPOINT}/{json.loads(answer)['event_id']}"
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        silent.append(reader)  # and never reads
        if seed % 2:
            reader.close()
    begin = time.perf_counter()
    right = page.ask(page.client(), 1) == expected
    print(f"after {times} cancelled, {times} silent or gone: right is {right}, {time.perf_counter() - begin:.1f} s")
    for reader in silent:
        reader.close()
    return [] if right else ["another answer after cancelled requests"]


def uploads(page: Page) -> list[str]:
    """Files that are too large, and file names made to do harm."""
    wrong = []
    try:
        status, _ = page.upload("large.png", bytes(MAX_UPLOAD + 2**20))
    except (OSError, urllib.error.URLError) as error:  # the connection may be closed while the file is sent
        status = repr(error)
    if status == 200:
        wrong.append("an upload larger than the limit was accepted")
    print(f"an upload of {MAX_UPLOAD // 2**20 + 1} MiB: {status}")
    cache = page.folder / "gradio"
    for name in HOSTILE_NAMES:
        status, answer = page.upload(name, DRAWING.read_bytes())
        if status == 200:
            path = Path(json.loads(answer)[0])
            if not path.resolve().is_relative_to(cache.resolve()):
                wrong.append(f"{name!r} was written to {path}")
            events = page.call({"path": str(path), "orig_name": name, "meta": {"_type": "gradio.FileData"}})
            if b"event: complete" not in events and b'"error": "' not in events:
                wrong.append(f"{name!r} was neither drawn nor refused with a message: {events[-200:]!r}")
        elif status >= 500:
            wrong.append(f"{name!r}: the server failed with {status}")
    escaped = [*Path(tempfile.gettempdir()).glob("psp-hub-escaped*"), *Path.cwd().glob("psp-hub-escaped*")]
    print(f"{len(HOSTILE_NAMES)} hostile names: {'a file escaped' if escaped else 'none left the cache'}")
    return wrong + [f"{path} was written" for path in escaped]


def foreign_files(page: Page) -> list[str]:
    """Addresses and paths in the place of an upload: nothing is fetched, and no file of the server is read."""
    fetched = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(DRAWING.read_bytes())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/secret.png"
    meta = {"meta": {"_type": "gradio.FileData"}}
    files: dict[str, object] = {
        "address as path": {"path": address, **meta},
        "address beside a path": {"path": "face.png", "url": address, **meta},
        "path of the server": {"path": str(DRAWING.parents[1] / "config.json"), **meta},
        "picture of the server": {"path": str(Path(__file__).resolve()), **meta},
        "password file": {"path": "/etc/passwd", **meta},
        "relative path": {"path": "app.py", **meta},
        "path with dots": {"path": str(page.folder / "gradio" / ".." / "log.txt"), **meta},
        "file address": {"path": "file:///etc/passwd", "url": "file:///etc/passwd", **meta},
        "plain text": "/etc/passwd",
        "data address": "data:image/png;base64,AAAA",
        "number": 7,
        "list": [{"path": "/etc/passwd", **meta}],
    }
    wrong = [f"{name}: answered" for name, file in files.items() if b"event: complete" in page.call(file)]
    for path in ("/etc/passwd", str(Path.cwd() / "app.py"), str(page.log), "../../etc/passwd"):
        status, answer = page.get(f"file={quote(path)}")
        wrong += [f"file={path} was served"] if status == 200 else []
    page.get(f"proxy={quote(address)}")
    page.get(f"file={address}")
    server.shutdown()
    wrong += [f"the server fetched {path}" for path in fetched]
    print(f"{len(files)} foreign files: {len(wrong)} served or fetched")
    return wrong


def memory(page: Page, requests: int) -> list[str]:
    """Memory of the server over many requests."""
    (process,) = [process for process in psutil.Process().children() if "--port" in process.cmdline()]
    client, sizes = page.client(), []
    for i in range(requests + 1):
        if i % max(1, requests // 4) == 0:
            sizes.append(process.memory_info().rss / 2**20)
        page.ask(client, i)
    print(f"memory over {requests} requests, MiB:", " ".join(f"{size:.0f}" for size in sizes))
    growth = sizes[-1] - sizes[1]  # the first quarter fills the caches
    return [f"memory grew by {growth:.0f} MiB"] if growth > 0.1 * sizes[1] else []


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=5, help="of each client")
    parser.add_argument("--at_once", type=int, default=40, help="requests for the queue, which holds fewer")
    parser.add_argument("--leave", type=int, default=10, help="requests that are cancelled, and clients that leave")
    parser.add_argument("--memory_requests", type=int, default=200)
    parser.add_argument("--model", default="sketch", help="of drawings (default: the starter)")
    return parser.parse_args(argv)


def stress(args: argparse.Namespace, folder: Path) -> list[str]:
    """Everything in turn; returns what is wrong."""
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "gradio")}
    log = folder / "log.txt"
    with serve("--model", args.model, log=log, environment=environment) as url:
        page = Page(url, folder, log)
        steps: list[Callable[[], list[str]]] = [
            lambda: foreign_files(page),
            lambda: uploads(page),
            lambda: many_clients(page, args.clients, args.requests),
            lambda: full_queue(page, args.at_once),
            lambda: leave_early(page, args.leave),
            lambda: memory(page, args.memory_requests),
        ]
        return sum((step() for step in steps), [])


def main() -> None:
    args = parse_args()
    exit_with(lambda folder: stress(args, folder))


if __name__ == "__main__":
    main()
