"""Pre-trade rules and portfolio limits: what stands between a decision and an order. Pure."""
