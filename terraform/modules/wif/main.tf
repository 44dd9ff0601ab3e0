locals {
  _refs = join(" || ", [for ref in sort(tolist(var.refs)) : "assertion.ref == '${ref}'"])
  pool  = "projects/${var.project_number}/locations/global/workloadIdentityPools/${var.pool_id}"
}

resource "google_iam_workload_identity_pool" "this" {
  project                   = var.project_id
  workload_identity_pool_id = var.pool_id
  display_name              = "Continuous integration"
  description               = "Lets one repository's protected refs act without a key."
}

resource "google_iam_workload_identity_pool_provider" "this" {
  # checkov:skip=CKV_GCP_125:the condition names the repository by its number and the refs in full, which holds where a subject's text changes with the repository's name
  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.this.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"

  # The numeric repository id does not change hands when a name does.
  attribute_condition = "assertion.repository_id == '${var.repository_id}' && (${local._refs})"
  attribute_mapping = {
    "attribute.ref"           = "assertion.ref"
    "attribute.repository_id" = "assertion.repository_id"
    "google.subject"          = "assertion.sub"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}
