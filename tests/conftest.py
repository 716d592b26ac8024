"""What tests of several packages share."""

from __future__ import annotations

import signal
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


def pytest_configure() -> None:
    """Have Ctrl-C end what tests start, though this runs by `&`, for which shells ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Refuse to test what was compiled of sources that have changed since: Python prefers it."""
    root = Path(__file__).parent.parent
    for compiled in [
        *root.glob("livestream/**/*.cpython-*.so"),
        *root.glob("viewer/*.cpython-*.so"),
    ]:
        source = compiled.parent / (compiled.name.partition(".")[0] + ".py")
        if not source.exists() or source.stat().st_mtime > compiled.stat().st_mtime:
            pytest.exit(
                f"{source} is newer than what was compiled of it: make compiled, or clean-compiled"
            )
