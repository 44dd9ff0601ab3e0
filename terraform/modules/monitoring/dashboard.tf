# A dashboard's JSON leaves out what is zero or empty: Google does, and the plan would never be empty.
resource "google_monitoring_dashboard" "this" {
  for_each = fileset("${path.module}/dashboards", "*.json")

  project        = var.project_id
  dashboard_json = jsonencode(jsondecode(file("${path.module}/dashboards/${each.key}")))

  depends_on = [google_logging_metric.heartbeat]
}
