"""Figures, each measured beside a named peer in one run: `make bench`."""
