locals {
  _project_roles = merge([
    for key, account in var.accounts : {
      for role in account.project_roles : "${key}/${role}" => { key = key, role = role }
    }
  ]...)
}

resource "google_project_iam_member" "this" {
  for_each = local._project_roles

  project = var.project_id
  role    = each.value.role
  member  = "serviceAccount:${local.emails[each.value.key]}"

  depends_on = [google_service_account.this]
}

resource "google_service_account_iam_member" "this" {
  for_each = var.iam

  service_account_id = "projects/${var.project_id}/serviceAccounts/${local.emails[each.value.account]}"
  role               = each.value.role
  member             = each.value.member

  depends_on = [google_service_account.this]
}
