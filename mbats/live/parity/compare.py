"""A session against its replay, trade by trade: what differs, by how much, and why."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from mbats.live.parity.differences import (
    NOTHING,
    Difference,
    Parts,
    Quotes,
    Reason,
    Report,
    off_quote,
    split,
    total,
)
from mbats.live.parity.edge import SETTLING, SessionEdge
from mbats.live.parity.elsewhere import Elsewhere
from mbats.live.parity.intrabar import WithinBars
from mbats.live.parity.own_quote import explained
from mbats.live.parity.replay import (
    Expected,
    Row,
    Session,
    first_decision,
    joined,
    replay,
    tick_bars,
    until,
)
from mbats.live.parity.told import Told
from mbats.live.trader import ENTRY_LIFETIME
from mbats.market.bars import Bars
from mbats.market.newyork import instant, to_datetime
from mbats.trading.order import Role, parent_key


def compare(session: Session, tolerance_pips: Decimal = Decimal(1)) -> Report:
    """Replay ``session`` and return how it differs from what happened.

    A live fill further than ``tolerance_pips`` from what was quoted, beyond the slippage that the
    replay assumes, counts as unexplained. Raises :class:`~mbats.errors.DataError` for a session
    that cannot be replayed.
    """
    expected = {e.key: e for e in replay(session)}
    on_seen = None
    if session.seen:
        asked = {row["known_at"] for row in session.signals if row["decided_at"] is not None}
        seen = replay(session, _whole(session), asked or None)
        on_seen = {e.key: e.side for e in seen if e.price is not None}
    return Comparison(session, expected, on_seen, tolerance_pips).report()


def _whole(session: Session) -> dict[str, Bars]:
    """Return the bars the session saw; what came before them, or was not kept, is the ticks'."""
    bars = tick_bars(session)
    return {**bars, **{name: joined(bars.get(name), b, name) for name, b in session.seen.items()}}


class Comparison:
    """One run of :func:`compare`: live fills and replayed orders by key."""

    def __init__(
        self,
        session: Session,
        expected: Mapping[str, Expected],
        on_seen: Mapping[str, str] | None,
        tolerance_pips: Decimal,
    ) -> None:
        self._session = session
        self._expected = expected
        self._on_seen = on_seen
        self._tolerance = tolerance_pips
        self._quotes = {name: Quotes(ticks) for name, ticks in session.ticks.items()}
        self._live: dict[str, list[Row]] = {}
        for fill in sorted(_once(session.fills), key=lambda f: (f["time"], f["event_id"])):
            if fill["instrument"] in session.instruments:
                self._live.setdefault(fill["order_key"], []).append(fill)
        self._edge = SessionEdge(session, self._quotes)
        self._elsewhere = Elsewhere(session)
        self._within = WithinBars(session.granularity, self._live, expected)
        self._missed = missed_bars(session)
        self._asked = {(row["instrument"], row["known_at"]): row for row in session.signals}
        self._asked_about = {row["instrument"] for row in session.signals}
        self._told = Told(session, self._asked_at, bars_kept=on_seen is not None)
        self._live_position: dict[str, Decimal] = {}
        self._replay_position: dict[str, Decimal] = {}
        self._root: dict[str, str] = {}  # why the positions differ, by instrument

    def report(self) -> Report:
        """Return every order of either side, in order of time."""
        self._carry()
        replayed = [key for key, e in self._expected.items() if e.price is not None]
        keys = dict.fromkeys([*self._live, *replayed])
        found = [self._difference(key) for key in sorted(keys, key=self._moment)]
        return Report(str(self._session.run["run_id"]), found, self._missed)

    def _carry(self) -> None:
        firsts: dict[str, Row] = {}
        for fill in sorted((f[0] for f in self._live.values()), key=lambda f: f["time"]):
            firsts.setdefault(fill["instrument"], fill)
        for name, fill in firsts.items():
            held = fill["position_units"] - _signed(fill)
            self._live_position[name] = held
            if held:
                self._root[name] = f"{Reason.CARRIED}: {held} units held before the session"

    def _moment(self, key: str) -> tuple[datetime, str]:
        times = [fill["time"] for fill in self._live.get(key, ())[:1]]
        expected = self._expected.get(key)
        if expected is not None and expected.filled_at is not None:
            at = expected.filled_at
            if not times and parent_key(key) != key:
                at = self._session.granularity.end_of(at) - _INSTANT  # somewhere in its bar
            times.append(at)
        return min(times), key

    def _difference(self, key: str) -> Difference:
        fills, expected = self._live.get(key, []), self._expected.get(key)
        if expected is not None and expected.price is None:
            expected = None
        name = fills[0]["instrument"] if fills else self._expected[key].instrument
        root = self._root.get(name)
        if expected is None:
            found = self._only_live(key, fills, root)
        elif not fills:
            found = self._only_replay(expected, root)
        elif fills[0]["side"] != expected.side:
            found = self._opposite(expected, fills, root)
        else:
            found = self._both(expected, fills, root)
        self._move(found)
        return found

    def _move(self, found: Difference) -> None:
        """Take both positions on; remember why, where they part, until they meet again."""
        sign = 1 if found.side == "buy" else -1
        name, zero = found.instrument, NOTHING
        live = self._live_position.get(name, zero) + sign * (found.live_units or zero)
        other = self._replay_position.get(name, zero) + sign * (found.replay_units or zero)
        self._live_position[name], self._replay_position[name] = live, other
        if live == other and not (live and self._within.has_legs(name)):
            self._root.pop(name, None)  # with legs the trades must be the same, too: none is
        else:
            self._root.setdefault(name, f"{found.reason}: {found.key}")

    def _only_live(self, key: str, fills: Sequence[Row], root: str | None) -> Difference:
        first = fills[0]
        known = self._expected.get(key)
        reason, detail = Reason.UNEXPLAINED, "the replay does not send this order"
        if known is not None:
            detail = "the replay sends this order, and it does not fill"
        said = self._because(key, first["instrument"], self._decided(key, first), root)
        if said is not None:
            reason, detail = said
        elif known is None and (about := self._elsewhere.sent_before(key, fills)):
            reason, detail = self._as_quoted(fills) or (Reason.OTHER_RUN, about)
        elif self._on_seen is not None and key in self._on_seen:
            reason, detail = Reason.MISSED_TICK, self._bars_before(first)
        elif known is not None and (about := self._edge.left_no_price(known, fills)):
            reason, detail = self._as_quoted(fills) or (Reason.SESSION_ENDED, about)
        return Difference(
            key, first["time"], first["instrument"], first["side"], first["role"] or "",
            reason, detail,
            live_units=total(f["units"] for f in fills), live_price=_average(fills),
        )  # fmt: skip

    def _only_replay(self, expected: Expected, root: str | None) -> Difference:
        told = self._told.why(expected) or self._not_asked(expected)
        because = self._because(expected.key, expected.instrument, expected.decided_at, root)
        reason, detail = Reason.UNEXPLAINED, "no live order and nobody said why"
        if about := self._elsewhere.told_to(expected.key):
            reason, detail = Reason.OTHER_RUN, about
        elif told is not None:
            reason, detail = told
        elif about := self._elsewhere.said_of(expected.key):
            reason, detail = Reason.OTHER_RUN, about
        elif because is not None:
            reason, detail = because
        elif self._on_seen is not None and expected.key not in self._on_seen:
            seen = {"instrument": expected.instrument, "time": expected.decided_at}
            reason, detail = Reason.MISSED_TICK, self._bars_before(seen)
        return Difference(
            expected.key, expected.filled_at or expected.decided_at, expected.instrument,
            expected.side, expected.role, reason, detail,
            replay_units=expected.units, replay_price=expected.price,
        )  # fmt: skip

    def _because(
        self, key: str, instrument: str, decided_at: datetime, root: str | None
    ) -> tuple[Reason, str] | None:
        """Return why only one side filled an order, as far as earlier fills tell."""
        if root is not None:
            return _after(root)
        about = self._within.leg(key)
        if about is not None:
            return Reason.WITHIN_BAR, about
        other = self._within.apart(instrument, decided_at)
        return None if other is None else _after(f"{Reason.WITHIN_BAR}: {other}")

    def _decided(self, key: str, fill: Row) -> datetime:
        """Return when a live order was sent: its first event, or its fill where none is left."""
        times = [o["time"] for o in self._session.orders if o["order_key"] == key]
        sent: datetime = min([*times, fill["time"]])
        return sent

    def _opposite(self, expected: Expected, fills: Sequence[Row], root: str | None) -> Difference:
        side, reason, detail = fills[0]["side"], Reason.UNEXPLAINED, ""
        if root is not None:
            reason, detail = _after(root)
        elif self._on_seen is not None and self._on_seen.get(expected.key) == side:
            reason, detail = Reason.MISSED_TICK, self._bars_before(fills[0])
        detail = f"a {side}, in the replay a {expected.side}" + (detail and f": {detail}")
        return Difference(
            expected.key, fills[0]["time"], expected.instrument, side, expected.role,
            reason, detail, total(f["units"] for f in fills), -expected.units,
            _average(fills), expected.price,
        )  # fmt: skip

    def _both(self, expected: Expected, fills: Sequence[Row], root: str | None) -> Difference:
        instrument = self._session.instruments[expected.instrument]
        parts, worst, worst_fill = Parts(), NOTHING, fills[0]
        quotes = self._quotes.get(expected.instrument)
        for fill in fills:
            quote = None if quotes is None else quotes.at(fill["time"])
            part, slippage = split(fill, expected, quote, self._rate(fill))
            parts = parts + part
            if abs(pips := slippage / instrument.pip) > abs(worst):
                worst, worst_fill = pips, fill
        units = total(fill["units"] for fill in fills)
        reason, detail = _largest(parts), self._within.another_bar(expected.key)
        if detail:
            reason = Reason.WITHIN_BAR
        elif reason is Reason.LATENCY and quotes is not None:
            first = quotes.at(fills[0]["time"])
            detail = "" if first is None else self._latency(expected, fills[0], first)
        if units != expected.units:
            reason, detail = self._units(expected, units, root)
        if parts.unquoted:
            reason, detail = Reason.UNEXPLAINED, "no quote was recorded by the time of the fill"
        elif abs(worst) > self._tolerance:
            reason, detail = self._off_quote(worst_fill, worst)
        return Difference(
            expected.key, fills[0]["time"], expected.instrument, expected.side, expected.role,
            reason, detail, units, expected.units, _average(fills), expected.price, parts, worst,
        )  # fmt: skip

    def _off_quote(self, fill: Row, pips: Decimal) -> tuple[Reason, str]:
        name = fill["instrument"]
        tolerance = self._tolerance * self._session.instruments[name].pip
        said = explained(fill, self._quotes[name], self._rate(fill), tolerance)
        about = f"filled {pips:.2f} pips from the recorded quote"
        return (Reason.UNEXPLAINED, about) if said is None else (said[0], f"{about}: {said[1]}")

    def _as_quoted(self, fills: Sequence[Row]) -> tuple[Reason, str] | None:
        """Return what is said of fills that no replayed price is compared with, if off a quote."""
        pip = self._session.instruments[fills[0]["instrument"]].pip
        for fill in fills:
            quote = self._quotes[fill["instrument"]].at(fill["time"])
            pips = NOTHING if quote is None else off_quote(fill, quote) / pip
            if abs(pips) > self._tolerance:
                return self._off_quote(fill, pips)
        return None

    def _units(self, expected: Expected, units: Decimal, root: str | None) -> tuple[Reason, str]:
        about_units = f"{units} units, not {expected.units}"
        asked = [
            o["units"]
            for o in self._session.orders
            if o["order_key"] == expected.key and o["event"] in ("submitted", "accepted")
        ]
        if about := self._elsewhere.told_to(expected.key):
            return Reason.OTHER_RUN, f"{about_units}; the rest was {about}"
        if asked and units < asked[0]:
            return Reason.PARTIAL, f"{units} units of {asked[0]} were filled"
        if root is not None:
            return _after(root)
        if not self._session.sizer.startswith("units:"):
            return (
                Reason.SIZING,
                f"{about_units}: the sizer {self._session.sizer} goes by account value",
            )
        return Reason.UNEXPLAINED, about_units

    def _asked_at(self, expected: Expected) -> datetime:
        row = self._asked.get((expected.instrument, expected.decided_at))
        at: datetime = (row and row["decided_at"]) or expected.decided_at
        return at

    def _not_asked(self, expected: Expected) -> tuple[Reason, str] | None:
        """Return why the strategy was never asked about the bar of a decision; None if it was."""
        if expected.role not in _DECIDED:
            return None
        row = self._asked.get((expected.instrument, expected.decided_at))
        if row is None and (about := self._edge.came_first(expected)):
            return Reason.SESSION_ENDED, about
        if expected.instrument not in self._asked_about:
            return None
        bar = f"the bar that ended {expected.decided_at:%Y-%m-%d %H:%M:%S}"
        if row is None:
            return Reason.MISSED_TICK, f"live there was no {bar.removeprefix('the ')}"
        if row["decided_at"] is None:
            return Reason.LATE_BAR, f"{bar} came too late to decide on"
        return None

    def _latency(self, expected: Expected, fill: Row, quote: tuple[Decimal, Decimal]) -> str:
        """Return how long a decision and its fill took, and how far the price moved meanwhile."""
        row = self._asked.get((expected.instrument, expected.decided_at))
        took = fill["time"] - expected.decided_at
        if row is None or row["bid"] is None or took > ENTRY_LIFETIME or expected.price is None:
            return ""
        asked = row["decided_at"] - expected.decided_at
        sign, pip = (
            (1 if fill["side"] == "buy" else -1),
            self._session.instruments[expected.instrument].pip,
        )
        start = expected.price - sign * (expected.half_spread + expected.slippage)
        middle, end = (row["bid"] + row["ask"]) / 2, sum(quote, NOTHING) / 2
        return (
            f"decided {asked.total_seconds():.3f} s after the bar, "
            f"filled {(took - asked).total_seconds():.3f} s later; the price moved "
            f"{sign * (middle - start) / pip:+.2f} pips before and "
            f"{sign * (end - middle) / pip:+.2f} after the decision"
        )

    def _bars_before(self, row: Row) -> str:
        ends = [end for name, end in self._missed if name == row["instrument"]]
        before = [end for end in ends if end <= row["time"]]
        if not before:
            return "the bars it decided on are not those of the recorded ticks"
        return f"the bar that ended {before[-1]:%Y-%m-%d %H:%M:%S} was another one live"

    def _rate(self, fill: Row) -> Decimal:
        if fill["conversion_rate"] is not None:
            return Decimal(fill["conversion_rate"])
        quote = self._session.instruments[fill["instrument"]].quote
        moment = np.array([instant(fill["time"])])
        return Decimal(repr(float(self._session.conversion.rate(quote).at(moment)[0])))


_INSTANT = timedelta(microseconds=1)
_DECIDED = (Role.ENTRY, Role.EXIT)  # legs go with their entry
_PRICE_REASONS = (Reason.SPREAD, Reason.SLIPPAGE, Reason.LATENCY)


def missed_bars(session: Session) -> list[tuple[str, datetime]]:
    """Return instrument and end of the session's bars that its recorded ticks make otherwise."""
    found: list[tuple[datetime, str]] = []
    began = first_decision(session.run, session.signals)
    ended = session.run["ended_at"] - SETTLING
    for name, bars in tick_bars(session).items():
        seen = session.seen.get(name)
        if seen is None:
            continue
        ours, theirs = _by_end(until(bars, ended)), _by_end(until(seen, ended))
        found += [
            (end, name)
            for end in ours.keys() | theirs.keys()
            if end > began and ours.get(end) != theirs.get(end)
        ]
    return [(name, end) for end, name in sorted(found)]


def _by_end(bars: Bars) -> dict[datetime, tuple[float, ...]]:
    prices = zip(*(np.round(part, 9).tolist() for part in bars.mid), strict=True)
    return dict(zip(map(to_datetime, bars.end), prices, strict=True))


def _once(fills: Iterable[Row]) -> list[Row]:
    """Return each event once: deliveries may repeat, the event id is the same."""
    return list({fill["event_id"]: fill for fill in fills}.values())


def _signed(fill: Row) -> Decimal:
    return Decimal(fill["units"] if fill["side"] == "buy" else -fill["units"])


def _average(fills: Sequence[Row]) -> Decimal:
    if len(fills) == 1:
        return Decimal(fills[0]["price"])
    units = total(fill["units"] for fill in fills)
    return total(fill["units"] * fill["price"] for fill in fills) / units


def _after(root: str) -> tuple[Reason, str]:
    carried = root.startswith(Reason.CARRIED)
    return (Reason.CARRIED if carried else Reason.FOLLOWS), f"positions differed already: {root}"


def _largest(parts: Parts) -> Reason:
    sizes = [abs(parts.spread), abs(parts.slippage), abs(parts.latency)]
    if not any(sizes):
        return Reason.SAME
    return _PRICE_REASONS[sizes.index(max(sizes))]
