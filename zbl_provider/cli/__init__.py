"""The command line: `airflow zbl …` (Contract 8.4)."""
