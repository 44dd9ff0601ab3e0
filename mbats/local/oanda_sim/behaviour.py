"""What the broker does where documents are silent or were measured: one switch a behaviour.

Measured means seen in responses recorded on an OANDA practice account in September 2026.
Unmeasured means nobody showed us OANDA doing it; the default is the reading least kind to a
client, or the plainest one, and a client must be right under either value.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Behaviour:
    """Switches of the simulated broker.

    Measured, default as measured:

    * ``client_id_free_after_end``: a client order id may be used again once its order is filled or
      cancelled. (False keeps it taken for ever, which OANDA does not.)
    * ``client_id_finds_finished``: ``GET /orders/@id`` finds finished orders. OANDA: pending only.
    * ``close_absent_side_rejects``: closing ALL of a side that is not there is rejected.
    * ``flat_position_found``: a flat instrument that was traded answers 200 with units 0.
    * ``unknown_instrument_logged``: an order for an unknown instrument consumes a transaction id.
    * ``conversion_fee``: P&L is converted home at the middle less this fraction for gains, plus it
      for losses.
    * ``orders_consume_liquidity``: fills take units off the shown ladder until the next price.

    Unmeasured:

    * ``numeric_id_finds_finished``: ``GET /orders/51`` finds finished orders, and so do lists.
    * ``sinceid_page``: transactions one ``sinceid`` answer holds at most.
    * ``idrange_page``: span of an ``idrange`` request above which it answers 416.
    * ``retry_after_seconds``: a 429 carries a Retry-After header.
    * ``price_decimals``: trailing zeros in PRICE (5 writes USD_JPY as 149.12300); None writes the
      instrument's display precision.
    * ``omitted_side_closes``: in a position close that names one side, the side left out means ALL
      (its documented default) and not NONE. Clients should send NONE.
    * ``unfillable_reason``: why an order is cancelled that may only reduce where nothing is open,
      or only open on a netting account that holds the other side.
    * ``stops_fill_beyond_depth``: stop losses and margin closeouts take what the ladder lacks at
      its worst price. Otherwise they wait for depth.
    * ``candle_complete_delay_ms``: how late ``complete`` turns true (1 to 45 s were seen).
    * ``candle_complete_on_next_tick``: a candle also waits for the next price to be complete.
    * ``daily_break``: no prices from 16:59 to 17:05 New York.

    Documented: ``requests_per_second`` (120 by OANDA; 0 is no limit) and ``streams_allowed`` (20),
    beyond which requests get 429; ``financing``: DAILY or NO_FINANCING; ``open_trades_allowed``
    and ``pending_orders_allowed``.
    """

    client_id_free_after_end: bool = True
    client_id_finds_finished: bool = False
    close_absent_side_rejects: bool = True
    flat_position_found: bool = True
    unknown_instrument_logged: bool = False
    conversion_fee: Decimal = Decimal("0.01")
    orders_consume_liquidity: bool = True

    numeric_id_finds_finished: bool = True
    sinceid_page: int = 1000
    idrange_page: int = 1000
    retry_after_seconds: int | None = None
    price_decimals: int | None = None
    omitted_side_closes: bool = False
    unfillable_reason: str = "POSITION_CLOSEOUT_FAILED"
    stops_fill_beyond_depth: bool = True
    candle_complete_delay_ms: int = 0
    candle_complete_on_next_tick: bool = False
    daily_break: bool = True

    requests_per_second: int = 0
    streams_allowed: int = 20
    financing: str = "DAILY"
    open_trades_allowed: int = 1000
    pending_orders_allowed: int = 1000
