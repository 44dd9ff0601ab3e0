"""Backtests: feeds, broker, costs, analyzers, results."""
