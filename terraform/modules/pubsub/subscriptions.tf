resource "google_pubsub_subscription" "this" {
  for_each = var.subscriptions

  project                      = var.project_id
  name                         = each.key
  topic                        = google_pubsub_topic.this[each.value.topic].id
  ack_deadline_seconds         = each.value.ack_deadline_seconds
  enable_exactly_once_delivery = each.value.exactly_once
  enable_message_ordering      = each.value.ordering
  filter                       = each.value.filter
  message_retention_duration   = each.value.retention
  deletion_policy              = each.value.ephemeral ? "DELETE" : var.deletion_policy

  # Without this, 31 idle days delete the subscription.
  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "60s"
  }

  dynamic "bigquery_config" {
    for_each = each.value.bigquery == null ? [] : [each.value.bigquery]
    content {
      # The provider takes one of the two: the other is not given at all, for false is a value too.
      table                 = bigquery_config.value.table
      use_topic_schema      = var.topics[each.value.topic].schema == null ? null : true
      use_table_schema      = var.topics[each.value.topic].schema == null ? true : null
      drop_unknown_fields   = true
      service_account_email = bigquery_config.value.service_account
    }
  }

  dynamic "dead_letter_policy" {
    for_each = each.value.ephemeral ? [] : [1]
    content {
      dead_letter_topic     = google_pubsub_topic.dead_letter[each.value.topic].id
      max_delivery_attempts = each.value.max_delivery_attempts
    }
  }
}

resource "google_pubsub_subscription" "dead_letter" {
  for_each = local.dead_letter_topics

  project                    = var.project_id
  name                       = each.value
  topic                      = google_pubsub_topic.dead_letter[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = var.dead_letter_retention
  deletion_policy            = var.deletion_policy

  expiration_policy {
    ttl = ""
  }
}
