# Eventarc calls the function as the function's own account.
resource "google_cloud_run_v2_service_iam_member" "trigger" {
  project  = var.project_id
  location = google_cloudfunctions2_function.this.location
  name     = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:${var.service_account}"
}
