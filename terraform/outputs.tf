output "buckets" {
  description = "gs:// address of each bucket."
  value       = module.buckets.urls
}

output "dags" {
  description = "Where DAG files go; null where Cloud Scheduler starts the jobs."
  value       = one(module.composer[*].dags)
}

output "dataflow" {
  description = "Command that starts the tick pipeline; null where it is not asked for, or its image does not exist."
  value       = one(module.dataflow[*].launch)
}

output "egress_address" {
  description = "The one address the desk is seen from, where it was asked for."
  value       = one(module.network[*].egress_address)
}

output "first_run" {
  description = "Commands of the first run, in order."
  value = concat(
    [for name, _ in local.secrets : "printf %s \"$VALUE\" | gcloud secrets versions add ${name} --project=${var.project_id} --data-file=-" if !contains(keys(var.secret_versions), name)],
    contains(keys(local.jobs), "download") ? ["gcloud run jobs execute download --project=${var.project_id} --region=${var.region} --wait"] : [
      "make deploy ENV=${var.environment} PROJECT=${var.project_id}  # builds the images, which the jobs wait for"
    ],
    contains(keys(local.jobs), "backtest") ? ["gcloud run jobs execute backtest --project=${var.project_id} --region=${var.region} --wait"] : [],
    [for name, _ in local.bots : "gcloud run jobs execute ${name} --project=${var.project_id} --region=${var.region}"],
  )
}

output "looker_studio" {
  description = "Link that makes the dashboard over the views, with the clicking person's own rights; null while there are no views."
  value       = local.looker_link
}

output "mlflow" {
  description = "Tracking address for machines, and the page people open."
  value = {
    tracking_uri = local.mlflow_uri
    ui           = one(module.mlflow[*].ui)
  }
}

output "monthly_cost" {
  description = "Estimate of a month in USD, by component; prices and their sources are in cost/prices.yaml."
  value = {
    as_of      = local._prices.as_of
    components = local.costs
    total      = sum(concat([0], values(local.costs)))
  }
}

output "optional_images" {
  description = "Images that are built because a feature asks for them."
  value       = var.features.dataflow ? ["dataflow"] : []

  depends_on = [module.artifact_registry] # so that the apply of what a build needs records it too
}

output "project_roles" {
  description = "IAM members by workload, to grant more where it is needed."
  value       = local.members

  depends_on = [module.service_accounts]
}

output "registry" {
  description = "Where images are pushed."
  value       = module.artifact_registry.url
}

output "workload_identity_provider" {
  description = "Provider that the CI authenticates with; null without one."
  value       = one(module.wif[*].provider)
}

output "workloads" {
  description = "What is deployed, by kind."
  value = {
    bots      = keys(local.bots)
    functions = keys(local.functions)
    jobs      = keys(local.jobs)
    schedules = keys(local.schedules)
    streamer  = length(module.streamer) > 0
  }
}
