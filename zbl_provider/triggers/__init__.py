"""Triggers: they wait and read, and never send (Contract 3.4)."""
