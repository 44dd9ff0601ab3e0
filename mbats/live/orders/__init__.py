"""The order protocol: a book made of the broker's log, and orders sent once, whatever dies.

Broker, journal and lease are known here only as :mod:`mbats.live.orders.ports` has them.
"""
