# The cheapest desk that does the main job: no network of its own, no Airflow, no database.
environment  = "dev"
orchestrator = "scheduler"
