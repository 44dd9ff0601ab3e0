locals {
  _encrypters = merge([
    for key, spec in var.keys : {
      for name, member in spec.encrypters : "${key}/${name}" => { key = key, member = member }
    }
  ]...)
}

resource "google_kms_crypto_key_iam_member" "this" {
  for_each = local._encrypters

  crypto_key_id = google_kms_crypto_key.this[each.value.key].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value.member
}

resource "terraform_data" "grants_in_force" {
  triggers_replace = keys(local._encrypters)

  provisioner "local-exec" {
    command = "sleep ${var.settle_seconds}"
  }

  depends_on = [google_kms_crypto_key_iam_member.this]
}
