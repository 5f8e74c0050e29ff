"""The demo: leads leave a database, through a real Airflow, into an HTTPS receiver."""
