"""Sensors: tasks that wait for leads (Contract 8.1)."""
