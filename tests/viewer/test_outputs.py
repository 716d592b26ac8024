"""Where a container begins, and what of a publisher's nonsense reaches its readers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.media.records import DURATION_MAX
from livestream.media.sample import Sample, TrackKind
from tests.viewer.samples import demux
from viewer.outputs import Outputs
from viewer.remuxer import Container

BOTH = pytest.mark.parametrize("container", list(Container))
STRANGE = st.sampled_from(("data", "dts", "pts", "track", "duration", "key"))


async def read_all(outputs: Outputs, container: Container, samples: list[Sample]) -> bytes:
    """Return what somebody who reads from the beginning gets of these samples."""
    outlet = outputs.outlet(container)
    parts: list[bytes] = []

    async def read() -> None:
        parts.extend([part async for part in outlet.read()])

    reading = asyncio.create_task(read())
    for sample in samples:
        outputs.write([sample])
        await asyncio.sleep(0)
    outputs.end()
    await reading
    return b"".join(parts)


@BOTH
def test_sound_alone_begins_with_the_first_sample_of_its_track(
    container: Container, bigbuckbunny: Path
) -> None:
    tracks, samples = demux(bigbuckbunny)
    sound = next(track for track in tracks if track.kind is TrackKind.AUDIO)
    outputs = Outputs()
    outputs.start((replace(sound, number=0),))
    heard = [
        replace(each, track=0, is_keyframe=True) for each in samples if each.track == sound.number
    ][:40]
    strange = replace(heard[0], track=1, data=b"of no track")
    data = asyncio.run(read_all(outputs, container, [strange, *heard]))
    assert b"of no track" not in data
    assert heard[0].data in data or container is Container.MPEGTS
    assert len(data) > sum(len(each.data) for each in heard)


@settings(max_examples=25)
@given(st.integers(5, 39), STRANGE, st.integers(0, (1 << 48) - 1), st.binary(max_size=300))
def test_one_sample_of_nonsense_ends_nothing(
    bigbuckbunny: Path, at: int, kind: str, number: int, noise: bytes
) -> None:
    """Its publisher has signed it, so that it gets as far as FFmpeg; the rest is shown."""
    tracks, samples = demux(bigbuckbunny)
    samples = samples[:60]
    bad = samples[at]
    changes: dict[str, Sample] = {
        "data": replace(bad, data=noise),
        "dts": replace(bad, dts=number, pts=number + DURATION_MAX),
        "pts": replace(bad, pts=bad.dts + number % DURATION_MAX),
        "track": replace(bad, track=number % 128),
        "duration": replace(bad, duration=number % DURATION_MAX),
        "key": replace(bad, is_keyframe=not bad.is_keyframe),
    }
    samples[at] = changes[kind]
    for container in Container:
        outputs = Outputs()
        outputs.start(tuple(tracks))
        data = asyncio.run(read_all(outputs, container, samples))
        assert samples[-1].data in data or (data and container is Container.MPEGTS)
