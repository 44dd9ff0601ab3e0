"""One account's transaction log: contiguous integer ids, written in atomic batches.

A batch is what one request or one event of the market causes. All of it is in the log or none:
if anything fails while it is made, the state is folded again from the log as it was.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from mbats.local.oanda_sim.config import AccountSpec
from mbats.local.oanda_sim.fold import apply, fold
from mbats.local.oanda_sim.money import amount_text, plain_text
from mbats.local.oanda_sim.state import Document, State
from mbats.local.oanda_sim.times import parse_time, rfc3339


class Batch:
    """Transactions being added; they are in the state already, in the log when the batch ends."""

    def __init__(self, ledger: "Ledger", now_ns: int) -> None:
        self._ledger = ledger
        self.now_ns = now_ns
        self.time = rfc3339(now_ns)
        self.first_id = ledger.state.last_id + 1 if ledger.lines else ledger.first_id
        self.request_id = ledger.request_id(self.first_id)
        self.made: list[Document] = []

    def add(self, kind: str, **fields: object) -> Document:
        """Add a transaction of type ``kind``; fields that are None are left out."""
        transaction: Document = {
            "id": str(self.first_id + len(self.made)),
            "accountID": self._ledger.spec.id,
            "userID": self._ledger.user_id,
            "batchID": str(self.first_id),
            "requestID": self.request_id,
            "time": self.time,
            "type": kind,
        }
        transaction.update({key: value for key, value in fields.items() if value is not None})
        apply(self._ledger.state, transaction)
        self.made.append(transaction)
        return transaction

    @property
    def next_id(self) -> int:
        """Id that the next transaction will get."""
        return self.first_id + len(self.made)

    def related(self) -> Document:
        """Return what every answer about orders ends with."""
        ids = [transaction["id"] for transaction in self.made]
        return {"relatedTransactionIDs": ids, "lastTransactionID": ids[-1]}


Commit = Callable[["Ledger", list[str]], None]


class Ledger:
    """The log and the state folded from it.

    ``on_commit`` is called with the JSON lines of each batch, before anyone can see them; what it
    raises (a full disk) undoes the batch.
    """

    def __init__(self, spec: AccountSpec, on_commit: Commit) -> None:
        self.spec = spec
        self.first_id = spec.first_transaction_id
        self.user_id = int(spec.id.split("-")[2]) if spec.id.count("-") == 3 else 0
        self.lines: list[str] = []
        self.kinds: list[str] = []
        self.times: list[str] = []
        self.state = State()
        self._on_commit = on_commit

    @contextmanager
    def batch(self, now_ns: int) -> Iterator[Batch]:
        """Make a batch at ``now_ns``; it enters the log when the block ends without an error."""
        batch = Batch(self, now_ns)
        try:
            yield batch
            if batch.made:
                lines = [json.dumps(tx, separators=(",", ":")) for tx in batch.made]
                self._on_commit(self, lines)
        except BaseException:
            self.state = fold(self.documents())
            raise
        if batch.made:
            self._append(batch.made, lines)

    def restore_text(self, text: str) -> list[Document]:
        """Append a batch that was committed before a restart; return its transactions."""
        made: list[Document] = json.loads(text)
        for transaction in made:
            apply(self.state, transaction)
        self._append(made, [json.dumps(tx, separators=(",", ":")) for tx in made])
        return made

    def open_account(self, now_ns: int) -> None:
        """Write the first transactions: the account is created, configured and funded."""
        site, division, user, number = (self.spec.id.split("-") + ["0"] * 4)[:4]
        with self.batch(now_ns) as batch:
            batch.add(
                "CREATE",
                divisionID=int(division),
                siteID=int(site),
                accountUserID=int(user),
                accountNumber=int(number),
                homeCurrency=self.spec.currency,
            )
        with self.batch(now_ns) as batch:
            rate = plain_text(self.spec.margin_rate)
            batch.add("CLIENT_CONFIGURE", alias=self.spec.alias, marginRate=rate)
        with self.batch(now_ns) as batch:
            amount = amount_text(self.spec.balance)
            batch.add(
                "TRANSFER_FUNDS", amount=amount, fundingReason="CLIENT_FUNDING",
                accountBalance=amount,
            )  # fmt: skip

    @property
    def last_id(self) -> int:
        """Id of the newest transaction."""
        return self.first_id + len(self.lines) - 1

    @property
    def last_ns(self) -> int:
        """When the newest transaction was made, in nanoseconds."""
        return parse_time(self.times[-1]) if self.times else 0

    def between(self, first: int, last: int) -> list[str]:
        """Return the JSON lines of the transactions with first ≤ id ≤ last."""
        low = max(first - self.first_id, 0)
        return self.lines[low : max(last - self.first_id + 1, 0)]

    def documents(self, first: int = 0) -> Iterator[Document]:
        """Yield the transactions from id ``first`` on."""
        for line in self.lines[max(first - self.first_id, 0) :]:
            yield json.loads(line)

    def first_at(self, time: str) -> int:
        """Return the id of the first transaction at or after ``time`` (RFC 3339, nanoseconds)."""
        return self.first_id + bisect_left(self.times, time)

    def request_id(self, number: int) -> str:
        """Return the request id of the batch that starts with transaction ``number``."""
        digest = blake2b(f"{self.spec.id}/{number}".encode(), digest_size=7).digest()
        return str(10**16 + int.from_bytes(digest))

    def _append(self, made: list[Document], lines: list[str]) -> None:
        self.lines += lines
        self.kinds += [transaction["type"] for transaction in made]
        self.times += [transaction["time"] for transaction in made]
