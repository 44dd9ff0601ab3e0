resource "google_cloud_run_v2_worker_pool_iam_member" "this" {
  for_each = var.iam

  project  = var.project_id
  location = google_cloud_run_v2_worker_pool.this.location
  name     = google_cloud_run_v2_worker_pool.this.name
  role     = each.value.role
  member   = each.value.member
}
