"""The page asks itself, not a proxy."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = ("no_proxy", "NO_PROXY")  # either may be set, and the first one counts


@contextmanager
def without_proxies() -> Iterator[None]:
    """Context in which this process uses no proxy, whatever `http_proxy` or `ALL_PROXY` say; then it does again.

    For gradio alone. It asks for its own address when it starts, which a proxy cannot reach, and makes clients when
    it is imported and started, which fails where a SOCKS proxy is set and its library is missing. What is fetched
    before and after, such as a model on the Hub, goes through the proxy.
    """
    before = {name: os.environ.get(name) for name in NAMES}
    os.environ.update(dict.fromkeys(NAMES, "*"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
