output "keys" {
  description = "Id of each key, once its encrypters may use it."
  value       = { for key, spec in var.keys : key => "projects/${var.project_id}/locations/${spec.location}/keyRings/${var.name}-${key}/cryptoKeys/${key}" }

  depends_on = [google_kms_crypto_key.this, terraform_data.grants_in_force]
}
