locals {
  desk_env = merge(
    {
      MBATS_ACCOUNT_CURRENCY = var.account_currency
      MBATS_BUCKET_PREFIX    = var.project_id
      MBATS_LOCATION         = var.location
      MBATS_PROFILE          = "gcp"
      MBATS_PROJECT          = var.project_id
      MBATS_STAGING_DATASET  = "staging"
    },
    local.mlflow_uri == null ? {} : { MLFLOW_TRACKING_URI = local.mlflow_uri, MLFLOW_TRACKING_AUTH = "gcp-id-token" },
  )
  # A run says by which image it was made.
  image_env  = { for name, image in var.images : name => image == "" ? {} : { IMAGE_DIGEST = split("@", image)[1] } }
  broker_env = { MBATS_OANDA_ENVIRONMENT = local.live ? "live" : "practice" }

  # A job in the network reaches the world through NAT alone.
  run_network = one(module.network[*].names)

  # Secret as an environment variable, where a person has filled it.
  token = { for name, _ in local.secrets : name => contains(keys(var.secret_versions), name) ? {
    MBATS_OANDA_TOKEN = { secret = name, version = var.secret_versions[name] }
  } : {} }

  # What a job needs of the broker: an environment, and the secret that holds its token. A job that
  # trades is not made without it.
  _brokers = {
    none    = { env = {}, secrets = {}, ready = true }
    history = { env = { MBATS_OANDA_ENVIRONMENT = "practice" }, secrets = local.token["oanda-practice-token"], ready = true }
    trading = { env = local.broker_env, secrets = local.token[local.token_secret], ready = length(local.token[local.token_secret]) > 0 }
  }

  # The file says which jobs there are; the local stack reads it too.
  _job_specs = { for name, job in yamldecode(file("${path.module}/../containers/jobs.yaml")) : name => merge({ broker = "none", parallelism = 1 }, job) }
  jobs       = { for name, job in local._job_specs : name => job if var.images[job.image] != "" && local._brokers[job.broker].ready }

  bots = { for name, bot in local._bots : name => bot if var.images.desk != "" && length(local.token[bot.token_secret]) > 0 }
}

module "jobs" {
  for_each = local.jobs
  source   = "./modules/run-job"

  project_id          = var.project_id
  region              = var.region
  name                = each.key
  image               = var.images[each.value.image]
  args                = each.value.args
  service_account     = trimprefix(local.members[each.value.account], "serviceAccount:")
  network             = local.run_network
  deletion_protection = local.live
  resources           = { cpu = each.value.cpu, memory = each.value.memory }
  env                 = merge(local.desk_env, local.image_env[each.value.image], local._brokers[each.value.broker].env)
  secrets             = local._brokers[each.value.broker].secrets
  iam                 = local.job_iam[each.key]

  task = {
    max_retries     = each.value.retries
    parallelism     = each.value.parallelism
    timeout_seconds = each.value.hours * 3600
  }

  depends_on = [module.service_accounts, module.secrets, terraform_data.grants_in_force]
}

# One execution is one trading week; a retry would start the session anew, so there is none. Airflow gives the
# arguments with it, from strategies.csv; arming is said here alone (BOT_ARM is `--arm`).
module "bots" {
  for_each = local.bots
  source   = "./modules/run-job"

  project_id          = var.project_id
  region              = var.region
  name                = each.key
  image               = var.images.desk
  args                = coalesce(each.value.args, concat(["live"], sort(tolist(each.value.strategies)), flatten([for _ in each.value.strategies : ["--instruments", join(",", sort(tolist(each.value.instruments)))]]), ["--${each.value.mode}", "--account", each.value.account]))
  service_account     = trimprefix(local.members[each.key], "serviceAccount:")
  network             = local.run_network
  deletion_protection = local.live
  resources           = { cpu = each.value.cpu, memory = each.value.memory }
  task                = { max_retries = 0, timeout_seconds = 604800 }
  secrets             = local.token[each.value.token_secret]
  iam                 = local.job_iam[each.key]

  env = merge(local.desk_env, local.image_env.desk, each.value.mode == "live" ? { BOT_ARM = "1" } : {}, {
    MBATS_BOT_NAME          = each.key
    MBATS_LIVE_ACCOUNTS     = join(",", sort(tolist(var.live_accounts)))
    MBATS_OANDA_ACCOUNT     = each.value.account
    MBATS_OANDA_ENVIRONMENT = each.value.mode == "live" ? "live" : "practice"
  })

  depends_on = [module.service_accounts, module.secrets, module.pubsub]
}

module "streamer" {
  count  = var.images.streamer != "" && length(local.token[local.token_secret]) > 0 ? 1 : 0
  source = "./modules/run-worker-pool"

  project_id          = var.project_id
  region              = var.region
  name                = "streamer"
  image               = var.images.streamer
  service_account     = trimprefix(local.members.streamer, "serviceAccount:")
  network             = local.run_network
  deletion_protection = local.live
  resources           = { cpu = "1", memory = "512Mi" }
  env                 = merge(local.desk_env, local.broker_env)
  secrets             = local.token[local.token_secret]
  iam = var.ci.repository_id == null ? {} : {
    deploy = { role = "roles/run.developer", member = local.members.deploy }
  }

  depends_on = [module.service_accounts, module.secrets, module.pubsub]
}

module "preview" {
  count  = var.images.preview == "" ? 0 : 1
  source = "./modules/run-service"

  project_id          = var.project_id
  project_number      = local.number
  region              = var.region
  name                = "preview"
  image               = var.images.preview
  service_account     = trimprefix(local.members.preview, "serviceAccount:")
  ingress             = "INGRESS_TRAFFIC_ALL" # people come through Identity-Aware Proxy
  iap_members         = var.readers
  deletion_protection = local.live
  env                 = local.desk_env
  iam                 = local.service_iam

  depends_on = [module.service_accounts, module.warehouse]
}

module "model_server" {
  count  = var.images.model_server == "" ? 0 : 1
  source = "./modules/run-service"

  project_id          = var.project_id
  project_number      = local.number
  region              = var.region
  name                = "model-server"
  image               = var.images.model_server
  service_account     = trimprefix(local.members.model-server, "serviceAccount:")
  network             = local.run_network
  ingress             = var.features.private_network ? "INGRESS_TRAFFIC_INTERNAL_ONLY" : "INGRESS_TRAFFIC_ALL" # IAM guards it either way
  deletion_protection = local.live
  resources           = { cpu = "1", memory = "2Gi" }
  env                 = merge(local.desk_env, { MODEL_URI = "models:/signals@champion" }) # healthy before there is one
  iam = merge(local.service_iam, { for name, _ in local._bots : name => {
    role = "roles/run.invoker", member = local.members[name]
  } })

  depends_on = [module.service_accounts, module.buckets]
}

locals {
  service_iam = var.ci.repository_id == null ? {} : {
    deploy = { role = "roles/run.developer", member = local.members.deploy }
  }

  # Who starts a job: the orchestrator with arguments, cron without, the risk guard the kill switch.
  job_iam = { for name in concat(keys(local._job_specs), keys(local._bots)) : name => merge(
    var.orchestrator == "composer" ? { composer = { role = local.job_runner, member = local.members.composer } } : {},
    contains(keys(local.schedules), name) ? { scheduler = { role = "roles/run.invoker", member = local.members.scheduler } } : {},
    name == "halt" ? { risk-guard = { role = local.job_runner, member = local.members.fn-risk-guard } } : {},
    local.service_iam,
  ) }
}

module "functions" {
  for_each = local.functions
  source   = "./modules/function"

  project_id            = var.project_id
  region                = var.region
  name                  = each.key
  description           = local.accounts["fn-${each.value.account}"].description
  build_service_account = module.service_accounts.ids["build"]
  docker_repository     = "projects/${var.project_id}/locations/${var.region}/repositories/mbats-functions"
  service_account       = trimprefix(local.members["fn-${each.value.account}"], "serviceAccount:")
  source_code           = { bucket = module.buckets.names.build, object = each.value.source, entry_point = replace(each.value.account, "-", "_") }
  trigger               = each.value.trigger
  max_instances         = each.value.account == "control-file" ? 1 : 3 # one at a time: a newer file waits for an older
  secrets = each.key == "notify" && contains(keys(var.secret_versions), "notify-webhook") ? {
    MBATS_NOTIFY_WEBHOOK = { secret = "notify-webhook", version = var.secret_versions["notify-webhook"] }
  } : {}
  env = merge(local._function_env, lookup({
    control-file = var.orchestrator == "composer" ? { MBATS_DAG_FOLDER = "gs://${module.buckets.names.composer}/dags" } : {}
    risk-guard = {
      HALT_JOB           = "projects/${var.project_id}/locations/${var.region}/jobs/halt"
      MBATS_GUARD_LIMITS = var.guard_limits
    }
  }, each.value.account, {}))

  depends_on = [
    module.service_accounts,
    module.secrets,
    terraform_data.grants_in_force,
  ]
}

locals {
  # A function knows neither MLflow nor models: only where the desk is.
  _function_env = { for name, value in local.desk_env : name => value if startswith(name, "MBATS_") }

  _topic_triggers = { for topic in local.topics : topic => { bucket = null, region = null, topic = module.pubsub.topics[topic] } }
  _triggers = {
    control-file            = { bucket = module.buckets.names.control, region = lower(var.location), topic = null }
    notify                  = local._topic_triggers["risk-events"]
    risk-guard-order-events = local._topic_triggers["order-events"]
    risk-guard-risk-events  = local._topic_triggers["risk-events"]
  }

  # A function has one trigger: what hears several topics is made once a topic.
  functions = merge(
    { for name, trigger in local._triggers : name => {
      account = startswith(name, "risk-guard") ? "risk-guard" : name
      source  = var.functions[startswith(name, "risk-guard") ? "risk-guard" : name]
      trigger = trigger
    } if contains(keys(var.functions), startswith(name, "risk-guard") ? "risk-guard" : name) },
    { for topic in local.topics : "dead-letter-${topic}" => {
      account = "dead-letter"
      source  = var.functions["dead-letter"]
      trigger = { bucket = null, region = null, topic = "projects/${var.project_id}/topics/${topic}-dead-letter" }
    } if contains(keys(var.functions), "dead-letter") },
  )
}
