resource "google_pubsub_topic_iam_member" "this" {
  for_each = var.topic_iam

  project = var.project_id
  topic   = google_pubsub_topic.this[each.value.topic].name
  role    = each.value.role
  member  = each.value.member
}

resource "google_pubsub_subscription_iam_member" "this" {
  for_each = var.subscription_iam

  project      = var.project_id
  subscription = google_pubsub_subscription.this[each.value.subscription].name
  role         = each.value.role
  member       = each.value.member
}

resource "google_pubsub_subscription_iam_member" "dead_letter" {
  for_each = var.dead_letter_iam

  project      = var.project_id
  subscription = google_pubsub_subscription.dead_letter[each.value.topic].name
  role         = each.value.role
  member       = each.value.member
}

# Pub/Sub itself moves a message: it publishes to the dead-letter topic and acknowledges at the source.
resource "google_pubsub_topic_iam_member" "agent" {
  for_each = var.service_agent == null ? {} : local.dead_letter_topics

  project = var.project_id
  topic   = google_pubsub_topic.dead_letter[each.key].name
  role    = "roles/pubsub.publisher"
  member  = var.service_agent
}

resource "google_pubsub_subscription_iam_member" "agent" {
  for_each = { for key, subscription in var.subscriptions : key => subscription if !subscription.ephemeral && var.service_agent != null }

  project      = var.project_id
  subscription = google_pubsub_subscription.this[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = var.service_agent
}
