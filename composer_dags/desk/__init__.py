"""What the DAGs share: standard library and Airflow only, for Composer has no `mbats`."""
