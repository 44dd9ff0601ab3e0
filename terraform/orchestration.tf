locals {
  # Every schedule is made, whether its job exists yet or not, only for jobs that do.
  _all_schedules = merge(
    { for job, schedule in var.schedules : job => { job = job, schedule = schedule, description = "Runs ${job}." } },
    # The week opens on Sunday at 17:00 in New York; the bot waits for its first ticks.
    { for name, bot in local._bots : name => { job = name, schedule = "55 16 * * 0", description = "Starts the week of ${name}." } },
  )
  schedules = var.orchestrator == "scheduler" ? {
    for name, schedule in local._all_schedules : name => schedule
    if contains(concat(keys(local.jobs), keys(local.bots)), schedule.job)
  } : {}
}

module "scheduler" {
  count  = var.orchestrator == "scheduler" ? 1 : 0
  source = "./modules/scheduler"

  project_id      = var.project_id
  region          = var.region
  schedules       = local.schedules
  service_account = trimprefix(local.members.scheduler, "serviceAccount:")

  depends_on = [module.service_accounts, module.jobs, module.bots]
}

module "composer" {
  count  = var.orchestrator == "composer" ? 1 : 0
  source = "./modules/composer"

  project_id            = var.project_id
  region                = var.region
  bucket                = module.buckets.names.composer
  image_version         = var.composer.image_version
  size                  = var.composer.size
  web_allowed_ip_ranges = var.composer.web_allowed_ip_ranges
  service_account       = trimprefix(local.members.composer, "serviceAccount:")
  kms_key               = local.region_key
  deletion_policy       = local.protect

  # What the DAGs know of the cloud: whose bars there are, and which account has which bot.
  env = {
    MARKET_DATA_VENDOR  = length(local.token["oanda-practice-token"]) > 0 ? "oanda" : "ecb"
    MBATS_BUCKET_PREFIX = var.project_id
    MBATS_LOCATION      = var.location
    MBATS_PROFILE       = "gcp"
    MBATS_PROJECT       = var.project_id
    RUN_BOTS            = jsonencode({ for name, bot in local.bots : bot.account => name })
    RUN_REGION          = var.region
  }

  depends_on = [module.service_accounts, terraform_data.grants_in_force]
}
