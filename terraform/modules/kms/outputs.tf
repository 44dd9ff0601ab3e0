output "keys" {
  description = "Id of each key, once its encrypters may use it."
  value       = { for key, _ in var.keys : key => google_kms_crypto_key.this[key].id }

  depends_on = [google_kms_crypto_key_iam_member.this]
}
