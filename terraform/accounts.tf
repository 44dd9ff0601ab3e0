locals {
  _query = ["roles/bigquery.jobUser"]
  _read  = ["roles/bigquery.jobUser", "roles/bigquery.readSessionUser"]

  # One identity a workload. What it may do on a resource stands in grants.tf; here only what Google
  # grants on projects alone.
  accounts = merge(
    {
      backtest        = { description = "Backtests and sweeps; holds no broker token.", project_roles = local._read }
      bq-writer       = { description = "Pub/Sub writes events to BigQuery as this." }
      build           = { description = "Builds images and functions.", project_roles = ["roles/logging.logWriter"] }
      download        = { description = "Reads history from vendors into the security master.", project_roles = local._query }
      fn-control-file = { description = "Validates and loads control files.", project_roles = concat(local._query, local._events) }
      fn-dead-letter  = { description = "Keeps what could not be delivered.", project_roles = local._events }
      fn-notify       = { description = "Tells people.", project_roles = local._events }
      fn-risk-guard   = { description = "Watches portfolio limits and pulls the kill switch.", project_roles = local._events }
      halt            = { description = "The kill switch: its own identity, works when a bot is dead.", project_roles = local._query }
      model-server    = { description = "Answers with a model's signals." }
      parity          = { description = "Replays sessions through a backtest.", project_roles = local._read }
      preview         = { description = "Shows the dashboard's views.", project_roles = local._query }
      reconcile       = { description = "Compares broker, journal and risk store.", project_roles = local._query }
      streamer        = { description = "Turns the broker's price stream into ticks." }
      train           = { description = "Trains and registers models.", project_roles = concat(local._read, local._vertex) }
    },
    { for name, bot in var.bots : "bot-${name}" => { description = "Bot ${name}, ${bot.mode}.", project_roles = local._read } },
    { (var.orchestrator) = {
      description   = "Starts jobs."
      project_roles = var.orchestrator == "composer" ? ["roles/composer.worker"] : []
    } },
    var.features.dataflow ? { dataflow = { description = "Workers of the tick pipeline.", project_roles = concat(["roles/dataflow.worker"], local._read) } } : {},
    var.features.mlflow ? { mlflow = { description = "MLflow's server.", project_roles = concat(
      ["roles/cloudsql.client", "roles/cloudsql.instanceUser"], local._vertex
    ) } } : {},
    var.ci.repository_id == null ? {} : { deploy = { description = "Continuous integration, without a key.", project_roles = ["roles/cloudbuild.builds.editor"] } },
  )
  _events = length(var.functions) > 0 ? ["roles/eventarc.eventReceiver"] : []
  _vertex = var.features.vertex_endpoint || var.features.vertex_experiments ? ["roles/aiplatform.user"] : []

  members = { for name, _ in local.accounts : name => "serviceAccount:mbats-${name}@${var.project_id}.iam.gserviceaccount.com" }
}

module "service_accounts" {
  source = "./modules/service-accounts"

  project_id = var.project_id
  accounts   = local.accounts
  iam = merge(
    # Pub/Sub mints the writer's tokens.
    { pubsub-bq-writer = { account = "bq-writer", role = "roles/iam.serviceAccountTokenCreator", member = local.agents.pubsub } },
    # Whoever rolls out an image must be allowed to let it run as its account.
    var.ci.repository_id == null ? {} : {
      for name in keys(local.workload_accounts) : "deploy-as-${name}" => { account = name, role = "roles/iam.serviceAccountUser", member = local.members.deploy }
    },
    var.ci.repository_id == null ? {} : {
      deploy-as-build = { account = "build", role = "roles/iam.serviceAccountUser", member = local.members.deploy }
    },
    var.features.dataflow ? {
      orchestrator-as-dataflow = { account = "dataflow", role = "roles/iam.serviceAccountUser", member = local.members[var.orchestrator] }
    } : {},
  )

  depends_on = [module.services]
}

locals {
  workload_accounts = { for name, _ in local.accounts : name => true if !contains(
    ["bq-writer", "build", "composer", "dataflow", "deploy", "scheduler"], name
  ) }
}

# What Airflow and the risk guard need of a job, and no more: to run it, with arguments, and to follow it.
resource "google_project_iam_custom_role" "job_runner" {
  project     = var.project_id
  role_id     = "mbatsJobRunner"
  title       = "MBATS job runner"
  description = "Run one Cloud Run job with overrides, watch and cancel its executions."
  stage       = "GA"
  permissions = [
    "run.executions.cancel", "run.executions.get", "run.executions.list",
    "run.jobs.get", "run.jobs.run", "run.jobs.runWithOverrides",
    "run.tasks.get", "run.tasks.list",
  ]

  depends_on = [module.services]
}

# Operations belong to the location, not to the job.
resource "google_project_iam_custom_role" "operation_viewer" {
  project     = var.project_id
  role_id     = "mbatsOperationViewer"
  title       = "MBATS operation viewer"
  description = "Follow a Cloud Run operation to its end."
  stage       = "GA"
  permissions = ["run.operations.get"]

  depends_on = [module.services]
}

locals {
  job_runner       = "projects/${var.project_id}/roles/mbatsJobRunner"
  operation_viewer = "projects/${var.project_id}/roles/mbatsOperationViewer"

  project_iam = merge(
    var.orchestrator == "composer" ? { composer-operations = { role = local.operation_viewer, member = local.members.composer } } : {},
    { risk-guard-operations = { role = local.operation_viewer, member = local.members.fn-risk-guard } },
    var.features.dataflow ? { orchestrator-dataflow = { role = "roles/dataflow.developer", member = local.members[var.orchestrator] } } : {},
    { for name, member in var.readers : "reader-${name}" => { role = "roles/bigquery.jobUser", member = member } },
    # Cloud Storage tells Eventarc through Pub/Sub of a new control file.
    contains(keys(var.functions), "control-file") ? { storage-events = { role = "roles/pubsub.publisher", member = local.agents.storage } } : {},
  )
}

resource "google_project_iam_member" "this" {
  for_each = local.project_iam

  project = var.project_id
  role    = each.value.role
  member  = each.value.member

  depends_on = [
    module.service_accounts,
    google_project_iam_custom_role.job_runner,
    google_project_iam_custom_role.operation_viewer,
  ]
}

# Cloud Functions keeps the sources it builds from in a bucket that it makes itself.
resource "google_project_iam_member" "function_sources" {
  count = length(var.functions) > 0 ? 1 : 0

  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = local.members.build

  condition {
    title      = "function sources only"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${local.number}-${var.region}\")"
  }

  depends_on = [module.service_accounts]
}
