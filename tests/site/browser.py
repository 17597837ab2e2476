"""A headless Chromium, steered over a pipe by the DevTools protocol, so that no package is needed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]


def find() -> str | None:
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a Chromium that cannot reach any host but this one."""

    def __init__(self, binary: str):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._output = os.pipe()
        self._input, from_browser = os.pipe()
        # Chromium reads file descriptor 3 and writes 4. A new process sets them: threads make a fork unsafe.
        start = (
            f"import os, sys; os.dup2({to_browser}, 13); os.dup2({from_browser}, 14); os.dup2(13, 3); os.dup2(14, 4); "
        )
        start += "os.execv(sys.argv[1], sys.argv[1:])"
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars"]
        options += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
        options += ["--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        command = [
            sys.executable,
            "-c",
            start,
            binary,
            *options,
            f"--user-data-dir={self._profile.name}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._received, self._count, self._session = b"", 0, None
        self.events: list[Mapping] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Network", "Runtime", "Log"]:
            self.call(f"{domain}.enable")

    def _read(self):
        while b"\0" not in self._received:
            chunk = os.read(self._input, 1 << 20)
            if not chunk:
                raise RuntimeError("Chromium has stopped")
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        """Call a method of the protocol; keep the events that arrive meanwhile."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def resize(self, width, height=900):
        """Set the size of the viewport."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url):
        """Open a page, wait until it is loaded with its fonts, and return what went wrong."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())
        self.evaluate("document.fonts.ready.then(() => new Promise(requestAnimationFrame)).then(() => 0)")
        return [problem for event in self.events if (problem := self._problem(event))]

    @staticmethod
    def _problem(event):
        method, params = event["method"], event["params"]
        if method == "Network.responseReceived" and params["response"]["status"] >= 400:
            return f"{params['response']['status']}: {params['response']['url']}"
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(
            ("http://127.0.0.1", "data:")
        ):
            return f"request to another host: {params['request']['url']}"
        if method == "Network.loadingFailed" and not params.get("canceled"):
            return f"failed request: {params['errorText']}"
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            return f"exception: {details.get('exception', {}).get('description', details['text'])}"
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            return f"error: {params['entry']['text']} {params['entry'].get('url', '')}"
        return None

    def evaluate(self, expression):
        """Return the value of an expression of JavaScript, a promise's once it is there."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def screenshot(self, path, full=False):
        """Write what is seen to a PNG file."""
        import base64

        answer = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        Path(path).write_bytes(base64.b64decode(answer["data"]))

    def close(self):
        """End the process."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._output)
        os.close(self._input)
        self._profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
