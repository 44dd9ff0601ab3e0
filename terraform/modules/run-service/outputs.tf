output "uri" {
  description = "Address of the service, the form that is known before it exists."
  value       = "https://${var.name}-${var.project_number}.${var.region}.run.app"

  depends_on = [google_cloud_run_v2_service.this, google_cloud_run_v2_service_iam_member.this]
}
