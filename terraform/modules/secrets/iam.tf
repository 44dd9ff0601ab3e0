resource "google_secret_manager_secret_iam_member" "this" {
  for_each = var.iam

  project   = var.project_id
  secret_id = google_secret_manager_secret.this[each.value.secret].secret_id
  role      = each.value.role
  member    = each.value.member
}
