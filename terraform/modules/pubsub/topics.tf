locals {
  # A dead-letter topic that nothing subscribes to loses what it was made to keep.
  dead_letter_topics = { for key, _ in var.topics : key => "${key}-dead-letter" }
}

resource "google_pubsub_schema" "this" {
  for_each = { for key, topic in var.topics : key => topic.schema if topic.schema != null }

  project         = var.project_id
  name            = each.key
  type            = "AVRO"
  definition      = jsonencode(jsondecode(each.value.definition))
  deletion_policy = var.deletion_policy
}

resource "google_pubsub_topic" "this" {
  for_each = var.topics

  project                    = var.project_id
  name                       = each.key
  message_retention_duration = coalesce(each.value.retention, "604800s")
  kms_key_name               = var.kms_key
  deletion_policy            = var.deletion_policy

  dynamic "message_storage_policy" {
    for_each = length(var.persistence_regions) > 0 ? [var.persistence_regions] : []
    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }

  dynamic "schema_settings" {
    for_each = each.value.schema == null ? [] : [each.value.schema]
    content {
      schema   = google_pubsub_schema.this[each.key].id
      encoding = schema_settings.value.encoding
    }
  }
}

resource "google_pubsub_topic" "dead_letter" {
  for_each = local.dead_letter_topics

  project         = var.project_id
  name            = each.value
  kms_key_name    = var.kms_key
  deletion_policy = var.deletion_policy

  dynamic "message_storage_policy" {
    for_each = length(var.persistence_regions) > 0 ? [var.persistence_regions] : []
    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }
}
