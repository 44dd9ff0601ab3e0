"""One streaming pull, read in the thread that wants its messages.

Google's subscriber holds four threads and a dispatcher for what may take minutes a message: it
extends leases, and an ordered message waits until the one before is acknowledged. A tick is
done with in microseconds, and those threads contend for the interpreter with the one that trades
(benchmarks/ticks.py). So this is the RPC beneath it, google.pubsub_v1's ``streaming_pull``:
Pub/Sub sends the messages of an ordering key in their order, and here they are taken in it.
"""

from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from google.cloud.pubsub_v1 import SubscriberClient
from google.pubsub_v1.types import StreamingPullRequest, StreamingPullResponse

ACK_SECONDS = 10  # the least that Pub/Sub takes: what a dead stream had comes again as soon
FLOW_MESSAGES = 5_000
ACKS_A_REQUEST = 1_000  # of some 200 bytes; a request may have 512 KiB
HEARTBEAT_SECONDS = 30.0  # Google's own clients'; Pub/Sub ends a stream on which nothing is asked


class PullStream:
    """A stream of messages that is open from its making until :meth:`close`, or until it breaks."""

    def __init__(
        self,
        client: SubscriberClient,
        subscription: str,
        client_id: str,
        heartbeat_s: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Open it. Streams of one ``client_id`` follow each other: the next has the last's place.

        Raises google.api_core's errors, here or where it is read.
        """
        self._acks: SimpleQueue[Sequence[str] | None] = SimpleQueue()
        first = StreamingPullRequest(
            subscription=subscription,
            stream_ack_deadline_seconds=ACK_SECONDS,
            max_outstanding_messages=FLOW_MESSAGES,
            client_id=client_id,
        )
        requests = self._requests(first, heartbeat_s)
        self._call = client.streaming_pull(requests=requests, retry=None, timeout=None)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        """Yield what comes together: protobuf's own ``ReceivedMessage``s, for they cost least."""
        for response in self._call:
            yield StreamingPullResponse.pb(response).received_messages

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Tell Pub/Sub that it need not send these again; returns at once."""
        self._acks.put(ids)

    def close(self) -> None:
        """End it, from any thread. Reading it ends or raises; what was acknowledged may be lost."""
        self._acks.put(None)
        self._call.cancel()

    def _requests(
        self, first: StreamingPullRequest, heartbeat_s: float
    ) -> Iterator[StreamingPullRequest]:
        """Yield what gRPC is to send; it asks in a thread of its own."""
        yield first
        while True:
            try:
                ids = self._acks.get(timeout=heartbeat_s)
            except Empty:
                yield StreamingPullRequest()
                continue
            if ids is None:
                return
            for start in range(0, len(ids), ACKS_A_REQUEST):
                yield StreamingPullRequest(ack_ids=ids[start : start + ACKS_A_REQUEST])
