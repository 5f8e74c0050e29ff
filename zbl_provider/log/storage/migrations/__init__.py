"""Alembic's environment for the delivery log."""
