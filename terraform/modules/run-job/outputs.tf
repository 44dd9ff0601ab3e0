output "name" {
  description = "Name of the job, once its callers may run it."
  value       = var.name

  depends_on = [google_cloud_run_v2_job.this, google_cloud_run_v2_job_iam_member.this]
}
