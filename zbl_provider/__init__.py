"""Send qualified leads from a database to any system over HTTPS, from Apache Airflow."""

__version__ = "1.0.0rc1"
