output "tracking_uri" {
  description = "Where machines log runs; null until the images exist."
  value       = var.images == null ? null : "https://${local.hosts.mlflow}"

  depends_on = [google_cloud_run_v2_service.this, google_cloud_run_v2_service_iam_member.machines]
}

output "ui" {
  description = "What people open; null where there are no people."
  value       = contains(keys(local.services), "mlflow-ui") ? "https://${local.hosts["mlflow-ui"]}" : null

  depends_on = [google_cloud_run_v2_service.this, google_iap_web_cloud_run_service_iam_member.people]
}
