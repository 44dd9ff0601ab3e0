# Terraform makes the secret; a person adds its versions (`gcloud secrets versions add NAME --data-file=-`),
# so that no value is ever in a state file.
resource "google_secret_manager_secret" "this" {
  for_each = var.secrets

  project             = var.project_id
  secret_id           = each.key
  deletion_policy     = var.deletion_policy
  deletion_protection = var.deletion_policy == "PREVENT"
  version_destroy_ttl = "604800s" # a destroyed version can be brought back for a week
  annotations         = { purpose = each.value.description }

  replication {
    dynamic "auto" {
      for_each = var.kms == null ? [1] : []
      content {}
    }
    dynamic "user_managed" {
      for_each = var.kms == null ? [] : [var.kms]
      content {
        replicas {
          location = user_managed.value.location
          customer_managed_encryption {
            kms_key_name = user_managed.value.key
          }
        }
      }
    }
  }
}
