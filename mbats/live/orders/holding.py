"""To hold a lease, or to hold it again: what may be done after a sleep, before anything else is."""

import logging

from mbats.errors import NotReadyError
from mbats.live.orders.ports import Journal, Lease, NotHeldError

log = logging.getLogger(__name__)

RECORD = "lease"


def hold(lease: Lease, journal: Journal) -> bool:
    """Return with the lease surely held; tell whether it had to be regained.

    Between its last renewal and the regaining nobody held it, so nobody else wrote to the journal
    or to the broker. Still nothing known from before may be acted on: reconcile first. That the
    journal cannot be told is no reason not to.

    Raises what :meth:`~mbats.live.orders.ports.Lease.regain` raises.
    """
    try:
        lease.check()
    except NotHeldError as doubt:
        lease.regain()
        log.warning("the lease is held again, fencing %d: %s", lease.fencing, doubt.cause)
        try:
            journal.append({"record": RECORD, "fencing": lease.fencing, "detail": doubt.cause})
        except (OSError, NotReadyError) as error:
            log.warning("the journal is not told that the lease was regained: %s", error)
        return True
    return False
