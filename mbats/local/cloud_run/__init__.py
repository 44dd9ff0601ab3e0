"""The Cloud Run Jobs API on this machine: run.googleapis.com v2, containers run as processes."""
