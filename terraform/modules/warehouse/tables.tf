locals {
  # The library and the local stack read the same files: nothing here repeats a column.
  tables = {
    for file in fileset("${path.module}/schemas", "*/*.json") :
    "${dirname(file)}.${trimsuffix(basename(file), ".json")}" => merge(
      jsondecode(file("${path.module}/schemas/${file}")),
      { dataset = dirname(file), table = trimsuffix(basename(file), ".json") },
    )
  }
}

resource "google_bigquery_table" "this" {
  for_each = local.tables

  project                  = var.project_id
  dataset_id               = google_bigquery_dataset.this[each.value.dataset].dataset_id
  table_id                 = each.value.table
  description              = each.value.description
  schema                   = jsonencode(each.value.fields)
  clustering               = try(each.value.clustering, null)
  require_partition_filter = try(each.value.require_partition_filter, false)
  deletion_policy          = var.deletion_policy
  deletion_protection      = var.deletion_policy == "PREVENT"

  dynamic "time_partitioning" {
    for_each = try([each.value.time_partitioning], [])
    content {
      type  = time_partitioning.value.type
      field = time_partitioning.value.field
    }
  }

  # BigQuery does not enforce it; MERGE, the optimizer and readers use it.
  table_constraints {
    primary_key {
      columns = each.value.primary_key
    }
  }

  dynamic "encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = encryption_configuration.value
    }
  }
}
