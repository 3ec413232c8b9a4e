"""A headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

START_TIMEOUT_S = 30.0
WAIT_S = 15.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--remote-debugging-port=0",
)


class Tab:
    """One page. `complaints`: console errors, exceptions, refused and failed requests.

    `asked`: every address it wanted to load.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session = ""
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        self.asked: list[str] = []

    async def attach(self) -> None:
        """Make the page and listen to what it says."""
        target = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")

    async def read(self) -> None:
        """Take in what the browser says, until it is closed."""
        async for message in self._socket:
            said = json.loads(message.data)
            if waiting := self._answers.pop(said.get("id", 0), None):
                waiting.set_result(said)
            else:
                self._note(said.get("method", ""), said.get("params", {}))

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something. Raises `RuntimeError` if it refuses."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        said = await asyncio.wait_for(answer, WAIT_S)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']['message']}")
        result: dict[str, Any] = said["result"]
        return result

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The size of the window in CSS pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    async def open(self, path: Path) -> None:
        """Open a file from disk, given by its whole path; wait until its scripts have run."""
        await self.send("Page.navigate", url=path.as_uri())
        await self.until("document.documentElement?.dataset.ready === 'true'")
        await self.settled()

    async def go(self, address: str) -> None:
        """Open an address; do not wait for anything of it."""
        await self.send("Page.navigate", url=address)

    async def marked(self, name: str) -> float:
        """Wait for a mark of the page's; when it was set, ms after the start of loading."""
        marks = f"performance.getEntriesByName({json.dumps(name)})"
        await self.until(f"{marks}.length > 0")
        return float(await self.evaluate(f"{marks}[0].startTime"))

    async def heap(self) -> int:
        """Bytes that the page's scripts hold, after a collection."""
        await self.send("HeapProfiler.collectGarbage")
        return int((await self.send("Runtime.getHeapUsage"))["usedSize"])

    async def settled(self) -> None:
        """Wait until what was asked for is painted."""
        await self.evaluate(
            "new Promise((done) => { let n = 6; const next = () => "
            "(n-- ? requestAnimationFrame(next) : done(true)); next(); })"
        )

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page. Raises `RuntimeError` if it throws."""
        said = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return said["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while not await self.evaluate(expression):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"not within {WAIT_S} s: {expression}; {self.complaints}")
            await asyncio.sleep(0.02)

    async def text(self, selector: str) -> str:
        """What an element says."""
        found: str = await self.evaluate(
            f"document.querySelector({json.dumps(selector)}).innerText"
        )
        return found

    async def click(self, selector: str) -> None:
        """Press the middle of an element with the mouse."""
        box = await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const {x, y, width, height} = e.getBoundingClientRect();"
            " return [x + Math.min(width, 200) / 2, y + height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left",
                clickCount=1,
            )  # fmt: skip
        await self.settled()

    async def move(self, x: float, y: float) -> None:
        """Put the mouse somewhere."""
        await self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        await self.settled()

    async def key(self, key: str) -> None:
        """Press and release a key."""
        text = key if len(key) == 1 else "\r" if key == "Enter" else ""
        code = {"Enter": 13, "Tab": 9, "Escape": 27}.get(key, 0)
        pressed = {"key": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)
        await self.settled()

    async def screenshot(self, *, whole: bool = False) -> bytes:
        """A picture of what is seen, or of the whole page, as PNG."""
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    async def printed(self) -> bytes:
        """The page as PDF."""
        shot = await self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(shot["data"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str([a.get("value") for a in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.loadingFailed":
            self.complaints.append(params["errorText"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])


@asynccontextmanager
async def browsing(program: str) -> AsyncIterator[Tab]:
    """A browser with one page, of a profile of its own, ended afterwards."""
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        address = await _address(profile / "DevToolsActivePort", process)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            tab = Tab(socket)
            reading = asyncio.create_task(tab.read())
            try:
                await tab.attach()
                yield tab
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _address(path: Path, process: asyncio.subprocess.Process) -> str:
    """Where the browser listens: it writes its port and its path into a file."""
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
    while True:
        if process.returncode is not None:
            raise RuntimeError(f"the browser ended at once with status {process.returncode}")
        lines = _lines(path)
        if len(lines) >= 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"the browser did not start within {START_TIMEOUT_S} s")
        await asyncio.sleep(0.02)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n") if path.exists() else []
