"""A live session against a backtest of its own recorded ticks: what differs, and why."""
