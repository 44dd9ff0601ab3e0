output "datasets" {
  description = "Id of each dataset, by its usual name."
  value       = local.datasets

  depends_on = [google_bigquery_dataset.this, google_bigquery_dataset_access.this, google_bigquery_dataset_access.views]
}

output "tables" {
  description = "PROJECT.DATASET.TABLE of each table, by its usual name DATASET.TABLE."
  value       = { for key, table in local.tables : key => "${var.project_id}.${local.datasets[table.dataset]}.${table.table}" }

  depends_on = [google_bigquery_table.this, google_bigquery_table_iam_member.this]
}

output "views" {
  description = "PROJECT.DATASET.VIEW of each view, by its usual name DATASET.VIEW."
  value       = { for key, view in local.views : key => "${var.project_id}.${local.datasets[view.dataset]}.${view.table}" }

  depends_on = [google_bigquery_table.view, google_bigquery_table.view_of_views, google_bigquery_table.view_on_top]
}
