"""The garbage collector beside a trading loop."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def start_up_set_apart() -> Iterator[None]:
    """Until the block ends the collector looks at nothing that was made before it.

    Modules and clients are some 200,000 objects that stay for good: to look at them all stops
    every thread for a tenth of a second, and the moment is any, also between a tick and its order.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
