"""Headless Chromium over its debugging pipe: real pages from files, real clicks and keys, and what the console says.

The protocol (https://chromedevtools.github.io/devtools-protocol/) is JSON messages ended by a zero byte, on file
descriptors 3 and 4 of the browser.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["CHROMIUM", "Page", "chromium"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_KEYS = {
    "Enter": 13,
    "Escape": 27,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Tab": 9,
    "End": 35,
}


class Browser:
    """One browser; :meth:`open` gives a page."""

    def __init__(self, to: int, out: int) -> None:
        self.to, self.out = to, out
        self.buffer = b""
        self.number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.out, 1 << 16)
            assert part, "Chromium ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, anchor: str = "") -> Page:
        """Load a file as a person would, offline, and wait until the page has drawn."""
        # A context of its own: what one page stores (the look that was chosen), no other finds.
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        page.looks(dark=dark)
        page.call("Page.navigate", url=path.as_uri() + anchor)
        page.until("document.readyState === 'complete'")
        page.until("document.documentElement.dataset.theme !== undefined")
        page.until("!document.querySelector('.cells') || document.documentElement.dataset.maps !== undefined")
        return page


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self.session, self.target = browser, session, target

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def looks(self, *, dark: bool = False, media: str = "") -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme, still])

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        end = time.monotonic() + 180
        while not self.run(script):
            assert time.monotonic() < end, script
            time.sleep(0.02)

    def middle(self, selector: str, across: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """A point of an element, which is scrolled into view where it is not."""
        x, y = self.run(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)});
              const seen = element.getBoundingClientRect();
              if (seen.top < 0 || seen.bottom > innerHeight) element.scrollIntoView({{ block: "center" }});
              const box = element.getBoundingClientRect();
              return [box.left + {across} * box.width, box.top + {down} * box.height];
            }})()"""
        )
        return x, y

    def click(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        x, y = self.middle(selector, across, down)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        x, y = self.middle(selector, across, down)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, *keys: str) -> None:
        for key in keys:
            text = {"text": "\r"} if key == "Enter" else {}
            event = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
            self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        picture = self.call(
            "Page.captureScreenshot", captureBeyondViewport=whole, **({"clip": self._all()} if whole else {})
        )
        path.write_bytes(base64.b64decode(picture["data"]))

    def _all(self) -> dict[str, float]:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    @property
    def said(self) -> list[str]:
        """What was written to the console, thrown, or refused so far."""
        self.run("0")  # all before it has arrived
        told = []
        for event in self.browser.events:
            if event.get("sessionId") == self.session and event["method"] in (
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
            ):
                told.append(json.dumps(event["params"]))
        return told

    @property
    def requested(self) -> list[str]:
        """Addresses that the page asked for, but its own and data within it."""
        return [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event.get("sessionId") == self.session
            and event["method"] == "Network.requestWillBeSent"
            and event["params"]["type"] != "Document"
            and not event["params"]["request"]["url"].startswith(("data:", "blob:"))
        ]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser of its own, which finds no host; its profile lies in the folder."""
    assert CHROMIUM is not None
    to_read, to = os.pipe()
    out, out_write = os.pipe()

    # The browser reads from 3 and writes to 4; copies first, as one of the four may be 3 or 4 itself. In a process of
    # its own: with a preexec_fn this one would be forked, which other libraries' threads do not bear.
    pipes = (
        "import fcntl, os, sys; read, write = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
        "os.dup2(read, 3); os.dup2(write, 4); os.execv(sys.argv[3], sys.argv[3:])"
    )
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            pipes,
            str(to_read),
            str(out_write),
            CHROMIUM,
            *options,
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_read, out_write),
    )
    os.close(to_read)
    os.close(out_write)
    try:
        yield Browser(to, out)
    finally:
        os.close(to)
        os.close(out)
        process.terminate()
        process.wait(30)
