"""Live: glass to glass through two hops, start time, and CPU; `python -m benchmarks.live`.

Glass to glass is the capture clock that the test picture carries, read off the picture that
Chromium shows, against the same machine's clock. The start is from the command's first
instruction to the byte that makes the first frame decodable.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import av
from playwright.sync_api import Page, sync_playwright

from benchmarks.processes import Cost, publisher, stats_of, viewer, wait_for

GLASS: Final = "glass to glass, two hops"
START: Final = "start, clip"
CLIP: Final = Path(".cache/bigbuckbunny.mp4")
CHROMIUM_FLAGS: Final = (
    "--no-sandbox",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
)
SETTLE_S: Final = 4.0
READ_INTERVAL_MS: Final = 100
NEAR: Final = "127.0.0.1:7192"  # The viewer in the middle.
PAGE: Final = "127.0.0.1:7191"

# What others have published; none of them can be run here. Lag behind the capture, seconds.
PUBLISHED: Final = {
    "Zattoo, 20,000 viewers (Chang, Jamin, Wang, ToN 19(1), 2011)": {"lag_s": 3.0, "start_s": 2.0},
    "PeerTube, low-latency mode, P2P off (issue 5978)": {"lag_s": 11.0},
    "PeerTube, default (PR 4846)": {"lag_s": 30.0},
    "Ace Stream (aceproxy issue 20)": {"start_s": 40.0},
}


def glass_to_glass(folder: Path, seconds: float) -> dict[str, float]:
    """Measure what Chromium shows two hops from the publisher, at `--latency 1.0`."""
    near, far = folder / "near.json", folder / "far.json"
    with (
        publisher(folder, "test") as (_, link),
        viewer(folder, link, "-o", "/dev/null", "--stats", str(near), listen=NEAR),
    ):
        wait_for(near, 2)
        # The far viewer is told of the near one only, so that is who feeds it.
        far_link = f"{link.partition('&tr=')[0]}&x.pe={NEAR}"
        words = ["--player", "none", "--http", PAGE, "--latency", "1.0", "--stats", str(far)]
        with viewer(folder, far_link, *words):
            wait_for(far, 2)
            lags_s = _read_clock(f"http://{PAGE}/", seconds)
            row = stats_of(far)[-1]
    return {
        "median_s": statistics.median(lags_s),
        "p95_s": sorted(lags_s)[int(0.95 * len(lags_s))],
        "readings": len(lags_s),
        "from_the_publisher_directly": row["publisher_share"],
        "pieces_late": row["pieces_late"],
    }


def _read_clock(url: str, seconds: float) -> list[float]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(CHROMIUM_FLAGS)
        )
        page = browser.new_page()
        page.goto(url)
        page.wait_for_timeout(1000 * SETTLE_S)
        lags_s = _readings(page, seconds)
        browser.close()
    if not lags_s:
        raise RuntimeError(f"no test picture was seen at {url}")
    return lags_s


def _readings(page: Page, seconds: float) -> list[float]:
    lags_s = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lag_ms = page.evaluate("window.livestream.glassToGlass()")
        if lag_ms is not None:
            lags_s.append(lag_ms / 1000)
        page.wait_for_timeout(READ_INTERVAL_MS)
    return lags_s


def start_times(folder: Path, source: list[str], runs: int) -> dict[str, float]:
    """Measure how long a further viewer of a running channel waits for its picture."""
    stats = folder / "start.json"
    with (
        publisher(folder, *source) as (_, link),
        viewer(folder, link, "-o", "/dev/null", "--stats", str(stats)),
        viewer(folder, link, "-o", "/dev/null"),
    ):
        wait_for(stats, 5)
        times_s = [_start_time(folder, link) for _ in range(runs)]
    return {"median_s": statistics.median(times_s), "worst_s": max(times_s), "runs": runs}


def _start_time(folder: Path, link: str) -> float:
    began = time.monotonic()
    arrived: list[tuple[float, int]] = []
    data = b""
    with viewer(folder, link, "-o", "-") as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        while time.monotonic() - began < 10:
            data += process.stdout.read1()  # type: ignore[attr-defined]
            arrived.append((time.monotonic() - began, len(data)))
            if len(arrived) % 4 == 0 and _is_decodable(data):
                break
    return next((at for at, size in arrived if _is_decodable(data[:size])), float("inf"))


def _is_decodable(data: bytes) -> bool:
    try:
        with av.open(io.BytesIO(data), mode="r") as container:
            return next(container.decode(video=0), None) is not None
    except (av.FFmpegError, IndexError):
        return False


def cpu(folder: Path, source: list[str], seconds: float) -> dict[str, float]:
    """Measure cores per Mbit/s on the wire, sent and received, of a publisher and a viewer."""
    up, down, stats = folder / "cpu-up.json", folder / "cpu-down.json", folder / "cpu.json"
    with (
        publisher(folder, *source, "--stats", str(up)) as (sender, link),
        viewer(folder, link, "-o", "/dev/null", "--stats", str(down)) as receiver,
        viewer(folder, link, "-o", "/dev/null", "--stats", str(stats)),
    ):
        wait_for(stats, 4)
        first = len(stats_of(up)), len(stats_of(down))
        costs = Cost(sender.pid), Cost(receiver.pid)
        time.sleep(seconds)
        sending, receiving = costs[0].cores(), costs[1].cores()
        sent = [row["up_bps"] for row in stats_of(up)[first[0] :]]
        moved = [row["up_bps"] + row["down_bps"] for row in stats_of(down)[first[1] :]]
    sent_mbps, moved_mbps = statistics.mean(sent) / 1e6, statistics.mean(moved) / 1e6
    return {
        "publisher_cores": sending,
        "publisher_mbps": sent_mbps,
        "publisher_core_percent_per_mbps": 100 * sending / sent_mbps,
        "viewer_cores": receiving,
        "viewer_mbps": moved_mbps,
        "viewer_core_percent_per_mbps": 100 * receiving / moved_mbps,
    }


def measure_all(folder: Path, seconds: float, runs: int) -> dict[str, dict[str, float]]:
    """Run every measurement, and print each as it comes."""
    clip = [str(CLIP), "--loop"]
    measures: dict[str, Callable[[], dict[str, float]]] = {
        GLASS: lambda: glass_to_glass(folder, seconds),
        "start, test picture": lambda: start_times(folder, ["test"], runs),
        START: lambda: start_times(folder, clip, runs),
        "CPU, clip copied": lambda: cpu(folder, [*clip, "--copy"], seconds),
        "CPU, clip encoded": lambda: cpu(folder, [*clip, "--encode"], seconds),
        "CPU, test picture encoded": lambda: cpu(folder, ["test"], seconds),
    }
    results: dict[str, dict[str, float]] = {}
    for title, measure in measures.items():
        results[title] = measure()
        figures = "  ".join(f"{name} {value:.3g}" for name, value in results[title].items())
        sys.stdout.write(f"{title}: {figures}\n")
        sys.stdout.flush()
    return results


def compare(results: dict[str, dict[str, float]]) -> None:
    """Print what others have published as a multiple of ours."""
    ours = {"lag_s": results[GLASS]["median_s"], "start_s": results[START]["median_s"]}
    for peer, published in PUBLISHED.items():
        ratios = [
            f"{name[:-2]} {value:g} s, {value / ours[name]:.1f} times ours"
            for name, value in published.items()
        ]
        sys.stdout.write(f"published, {peer}: {'; '.join(ratios)}\n")


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement")
    parser.add_argument("--runs", type=int, default=10, help="starts measured")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="livestream-bench-") as folder:
        results = measure_all(Path(folder), words.seconds, words.runs)
    compare(results)
    if words.json is not None:
        words.json.write_text(json.dumps({"ours": results, "published": PUBLISHED}, indent=1))


if __name__ == "__main__":
    main()
