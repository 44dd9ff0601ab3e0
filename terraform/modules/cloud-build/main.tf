resource "google_cloudbuild_trigger" "this" {
  for_each = var.triggers

  project         = var.project_id
  location        = var.region
  name            = each.key
  description     = each.value.description
  filename        = each.value.filename
  service_account = var.service_account
  included_files  = each.value.included_files
  substitutions   = each.value.substitutions

  include_build_logs = "INCLUDE_BUILD_LOGS_WITH_STATUS"

  repository_event_config {
    repository = var.repository
    push {
      branch = each.value.branch
    }
  }

  # Google says nothing of an approval that is not needed.
  dynamic "approval_config" {
    for_each = each.value.approval_required ? [1] : []
    content {
      approval_required = true
    }
  }
}
