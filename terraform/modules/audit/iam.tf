resource "google_bigquery_dataset_iam_member" "sinks" {
  for_each = var.sinks

  project    = var.project_id
  dataset_id = google_bigquery_dataset.this.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_logging_project_sink.this[each.key].writer_identity
}
