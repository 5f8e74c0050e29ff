"""Notifiers: tell other systems what happens to Dags."""
