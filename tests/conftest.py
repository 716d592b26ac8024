"""What tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bigbuckbunny() -> Path:
    """Return a real clip: 5.3 s of 720p25 H.264 in one GOP, with 5.1 AAC."""
    clip = Path(__file__).parent.parent / ".cache" / "bigbuckbunny.mp4"
    assert clip.exists(), "the clip is missing: run make test"
    return clip
