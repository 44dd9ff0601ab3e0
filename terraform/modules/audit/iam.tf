# Google has one writer for all sinks of a project: a grant a sink would be the same grant, which the first sink to go
# would take from the others.
resource "google_bigquery_dataset_iam_member" "sinks" {
  count = length(var.sinks) > 0 ? 1 : 0

  project    = var.project_id
  dataset_id = google_bigquery_dataset.this.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = values(google_logging_project_sink.this)[0].writer_identity
}
