"""A real browser without a screen: Chromium, over its DevTools protocol in a pipe."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")

# What is wrong with a page that is laid out: what is wider than the window, pictures that did not load, columns that
# stay in place and leave no room for those that are scrolled.
PROBLEMS = """(() => {
    const page = document.scrollingElement, problems = [];
    if (page.scrollWidth > innerWidth) problems.push(`is ${page.scrollWidth} px wide`);
    for (const picture of document.images)
        if (picture.complete && !picture.naturalWidth) problems.push(`${picture.src} does not load`);
    for (const cell of document.querySelectorAll("th:first-child")) {
        const room = cell.closest("div")?.clientWidth ?? innerWidth;
        if (getComputedStyle(cell).position === "sticky" && cell.offsetWidth > 0.6 * room)
            problems.push(`the first column takes ${cell.offsetWidth} of ${room} px`);
    }
    return [...new Set(problems)];
})()"""


def program() -> str | None:
    """The browser, if one is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page of the browser."""

    def __init__(self, send: int, receive: int) -> None:
        self._send = os.fdopen(send, "wb", buffering=0)
        self._receive = os.fdopen(receive, "rb")
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime"):
            self._call(f"{domain}.enable")

    def open(self, file: Path, width: int, height: int = 1000) -> list[str]:
        """Open a file in a window of this size: what is wrong with it."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._events.clear()
        self._call("Page.navigate", url=file.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._read()
        problems: list[str] = self.evaluate(PROBLEMS)
        thrown = [event["params"] for event in self._events if event["method"] == "Runtime.exceptionThrown"]
        return problems + [f"throws: {event['exceptionDetails']['text']}" for event in thrown]

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def screenshot(self, out: Path) -> None:
        """What is in the window, as PNG."""
        out.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        bytes_ = bytearray()
        while (byte := self._receive.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has ended")
            bytes_ += byte
        message: dict[str, Any] = json.loads(bytes_)
        if "method" in message:
            self._events.append(message)
        return message


@contextmanager
def page(browser: str) -> Iterator[Page]:
    """A page of a browser that ends afterwards."""
    to_browser, from_browser = _pipe(), _pipe()
    # it reads from 3 and writes to 4
    ends = (to_browser[0], from_browser[1])
    start = ["bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash", browser]
    with tempfile.TemporaryDirectory(prefix="vfioboot-browser.", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*start, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             "--disable-dev-shm-usage", "--allow-file-access-from-files", f"--user-data-dir={profile}",
             "--remote-debugging-pipe"],
            pass_fds=ends, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser[0])
        os.close(from_browser[1])
        try:
            yield Page(to_browser[1], from_browser[0])
        finally:
            process.kill()
            process.wait()


def _pipe() -> tuple[int, ...]:
    """A pipe whose ends are not 3 or 4."""
    pipe = os.pipe()
    ends = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in pipe)
    for end in pipe:
        os.close(end)
    return ends
