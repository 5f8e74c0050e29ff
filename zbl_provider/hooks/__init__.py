"""Airflow's connections: the integration, and where the delivery log is."""
