"""Debian's Chromium, and what it complained about and asked for while it showed a page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

__all__ = ["Visit", "chromium", "visit"]

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
)
WAIT_MS: Final = 15_000.0  # A cold browser beside other tests; what is there sooner ends a wait.

LUMA: Final = """() => {
  const video = document.querySelector("video");
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 64, 36);
  return [...pen.getImageData(0, 0, 64, 36).data].filter((_, index) => index % 4 === 1);
}"""


@dataclass
class Visit:
    """An open page."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    "Errors and warnings on the console, exceptions nobody caught, answers of 400 and above."
    requests: list[str] = field(default_factory=list)

    async def until(self, condition: str) -> None:
        """Wait until this JavaScript expression is true."""
        await self.page.wait_for_function(f"() => {condition}", timeout=WAIT_MS, polling=50)

    async def plays(self, seconds: float = 1.0) -> None:
        """Wait until the picture has moved on by so much."""
        await self.page.wait_for_function(
            "start => document.querySelector('video').currentTime > start",
            arg=await self.time() + seconds,
            timeout=WAIT_MS,
            polling=50,
        )

    async def time(self) -> float:
        """Return the time of the picture, seconds."""
        return float(await self.page.evaluate("document.querySelector('video').currentTime"))

    async def pixels(self) -> list[int]:
        """Return the picture's green, 64 by 36."""
        return [int(value) for value in await self.page.evaluate(LUMA)]

    async def changes(self, before: list[int]) -> None:
        """Wait until the picture is clearly another; its time goes on before it is drawn."""
        await self.page.wait_for_function(
            f"before => ({LUMA})().filter((is, at) => Math.abs(is - before[at]) > 40).length > 10",
            arg=before,
            timeout=WAIT_MS,
            polling=50,
        )

    def foreign_requests(self) -> list[str]:
        """Return what was asked of anybody but the page's own server."""
        own = urlsplit(self.page.url).netloc
        return [
            url
            for url in self.requests
            if not url.startswith(("blob:", "data:")) and urlsplit(url).netloc != own
        ]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Chromium, and end it."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: run make test"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visit(browser: Browser, url: str, width: int, height: int) -> AsyncIterator[Visit]:
    """Open a page in a fresh profile."""
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    seen = Visit(page)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            seen.complaints.append(f"{message.type}: {message.text}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.complaints.append(f"exception: {error}"))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on(
        "response",
        lambda answer: (
            seen.complaints.append(f"{answer.status}: {answer.url}")
            if answer.status >= 400
            else None
        ),
    )
    try:
        await page.goto(url)
        yield seen
    finally:
        await context.close()
