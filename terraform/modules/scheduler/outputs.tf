output "schedules" {
  description = "Id of each schedule, by name."
  value       = { for name, schedule in google_cloud_scheduler_job.this : name => schedule.id }
}
