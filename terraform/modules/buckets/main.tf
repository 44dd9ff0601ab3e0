locals {
  _places = { for key, bucket in var.buckets : key => coalesce(bucket.place, { kms_key = var.kms_key, location = var.location }) }
}

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_78:versioning is on by default and off only where objects can be made again
  for_each = var.buckets

  project                     = var.project_id
  name                        = "${var.prefix}-${each.key}"
  location                    = local._places[each.key].location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.force_destroy
  deletion_policy             = var.deletion_policy

  versioning {
    enabled = each.value.versioning
  }

  soft_delete_policy {
    retention_duration_seconds = var.force_destroy ? 0 : 604800
  }

  dynamic "lifecycle_rule" {
    for_each = each.value.versioning ? [1] : []
    content {
      action {
        type = "Delete"
      }
      condition {
        num_newer_versions = each.value.keep_versions
        with_state         = "ARCHIVED"
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.value.expire_days == null ? [] : [each.value.expire_days]
    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = length(each.value.expire_prefixes) > 0 ? each.value.expire_prefixes : null
        with_state     = "ANY"
      }
    }
  }

  dynamic "logging" {
    for_each = var.log_bucket == null ? [] : [var.log_bucket]
    content {
      log_bucket = logging.value
    }
  }

  dynamic "encryption" {
    for_each = local._places[each.key].kms_key == null ? [] : [local._places[each.key].kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }
}
