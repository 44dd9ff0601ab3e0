output "dataset" {
  description = "Dataset of the logs, once the sinks may write to it."
  value       = "${var.project_id}.${var.dataset_id}"

  depends_on = [google_bigquery_dataset.this, google_bigquery_dataset_iam_member.sinks]
}
