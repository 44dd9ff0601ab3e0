resource "google_cloud_run_v2_service_iam_member" "machines" {
  for_each = var.images == null ? {} : var.machines

  project  = var.project_id
  location = google_cloud_run_v2_service.this["mlflow"].location
  name     = google_cloud_run_v2_service.this["mlflow"].name
  role     = "roles/run.invoker"
  member   = each.value
}

resource "google_cloud_run_v2_service_iam_member" "iap" {
  for_each = { for name, service in local.services : name => service if service.iap }

  project  = var.project_id
  location = google_cloud_run_v2_service.this[each.key].location
  name     = google_cloud_run_v2_service.this[each.key].name
  role     = "roles/run.invoker"
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-iap.iam.gserviceaccount.com"
}

resource "google_iap_web_cloud_run_service_iam_member" "people" {
  for_each = var.images == null ? {} : var.people

  project                = var.project_id
  location               = google_cloud_run_v2_service.this["mlflow-ui"].location
  cloud_run_service_name = google_cloud_run_v2_service.this["mlflow-ui"].name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.value
}
