"""One run: a scenario, a design and a seed, from the publisher's start to the last sample."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from livestream.config import LiveConfig, SwarmConfig
from livestream.discovery.tracker import Announce, AnnounceEvent, TrackerState
from livestream.live.channel import Channel
from livestream.live.signing import Signer
from livestream.machine import MILLISECOND, SECOND, Address, Event
from livestream.sim.designs import Design
from livestream.sim.happenings import Joining, plan_happenings
from livestream.sim.host import Host
from livestream.sim.internets import Links, make_internet
from livestream.sim.ledger import Ledger
from livestream.sim.links import Access, Path
from livestream.sim.parts import Role
from livestream.sim.scenario import Scenario
from livestream.sim.signatures import Notary
from livestream.sim.source import Source
from livestream.sim.totals import Totals, totals_of
from livestream.sim.viewer import UNIX_OFFSET_US, Viewer, make_node
from livestream.sim.world import Occurrence, World
from viewer.latency import Latency

__all__ = ["PUBLISHER", "STEP_US", "Simulation"]

STEP_US: Final = 100 * MILLISECOND  # Between looks of whoever watches the run.
ANNOUNCE_US: Final = 30 * SECOND  # As our tracker asks for.
ANNOUNCE_AGAIN_US: Final = 5 * SECOND  # The first time: who comes early finds others soon.
WANTED: Final = 50
UPLINK_BPS_MIN: Final = 512_000  # "No upload" is none to speak of: what a slow DSL line has.
SLOW_DOWNLINK: Final = 0.7  # Of the rate, of viewers whose line is too slow for the channel.
PUBLISHER: Final = 0  # Its host's number.


class Simulation:
    """Everybody of one channel in one world.

    Invariant: `present` are the viewers that are there now, by the number of their host.
    """

    def __init__(
        self, scenario: Scenario, design: Design, seed: int, links: Links = Links.MESSAGES
    ) -> None:
        self.scenario = scenario
        self.design = design
        self.seed = seed
        self.world = World(seed)
        self.rng = Random(seed ^ 0x5EED)
        low, high = scenario.delays_us
        path = Path(
            low,
            high,
            int(scenario.jitter_ms * MILLISECOND),
            scenario.loss,
            scenario.loss_burst,
            scenario.reordered_share,
        )
        self.internet = make_internet(links, self.world, path, seed)
        self.signer = Signer(Random(seed).randbytes(32))
        self.notary = Notary(self.signer.public_key)
        self.ledger = Ledger(self.signer.public_key)
        self.totals_before = Totals()
        "What had been sent when the figures began."
        self.tracker = TrackerState(Random(seed + 1))
        self.on_sent: Callable[[Host, bytes], None] | None = None
        "Sees every message of those that come from now on."
        self.on_air_at = self.world.now
        "When the publisher's present run began."
        self.published_at = self.world.now
        "When the last piece went on the air."
        self.viewers: list[Viewer] = []
        "All that ever came."
        self.present: dict[int, Viewer] = {}
        self.began_at = self.world.now
        self.end_at = self.world.now + scenario.duration_us
        self._epoch = 0
        self._hosts = PUBLISHER
        self._bytes_before = 0
        self.publisher, self.channel = self.start_publisher()
        self._draws = list(_draws(scenario, self.rng))
        first = scenario.viewers - plan_happenings(self)
        for number in range(first):
            at = self.world.now + int(scenario.join_s * SECOND * number / first)
            self.world.plan(at, Joining(self))
        self.world.plan(self.began_at + scenario.warm_up_us, _WarmedUp(self))
        if scenario.churn_per_minute:
            self.world.plan(self._next_churn(), _Churn(self))

    @property
    def publisher_bytes_out(self) -> int:
        """What the publisher has sent, of all its runs, every wire byte counted."""
        return self._bytes_before + self.publisher.uplink.bytes_out

    # Driving

    def run(self, on_step: Callable[[int], None] | None = None) -> None:
        """Let it all happen; `on_step` is called with the time every tenth of a second."""
        while self.world.now < self.end_at:
            self.world.run_until(min(self.world.now + STEP_US, self.end_at))
            if on_step is not None:
                on_step(self.world.now)

    # What happens

    def join(self) -> Viewer:
        """Let somebody come."""
        scenario, rng = self.scenario, self.rng
        self._hosts += 1
        role, _, is_slow = self._draws[(self._hosts - 1) % len(self._draws)]
        access = self.access_of(self._hosts)
        host = self.internet.add(self._hosts, access, rng.randbytes(32))
        host.role = role
        node_rng = Random(rng.getrandbits(64))
        host.on_sent = self.on_sent
        viewer = Viewer(
            host,
            self.ledger,
            self._live_config(),
            self.design.parts(self.notary, role, node_rng),
            node_rng,
            latency=Latency(scenario.latency_fixed_us, scenario.latency_us),
            upload_bps=access.uplink_bps,
            skew_us=int((2 * rng.random() - 1) * scenario.skew_s * SECOND),
            is_slow=is_slow,
        )
        self.viewers.append(viewer)
        self.present[host.number] = viewer
        info_hash = viewer.channel.swarm.info_hash
        roots = [self.publisher.address]
        viewer.node.add_candidates(info_hash, roots, self.world.now, is_root=True)
        self.announce(viewer, AnnounceEvent.STARTED)
        self.world.plan(self.world.now + ANNOUNCE_AGAIN_US, _Announce(self, viewer))
        return viewer

    def leave(self, viewer: Viewer, *, says_goodbye: bool) -> None:
        """Let somebody go."""
        del self.present[viewer.host.number]
        viewer.leave(self.world.now, says_goodbye=says_goodbye)
        if says_goodbye:
            self.announce(viewer, AnnounceEvent.STOPPED)

    def announce(self, viewer: Viewer, event: AnnounceEvent) -> None:
        """Ask the tracker for others, as a viewer does."""
        swarm, now = viewer.channel.swarm, self.world.now
        found = self.tracker.take(
            Announce(swarm.info_hash, swarm.peer_id, viewer.host.address, False, event, WANTED), now
        )
        if not isinstance(found, str) and viewer.left_at is None:
            viewer.node.add_candidates(swarm.info_hash, found, now)
            viewer.host.settle(now)

    def churn(self) -> None:
        """One goes, another comes."""
        if self.present:
            viewer = self.rng.choice(list(self.present.values()))
            says_goodbye = self.rng.random() >= self.scenario.crash_share
            self.leave(viewer, says_goodbye=says_goodbye)
            self.join()
        self.world.plan(self._next_churn(), _Churn(self))

    def start_publisher(self) -> tuple[Host, Channel]:
        """Put the channel on the air, with a new epoch."""
        scenario, rng = self.scenario, self.rng
        self._epoch += 1
        access = self.access_of(PUBLISHER)
        host = self.internet.add(PUBLISHER, access, rng.randbytes(32))
        node_rng = Random(rng.getrandbits(64))
        parts = self.design.parts(self.notary, Role.HONEST, node_rng)
        channel = Channel(
            self.ledger.public_key,
            host.public_key,
            UNIX_OFFSET_US,
            node_rng,
            live=self._live_config(),
            swarm=SwarmConfig(upload_bps=access.uplink_bps, transport=host.transport),
            is_source=True,
            parts=parts,
        )
        parts.adopt(channel)
        node = make_node(host, node_rng, channel)
        host.run(node, _ignore)
        source = Source(scenario, self.signer, channel, self._epoch, self.world.now)
        self.world.plan(source.get_timer(), _Publish(self, host, source))
        self.publisher, self.channel = host, channel
        self.on_air_at = self.world.now
        return host, channel

    def stop_publisher(self) -> None:
        """Let the publisher vanish without a word."""
        self._bytes_before += self.publisher.uplink.bytes_out
        self.publisher.uplink.bytes_out = 0  # Counted once.
        self.publisher.crash()

    # Queries

    def access_of(self, number: int) -> Access:
        """Return the line of a host, of one that is still to come too, by its number."""
        scenario = self.scenario
        queue_us = int(scenario.queue_ms * MILLISECOND)
        if number == PUBLISHER:
            uplink = int(scenario.publisher_uplink_x * scenario.rate_bps)
            return Access(uplink, queue_us=queue_us)
        _, multiple, is_slow = self._draws[(number - 1) % len(self._draws)]
        uplink = max(UPLINK_BPS_MIN, int(multiple * scenario.rate_bps))
        downlink = None
        if scenario.downlink_x is not None:
            share = SLOW_DOWNLINK if is_slow else scenario.downlink_x
            downlink = int(share * scenario.rate_bps)
        return Access(uplink, downlink, queue_us)

    def some_of(self, share: float) -> list[Viewer]:
        """Return so many of the viewers that are there, at random."""
        return self.rng.sample(list(self.present.values()), int(share * len(self.present)))

    def heads(self) -> list[Viewer]:
        """Return the viewers that the publisher feeds."""
        fed: dict[Address, None] = {}
        for number in range(self.channel.config.substreams):
            fed |= dict.fromkeys(child.address for child in self.channel.choker.children(number))
        return [viewer for viewer in self.present.values() if viewer.host.address in fed]

    # Helpers

    def _next_churn(self) -> int:
        per_second = self.scenario.churn_per_minute * self.scenario.viewers / 60
        return self.world.now + int(self.rng.expovariate(per_second) * SECOND)

    def _live_config(self) -> LiveConfig:
        scenario = self.scenario
        return LiveConfig(
            latency_us=scenario.latency_us,
            substreams=scenario.substreams or self.design.substreams,
            heads_per_substream=scenario.heads_per_substream,
            upload_share=scenario.upload_share,
            reserve_share=scenario.reserve_share,
            repair_share=scenario.repair_share,
        )


class _Publish(Occurrence):
    """The publisher has something to do."""

    __slots__ = ("_host", "_simulation", "_source")

    def __init__(self, simulation: Simulation, host: Host, source: Source) -> None:
        self._simulation = simulation
        self._host = host
        self._source = source

    def happen(self, now: int) -> None:
        if not self._host.is_up:
            return
        for piece in self._source.handle_timer(now):
            captured_at = piece.payload.captured_ms * MILLISECOND - UNIX_OFFSET_US
            self._simulation.ledger.add(piece, captured_at)
            self._simulation.published_at = now
        self._host.settle(now)
        self._host.world.plan(self._source.get_timer(), self)


class _WarmedUp(Occurrence):
    """The figures begin now."""

    __slots__ = ("_simulation",)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def happen(self, now: int) -> None:
        simulation = self._simulation
        simulation.totals_before = totals_of(simulation)
        for viewer in simulation.viewers:
            viewer.forget_figures(now)


class _Churn(Occurrence):
    __slots__ = ("_simulation",)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def happen(self, now: int) -> None:
        self._simulation.churn()


class _Announce(Occurrence):
    __slots__ = ("_simulation", "_viewer")

    def __init__(self, simulation: Simulation, viewer: Viewer) -> None:
        self._simulation = simulation
        self._viewer = viewer

    def happen(self, now: int) -> None:
        if self._viewer.left_at is None:
            self._simulation.announce(self._viewer, AnnounceEvent.NONE)
            self._simulation.world.plan(now + ANNOUNCE_US, self)


def _draws(scenario: Scenario, rng: Random) -> list[tuple[Role, float, bool]]:
    """Return who the viewers are, in exactly the shares of the scenario, shuffled."""
    count = max(scenario.viewers, 1)
    multiples: list[float] = []
    for share, multiple in scenario.uplinks:
        multiples += [multiple] * round(share * count)
    multiples = (multiples + [scenario.uplinks[0][1]] * count)[:count]
    rng.shuffle(multiples)
    roles: list[Role] = []
    for share, role in (
        (scenario.polluter_share, Role.POLLUTER),
        (scenario.liar_share, Role.LIAR),
        (scenario.free_rider_share, Role.FREE_RIDER),
    ):
        roles += [role] * round(share * count)
    roles = (roles + [Role.HONEST] * count)[:count]
    rng.shuffle(roles)
    slow = [number < scenario.slow_viewer_share * count for number in range(count)]
    rng.shuffle(slow)
    return list(zip(roles, multiples, slow, strict=True))


def _ignore(event: Event, now: int) -> None:
    """A publisher has no picture to show."""
