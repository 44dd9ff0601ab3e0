output "provider" {
  description = "Full name of the provider, for the CI's authentication step."
  value       = "${local.pool}/providers/github"

  depends_on = [google_iam_workload_identity_pool_provider.this, google_service_account_iam_member.this]
}
