"""A capped node over µTP: what it may not take yet is held, within bounds, and nothing is lost."""

from __future__ import annotations

from livestream.machine import MILLISECOND, SECOND, Event, Machine, Train
from livestream.swarm.rates import TokenBucket
from livestream.transport.connection import Disconnected, MessageReceived
from livestream.transport.utp.endpoint import UtpEndpoint
from livestream.transport.utp.packet import Packet, PacketType, parse_packet
from tests.transport.utp.pair import GREETING, HERE, THERE, Pair
from tests.world import Link

RATE = 500_000
"Bytes a second that the server takes."
TEXT = b"\x14" + bytes(16_000)


class Budget(TokenBucket):
    """An allowance, and how much of it was taken."""

    share_bytes = 16 * 1024
    window_bytes = 128 * 1024

    def __init__(self) -> None:
        super().__init__(RATE, RATE / 5)
        self.taken_bytes = 0

    def take(self, size: int, now: int) -> None:
        super().take(size, now)
        self.taken_bytes += size


class Tap(Machine):
    """Counts the data packets that an endpoint sends, and which of them it sends again."""

    def __init__(self, endpoint: UtpEndpoint) -> None:
        self.endpoint = endpoint
        self.rows = 0
        self.rows_again = 0
        self._seen: dict[tuple[int, int], None] = {}

    def receive_train(self, train: Train, now: int) -> None:
        self.endpoint.receive_train(train, now)

    def trains_to_send(self, now: int) -> list[Train]:
        trains = self.endpoint.trains_to_send(now)
        for packet in map(parse_packet, [each for one in trains for each in one.datagrams()]):
            if packet.type is PacketType.DATA:
                self.rows += 1
                key = packet.connection_id, packet.seq
                self.rows_again += key in self._seen
                self._seen[key] = None
        return trains

    def get_timer(self) -> int | None:
        return self.endpoint.get_timer()

    def handle_timer(self, now: int) -> None:
        self.endpoint.handle_timer(now)

    def next_event(self) -> Event | None:
        return self.endpoint.next_event()


def test_a_capped_node_is_given_its_rate_and_no_more_and_nothing_is_sent_twice() -> None:
    for delay_us in (0, 10 * MILLISECOND, 80 * MILLISECOND):
        budget = Budget()
        pair = Pair(1, Link(delay_us=delay_us), allowance=budget)
        tap = Tap(pair.client_end)
        pair.world.add(HERE, tap)
        pair.greet()
        for _ in range(400):
            pair.client.send(TEXT)
        before = budget.taken_bytes
        pair.run(10)
        taken = budget.taken_bytes - before
        assert 0.95 * 10 * RATE < taken < 10 * RATE + budget.burst_bytes + budget.share_bytes
        assert tap.rows > 1_000
        assert tap.rows_again == 0
        pair.run(10)
        assert pair.messages("server") == [GREETING, *[TEXT] * 400]


def test_two_peers_of_a_capped_node_share_its_rate() -> None:
    budget = Budget()
    pair = Pair(allowance=budget)
    pair.greet()
    first = pair.client
    second = pair.client_end.connect(THERE, pair.world.now)
    second.send(GREETING)
    pair.run(2)
    for _ in range(400):
        first.send(TEXT)
        second.send(TEXT)
    pair.run(6)
    given = [400 * len(TEXT) - each.backlog_bytes for each in (first, second)]
    assert 0.9 < given[0] / given[1] < 1.1
    assert sum(given) > 0.95 * 6 * RATE


def test_a_goodbye_comes_behind_what_is_held() -> None:
    pair = Pair(allowance=Budget())
    pair.greet()
    for _ in range(30):
        pair.client.send(TEXT)
    while pair.client.backlog_bytes:
        pair.run(0.05)
    pair.client.close("done", pair.world.now)
    pair.run(10)
    assert pair.messages("server") == [GREETING, *[TEXT] * 30]
    assert pair.events["server"][-1] == Disconnected("hung up", is_local=False)
    assert pair.server_end.connection_count == 0


def test_who_sends_more_than_the_window_is_not_heard_and_costs_no_more_memory() -> None:
    budget = Budget()
    endpoint = Pair(allowance=budget).server_end
    budget.take(100 * RATE, 0)  # There is none for minutes.
    endpoint.receive_train(Train(HERE, Packet(PacketType.SYN, 7, 0, 0, 9, 1, 0).to_bytes(), 20), 0)
    answer = parse_packet(bytes(endpoint.trains_to_send(0)[0].data))
    for number in range(1_000):
        fields = 8, 0, 0, 1 << 20, 2 + number, answer.seq - 1
        data = Packet(PacketType.DATA, *fields, payload=bytes(1_000)).to_bytes()
        endpoint.receive_train(Train(HERE, data, len(data)), SECOND)
    last = parse_packet(bytes(endpoint.trains_to_send(SECOND)[-1].data))
    assert last.window == 0
    assert 128 <= last.ack - 1 <= 2 * budget.window_bytes // 1_000


def test_what_is_held_outlives_the_buffer_that_it_was_read_to() -> None:
    greeting = GREETING[:20] + bytes(range(48))
    budget = Budget()
    endpoint = Pair(allowance=budget).server_end
    budget.take(RATE, 0)
    endpoint.receive_train(Train(HERE, Packet(PacketType.SYN, 7, 0, 0, 9, 1, 0).to_bytes(), 20), 0)
    answer = parse_packet(bytes(endpoint.trains_to_send(0)[0].data))
    fields = 8, 0, 0, 1 << 20
    first = Packet(PacketType.DATA, *fields, 2, answer.seq - 1, payload=greeting[:20]).to_bytes()
    endpoint.receive_train(Train(HERE, first, len(first)), 0)
    parts = greeting[20:44], greeting[44:], bytes(24), bytes(24)  # The last are keep-alives.
    rows = [
        Packet(PacketType.DATA, *fields, 3 + number, answer.seq - 1, payload=part).to_bytes()
        for number, part in enumerate(parts)
    ]
    for train in (rows[:2], rows[2:]):
        endpoint.receive_train(Train(HERE, b"".join(train), len(train[0])), 0)
    endpoint.trains_to_send(0)
    events: list[Event] = []
    while (at := endpoint.get_timer()) is not None and at < 10 * SECOND:
        endpoint.handle_timer(at)
        while (report := endpoint.next_event()) is not None:
            events.append(report.event)
        endpoint.trains_to_send(at)
    assert MessageReceived(greeting) in events
