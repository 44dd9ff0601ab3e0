output "ids" {
  description = "Id of each secret, by name, once its readers may read it."
  value       = { for name, secret in google_secret_manager_secret.this : name => "projects/${var.project_id}/secrets/${secret.secret_id}" }

  depends_on = [google_secret_manager_secret_iam_member.this]
}
