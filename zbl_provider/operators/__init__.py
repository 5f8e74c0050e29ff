"""Airflow's operators that dispatch leads."""
