resource "google_artifact_registry_repository" "this" {
  project         = var.project_id
  location        = var.region
  repository_id   = var.name
  format          = "DOCKER"
  description     = var.description
  kms_key_name    = var.kms_key
  deletion_policy = var.deletion_policy

  # Google says nothing of tags that move: a block that did would stay in every plan.
  dynamic "docker_config" {
    for_each = var.immutable_tags ? [1] : []
    content {
      immutable_tags = true
    }
  }

  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }

  cleanup_policy_dry_run = false
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = var.keep_versions
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "${var.keep_days * 86400}s"
      tag_state  = "ANY"
    }
  }
}
