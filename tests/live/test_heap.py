import gc
import weakref

from mbats.live.heap import start_up_set_apart


class Node:
    def __init__(self):
        self.itself = self


def test_what_start_up_made_is_not_looked_at_and_what_trading_leaves_is_still_freed():
    with start_up_set_apart():
        # A handful is new: the frames of this test, and pytest's.
        assert gc.get_freeze_count() > 10_000 > len(gc.get_objects())
        left = weakref.ref(Node())
        assert left() is not None
        gc.collect()
        assert left() is None
    assert gc.get_freeze_count() == 0
