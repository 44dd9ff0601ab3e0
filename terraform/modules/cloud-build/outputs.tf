output "triggers" {
  description = "Id of each trigger, by name."
  value       = { for name, trigger in google_cloudbuild_trigger.this : name => trigger.id }
}
