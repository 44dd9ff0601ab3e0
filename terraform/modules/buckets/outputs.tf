output "names" {
  description = "Full name of each bucket, by short name."
  value       = { for key, _ in var.buckets : key => "${var.prefix}-${key}" }

  depends_on = [google_storage_bucket.this, google_storage_bucket_iam_member.this]
}

output "urls" {
  description = "gs:// address of each bucket, by short name."
  value       = { for key, _ in var.buckets : key => "gs://${var.prefix}-${key}" }

  depends_on = [google_storage_bucket.this]
}
