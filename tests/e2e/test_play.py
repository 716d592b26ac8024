"""A film that is played while it downloads: by ffprobe, and by Chromium with a seek."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from livestream.runtime.creation import CreateOptions, make
from tests.e2e.browser import chromium, visit
from tests.e2e.test_download import COMMAND, environment, seed

pytestmark = pytest.mark.e2e

LOOPS = 30  # Of the clip: about 160 s and 32 MB.
WHOLE_S = 25.0  # What the seed's cap makes the whole film take, at least.


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, bigbuckbunny: Path) -> Path:
    """Return a film with its index at the front."""
    path = tmp_path_factory.mktemp("seed") / "film.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-stream_loop", str(LOOPS), "-i", bigbuckbunny,
         "-c", "copy", "-movflags", "+faststart", path],
        check=True,
    )  # fmt: skip
    return path


@contextmanager
def playing(folder: Path, film: Path) -> Iterator[tuple[str, str]]:
    """Download a film slowly; yields the URLs of the page and of the film."""
    torrent = folder / "film.torrent"
    make(CreateOptions(str(film), str(torrent)), lambda done, count: None)
    with seed(folder, torrent, film.parent, "--max-up", "10M") as address:
        command = [*COMMAND, "download", str(torrent), "-o", str(folder / "out"), "--play"]
        command += ["--peer", address, "--http", "127.0.0.1:0", "--player", "none"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(folder / "viewer"),
        )  # fmt: skip
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.endswith("/stream/0")
            yield f"{url.partition('/t/')[0]}/", url
            assert process.poll() is None
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=10)
        assert "Traceback" not in errors


def test_a_prober_reads_the_film_and_its_end_before_it_is_here(tmp_path: Path, film: Path) -> None:
    with playing(tmp_path, film) as (_, url):
        words = ["ffprobe", "-v", "error", "-of", "csv=p=0", "-select_streams", "v"]
        shown = subprocess.run(
            [*words, "-show_entries", "stream=codec_name", url],
            capture_output=True, text=True, check=True, timeout=WHOLE_S,
        )  # fmt: skip
        assert shown.stdout.strip() == "h264"
        packets = subprocess.run(
            [*words, "-read_intervals", "130%+1", "-show_entries", "packet=pts_time", url],
            capture_output=True, text=True, check=True, timeout=WHOLE_S,
        )  # fmt: skip
        times = [float(line.split(",")[0]) for line in packets.stdout.split()]
        assert 120 < times[0] < times[-1] < 131, "from the key frame before"
        out = tmp_path / "out" / "film.mp4"
        assert out.stat().st_blocks * 512 < film.stat().st_size, "it is not all here yet"


def test_chromium_plays_it_and_seeks_far_ahead(tmp_path: Path, film: Path) -> None:
    async def run(page_url: str) -> None:
        async with chromium() as browser, visit(browser, page_url, 1280, 800) as seen:
            await seen.plays(0.5)  # By itself, once the page knows what there is to play.
            await seen.page.evaluate("document.querySelector('video').currentTime = 130")
            await seen.plays(0.5)
            assert await seen.time() > 130
            assert len(set(await seen.pixels())) > 8, "there is a picture"
            assert not seen.foreign_requests()
            assert not seen.complaints

    with playing(tmp_path, film) as (page_url, _):
        asyncio.run(run(page_url))
