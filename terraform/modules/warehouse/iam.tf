# Access entries only, never google_bigquery_dataset_iam_*: those remove authorized datasets.

# The views may read both datasets for people who may not.
resource "google_bigquery_dataset_access" "views" {
  for_each = toset(var.authorize_views ? ["risk", "security_master"] : [])

  project    = var.project_id
  dataset_id = google_bigquery_dataset.this[each.key].dataset_id

  dataset {
    target_types = ["VIEWS"]
    dataset {
      project_id = var.project_id
      dataset_id = google_bigquery_dataset.this["desk_views"].dataset_id
    }
  }
}

resource "google_bigquery_dataset_access" "this" {
  for_each = var.dataset_access

  project        = var.project_id
  dataset_id     = google_bigquery_dataset.this[each.value.dataset].dataset_id
  role           = each.value.role
  group_by_email = startswith(each.value.member, "group:") ? trimprefix(each.value.member, "group:") : null
  user_by_email  = startswith(each.value.member, "group:") ? null : replace(each.value.member, "/^(user|serviceAccount):/", "")
}

resource "google_bigquery_table_iam_member" "this" {
  for_each = var.table_iam

  project    = var.project_id
  dataset_id = google_bigquery_table.this[each.value.table].dataset_id
  table_id   = google_bigquery_table.this[each.value.table].table_id
  role       = each.value.role
  member     = each.value.member
}
