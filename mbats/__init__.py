"""MBATS: a quant's whole FX trading desk, from idea to live trading."""

__version__ = "0.1.0"
