locals {
  # Built from what is known before the apply, so that a plan names every identity.
  emails = {
    for key, _ in var.accounts :
    key => "${var.prefix}-${key}@${var.project_id}.iam.gserviceaccount.com"
  }
}

resource "google_service_account" "this" {
  for_each = var.accounts

  project      = var.project_id
  account_id   = "${var.prefix}-${each.key}"
  display_name = coalesce(each.value.display_name, "MBATS ${each.key}")
  description  = each.value.description
}
