data "google_project" "this" {
  project_id = var.project_id
}

locals {
  number  = data.google_project.this.number
  live    = var.environment == "live"
  protect = local.live ? "PREVENT" : "DELETE"

  # Google's own accounts that act for a service in this project.
  agents = {
    artifactregistry = "serviceAccount:service-${local.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    bigquery         = "serviceAccount:bq-${local.number}@bigquery-encryption.iam.gserviceaccount.com"
    composer         = "serviceAccount:service-${local.number}@cloudcomposer-accounts.iam.gserviceaccount.com"
    pubsub           = "serviceAccount:service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    secretmanager    = "serviceAccount:service-${local.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    sql              = "serviceAccount:service-${local.number}@gcp-sa-cloud-sql.iam.gserviceaccount.com"
    storage          = "serviceAccount:service-${local.number}@gs-project-accounts.iam.gserviceaccount.com"
    vertex           = "serviceAccount:service-${local.number}@gcp-sa-aiplatform.iam.gserviceaccount.com"
  }

  services = toset([for name in concat(
    [
      "artifactregistry", "bigquery", "bigquerystorage", "billingbudgets", "cloudbuild", "cloudresourcemanager",
      "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "secretmanager", "serviceusage", "storage", "sts",
    ],
    var.orchestrator == "composer" ? ["composer"] : ["cloudscheduler"],
    var.features.bi_engine_gib > 0 ? ["bigqueryreservation"] : [],
    var.features.cmek ? ["cloudkms"] : [],
    var.features.dataflow ? ["compute", "dataflow"] : [],
    var.features.private_network ? ["compute", "servicenetworking"] : [],
    var.features.mlflow ? ["iap", "sqladmin"] : [],
    var.features.vertex_endpoint || var.features.vertex_experiments ? ["aiplatform"] : [],
    length(var.functions) > 0 ? ["cloudfunctions", "eventarc"] : [],
    var.images.preview != "" ? ["iap"] : [],
  ) : "${name}.googleapis.com"])
}

module "services" {
  source = "./modules/project-services"

  project_id = var.project_id
  services   = local.services
}

module "network" {
  count  = var.features.private_network ? 1 : 0
  source = "./modules/network"

  project_id       = var.project_id
  region           = var.region
  nat              = { static_ip = var.features.static_egress_ip }
  private_services = var.features.mlflow

  depends_on = [module.services]
}

module "kms" {
  count  = var.features.cmek ? 1 : 0
  source = "./modules/kms"

  project_id      = var.project_id
  name            = var.names.key_rings
  deletion_policy = local.protect
  settle_seconds  = var.iam_settle_seconds
  keys = {
    data = {
      # Keys of the multi-region EU live in europe.
      location   = lower(var.location) == "eu" ? "europe" : lower(var.location)
      encrypters = { for name in ["bigquery", "storage"] : name => local.agents[name] }
    }
    region = {
      location = var.region
      encrypters = { for name in concat(
        ["artifactregistry", "pubsub", "secretmanager"],
        var.orchestrator == "composer" ? ["composer", "storage"] : [],
        var.features.mlflow ? ["sql"] : [],
        var.features.vertex_endpoint || var.features.vertex_experiments ? ["vertex"] : [],
      ) : name => local.agents[name] }
    }
  }

  depends_on = [module.services]
}

locals {
  data_key   = one(module.kms[*].keys.data)
  region_key = one(module.kms[*].keys.region)
}

module "artifact_registry" {
  source = "./modules/artifact-registry"

  project_id      = var.project_id
  region          = var.region
  kms_key         = local.region_key
  deletion_policy = local.protect
  iam             = local.registry_iam

  depends_on = [module.services]
}

# Functions are built by Google, which moves tags: a repository of their own.
module "function_registry" {
  count  = length(var.functions) > 0 ? 1 : 0
  source = "./modules/artifact-registry"

  project_id      = var.project_id
  region          = var.region
  name            = "mbats-functions"
  description     = "Images of the functions, built by Cloud Functions."
  immutable_tags  = false
  kms_key         = local.region_key
  deletion_policy = local.protect
  iam             = { build = local.registry_iam.build }

  depends_on = [module.services]
}

module "cloud_build" {
  count  = var.ci.build_repository == null ? 0 : 1
  source = "./modules/cloud-build"

  project_id      = var.project_id
  region          = coalesce(var.ci.build_region, var.region)
  repository      = var.ci.build_repository
  service_account = module.service_accounts.ids["build"]
  triggers = {
    images = {
      description       = "Builds, tests and pushes every image of a commit on main."
      approval_required = local.live
      substitutions     = { _DATAFLOW = tostring(var.features.dataflow), _REGISTRY = module.artifact_registry.url }
    }
  }
}

module "wif" {
  count  = var.ci.repository_id == null ? 0 : 1
  source = "./modules/wif"

  project_id       = var.project_id
  project_number   = local.number
  pool_id          = var.ci.pool_id
  repository_id    = var.ci.repository_id
  refs             = var.ci.refs
  service_accounts = { deploy = module.service_accounts.ids["deploy"] }

  depends_on = [module.services]
}
