"""Designs that are broken on purpose, each put in through the seams, and caught by a checker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from livestream.config import LiveConfig
from livestream.live.clock import ChannelClock
from livestream.live.picker import DeadlinePicker
from livestream.live.signing import ChannelKey
from livestream.live.window import LiveVerifier, LiveWindow
from livestream.pieces.picker import Pick
from livestream.pieces.verifier import Verdict
from livestream.sim.baselines import PullParts
from livestream.sim.checks import CheckError
from livestream.sim.designs import DESIGNS, Design
from livestream.sim.parts import SimParts
from livestream.sim.run import simulate
from livestream.sim.scenario import Scenario
from livestream.swarm.peer import Peer
from livestream.swarm.uploads import Upload, UploadQueue, Urgency

SMALL = Scenario(
    "small",
    "a few viewers with good lines",
    viewers=8,
    seconds=8.0,
    rate_bps=800_000,
    uplinks=((1.0, 4.0),),
    join_s=2.0,
    warm_up_s=3.0,
    loss=0.0,
    churn_per_minute=0.0,
)


class _Credulous(LiveVerifier):
    def verify(self, index: int, data: bytes) -> Verdict:
        return Verdict.GENUINE


class CredulousParts(SimParts):
    """Forwards before it verifies."""

    def make_verifier(self, key: ChannelKey, window: LiveWindow) -> LiveVerifier:
        return _Credulous(key, window)


class _Silent(DeadlinePicker):
    def picks(self, holders: Sequence[Peer], now: int) -> list[Pick[Peer]]:
        picks = super().picks(holders, now)
        # The first group of pictures is asked for: without it there is nothing to miss.
        return picks if now < 6_000_000 else []


class SilentParts(PullParts):
    """Hears what others hold, and never asks for it."""

    def make_picker(
        self,
        window: LiveWindow,
        clock: ChannelClock,
        config: LiveConfig,
        fed_from: Callable[[int], int | None],
        is_source: Callable[[Peer], bool],
    ) -> DeadlinePicker:
        return _Silent(window, clock, config, fed_from, is_source)


class _Endless(UploadQueue):
    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Peer, list[int]] = {}

    def add(self, peer: Peer, index: int, *, urgency: Urgency, deadline: int, now: int) -> bool:
        self._kept.setdefault(peer, []).append(index)
        never = now + 3_600_000_000
        return super().add(peer, index, urgency=urgency, deadline=never, now=now) or True

    def length(self, peer: Peer) -> int:
        return len(self._kept.get(peer, ()))

    def next_upload(self, now: int) -> tuple[Peer, Upload] | None:
        found = super().next_upload(now)
        if found is not None:
            peer, upload = found
            self._kept[peer].remove(upload.piece)
        return found


class EndlessParts(SimParts):
    """Queues without a limit."""

    def make_uploads(self) -> UploadQueue:
        return _Endless()


class _Sluggish(UploadQueue):
    """Keeps what is pushed back: two hops later, neighbours have had it for most of a second."""

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[tuple[int, Peer, int, int]] = deque()

    def add(self, peer: Peer, index: int, *, urgency: Urgency, deadline: int, now: int) -> bool:
        if urgency is not Urgency.PUSHED:
            return super().add(peer, index, urgency=urgency, deadline=deadline, now=now)
        self._held.append((now + 400_000, peer, index, deadline))
        return True

    @property
    def is_idle(self) -> bool:
        return not self._held and super().is_idle

    def next_upload(self, now: int) -> tuple[Peer, Upload] | None:
        while self._held and self._held[0][0] <= now:
            _, peer, index, deadline = self._held.popleft()
            super().add(peer, index, urgency=Urgency.PUSHED, deadline=deadline, now=now)
        return super().next_upload(now)


class SluggishParts(SimParts):
    """Pushes late."""

    def make_uploads(self) -> UploadQueue:
        return _Sluggish()


def test_who_forwards_before_verifying_is_caught() -> None:
    polluted = replace(SMALL, polluter_share=0.25)
    with pytest.raises(CheckError, match=r"forged|nobody published"):
        simulate(polluted, Design("credulous", "", CredulousParts), 1)


def test_who_verifies_is_not_troubled_by_polluters() -> None:
    """Who forges is found out, and then neither fed nor counted as a viewer."""
    result = simulate(replace(SMALL, polluter_share=0.25, seconds=20.0), DESIGNS["trees"], 1)
    assert result.bad_pieces_shown == 0
    assert result.continuity > 0.99
    assert min(share for share in result.series.continuity[6:] if share is not None) > 0.99


def test_who_never_repairs_is_caught() -> None:
    with pytest.raises(CheckError, match="does not ask"):
        simulate(SMALL, Design("silent", "", SilentParts), 1)
    simulate(SMALL, DESIGNS["pull"], 1)


def test_who_is_pushed_pieces_well_before_they_are_due_need_not_ask_for_them() -> None:
    patient = replace(SMALL, seconds=10.0, latency_fixed_s=3.0)
    assert simulate(patient, Design("sluggish", "", SluggishParts), 1).continuity > 0.99


def test_a_queue_without_a_limit_is_caught() -> None:
    narrow = replace(SMALL, viewers=1, seconds=14.0, publisher_uplink_x=0.3, rate_bps=4_000_000)
    with pytest.raises(CheckError, match="queues"):
        simulate(narrow, Design("endless", "", EndlessParts), 1)
    simulate(narrow, DESIGNS["trees"], 1)
