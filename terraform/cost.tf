locals {
  _prices = yamldecode(file("${path.module}/cost/prices.yaml"))
  _price  = { for name, entry in local._prices.prices : name => entry.price }

  _month_seconds = 730 * 3600
  _week_seconds  = 120 * 3600 * 730 / 168 # the FX week, a month's worth

  _streamers   = length(module.streamer)
  _bot_seconds = length(local.bots) * local._week_seconds
  _cpu_seconds = max(0, local._streamers * local._month_seconds + sum(concat([0], [for b in local.bots : tonumber(b.cpu) * local._week_seconds])) - local._price.run_free_vcpu_seconds)
  _gib_seconds = local._streamers * 0.5 * local._month_seconds + local._bot_seconds

  # Jobs, functions and services that scale to zero stay within the free tier in a small desk.
  _costs = {
    "Airflow (Composer)" = var.orchestrator == "composer" ? local._price.composer_small_month : 0
    "BI Engine"          = var.features.bi_engine_gib * local._price.bi_engine_gib_month
    "Cloud Scheduler"    = max(0, length(local.schedules) - 3) * local._price.scheduler_job
    "Dataflow streaming" = var.features.dataflow_streaming ? local._price.dataflow_streaming_month : 0
    "Encryption keys"    = var.features.cmek ? 2 * local._price.kms_key_month : 0
    "MLflow's database" = !var.features.mlflow ? 0 : local._price.sql_storage_month + (
      local.live ? 2 * 730 * (local._price.sql_vcpu_hour + 3.75 * local._price.sql_gb_hour) : local._price.sql_shared_core_month
    )
    "Network address translation" = !var.features.private_network ? 0 : (
      (1 + local._streamers + length(local.bots)) * local._price.nat_instance_month + 10 * local._price.nat_gib
      + (var.features.static_egress_ip ? local._price.static_ip_month : 0)
    )
    "Secrets"                  = max(0, length(var.secret_versions) - 6) * local._price.secret_version_month
    "Storage and messages"     = local._price.storage_and_messages_month
    "Streamer and bots"        = local._cpu_seconds * local._price.run_vcpu_second + local._gib_seconds * local._price.run_gib_second
    "Vertex endpoint (1 node)" = var.features.vertex_endpoint ? local._price.vertex_replica_month : 0
  }
  costs = { for name, cost in local._costs : name => ceil(cost * 100) / 100 if cost > 0 }
}
