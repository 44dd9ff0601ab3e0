"""Work at scale: the Beam pipeline from ticks to bars. Runs in an environment of its own."""
