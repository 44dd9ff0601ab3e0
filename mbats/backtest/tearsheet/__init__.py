"""The tear sheet: one HTML file that shows a run and needs nothing else to be read."""

from mbats.backtest.tearsheet.page import tearsheet_html, write_tearsheet

__all__ = ["tearsheet_html", "write_tearsheet"]
