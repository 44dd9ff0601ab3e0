"""The desk on a laptop: emulators and stand-ins."""
