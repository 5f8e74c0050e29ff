"""What is sent: rows become leads, leads become payloads. Pure: no I/O, no clock, no Airflow."""
