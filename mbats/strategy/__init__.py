"""What a strategy is, and how it sizes its orders."""
