"""Rows that tests store."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES
from mbats.market.bars import BAR_SCHEMA, PRICE_COLUMNS

BEGIN = datetime(2024, 1, 1, 22, tzinfo=UTC)


def bars(prices, instrument="EUR_USD", vendor="test", step=timedelta(days=1), begin=BEGIN):
    """Bars of BAR_SCHEMA, one a price (text), ``step`` apart; {index: price} sets single ones."""
    numbered = prices.items() if isinstance(prices, dict) else enumerate(prices)
    rows = [
        {
            "instrument": instrument,
            "start": begin + index * step,
            "vendor": vendor,
            **{name: Decimal(price) for name in PRICE_COLUMNS},
            "volume": index,
            "complete": True,
            "end_time": begin + (index + 1) * step,
            "basis": None,
        }
        for index, price in numbered
    ]
    return pa.Table.from_pylist(rows, schema=BAR_SCHEMA)


def run(run_id, **changes):
    return {
        "run_id": run_id,
        "kind": "backtest",
        "strategy": "sma_reversal",
        "parameters": {"period": 20, "nested": {"b": [1, 2.5], "a": "ü'\"\\"}},
        "instruments": ["EUR_USD", "GBP_USD"],
        "granularity": "D",
        "account_currency": "USD",
        "starting_cash": Decimal(100000),
        "assumptions": {"spread": "bid/ask"},
        "started_at": BEGIN,
        **changes,
    }


def result_tables(run_id, rows=3):
    """Every result table with ``rows`` made-up rows of the right types."""
    return {name: _filled(schemas.table("risk", name), run_id, rows) for name in RESULT_TABLES}


def _filled(schema, run_id, rows):
    made = [
        {f["name"]: _value(f, run_id, index, schema.name) for f in schema.fields}
        for index in range(rows)
    ]
    return pa.Table.from_pylist(made, schema=schema.arrow)


def _value(field, run_id, index, table):
    if field["name"] == "run_id":
        return run_id
    if field["name"] == "event_id":
        return f"{run_id}-{table}-{index}"
    return {
        "STRING": f"{field['name']} {index}",
        "INTEGER": index,
        "FLOAT": index / 3,
        "BOOLEAN": bool(index % 2),
        "NUMERIC": Decimal(index) / 8,
        "TIMESTAMP": BEGIN + timedelta(hours=index),
        "JSON": f'{{"rsi":{index}.5}}',
    }[field["type"]]
