output "endpoints" {
  description = "Full name of each endpoint, by display name."
  value       = { for name, e in var.endpoints : name => "projects/${var.project_id}/locations/${var.region}/endpoints/${e.number}" }

  depends_on = [google_vertex_ai_endpoint.this]
}
