"""The v20 REST resources of prices: pricing, candles on every path, the books."""

from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mbats.local.oanda_sim import views
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.alignment import WEEKDAYS, Alignment
from mbats.local.oanda_sim.answers import INVALID_PARAMETER, Refusal, invalid
from mbats.local.oanda_sim.candles import MOST, Query
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.http import Answer, Request
from mbats.local.oanda_sim.money import is_id, price_text, twelve_digits_text
from mbats.local.oanda_sim.rest import names_of
from mbats.local.oanda_sim.state import Document
from mbats.local.oanda_sim.times import SECOND, parse_time, rfc3339
from mbats.market.granularity import Granularity

_DEFAULT_COUNT = 500
_BOOK_BUCKETS = 20
_BOOK_SECONDS = 20 * 60


def pricing(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/pricing: the newest price of each instrument asked for."""
    if "instruments" not in request.query:
        raise invalid("instruments")
    names = names_of(request, account, ())
    since = _time(request, "since")
    units = request.flag("includeUnitsAvailable", default=True)
    prices = []
    for name in names:
        quote = account.market.quotes.get(name)
        if quote is None or (since is not None and quote.time_ns <= since):
            continue
        shown = account.market.price_document(name, account.behaviour.price_decimals)
        if account.market.known(name):
            conversion = account.market.conversion(
                account.spec_of(name).instrument.quote, account.state.currency
            )
            shown["quoteHomeConversionFactors"] = {
                "positiveUnits": twelve_digits_text(conversion.bid),
                "negativeUnits": twelve_digits_text(conversion.ask),
            }
            if units:
                shown["unitsAvailable"] = views.units_available(account, name)
        prices.append(shown)
    document: Document = {"time": rfc3339(engine.now_ns), "prices": prices}
    if request.flag("includeHomeConversions", default=False):
        currencies = {part for name in names for part in name.split("_")}
        document["homeConversions"] = views.home_conversions(
            account.market, currencies, account.state.currency
        )
    return Answer(200, document)


def latest_candles(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/candles/latest: the last two candles of each specification."""
    given = request.query.get("candleSpecifications", "")
    found = []
    for text in filter(None, given.split(",")):
        parts = [*text.split(":"), "", ""][:3]
        name, granularity, sides = parts[0], parts[1] or "S5", parts[2] or "M"
        if name not in engine.candles:
            raise invalid("candleSpecifications")
        query = _query(engine, request, granularity, sides, count=2)
        found.append(_candles(engine, name, query))
    if not found:
        raise invalid("candleSpecifications")
    return Answer(200, {"latestCandles": found})


def account_candles(engine: Engine, account: Account, request: Request, name: str) -> Answer:
    """GET …/instruments/{instrument}/candles: the same candles as without an account."""
    return instrument_candles(engine, request, name)


def instrument_candles(engine: Engine, request: Request, name: str) -> Answer:
    """GET /v3/instruments/{instrument}/candles: M, B and A, every granularity and alignment."""
    if name not in engine.candles:
        raise invalid("instrument")
    granularity = request.query.get("granularity", "S5")
    sides = request.query.get("price", "M")
    return Answer(200, _candles(engine, name, _query(engine, request, granularity, sides)))


def _candles(engine: Engine, name: str, query: Query) -> Document:
    made = engine.candles[name].select(query, engine.now_ns, engine.complete_until(name))
    if len(made) > MOST:
        raise _too_many()
    return {"instrument": name, "granularity": query.granularity, "candles": made}


def _query(
    engine: Engine, request: Request, granularity: str, sides: str, count: int | None = None
) -> Query:
    if granularity not in set(Granularity):
        raise invalid("granularity")
    if not sides or any(letter not in "MBA" for letter in sides):
        raise invalid("price")
    first, until = _time(request, "from"), _time(request, "to")
    count = count or _count(request)
    if first is not None and until is not None and count is not None:
        raise _refused("'count' cannot be specified when 'to' and 'from' parameters are set")
    for name, time in (("from", first), ("to", until)):
        if time is not None and time > engine.now_ns:
            raise _refused(f"Invalid value specified for '{name}'. Time is in the future")
    if count is None and (first is None or until is None):
        count = _DEFAULT_COUNT
    return Query(
        granularity=granularity,
        sides=sides,
        alignment=_alignment(request),
        first=first,
        until=until,
        count=count,
        include_first=request.flag("includeFirst", default=True),
        smooth=request.flag("smooth", default=False),
    )


def _count(request: Request) -> int | None:
    given = request.query.get("count")
    if given is None:
        return None
    if not is_id(given) or not int(given):
        raise invalid("count")
    if int(given) > MOST:
        raise _too_many()
    return int(given)


def _alignment(request: Request) -> Alignment:
    hour = request.query.get("dailyAlignment", "17")
    zone = request.query.get("alignmentTimezone", "America/New_York")
    weekday = request.query.get("weeklyAlignment", "Friday")
    if not is_id(hour) or int(hour) > 23:
        raise invalid("dailyAlignment")
    if weekday not in WEEKDAYS:
        raise invalid("weeklyAlignment")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid("alignmentTimezone") from None
    return Alignment(int(hour), zone, weekday)


def order_book(engine: Engine, request: Request, name: str) -> Answer:
    """GET /v3/instruments/{instrument}/orderBook: a plausible book round the price."""
    return Answer(200, {"orderBook": _book(engine, request, name, 1)})


def position_book(engine: Engine, request: Request, name: str) -> Answer:
    """GET /v3/instruments/{instrument}/positionBook: a plausible book, as the order book."""
    return Answer(200, {"positionBook": _book(engine, request, name, 2)})


def _book(engine: Engine, request: Request, name: str, salt: int) -> Document:
    if name not in engine.market.specs:
        raise invalid("instrument")
    if not engine.market.known(name):
        raise Refusal(404, {"errorMessage": "The snapshot specified does not exist"})
    at = _time(request, "time") or engine.now_ns
    at -= at % (_BOOK_SECONDS * SECOND)
    spec = engine.market.specs[name]
    width = 5 * spec.instrument.pip
    price = engine.market.tops[name].middle
    start = price - price % width - width * (_BOOK_BUCKETS // 2)
    buckets = []
    for i in range(_BOOK_BUCKETS):
        weight = Decimal(1 + (i * 7 + salt * 3 + at // SECOND % 11) % 9) / 20
        buckets.append(
            {
                "price": price_text(start + i * width, spec.precision),
                "longCountPercent": f"{weight:.4f}",
                "shortCountPercent": f"{Decimal('0.5') - weight / 2:.4f}",
            }
        )
    return {
        "instrument": name,
        "time": rfc3339(at),
        "price": price_text(price, spec.precision),
        "bucketWidth": price_text(width, spec.precision),
        "buckets": buckets,
    }


def _time(request: Request, key: str) -> int | None:
    given = request.query.get(key)
    if given is None:
        return None
    try:
        return parse_time(given)
    except ValueError:
        raise invalid(key) from None


def _refused(message: str) -> Refusal:
    return Refusal(400, {"errorMessage": message, "errorCode": INVALID_PARAMETER})


def _too_many() -> Refusal:
    return _refused("Maximum value for 'count' exceeded")
