"""Who may call whom dead: an agent's lease, and what a front has heard."""

from __future__ import annotations

import pytest

from local_runner.cluster.lease import HEARD_SECONDS, MARGIN_SECONDS, Contact, Lease, is_dead
from local_runner.cluster.messages import PROTOCOL, AgentId, Hello
from local_runner.cluster.roster import AgentState

LEASE, GRACE = 10.0, 2.0
DEAD_AFTER = LEASE + GRACE + MARGIN_SECONDS


def heard_each_second(until: float, contact: Contact | None = None, since: float = 0) -> Contact:
    contact = contact or Contact()
    for second in range(int(since), int(until) + 1):
        contact.heard(second)
    return contact


def test_a_lease_goes_on_from_when_the_broker_was_asked_and_never_back() -> None:
    lease = Lease(100)
    lease.seconds = LEASE

    lease.heard(105)
    lease.heard(103)

    assert lease.remaining(106) == 9
    assert lease.remaining(115) == 0


def test_an_agent_is_dead_only_after_lease_grace_and_margin() -> None:
    contact = heard_each_second(100)

    for heard, dead in ((100 - DEAD_AFTER, False), (100 - DEAD_AFTER - 0.1, True)):
        assert is_dead(100, heard, contact.since(100), LEASE, GRACE) is dead


@pytest.mark.parametrize("silence", [HEARD_SECONDS + 1, 1000])
def test_after_a_break_of_its_own_a_front_waits_as_long_again(silence: float) -> None:
    contact = heard_each_second(100)
    back = 100 + int(silence)

    assert not is_dead(back, 0, contact.since(back), LEASE, GRACE)
    contact = heard_each_second(back + 30, contact, back)
    assert not is_dead(back + DEAD_AFTER, 0, contact.since(back + DEAD_AFTER), LEASE, GRACE)
    assert is_dead(back + DEAD_AFTER + 1, 0, contact.since(back + 30), LEASE, GRACE)


def test_a_front_that_has_not_heard_the_broker_calls_nobody_dead() -> None:
    assert not is_dead(1000, 0, Contact().since(1000), LEASE, GRACE)


def test_what_the_brokers_heard_last_of_an_agent_counts_from_when_it_was_new() -> None:
    def hello(serial: int) -> Hello:
        return Hello(protocol=PROTOCOL, serial=serial, slots=1, catalog="")

    state = AgentState(AgentId.new("one"), 0, 0)
    state.take(hello(5), 10)
    looks = [(13, 5, 10), (14, 6, 14), (15, 6, 14), (16, None, 16), (17, None, 16), (18, 7, 18)]
    for now, stored, alive in looks:
        state.note_stored(hello(stored) if stored else None, now)
        assert state.alive == alive, now
    assert not state.is_present(18)
    state.take(hello(9), 20)
    state.note_stored(None, 24)
    assert state.alive == 24
