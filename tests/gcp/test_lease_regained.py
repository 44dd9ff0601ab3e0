"""A lease that ran out while its holder slept: held again where nobody came."""

import pytest

from mbats.errors import NotReadyError
from mbats.gcp.lease import ObjectLease
from mbats.live.orders.ports import NotHeldError
from tests.gcp.test_lease import TTL, MemoryObjects, Time, lease, name, objects

__all__ = ["name", "objects"]  # fixtures
pytestmark = pytest.mark.emulators


def test_a_holder_that_slept_goes_on_under_a_new_number_where_nobody_came(objects, name):
    time = Time()
    held = lease(objects, name, time)
    held.acquire()
    time.now += 100 * TTL
    with pytest.raises(NotHeldError, match="last renewal"):
        held.check()
    held.regain()
    held.check()
    assert held.fencing == 2
    assert held.renew()
    third = lease(objects, name, Time())
    assert third.acquire(wait_s=2 * TTL) == 3
    with pytest.raises(NotHeldError):
        held.regain()


@pytest.mark.parametrize("released", [False, True])
def test_a_holder_that_slept_while_another_came_never_holds_it_again(objects, name, released):
    time = Time()
    held, other = lease(objects, name, time), lease(objects, name, time, holder="other")
    held.acquire()
    assert other.acquire(wait_s=2 * TTL) == 2
    if released:
        other.release()
    with pytest.raises(NotHeldError, match="was taken") as taken:
        held.regain()
    assert "other, fencing 2" in taken.value.tried[0]
    with pytest.raises(NotHeldError, match="another holder"):
        held.check()
    assert not held.renew()


def test_an_answer_to_the_regaining_that_was_lost_is_found_out(name):
    time, objects = Time(), MemoryObjects()
    held = lease(objects, name, time)
    held.acquire()
    time.now += 3 * TTL
    objects.lose = 1
    with pytest.raises(NotReadyError):
        held.regain()
    with pytest.raises(NotHeldError):
        held.check()
    held.regain()
    held.check()
    assert held.fencing == 3


def test_a_regained_lease_is_renewed_by_one_thread(objects, name):
    held = ObjectLease(objects, name, ttl_s=TTL)
    held.acquire()
    before = held._thread
    held.regain()
    assert held._thread is before
    assert held.fencing == 2
    held.check()
    held.release()
