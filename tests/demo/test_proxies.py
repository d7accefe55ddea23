"""psp_hub.demo.proxies: the page starts where a proxy is set, and the Hub is still asked through it."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from psp_hub.demo.proxies import without_proxies
from tests.browser import OPENER, serve

DEAD = "127.0.0.1:9"


def test_proxies_are_back_afterwards(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"socks5://{DEAD}")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.delenv("no_proxy", raising=False)
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), without_proxies():
        httpx.Client().close()  # whether a library for SOCKS is there or not
        raise ZeroDivisionError
    assert dict(os.environ) == before


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers nothing: its address, and what it was asked for."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            asked.append(self.path)
            self.send_error(502)

        do_HEAD = do_POST = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["http", "socks"])
def test_the_page_starts_behind_a_proxy(model_dir, tmp_path, proxy, kind):
    address, asked = proxy
    if kind == "http":
        proxies = {"http_proxy": address, "HTTP_PROXY": address, "https_proxy": address}
    else:
        proxies = {"ALL_PROXY": f"socks5://{DEAD}", "http_proxy": f"socks5h://{DEAD}"}
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = kept | proxies | {"HF_ENDPOINT": "http://hub.invalid", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    log = Path(tmp_path / "log.txt")
    with serve("--model", str(model_dir), "--model", "owner/model", log=log, environment=environment) as url:
        assert b"Draw a face" in OPENER.open(url).read()
    said = log.read_text()
    assert "Traceback" not in said and f"Open {url} in a browser" in said and "owner/model:" in said
    if kind == "http":
        assert asked and all(path.startswith("http://hub.invalid/") for path in asked), asked
    else:
        assert "ALL_PROXY" in said
