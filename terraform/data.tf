locals {
  _messages = yamldecode(file("${path.module}/messages.yaml"))
  topics    = keys(local._messages.topics)

  token_secret = local.live ? "oanda-live-token" : "oanda-practice-token"
  secrets = merge(
    { notify-webhook = { description = "Who is told: slack URL, telegram URL?chat_id=…, email URL, one a line." } },
    { for name in toset(concat(["oanda-practice-token", local.token_secret], [for bot in local._bots : bot.token_secret])) : name => { description = "Broker access token, rotated by hand." } },
  )
}

module "secrets" {
  source = "./modules/secrets"

  project_id      = var.project_id
  secrets         = local.secrets
  deletion_policy = local.protect
  kms             = var.features.cmek ? { key = local.region_key, location = var.region } : null
  iam             = local.secret_iam

  depends_on = [module.service_accounts]
}

module "buckets" {
  source = "./modules/buckets"

  project_id      = var.project_id
  prefix          = var.project_id
  location        = var.location
  kms_key         = local.data_key
  deletion_policy = local.protect
  force_destroy   = !local.live
  iam             = local.bucket_iam
  buckets = merge(
    {
      build   = { versioning = false, expire_days = 30 }
      control = {}
      data    = { expire_days = 30, expire_prefixes = ["sweeps/"] } # gathered by then
      models  = {}
      reports = {}
      state   = { keep_versions = 20 }
    },
    # Composer takes a bucket of its own region only.
    var.orchestrator == "composer" ? { composer = { versioning = false, place = { location = var.region, kms_key = local.region_key } } } : {},
    var.features.dataflow ? { dataflow = { versioning = false, expire_days = 14, expire_prefixes = ["temp/"] } } : {},
  )

  depends_on = [module.service_accounts]
}

module "warehouse" {
  source = "./modules/warehouse"

  project_id      = var.project_id
  location        = var.location
  kms_key         = local.data_key
  deletion_policy = local.protect
  views_path      = "${path.root}/../looker/views"
  table_iam       = local.table_iam
  dataset_access = merge(
    local.dataset_access,
    { for name, member in var.readers : "desk_views/reader-${name}" => { dataset = "desk_views", member = member } },
  )

  depends_on = [module.service_accounts]
}

# Google takes up to a minute to put a grant in force, and tries some when it makes what needs them: Pub/Sub the
# writer of a subscription, Eventarc the bucket's messenger of a trigger, Composer its workers, Cloud Run whoever
# reads a secret.
resource "terraform_data" "grants_in_force" {
  triggers_replace = concat(keys(local.bucket_iam), keys(local.project_iam), keys(local.secret_iam), keys(local.table_iam))

  provisioner "local-exec" {
    command = "sleep ${var.iam_settle_seconds}"
  }

  depends_on = [
    module.buckets,
    module.secrets,
    module.warehouse,
    module.service_accounts,
    module.function_registry,
    google_project_iam_member.this,
    google_project_iam_member.function_sources,
  ]
}

module "pubsub" {
  source = "./modules/pubsub"

  project_id       = var.project_id
  service_agent    = local.agents.pubsub
  kms_key          = local.region_key
  deletion_policy  = local.protect
  topic_iam        = local.topic_iam
  subscription_iam = local.subscription_iam

  topics = { for name, topic in local._messages.topics : name => {
    retention = try(topic.retention, null)
    schema    = can(topic.avro) ? { definition = file("${path.module}/modules/pubsub/schemas/${topic.avro}") } : null
  } }

  subscriptions = merge(
    { for name, store in local._messages.tables : name => {
      topic    = store.topic
      filter   = length([for s in local._messages.tables : s if s.topic == store.topic]) > 1 ? "attributes.table = \"${split(".", store.table)[1]}\"" : null
      bigquery = { table = module.warehouse.tables[store.table], service_account = trimprefix(local.members.bq-writer, "serviceAccount:") }
    } },
    # A bot reads ticks in order, and none that is older than ten minutes. It filters for itself: what it trades
    # stands in strategies.csv, and what converts its profit (GBP_USD for EUR_GBP) only the bot knows.
    { for name, _ in local._bots : "${name}-ticks" => {
      topic                = "ticks"
      ack_deadline_seconds = 10
      ephemeral            = true
      ordering             = true
      retention            = "600s"
    } },
    var.features.dataflow_streaming ? { ticks-to-dataflow = { topic = "ticks" } } : {},
  )

  depends_on = [module.service_accounts, terraform_data.grants_in_force]
}

resource "google_bigquery_bi_reservation" "this" {
  count = var.features.bi_engine_gib > 0 ? 1 : 0

  project  = var.project_id
  location = var.location
  size     = var.features.bi_engine_gib * 1024 * 1024 * 1024

  depends_on = [module.services]
}
