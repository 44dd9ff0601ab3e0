"""Live trading: the order protocol, the book folded from the broker's log, and the bot."""
