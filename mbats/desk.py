"""The composition root: opens the outer rooms (stores, vendors) that the settings ask for."""
