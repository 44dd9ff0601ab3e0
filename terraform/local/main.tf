# The data plane on the local emulators: what can be applied for real without a cloud. `make terraform-local`.
terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.42, < 9"
    }
  }
}

provider "google" {
  project      = var.project_id
  region       = "europe-west1"
  access_token = "none" # the emulators ask for none; the provider does

  big_query_custom_endpoint = "${var.bigquery}/bigquery/v2/"
  pubsub_custom_endpoint    = "${var.pubsub}/v1/"
}

locals {
  messages_project = "${var.project_id}-messages"

  _messages = yamldecode(file("${path.module}/../messages.yaml"))
}

# Emulators know no access and no service accounts: no grants. Buckets are left to `mbats up`, whose Cloud
# Storage keeps neither location nor lifecycle.
module "warehouse" {
  source = "../modules/warehouse"

  project_id      = var.project_id
  location        = "EU"
  authorize_views = false
  deletion_policy = "DELETE"
  views_path      = "${path.module}/../../looker/views"
}

# The stack makes the desk's own topics when it starts, so these stand in a project of their own beside them.
module "pubsub" {
  source = "../modules/pubsub"

  project_id            = local.messages_project
  dead_letter_retention = "604800s"
  deletion_policy       = "DELETE"

  topics = { for name, topic in local._messages.topics : name => {
    retention = try(topic.retention, null)
    schema    = can(topic.avro) ? { definition = file("${path.module}/../modules/pubsub/schemas/${topic.avro}") } : null
  } }

  subscriptions = { for name, store in local._messages.tables : name => {
    topic    = store.topic
    bigquery = { table = module.warehouse.tables[store.table], service_account = "writer@${var.project_id}.iam.gserviceaccount.com" }
  } }
}
