output "airflow_uri" {
  description = "Address of Airflow's web page."
  value       = google_composer_environment.this.config[0].airflow_uri
}

output "dags" {
  description = "Where DAG files go."
  value       = "gs://${var.bucket}/dags"

  depends_on = [google_composer_environment.this]
}
