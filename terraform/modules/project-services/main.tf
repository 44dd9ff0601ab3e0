resource "google_project_service" "this" {
  for_each = var.services

  project = var.project_id
  service = each.value

  # Other software in the project may use the same API.
  disable_on_destroy = false
}
