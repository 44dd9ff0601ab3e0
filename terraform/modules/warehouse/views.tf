locals {
  # looker/views/<dataset>/<view>.sql, as `mbats init` applies them. Each view is made twice: in its dataset,
  # and in desk_views, where it reads the tables directly and other views as their desk_views twin, so that
  # authorizing the one dataset is enough for people who may read nothing else.
  _view_files = var.views_path == null ? [] : sort(tolist(fileset(var.views_path, "{risk,security_master}/*.sql")))
  _view_texts = {
    for file in local._view_files :
    "${dirname(file)}.${trimsuffix(basename(file), ".sql")}" => trimsuffix(trimspace(file("${var.views_path}/${file}")), ";")
  }
  _view_names = join("|", [for key, _ in local._view_texts : split(".", key)[1]])

  _view_sources = merge(
    local._view_texts,
    { for key, text in local._view_texts : "desk_views.${split(".", key)[1]}" => replace(
      text, "/\\{(risk|security_master)\\}\\.(${local._view_names})\\b/", "{desk_views}.$2",
    ) },
  )
  views = {
    for key, text in local._view_sources : key => {
      dataset = split(".", key)[0]
      table   = split(".", key)[1]
      query = replace(replace(replace(replace(
        text,
        "{project}", var.project_id),
        "{security_master}", local.datasets.security_master),
        "{risk}", local.datasets.risk),
      "{desk_views}", local.datasets.desk_views)
      reads = [for other, _ in local._view_texts : split(".", other)[1] if split(".", other)[1] != split(".", key)[1] &&
      can(regex("\\b${split(".", other)[1]}\\b", text))]
    }
  }

  # Google checks a view when it is made, so those that others read come first: three layers.
  _first  = [for key, view in local.views : view.table if length(view.reads) == 0]
  _second = [for key, view in local.views : view.table if length(view.reads) > 0 && length(setsubtract(view.reads, local._first)) == 0]
}

resource "google_bigquery_table" "view" {
  # checkov:skip=CKV_GCP_80:a view holds no data to encrypt
  # checkov:skip=CKV_GCP_121:a view holds no data to lose, and must be replaceable
  for_each = { for key, view in local.views : key => view if contains(local._first, view.table) }

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.this[each.value.dataset].dataset_id
  table_id            = each.value.table
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.this, google_bigquery_routine.session_date]
}

resource "google_bigquery_table" "view_of_views" {
  # checkov:skip=CKV_GCP_80:a view holds no data to encrypt
  # checkov:skip=CKV_GCP_121:a view holds no data to lose, and must be replaceable
  for_each = { for key, view in local.views : key => view if contains(local._second, view.table) }

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.this[each.value.dataset].dataset_id
  table_id            = each.value.table
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.view]
}

resource "google_bigquery_table" "view_on_top" {
  # checkov:skip=CKV_GCP_80:a view holds no data to encrypt
  # checkov:skip=CKV_GCP_121:a view holds no data to lose, and must be replaceable
  for_each = { for key, view in local.views : key => view if !contains(concat(local._first, local._second), view.table) }

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.this[each.value.dataset].dataset_id
  table_id            = each.value.table
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  lifecycle {
    precondition {
      condition     = length(setsubtract(each.value.reads, concat(local._first, local._second))) == 0
      error_message = "View ${each.key} is a fourth layer of views: let it read an earlier one."
    }
  }

  depends_on = [google_bigquery_table.view_of_views]
}

resource "google_bigquery_routine" "session_date" {
  project      = var.project_id
  dataset_id   = google_bigquery_dataset.this["desk_views"].dataset_id
  routine_id   = "session_date"
  routine_type = "SCALAR_FUNCTION"
  language     = "SQL"
  description  = "FX session a moment belongs to: the day on which it closes at 17:00 in New York."

  arguments {
    name      = "moment"
    data_type = jsonencode({ typeKind = "TIMESTAMP" })
  }
  return_type     = jsonencode({ typeKind = "DATE" })
  definition_body = "DATE(DATETIME_ADD(DATETIME(moment, 'America/New_York'), INTERVAL 7 HOUR))"
}
