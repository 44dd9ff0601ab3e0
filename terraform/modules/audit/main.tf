resource "google_project_iam_audit_config" "this" {
  for_each = var.services

  project = var.project_id
  service = each.key

  dynamic "audit_log_config" {
    for_each = each.value
    content {
      log_type = audit_log_config.value
    }
  }
}

resource "google_bigquery_dataset" "this" {
  project                         = var.project_id
  dataset_id                      = var.dataset_id
  description                     = "Audit logs and the logs of everything that trades."
  location                        = var.location
  default_partition_expiration_ms = var.retention_days * 86400000
  delete_contents_on_destroy      = var.deletion_policy == "DELETE"
  deletion_policy                 = var.deletion_policy

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }
}

resource "google_logging_project_sink" "this" {
  for_each = var.sinks

  project                = var.project_id
  name                   = each.key
  description            = each.value.description
  destination            = "bigquery.googleapis.com/projects/${var.project_id}/datasets/${google_bigquery_dataset.this.dataset_id}"
  filter                 = each.value.filter
  unique_writer_identity = true

  bigquery_options {
    use_partitioned_tables = true
  }
}
