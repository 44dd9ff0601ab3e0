locals {
  _descriptions = {
    desk_views      = "What people and dashboards read: views over the other two."
    risk            = "Runs, orders, fills, positions, performance."
    security_master = "Instruments, bars, ticks, watchlist, data quality."
    staging         = "Batches on their way into a table of the other two."
  }
  datasets = {
    desk_views      = var.dataset_ids.desk_views
    risk            = var.dataset_ids.risk
    security_master = var.dataset_ids.security_master
    staging         = var.dataset_ids.staging
  }
}

resource "google_bigquery_dataset" "this" {
  for_each = local.datasets

  project                    = var.project_id
  dataset_id                 = each.value
  description                = local._descriptions[each.key]
  location                   = var.location
  max_time_travel_hours      = "168"
  delete_contents_on_destroy = var.deletion_policy == "DELETE"

  # A batch is taken in at once; what a crash left behind goes by itself.
  default_table_expiration_ms = each.key == "staging" ? 24 * 60 * 60 * 1000 : null
  deletion_policy             = var.deletion_policy

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }
}
