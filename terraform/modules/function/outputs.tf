output "name" {
  description = "Name of the function, once events can call it."
  value       = var.name

  depends_on = [google_cloudfunctions2_function.this, google_cloud_run_v2_service_iam_member.trigger]
}
