"""A channel: the live side of one swarm, for its publisher and for its viewers alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha1
from random import Random
from typing import Final

from livestream.config import LiveConfig, SwarmConfig
from livestream.errors import VerificationError
from livestream.live.children import Children
from livestream.live.clock import ChannelClock
from livestream.live.head import HEAD_INTERVAL_US, OFF_AIR_MS, Head
from livestream.live.neighbours import Neighbours
from livestream.live.parts import Parts
from livestream.live.piece import LivePiece
from livestream.live.place import PROBATION_US, Place
from livestream.live.reports import Reports
from livestream.live.tunein import tune_in_index
from livestream.live.window import LiveWindow
from livestream.machine import MILLISECOND, SECOND, Event
from livestream.swarm.extension import Extension
from livestream.swarm.peer import Peer
from livestream.swarm.pex import PeerExchange
from livestream.swarm.whole import Seams, WholePieceSwarm
from livestream.wire import live as wire
from livestream.wire.live import (
    Feed,
    Goodbye,
    HeadUpdate,
    LiveMessage,
    Refuse,
    Rooms,
    Status,
    Subscribe,
    Unsubscribe,
    WindowUpdate,
)
from livestream.wire.messages import Have

__all__ = ["Channel", "ChannelEnded", "EpochStarted", "PieceVerified", "info_hash_of"]

STATUS_INTERVAL_US: Final = SECOND
OVERDUE_INTERVAL_US: Final = 100 * MILLISECOND
TOLD_AGAIN_US: Final = 500 * MILLISECOND  # However often our feeder changes its mind.
STOPPED_US: Final = 3 * OVERDUE_INTERVAL_US  # Whoever looks no sooner was stopped itself.
CLAIM_AHEAD_MAX: Final = 64  # How far beyond what there should be a neighbour's window is believed.
ASKED_US: Final = 300 * MILLISECOND  # Requests beyond what the upload carries in this are rejected.
ASKED_MIN: Final = 2
TUNE_IN_AHEAD_US: Final = 500 * MILLISECOND  # After the playout point: it takes that long anyway.


@dataclass(frozen=True, slots=True)
class EpochStarted(Event):
    """The publisher is on the air (again): these tracks, wanted from this piece on."""

    head: Head
    first_index: int


@dataclass(slots=True)  # Not frozen, as it is hot: freezing takes longer than all else about it.
class PieceVerified(Event):
    """A genuine piece is in the window."""

    piece: LivePiece
    captured_at: int
    "Machine time of its capture."
    received_at: int


@dataclass(frozen=True, slots=True)
class ChannelEnded(Event):
    """The publisher's signed word that no more pieces will come."""

    newest_index: int


def info_hash_of(public_key: bytes) -> bytes:
    """Return the swarm's info-hash: the BEP 44 target of the key with our salt."""
    return sha1(public_key + b"livestream", usedforsecurity=False).digest()


class Channel(Extension):
    """Fills the seams for one channel and speaks the `live` extension.

    Invariant: what is pushed or announced has passed the verifier; at most one head is current,
    and it only ever gives way to a newer one.
    """

    name = "live"

    def __init__(
        self,
        channel_key: bytes,
        node_key: bytes,
        unix_offset_us: int,
        rng: Random,
        *,
        live: LiveConfig | None = None,
        swarm: SwarmConfig | None = None,
        is_source: bool = False,
        window: LiveWindow | None = None,
        parts: Parts | None = None,
    ) -> None:
        self.config = live or LiveConfig()
        swarm_config = swarm or SwarmConfig()
        parts = parts or Parts()
        self.key = parts.make_key(channel_key)
        self.clock = ChannelClock(unix_offset_us)
        self.head: Head | None = None
        self.window = window or parts.make_window(self.config.window_us)
        self.stale_head_ms = 0
        "How old the newest head was that we refused for its age; 0: none."
        self.bad_heads = 0
        self.control_bytes = 0
        self.is_source = is_source
        self._head_bytes = b""
        self._verifier = parts.make_verifier(self.key, self.window)
        self._verifier.is_source = is_source
        self._picker = parts.make_picker(
            self.window, self.clock, self.config, self._fed_from, self._is_source_peer
        )
        choker = parts.make_choker(
            self.window, self.config, upload_bps=swarm_config.upload_bps, is_source=is_source
        )
        self.choker = choker
        seams = Seams(self._verifier, self.window, self._picker, choker)
        self.swarm = WholePieceSwarm(
            info_hash_of(channel_key),
            node_key,
            seams,
            swarm_config,
            rng,
            uploads=parts.make_uploads(),
        )
        self.neighbours = Neighbours()
        self.feeders = parts.make_feeders(
            self.swarm.node_id,
            rng,
            self.neighbours,
            self._send,
            self._seek_room,
            turned=self._on_turned,
        )
        self.children = Children(
            self.swarm,
            choker,
            self.feeders,
            self.neighbours,
            window=self.window,
            send=self._send,
            is_source=is_source,
        )
        self._place = Place(
            self.swarm, choker, self.feeders, self.neighbours, rng=rng, is_source=is_source
        )
        self._reports = Reports(
            self.swarm,
            choker,
            self.feeders,
            self.children,
            self.neighbours,
            window=self.window,
            rng=rng,
            send=self._send_bytes,
            is_source=is_source,
        )
        self._pex = PeerExchange(self._reachable)
        self.swarm.speak(self)
        self.swarm.speak(self._pex)
        self._status_at: int | None = None
        self._has_news = True
        "Whether somebody may wait for our next status."
        self._overdue_at: int | None = None
        self._looked_at = 0
        self._told_at = {False: 0, True: 0}
        "When our neighbours heard besides each second that we are fed, or cut off, at home."
        self._cut: set[int] = set()
        "Substreams that do not reach us now."

    # Commands

    def publish(self, piece: LivePiece, now: int) -> None:
        """Put our own piece on the air."""
        self.swarm.store(piece.index, piece.to_bytes(), now)

    def set_head(self, head: Head, signed: bytes, now: int) -> None:
        """Put our own head on the air."""
        self._take_head(head, signed, now, None)

    def set_latency(self, latency_us: int) -> None:
        """Follow the viewer's target."""
        self.config = replace(self.config, latency_us=latency_us)
        self._picker.set_latency(latency_us)

    def skip(self, index: int) -> None:
        """The viewer does not wait for this piece any longer."""
        self._picker.skip(index)

    def say_goodbye(self) -> None:
        """Tell those whom we feed that we leave, and who may feed them."""
        self.children.say_goodbye()

    # Extension

    def on_ready(self, peer: Peer, now: int) -> None:
        """Tell a newcomer all it must know."""
        if self._head_bytes:
            self._send(peer, HeadUpdate(self._head_bytes))
            self._reports.tell_newcomer(peer, now)
        self._status_at = now if self._status_at is None else self._status_at

    def on_message(self, peer: Peer, payload: bytes, now: int) -> None:
        """Take one message of the extension."""
        message = wire.parse(payload)
        self.control_bytes += len(payload)
        if isinstance(message, WindowUpdate):
            self._on_window(peer, message, now)
        elif isinstance(message, Status):
            self._on_status(peer, message, now)
        elif isinstance(message, HeadUpdate):
            self._on_head(peer, message, now)
        elif isinstance(message, (Subscribe, Unsubscribe)):
            self._on_child(peer, message, now)
        elif isinstance(message, Feed) and not self.is_source:
            self.feeders.on_feed(peer, message, now)
        elif isinstance(message, Refuse):
            self._on_refuse(peer, message, now)
        elif isinstance(message, Rooms):
            self._on_rooms(peer, message, now)
        elif isinstance(message, Goodbye) and message.sponsor is not None:
            self.swarm.candidates.seek([message.sponsor], now)

    def on_gone(self, peer: Peer, now: int) -> None:
        """A neighbour left."""
        self.neighbours.drop(peer)
        if self.is_source and self.choker.substreams_of(peer):
            self._status_at = now
        self.children.on_gone(peer)
        self.feeders.on_gone(peer, now)
        self._picker.wake(now)

    def on_stored(self, index: int, peer: Peer | None, now: int) -> None:
        """Pass a verified piece on, and report it."""
        piece = self.window.last
        if piece is None or self.head is None:
            return
        captured_ms = piece.payload.captured_ms
        number = index % self.head.substreams
        if peer is not None and index == self.window.newest:
            self.clock.observe(captured_ms, self._path_us(peer, number), now)
        captured_at = self.clock.machine_time(captured_ms)
        if peer is not None:
            self.feeders.note_pushed(index, peer, now - captured_at, now)
            feeder = self.feeders.feeder(number)
            if feeder is not None and feeder is not peer:
                feeder.send(Have(index))  # It need not push it any more.
            if self._place.first_at is None:
                self._place.first_at = now
                self._status_at = now + PROBATION_US  # Who waits for a feeder hears of us at once.
                self._has_news = True
        had = self.choker.used_slots if self.is_source else 0
        self.children.push(index, peer, now)
        if self.is_source and self.choker.used_slots < had:
            self._status_at = now  # Heads are wanted: without them nobody gets anything.
        self._reports.note_stored(index, now)
        self.swarm.emit(PieceVerified(piece, captured_at, now))

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        first = self._status_at  # In plain steps, for it is asked after each event.
        timer = self._reports.window_at
        if timer is not None and (first is None or timer < first):
            first = timer
        timer = self._overdue_at
        if timer is not None and (first is None or timer < first):
            first = timer
        timer = None if self.is_source else self.feeders.get_timer()
        if timer is not None and (first is None or timer < first):
            first = timer
        return first

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        if self._status_at is not None and self._status_at <= now:
            self._status_at = now + STATUS_INTERVAL_US
            self._look_around(now)
        window_at = self._reports.window_at
        if window_at is not None and window_at <= now:
            self._reports.tell_window(now)
        if self.head is None:
            return
        if self._overdue_at is not None and self._overdue_at <= now:
            self._overdue_at = now + OVERDUE_INTERVAL_US
            self._look_for_failures(now)
        if self.is_source:
            return
        feeders_at = self.feeders.get_timer()
        if feeders_at is not None and feeders_at <= now:
            self.feeders.handle_timer(list(self.swarm.ready), self.window.newest + 1, now)

    def _look_for_failures(self, now: int) -> None:
        looked_at, self._looked_at = self._looked_at, now
        if now - looked_at > STOPPED_US:
            return  # We were stopped ourselves, and have not read yet what came meanwhile.
        has_lost = self.children.let_unresponsive_go(now)
        if not self.is_source:
            overdue = self._picker.overdue(now)
            self.feeders.look_for_failures(overdue, self._picker.due(now), now)
        elif has_lost:
            self._status_at = now  # Heads are wanted: without them nobody gets anything.

    def _look_around(self, now: int) -> None:
        self.swarm.candidates.add(self._pex.take_learned())
        if self.head is None:
            return
        self._place.look(self.head.substreams, now)
        if self.is_source:
            for number in range(self.head.substreams):
                self._seek_room(number, now)  # Heirs of heads: nobody else is told to it.
        self._reports.tell_status(now, can_wait=not (self.is_source or self._has_news))
        self._has_news = False
        self._reports.tell_window(now)  # In the same datagrams.
        self.children.reserve_all()

    # Messages

    def _on_head(self, peer: Peer, message: HeadUpdate, now: int) -> None:
        if message.head == self._head_bytes or self.is_source:
            return
        try:
            head = Head.open(message.head, self.key)
        except VerificationError as error:
            self.bad_heads += 1
            self.swarm.ban(peer, str(error), now)
            return
        age_ms = self.clock.unix_ms(now) - head.time_ms
        if self.head is None and age_ms > OFF_AIR_MS:
            self.stale_head_ms = age_ms
            return
        if self.head is None or head.epoch != self.head.epoch:
            self.clock.start()
        self.clock.observe(head.time_ms, peer.connection.rtt_us // 2, now)
        self._take_head(head, message.head, now, peer)

    def _take_head(self, head: Head, signed: bytes, now: int, peer: Peer | None) -> None:
        known = self.head
        if known is not None and head.order <= known.order:
            return
        self.head = head
        self._head_bytes = signed
        if known is None or head.epoch != known.epoch:
            self._start_epoch(head, now)
            for other in list(self.swarm.ready):
                if other is not peer:
                    self._send(other, HeadUpdate(signed))
        else:
            # The tree of one substream, another each second, brings everyone one copy.
            turn = head.time_ms * MILLISECOND // HEAD_INTERVAL_US
            for child in self.choker.children(turn % head.substreams):
                if child is not peer:
                    self._send(child, HeadUpdate(signed))
        self._picker.note_edge(head.newest_index, now)
        if head.is_ended and (known is None or not known.is_ended):
            for other in list(self.swarm.ready):
                self._send(other, HeadUpdate(signed))
            self.swarm.emit(ChannelEnded(head.newest_index))

    def _start_epoch(self, head: Head, now: int) -> None:
        first = self._tune_in_index(head, now)
        self._verifier.payload_bytes_max = head.payload_bytes_max
        self.window.start(
            head.epoch, first, newest=first - 1 if self.is_source else head.newest_index
        )
        self.choker.start(head.substreams, head.rate_bps)
        self.children.start(head.substreams, head.rate_bps)
        upload_bps = self.swarm.config.upload_bps
        if upload_bps is not None and not self.is_source:
            asked = upload_bps * ASKED_US // SECOND // (8 * head.payload_bytes_max)
            self.swarm.uploads.asked_max = max(ASKED_MIN, asked)
        self._reports.start()
        self._overdue_at = now + OVERDUE_INTERVAL_US
        if not self.is_source:
            self.feeders.start(head.substreams, head.newest_index, now)
            self._picker.start(first, head.newest_index, head.substreams, head.rate_bps, now)
        self._status_at = now
        self._has_news = True
        for peer in self.swarm.ready:
            peer.held.clear()
        self.swarm.emit(EpochStarted(head, first))

    def _tune_in_index(self, head: Head, now: int) -> int:
        if self.is_source:
            return head.first_index
        playout_at = now - self.config.latency_us + TUNE_IN_AHEAD_US
        return tune_in_index(head, self.clock.unix_ms(playout_at))

    def _on_window(self, peer: Peer, message: WindowUpdate, now: int) -> None:
        if self.head is None:
            return
        # By time, not by what we hold: who got nothing for a while has to learn what to ask for.
        believed = self.window.reckon_newest(self.clock.unix_ms(now)) + CLAIM_AHEAD_MAX
        peer.held.forget_before(min(message.first, believed))
        peer.held.replace(message.start, message.held, message.held.bit_length())
        if not self.is_source:
            end = message.start + message.held.bit_length()
            self._picker.note_edge(min(end - 1, believed), now)
            self._picker.note_holders(now)

    def _on_status(self, peer: Peer, status: Status, now: int) -> None:
        if status.is_source:
            self.swarm.source_peers[peer] = None
        self.neighbours.note(peer, status)
        self.feeders.note_status(peer, now)

    def _on_child(self, peer: Peer, message: Subscribe | Unsubscribe, now: int) -> None:
        if isinstance(message, Subscribe):
            self.children.on_subscribe(peer, message, now)
        else:
            self.children.on_unsubscribe(peer, message, now)

    def _on_refuse(self, peer: Peer, message: Refuse, now: int) -> None:
        if not self.feeders.asked(peer, message.substream):
            return
        self.feeders.on_refuse(peer, message, now)
        for address in reversed(message.alternatives):
            if not self.swarm.knows(address):
                self.neighbours.note_room(message.substream, address, now)

    def _on_rooms(self, peer: Peer, message: Rooms, now: int) -> None:
        substreams = self.head.substreams if self.head is not None else 0
        if self.is_source and not self.choker.substreams_of(peer):
            return  # Heads tell of their heirs; nobody else says whom the publisher calls.
        for number, address in message.rooms:
            if number < substreams and not self.swarm.knows(address):
                self.neighbours.note_room(number, address, now)

    # Helpers

    def _on_turned(self, number: int, now: int) -> None:
        """Tell our children; and all neighbours, of our home: orphans have to know whom to ask."""
        self.children.tell_path(number)
        is_cut = not self.feeders.path(number)
        if is_cut == (number in self._cut):
            return
        self._cut ^= {number}
        if number == self.choker.home and now - self._told_at[is_cut] >= TOLD_AGAIN_US:
            self._told_at[is_cut] = now
            self._reports.tell_status(now, can_wait=False)

    def _seek_room(self, number: int, now: int) -> None:
        """Call a stranger who is said to have room in a substream, or else in any."""
        for home in (number, *self.neighbours.roomy()):
            while (address := self.neighbours.take_room(home, now)) is not None:
                if not self.swarm.knows(address):
                    self.swarm.candidates.seek([address], now)
                    return

    def _reachable(self) -> list[Peer]:
        return [peer for peer in self.swarm.ready if peer.is_reachable]

    def _fed_from(self, number: int) -> int | None:
        return self.feeders.fed_from(number)

    def _is_source_peer(self, peer: Peer) -> bool:
        return peer in self.swarm.source_peers

    def _path_us(self, peer: Peer, number: int) -> int:
        """What it takes at least from the publisher, if all of the way is like its last link."""
        return max(len(self.children.path(number)) - 1, 1) * peer.connection.rtt_us // 2

    def _send(self, peer: Peer, message: LiveMessage) -> None:
        self._send_bytes(peer, message.to_bytes())

    def _send_bytes(self, peer: Peer, payload: bytes, by: int | None = None) -> None:
        if self.name in peer.extensions:
            self.control_bytes += len(payload)
            peer.send_extended(self.name, payload, by)
