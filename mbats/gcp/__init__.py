"""Thin adapters to Google Cloud's services, or to their local emulators."""
