module "monitoring" {
  source = "./modules/monitoring"

  project_id = var.project_id
  channels   = var.notification_channels
  heartbeats = merge(
    { for pool in module.streamer : pool.name => "cloud_run_worker_pool" },
    { for name, _ in local.bots : name => "cloud_run_job" },
  )

  depends_on = [module.services]
}

module "audit" {
  source = "./modules/audit"

  project_id      = var.project_id
  location        = var.location
  kms_key         = local.data_key
  deletion_policy = local.protect
  retention_days  = var.audit.retention_days
  services        = var.audit.services
  sinks = {
    audit-logs = {
      description = "Who did what."
      filter      = "logName:\"cloudaudit.googleapis.com\""
    }
    desk-logs = {
      description = "What everything that runs said, from warnings up, and every event with a name."
      filter      = "resource.type=(\"cloud_run_job\" OR \"cloud_run_worker_pool\" OR \"cloud_run_revision\") AND (severity>=WARNING OR jsonPayload.event:*)"
    }
  }

  depends_on = [module.services]
}

module "budget" {
  count  = var.budget == null ? 0 : 1
  source = "./modules/budget"

  project_number        = local.number
  name                  = "mbats ${var.environment}"
  billing_account       = var.budget.billing_account
  amount                = { units = var.budget.amount, currency = var.budget.currency }
  notification_channels = slice(values(module.monitoring.channels), 0, min(5, length(module.monitoring.channels)))

  depends_on = [module.services]
}
