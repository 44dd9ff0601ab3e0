"""The composition root: puts the outer rooms behind the protocols that the inner rooms own."""

from mbats.desk.stores import Desk

__all__ = ["Desk"]
