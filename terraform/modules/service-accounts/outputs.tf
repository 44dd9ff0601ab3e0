output "emails" {
  description = "Email of each account, by short name."
  value       = local.emails

  depends_on = [google_service_account.this, google_project_iam_member.this, google_service_account_iam_member.this]
}

output "ids" {
  description = "Full resource name of each account, by short name."
  value       = { for key, email in local.emails : key => "projects/${var.project_id}/serviceAccounts/${email}" }

  depends_on = [google_service_account.this]
}

output "members" {
  description = "IAM member string of each account, by short name."
  value       = { for key, email in local.emails : key => "serviceAccount:${email}" }

  depends_on = [google_service_account.this]
}
