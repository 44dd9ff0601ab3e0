output "channels" {
  description = "Id of each notification channel, by display name."
  value       = { for name, channel in google_monitoring_notification_channel.this : name => channel.id }
}
