resource "google_cloud_run_v2_job_iam_member" "this" {
  for_each = var.iam

  project  = var.project_id
  location = google_cloud_run_v2_job.this.location
  name     = google_cloud_run_v2_job.this.name
  role     = each.value.role
  member   = each.value.member
}
