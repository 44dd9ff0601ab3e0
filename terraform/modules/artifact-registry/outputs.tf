output "url" {
  description = "Where images are pushed: REGION-docker.pkg.dev/PROJECT/NAME."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${var.name}"

  depends_on = [google_artifact_registry_repository.this, google_artifact_registry_repository_iam_member.this]
}
