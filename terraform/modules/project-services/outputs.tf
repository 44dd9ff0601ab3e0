output "services" {
  description = "APIs that are on; whatever needs one waits for this."
  value       = [for service in google_project_service.this : service.service]
}
