resource "google_kms_key_ring" "this" {
  for_each = var.keys

  project  = var.project_id
  name     = "${var.name}-${each.key}"
  location = each.value.location
}

resource "google_kms_crypto_key" "this" {
  # checkov:skip=CKV_GCP_82:deletion_policy PREVENT, the default, does this and can be lifted by a variable
  for_each = var.keys

  name            = each.key
  key_ring        = google_kms_key_ring.this[each.key].id
  purpose         = "ENCRYPT_DECRYPT"
  rotation_period = var.rotation_period
  deletion_policy = var.deletion_policy
}
