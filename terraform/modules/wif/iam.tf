resource "google_service_account_iam_member" "this" {
  for_each = var.service_accounts

  service_account_id = each.value
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${local.pool}/attribute.repository_id/${var.repository_id}"

  depends_on = [google_iam_workload_identity_pool.this]
}
