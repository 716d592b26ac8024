"""What tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, and no judging by the clock: the machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def bigbuckbunny() -> Path:
    """Return a real clip: 5.3 s of 720p25 H.264 in one GOP, with 5.1 AAC."""
    clip = Path(__file__).parent.parent / ".cache" / "bigbuckbunny.mp4"
    assert clip.exists(), "the clip is missing: run make test"
    return clip
