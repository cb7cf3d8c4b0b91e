"""A client of the W3C WebDriver protocol, as small as the tests of the web interface need.

https://www.w3.org/TR/webdriver2/ .  It blocks: call it in a thread, while the reactor serves the page.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from http.client import HTTPConnection
from typing import Any

from tests.support_requirements import require_program

DELAYED = """{{
    const real = requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (draw) => setTimeout(() => real(draw), {});
}}"""
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,800",
]


def start_driver(chromedriver: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a driver, and return it with its port.

    On a busy machine it has been seen to end before it named its port, once in some hundred starts: another one is
    started then.
    """
    said = b""
    for _ in range(3):
        command = [chromedriver, "--port=0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.search(rb"on port (\d+)\.", line):
                return process, int(match[1])
            said += line
        process.communicate()
    raise AssertionError(f"chromedriver does not start: {said.decode(errors='replace')}")


class Browser:
    """A headless Chromium with a profile of its own, and the chromedriver that drives it."""

    def __init__(self, *flags: str) -> None:
        chromium = require_program("chromium", "chromium")
        chromedriver = require_program("chromedriver", "chromium-driver")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process, port = start_driver(chromedriver)
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        options = {"binary": chromium, "args": [*FLAGS, *flags, f"--user-data-dir={self._profile.name}"]}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._session = ""
        try:
            self._session = "/" + self._call("POST", "/session", {"capabilities": capabilities})["sessionId"]
        except BaseException:
            self._end()
            raise

    def quit(self) -> None:
        """End the browser, the driver and the profile."""
        try:
            self._call("DELETE", "")
        finally:
            self._end()

    def _end(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.communicate()
        self._profile.cleanup()

    def open(self, url: str) -> None:
        """Load a page; returns when it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *args: object) -> Any:
        """Run the body of a JavaScript function, with `arguments`, and return what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": args})

    def wait_for(self, expression: str, *args: object, timeout: float = 20) -> Any:
        """Return the value of a JavaScript expression as soon as it is true."""
        deadline = time.monotonic() + timeout
        while not (value := self.run(f"return {expression}", *args)):
            if time.monotonic() > deadline:
                raise AssertionError(f"still not true after {timeout} s: {expression} {args}")
            time.sleep(0.02)
        return value

    def click(self, selector: str) -> None:
        """Click where a user would."""
        self._call("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element, after what stands in it."""
        self._call("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key, wherever the focus is."""
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def prefer(self, scheme: str) -> None:
        """Pretend that the user prefers a "light" or a "dark" look."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._call("POST", "/goog/cdp/execute", command)

    def speak(self, locale: str) -> None:
        """Pretend that the user's language is another one."""
        command = {"cmd": "Emulation.setLocaleOverride", "params": {"locale": locale}}
        self._call("POST", "/goog/cdp/execute", command)

    def resize(self, width: int, height: int) -> None:
        """Make the page as large as this, as on a phone."""
        params = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": params}
        self._call("POST", "/goog/cdp/execute", command)

    def delay_frames(self, milliseconds: int) -> None:
        """Have the pages opened from now on draw late, as where a machine is busy."""
        command = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": DELAYED.format(milliseconds)}}
        self._call("POST", "/goog/cdp/execute", command)

    def complaints(self) -> list[str]:
        """Return what the console says since the last call: errors, and violations of the page's policy."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def _find(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body)
        target = f"/session{self._session}{path}" if self._session else path
        self._connection.request(method, target, content, {"Content-Type": "application/json"})
        value = json.loads(self._connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{value['error']}: {value['message']}")
        return value
