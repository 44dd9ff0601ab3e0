output "name" {
  description = "Name of the worker pool."
  value       = var.name

  depends_on = [google_cloud_run_v2_worker_pool.this, google_cloud_run_v2_worker_pool_iam_member.this]
}
