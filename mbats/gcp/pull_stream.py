"""One streaming pull, read in the thread that wants its messages.

Google's subscriber holds four threads and a dispatcher for work that may take minutes a message: it
extends leases, and an ordered message waits until the one before is acknowledged. A tick is
done with in microseconds, and those threads contend for the interpreter with the one that trades
(benchmarks/ticks.py). So this is the RPC beneath it, google.pubsub_v1's ``streaming_pull``:
Pub/Sub sends the messages of an ordering key in their order, and here they are taken in it. As in
all of Google's subscribers, acknowledgements go beside the stream, not over it: a stream that is
broken and not yet known to be would swallow them.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from google.api_core import exceptions
from google.cloud.pubsub_v1 import SubscriberClient
from google.pubsub_v1.types import StreamingPullRequest, StreamingPullResponse

ACK_SECONDS = 10  # the least that Pub/Sub takes: what a dead stream had comes again as soon
ACK_EVERY_S = 0.5
ACKS_A_REQUEST = 1_000  # of some 200 bytes; a request may have 512 KiB
FLOW_MESSAGES = 5_000
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
        self._client, self._subscription = client, subscription
        self._closed = threading.Event()
        self._taken: deque[str] = deque()
        first = StreamingPullRequest(
            subscription=subscription,
            stream_ack_deadline_seconds=ACK_SECONDS,
            max_outstanding_messages=FLOW_MESSAGES,
            client_id=client_id,
        )
        requests = self._requests(first, heartbeat_s)
        self._call = client.streaming_pull(requests=requests, retry=None, timeout=None)
        self._acknowledging = threading.Thread(target=self._acknowledge, daemon=True)
        self._acknowledging.start()

    def __iter__(self) -> Iterator[Sequence[Any]]:
        """Yield what comes together: protobuf's own ``ReceivedMessage``s, for they cost least."""
        for response in self._call:
            yield StreamingPullResponse.pb(response).received_messages

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Have Pub/Sub told, within half a second, that it need not send these again."""
        self._taken.extend(ids)

    def close(self) -> None:
        """End it, from any thread: who reads it comes to its end, or to an error."""
        self._closed.set()
        self._call.cancel()

    def join(self) -> None:
        """Wait until Pub/Sub was told what :meth:`acknowledge` had before :meth:`close`."""
        self._acknowledging.join(ACK_SECONDS)

    def _requests(
        self, first: StreamingPullRequest, heartbeat_s: float
    ) -> Iterator[StreamingPullRequest]:
        """Yield what gRPC is to send; it asks in a thread of its own."""
        yield first
        while not self._closed.wait(heartbeat_s):
            yield StreamingPullRequest()

    def _acknowledge(self) -> None:
        while not self._closed.wait(ACK_EVERY_S):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        """Acknowledge what was taken; what Pub/Sub does not hear of, it sends again."""
        while self._taken:
            count = min(len(self._taken), ACKS_A_REQUEST)
            ids = [self._taken.popleft() for _ in range(count)]
            try:
                self._client.acknowledge(
                    subscription=self._subscription,
                    ack_ids=ids,
                    retry=None,
                    timeout=ACK_SECONDS / 2,
                )
            except exceptions.GoogleAPICallError:
                return
