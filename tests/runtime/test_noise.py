"""A node on an open port: whatever is thrown at it, it stays up, small and quiet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestream.config import TransportConfig
from livestream.swarm.node import STRANGERS_MAX
from tests.runtime.noise import Noise
from tests.runtime.rawpeer import Scene, play

SECONDS = [pytest.param(1, id="short"), pytest.param(20, id="long", marks=pytest.mark.long)]


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_download_goes_on_in_noise(
    tmp_path: Path, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(stage: Scene) -> None:
        noise = Noise(stage.address, seed=5)
        node = stage.session.node
        try:
            for _ in noise.batches(seconds):
                await asyncio.sleep(0.002)
                assert node.connection_count <= TransportConfig().connections_max
                assert node.stranger_count <= STRANGERS_MAX
            await stage.finish()
        finally:
            noise.close()
        await stage.until(lambda: not node.stranger_count)
        await stage.until(lambda: not node.connection_count)

    play(tmp_path, act)
    assert caplog.records == []
