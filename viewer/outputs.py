"""What a session's samples become: one remuxer and one outlet a container."""

from __future__ import annotations

from collections.abc import Sequence

from livestream.media.sample import Sample, Track, TrackKind
from viewer.outlet import Outlet
from viewer.remuxer import Container, Remuxer

__all__ = ["Outputs"]


class Outputs:
    """Hands samples to every container that somebody reads.

    Invariant: what an outlet gets begins with a key frame, in a container opened for `tracks`.
    """

    def __init__(self) -> None:
        self.tracks: tuple[Track, ...] = ()
        self._outlets: dict[Container, Outlet] = {}
        self._remuxers: dict[Container, Remuxer] = {}

    def outlet(self, container: Container) -> Outlet:
        """Return the outlet of a container; it is fed from now on."""
        outlet = self._outlets.get(container)
        if outlet is None:
            outlet = self._outlets[container] = Outlet()
        return outlet

    def start(self, tracks: tuple[Track, ...]) -> None:
        """Begin an epoch: new containers, since its clocks begin anew."""
        self.tracks = tracks
        for remuxer in self._remuxers.values():
            remuxer.close()
        self._remuxers.clear()

    def write(self, samples: Sequence[Sample]) -> None:
        """Remux samples for every outlet."""
        for container, outlet in self._outlets.items():
            remuxer = self._remuxers.get(container)
            wanted = samples
            if remuxer is None:
                wanted = self._from_keyframe(samples)
                if not wanted:
                    continue
                remuxer = self._remuxers[container] = Remuxer(self.tracks, container, wanted[0])
                outlet.restart(remuxer.init)
            outlet.publish(remuxer.write(wanted))

    def end(self) -> None:
        """No more samples will come."""
        for container, outlet in self._outlets.items():
            remuxer = self._remuxers.pop(container, None)
            if remuxer is not None:
                outlet.publish(remuxer.close())
            outlet.end()

    def _from_keyframe(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        video = [track.number for track in self.tracks if track.kind is TrackKind.VIDEO]
        lead = video[:1] or [track.number for track in self.tracks]
        for at, sample in enumerate(samples):
            if sample.track in lead and (sample.is_keyframe or not video):
                return samples[at:]
        return ()
