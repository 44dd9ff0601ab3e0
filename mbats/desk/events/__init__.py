"""What each function does with an event: ``functions/`` only takes it and calls one of these."""
