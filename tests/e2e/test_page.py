"""The page in a real browser: against real processes, and against a channel that a test scripts."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser

from livestream.media.sample import Sample
from tests.e2e.browser import Visit, chromium, visit
from tests.e2e.test_watch import HERE, environment, publisher
from tests.processes import end
from tests.viewer.web.view import ScriptedView, pictures, serving

pytestmark = pytest.mark.e2e

# What is shown against the clock in the picture, in one look: a busy machine does much between two,
# and the page tells of a picture that stood still when it has gone on.
SHOWS_ITS_LAG = """(
  (lag_ms, shown_ms) => 500 < lag_ms && lag_ms < 5000 && Math.abs(shown_ms - lag_ms) < 700
)(
  (Date.now() - livestream.readClock()) % 2 ** 32, 1000 * document.querySelector('#lag').innerText
)"""

Work = Callable[[Visit, ScriptedView], Awaitable[None]]


@contextmanager
def viewer(folder: Path, link: str) -> Iterator[str]:
    """Start a viewer, yield its page's URL, and end it."""
    command = [sys.executable, "-m", "livestream", "watch", link, "--player", "none"]
    command += ["--http", HERE, "--listen", HERE]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(folder))
    assert process.stderr is not None
    try:
        lines = (line.decode() for line in process.stderr)
        yield next(line.split()[-1] for line in lines if line.startswith("Page: "))
    finally:
        end(process)
    assert process.returncode == 128 + signal.SIGINT


class Theatre:
    """One Chromium for all tests, and the event loop that it lives in."""

    def __init__(self, runner: asyncio.Runner, browser: Browser) -> None:
        self._runner = runner
        self._browser = browser

    def open(self, url: str, work: Callable[[Visit], Awaitable[None]]) -> None:
        """Open a page in a fresh profile."""

        async def run() -> None:
            async with visit(self._browser, url, 1280, 740) as page:
                await work(page)

        self._runner.run(run())

    def script(self, work: Work, host: str = "127.0.0.1") -> None:
        """Open the page of a scripted channel, on a narrow screen."""

        async def run() -> None:
            view = ScriptedView()
            async with serving(view, host) as url:
                here = urlsplit(url)._replace(netloc=f"127.0.0.1:{urlsplit(url).port}").geturl()
                async with visit(self._browser, here, 360, 740) as page:
                    await work(page, view)

        self._runner.run(run())


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        browser = runner.run(stack.enter_async_context(chromium()))
        yield Theatre(runner, browser)
        runner.run(stack.aclose())


def between(samples: Sequence[Sample], start_s: float, end_s: float) -> list[Sample]:
    """Return the samples of a span of channel time."""
    return [sample for sample in samples if start_s <= sample.pts / 90_000 < end_s]


def test_the_pattern_plays_live_with_sound_and_asks_nobody_else(
    theatre: Theatre, tmp_path: Path
) -> None:
    async def work(page: Visit) -> None:
        await page.plays(0.1)
        before = await page.pixels()
        await page.plays(1.2)
        await page.changes(before)
        await page.until("document.querySelector('#badge').innerText.startsWith('LIVE')")
        badge = await page.page.inner_text("#badge")
        assert re.fullmatch(r"LIVE \d+\.\d s", badge), badge
        await page.until(SHOWS_ITS_LAG)
        sound = "document.querySelector('video').webkitAudioDecodedByteCount"
        assert await page.page.evaluate(sound) > 0
        assert page.complaints == []
        assert page.foreign_requests() == []

    with publisher(tmp_path, "test", "--listen", HERE) as (_, link), viewer(tmp_path, link) as url:
        theatre.open(url, work)


def test_a_copied_clip_with_b_frames_plays_over_its_seam(
    theatre: Theatre, tmp_path: Path, bigbuckbunny: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    cut = ["ffmpeg", "-v", "error", "-i", str(bigbuckbunny), "-t", "2", "-c", "copy", str(clip)]
    subprocess.run(cut, check=True)

    async def work(page: Visit) -> None:
        await page.plays(2.6)  # The clip has 2 s and one key frame.
        assert page.complaints == []

    words = [str(clip), "--loop", "--copy", "--listen", HERE]
    with publisher(tmp_path, *words) as (_, link), viewer(tmp_path, link) as url:
        theatre.open(url, work)


def test_over_lost_pictures_the_page_goes_on_at_the_next_key_frame(theatre: Theatre) -> None:
    tracks, samples = pictures(4)

    async def work(page: Visit, view: ScriptedView) -> None:
        view.outputs.start(tracks)
        view.outputs.write(between(samples, 1, 2))
        await page.until("document.querySelector('video').currentTime > 1.7")
        view.outputs.write(between(samples, 2.6, 3.2))  # 2.6 is a key frame's time.
        await page.until("document.querySelector('video').currentTime > 2.9")
        assert page.complaints == []

    theatre.script(work)


def test_a_seek_to_where_pictures_were_lost_goes_on_at_the_next_key_frame(
    theatre: Theatre,
) -> None:
    tracks, samples = pictures(4)

    async def work(page: Visit, view: ScriptedView) -> None:
        view.outputs.start(tracks)
        view.outputs.write(between(samples, 1, 2))
        await page.until("document.querySelector('video').currentTime > 1.5")
        await page.page.evaluate("document.querySelector('video').currentTime = 2.3")
        view.outputs.write(between(samples, 2.6, 3.2))  # 2.6 is a key frame's time.
        await page.until("document.querySelector('video').currentTime > 2.9")
        assert page.complaints == []

    theatre.script(work)


def test_a_publisher_that_comes_back_is_shown_again(theatre: Theatre) -> None:
    tracks, samples = pictures(2)

    async def work(page: Visit, view: ScriptedView) -> None:
        view.outputs.start(tracks)
        view.outputs.write(between(samples, 2, 3))
        await page.until("document.querySelector('video').currentTime > 2.5")
        view.outputs.start(tracks)
        view.outputs.write(between(samples, 1, 2))
        await page.until(
            "(time => time > 1.5 && time < 2)(document.querySelector('video').currentTime)"
        )
        assert page.complaints == []

    theatre.script(work)


def test_the_page_says_why_it_stalls_and_shows_strangers_words_as_text(theatre: Theatre) -> None:
    tracks, samples = pictures(2)

    async def work(page: Visit, view: ScriptedView) -> None:
        view.outputs.start(tracks)
        view.outputs.write(samples)
        await page.plays(0.1)
        view.why = "no peers: nobody of this channel answers"
        await page.until("document.querySelector('#badge').innerText.startsWith('stalled')")
        assert await page.page.inner_text("#why") == "No peers: nobody of this channel answers."
        assert await page.page.inner_text("#name") == "<b>garden</b>"
        assert "<script>alert(1)</script>" in await page.page.inner_text("#peers")
        assert ", TCP" in await page.page.inner_text("#peers")
        assert page.complaints == []

    theatre.script(work)


def test_keys_pause_look_back_and_return_to_live(theatre: Theatre) -> None:
    tracks, samples = pictures(3)

    async def work(page: Visit, view: ScriptedView) -> None:
        badge = "document.querySelector('#badge').innerText"
        view.outputs.start(tracks)
        view.outputs.write(between(samples, 1, 1.4))
        await page.plays(0.1)
        view.outputs.write(between(samples, 1.4, 4))  # What came before a page was open is gone.
        await page.until("document.querySelector('video').currentTime > 3.5")
        await page.page.keyboard.press(" ")
        await page.until(f"{badge}.startsWith('paused')")
        await page.page.keyboard.press("ArrowLeft")
        await page.until("document.querySelector('video').currentTime < 1.5")
        await page.page.keyboard.press("l")
        await page.until("document.querySelector('video').currentTime > 3.5")
        await page.page.keyboard.press("m")
        assert not await page.page.evaluate("document.querySelector('video').muted")
        assert page.complaints == []

    theatre.script(work)


def test_the_slider_sets_the_target_on_a_narrow_screen_without_overflow(theatre: Theatre) -> None:
    tracks, samples = pictures(2)

    async def work(page: Visit, view: ScriptedView) -> None:
        view.outputs.start(tracks)
        view.outputs.write(samples)
        await page.plays(0.1)
        await page.page.focus("#target")
        async with page.page.expect_response("**/api/v1/latency"):
            await page.page.keyboard.press("ArrowRight")
        assert view.latency_s == pytest.approx(1.1)
        assert await page.page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.complaints == []

    theatre.script(work)


def test_from_elsewhere_the_page_plays_with_its_token(theatre: Theatre) -> None:
    tracks, samples = pictures(2)

    async def work(page: Visit, view: ScriptedView) -> None:
        view.outputs.start(tracks)
        view.outputs.write(samples)
        await page.plays(0.1)
        assert "token" not in page.page.url
        assert page.complaints == []

    theatre.script(work, "0.0.0.0")  # noqa: S104 - reached over loopback only.
