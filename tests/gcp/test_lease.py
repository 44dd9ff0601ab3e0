import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mbats.errors import DataError, NotReadyError, RefusedError
from mbats.gcp.lease import MARGIN, RENEWALS, ObjectLease
from mbats.gcp.objects import Objects

pytestmark = pytest.mark.emulators
_numbers = itertools.count()
TTL = 20.0


class Time:
    """A clock of one machine; ``offset`` is what its time of day is wrong by."""

    def __init__(self, now=1000.0, offset=0.0):
        self.now, self.offset = now, offset

    def clock(self):
        return self.now

    def wall(self):
        return self.now + self.offset

    def sleep(self, seconds):
        self.now += seconds


class MemoryObjects:
    """What the lease uses of Objects, in memory; ``lose`` drops the answer to the next write."""

    def __init__(self):
        self.stored, self.generations, self.lose = {}, itertools.count(1), 0

    def read(self, bucket, name):
        return self.stored.get(name)

    def write(self, bucket, name, content, *, content_type, if_generation):
        if self.stored.get(name, (b"", 0))[1] != if_generation:
            raise RefusedError("another was first")
        generation = next(self.generations)
        self.stored[name] = (content, generation)
        if self.lose:
            self.lose -= 1
            raise NotReadyError("the answer was lost")
        return generation


@pytest.fixture(scope="module")
def objects(settings):
    objects = Objects.open(settings)
    yield objects
    objects.close()


@pytest.fixture
def name():
    return f"lease-{next(_numbers)}"


def lease(objects, name, time, **options):
    return ObjectLease(
        objects,
        name,
        ttl_s=TTL,
        keep=False,
        clock=time.clock,
        wall=time.wall,
        sleep=time.sleep,
        **options,
    )


def test_the_first_comer_holds_it_and_the_second_is_refused(objects, name):
    time = Time()
    first, second = lease(objects, name, time, holder="one"), lease(objects, name, time)
    assert first.acquire() == 1
    first.check()
    with pytest.raises(RefusedError, match="held by one"):
        second.acquire()
    with pytest.raises(RefusedError, match="never acquired"):
        second.check()


def test_a_released_lease_is_taken_at_once_with_a_greater_number(objects, name):
    time = Time()
    first, second = lease(objects, name, time), lease(objects, name, time)
    first.acquire()
    first.release()
    with pytest.raises(RefusedError, match="released"):
        first.check()
    assert second.acquire() == 2
    second.check()
    first.release()
    second.check()
    assert second.renew()


def test_a_silent_holder_is_replaced_after_its_time_to_live_and_knows(objects, name):
    mine, yours = Time(), Time(now=5e6, offset=-1e9)
    first, second = lease(objects, name, mine), lease(objects, name, yours)
    first.acquire()
    began = yours.now
    assert second.acquire(wait_s=60) == 2
    assert TTL <= yours.now - began <= TTL + 1
    mine.now += yours.now - began
    with pytest.raises(RefusedError, match="last renewal"):
        first.check()
    assert not first.renew()
    with pytest.raises(RefusedError, match="was taken"):
        first.regain()
    with pytest.raises(RefusedError, match="another holder"):
        first.check()


def test_a_renewed_lease_is_not_taken_however_long_another_waits(objects, name):
    time = Time()
    first = lease(objects, name, time)
    first.acquire()

    def sleep(seconds):
        time.now += seconds
        assert first.renew()

    second = ObjectLease(objects, name, ttl_s=TTL, clock=time.clock, wall=time.wall, sleep=sleep)
    with pytest.raises(RefusedError, match="held by"):
        second.acquire(wait_s=3 * TTL)
    first.check()


@pytest.mark.parametrize("jump", [-3600, -TTL, TTL, 3600])
def test_a_jump_of_the_time_of_day_fails_the_check_until_it_is_regained(objects, name, jump):
    time = Time()
    held = lease(objects, name, time)
    held.acquire()
    time.offset += jump
    assert not held.renew(), "a clock that stops in a sleep shows the sleep in the time of day only"
    with pytest.raises(RefusedError, match="jumped"):
        held.check()
    held.regain()
    held.check()


def test_a_pause_fails_the_check_and_no_renewal_hides_it(objects, name):
    time = Time()
    held = lease(objects, name, time)
    held.acquire()
    time.now += TTL * (1 - MARGIN) - 0.1
    held.check()
    time.now += 0.1
    assert not held.renew(), "its thread may wake before the one that sends orders"
    with pytest.raises(RefusedError, match="last renewal"):
        held.check()
    held.regain()
    held.check()
    assert held.fencing == 2


def test_a_renewal_whose_answer_was_lost_neither_loses_nor_prolongs_the_lease(name):
    objects, time = MemoryObjects(), Time()
    held = lease(objects, name, time)
    held.acquire()
    time.now += 10
    objects.lose = 1
    with pytest.raises(NotReadyError):
        held.renew()
    assert not held.renew()
    time.now += TTL * (1 - MARGIN) - 10
    with pytest.raises(RefusedError, match="last renewal"):
        held.check()
    held.regain()
    held.check()


def test_an_acquisition_or_release_whose_answer_was_lost_is_settled_by_reading(name):
    objects, time = MemoryObjects(), Time()
    first, second = lease(objects, name, time), lease(objects, name, time)
    first.acquire()
    objects.lose = 1
    with pytest.raises(NotReadyError):
        first.release()
    assert second.acquire() == 2


def test_a_damaged_record_is_refused(name):
    objects, time = MemoryObjects(), Time()
    objects.stored[f"leases/{name}.json"] = (b'{"fencing":', 7)
    with pytest.raises(DataError, match="damaged"):
        lease(objects, name, time).acquire()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["acquire", "wait", "renew", "release", "pass", "jump", "lose"]),
        st.floats(0, TTL * 1.5),
    ),
    max_size=60,
)


@given(STEPS)
@hypothesis_settings(max_examples=300)
def test_never_two_holders_whatever_happens(steps):
    """Three machines with one true time each sees; their times of day jump as they like."""
    objects, true = MemoryObjects(), Time()
    machines = [Time() for _ in range(3)]
    leases = []
    for machine in machines:
        wall = lambda m=machine: true.now + m.offset  # noqa: E731
        leases.append(
            ObjectLease(
                objects, "l", ttl_s=TTL, keep=False, clock=true.clock, wall=wall, sleep=true.sleep
            )
        )
    numbers = [0]
    for who, what, amount in steps:
        one = leases[who]
        try:
            if what in ("acquire", "wait"):
                number = one.acquire(amount if what == "wait" else 0)
                assert number > numbers[-1]
                numbers.append(number)
            elif what == "renew":
                one.renew()
            elif what == "release":
                one.release()
            elif what == "pass":
                true.now += amount
            elif what == "jump":
                machines[who].offset += amount - TTL
            else:
                objects.lose = 1
        except (RefusedError, NotReadyError):
            pass
        assert sum(_holds(each) for each in leases) <= 1


def _holds(each):
    try:
        each.check()
    except RefusedError:
        return False
    return True


@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rivals=st.integers(2, 8))
def test_one_winner_of_a_race_on_the_emulator(objects, rivals):
    name, time = f"race-{next(_numbers)}", Time()
    start, numbers = threading.Barrier(rivals), []

    def run():
        start.wait(30)
        try:
            numbers.append(lease(objects, name, time).acquire())
        except RefusedError:
            numbers.append(None)

    for _ in range(3):  # the first race is for a lease that never was, the others for a free one
        threads = [threading.Thread(target=run) for _ in range(rivals)]
        numbers.clear()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len([n for n in numbers if n]) == 1
        content, generation = objects.read("state", f"leases/{name}.json")
        freed = json.dumps(json.loads(content) | {"released": True}).encode()
        objects.write("state", f"leases/{name}.json", freed, if_generation=generation)
    assert json.loads(content)["fencing"] == 3


HOLDER = """
import sys, time
from mbats.config import Settings
from mbats.errors import RefusedError
from mbats.gcp.lease import ObjectLease
from mbats.gcp.objects import Objects

settings = Settings.model_validate_json(sys.argv[1])
lease = ObjectLease(Objects.open(settings), sys.argv[2], ttl_s=1.0)
lease.acquire()
for line in sys.stdin:
    try:
        try:
            lease.check()
        except RefusedError:
            if line.strip() == "look":
                raise
            lease.regain()  # a busy machine let it run out
        print("held", lease.fencing, flush=True)
    except RefusedError as error:
        print("refused", error.cause, flush=True)
"""


def test_a_process_that_was_frozen_knows_that_it_lost_the_lease(settings, objects, name):
    document = settings.model_dump_json(exclude={"oanda_token"})
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, document, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )

    def ask(what):
        child.stdin.write(f"{what}\n")
        child.stdin.flush()
        return child.stdout.readline().split()

    try:
        held, number = ask("hold")
        assert held == "held"
        os.kill(child.pid, signal.SIGSTOP)
        taker = ObjectLease(objects, name, ttl_s=3600)
        assert taker.acquire(wait_s=30) > int(number)
        os.kill(child.pid, signal.SIGCONT)
        assert ask("look")[0] == "refused"
        assert ask("hold")[0] == "refused"
        taker.check()
        taker.release()
    finally:
        child.kill()
        child.wait(30)
        child.stdin.close()
        child.stdout.close()


def test_a_kept_lease_outlives_its_time_to_live(objects, name):
    """However slow the machine is: time passes by one renewal's share with every write."""
    renewed, written, ttl = threading.Semaphore(0), [], 0.8

    def passed():
        return len(written) * ttl / RENEWALS

    class Counting:
        read = objects.read

        def write(self, *arguments, **options):
            generation = objects.write(*arguments, **options)
            written.append(generation)
            renewed.release()
            return generation

    kept = ObjectLease(Counting(), name, ttl_s=ttl, clock=passed, wall=passed)
    with kept:
        for _ in range(9):  # the acquisition and eight renewals: two times to live
            assert renewed.acquire(timeout=60)
        kept.check()
    with pytest.raises(RefusedError):
        kept.check()
