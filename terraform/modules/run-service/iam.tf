resource "google_cloud_run_v2_service_iam_member" "this" {
  for_each = var.iam

  project  = var.project_id
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = each.value.role
  member   = each.value.member
}

# People come through Identity-Aware Proxy, which then calls the service.
resource "google_cloud_run_v2_service_iam_member" "iap" {
  count = length(var.iap_members) > 0 ? 1 : 0

  project  = var.project_id
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-iap.iam.gserviceaccount.com"
}

resource "google_iap_web_cloud_run_service_iam_member" "this" {
  for_each = var.iap_members

  project                = var.project_id
  location               = google_cloud_run_v2_service.this.location
  cloud_run_service_name = google_cloud_run_v2_service.this.name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.value
}
