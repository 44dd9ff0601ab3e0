output "dead_letter_subscriptions" {
  description = "Dead-letter subscription of each topic."
  value       = local.dead_letter_topics

  depends_on = [google_pubsub_subscription.dead_letter, google_pubsub_subscription_iam_member.dead_letter]
}

output "subscriptions" {
  description = "Id of each subscription, by name."
  value       = { for name, _ in var.subscriptions : name => "projects/${var.project_id}/subscriptions/${name}" }

  depends_on = [google_pubsub_subscription.this, google_pubsub_subscription_iam_member.this, google_pubsub_subscription_iam_member.agent]
}

output "topics" {
  description = "Id of each topic, by name."
  value       = { for name, _ in var.topics : name => "projects/${var.project_id}/topics/${name}" }

  depends_on = [google_pubsub_topic.this, google_pubsub_topic_iam_member.this, google_pubsub_topic_iam_member.agent]
}
