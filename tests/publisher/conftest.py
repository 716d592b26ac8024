"""The clip that most of these tests send."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.publisher.clips import Clip, write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two seconds with B-frames, a key frame every second, and sound."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", Clip(b_frames=2))
