resource "google_artifact_registry_repository_iam_member" "this" {
  for_each = var.iam

  project    = var.project_id
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.repository_id
  role       = each.value.role
  member     = each.value.member
}
