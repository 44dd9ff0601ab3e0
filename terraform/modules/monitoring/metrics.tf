# Everything that runs logs JSON; `event` says what happened and `source` who says so.
resource "google_logging_metric" "heartbeat" {
  project     = var.project_id
  name        = "mbats_heartbeat"
  description = "Signs of life of the streamer and the bots."
  filter      = "${local._workloads} AND jsonPayload.event=\"heartbeat\""

  label_extractors = {
    source = "EXTRACT(jsonPayload.source)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels {
      key         = "source"
      value_type  = "STRING"
      description = "Streamer or bot."
    }
  }
}

locals {
  _workloads = "resource.type=(\"cloud_run_job\" OR \"cloud_run_worker_pool\" OR \"cloud_run_revision\")"
}
