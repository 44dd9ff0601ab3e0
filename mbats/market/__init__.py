"""What is traded and how its history looks: instruments, bars, sessions, data quality. Pure."""
