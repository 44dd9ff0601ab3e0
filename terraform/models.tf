locals {
  mlflow_images = var.images.mlflow != "" && var.images.sql_proxy != "" ? {
    server    = var.images.mlflow
    sql_proxy = var.images.sql_proxy
  } : null
  mlflow_uri = one(module.mlflow[*].tracking_uri)
}

module "mlflow" {
  count  = var.features.mlflow ? 1 : 0
  source = "./modules/mlflow"

  project_id      = var.project_id
  project_number  = local.number
  region          = var.region
  bucket          = module.buckets.names.models
  database        = { name = var.names.database, highly_available = local.live, tier = local.live ? "db-custom-1-3840" : "db-f1-micro" }
  images          = local.mlflow_images
  kms_key         = local.region_key
  deletion_policy = local.protect
  service_account = trimprefix(local.members.mlflow, "serviceAccount:")
  machines        = local.mlflow_machines
  people          = var.readers

  network = {
    network         = module.network[0].network
    network_name    = module.network[0].names.network
    subnetwork_name = module.network[0].names.subnetwork
  }

  depends_on = [module.service_accounts]
}

module "vertex" {
  source = "./modules/vertex"

  project_id  = var.project_id
  region      = var.region
  endpoints   = var.features.vertex_endpoint ? { signals = { number = "1001", description = "Promoted models." } } : {}
  experiments = var.features.vertex_experiments
  kms_key     = local.region_key

  depends_on = [module.services]
}

module "dataflow" {
  count  = var.features.dataflow ? 1 : 0
  source = "./modules/dataflow"

  project_id      = var.project_id
  region          = var.region
  bucket          = module.buckets.names.dataflow
  image           = var.images.dataflow == "" ? null : var.images.dataflow
  parameters      = jsondecode(file("${path.module}/../containers/dataflow/metadata.json")).parameters
  service_account = trimprefix(local.members.dataflow, "serviceAccount:")
  subnetwork      = one(module.network[*].subnetwork)

  depends_on = [module.service_accounts]
}
