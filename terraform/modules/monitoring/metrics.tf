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

resource "google_logging_metric" "dead_letter" {
  project     = var.project_id
  name        = "mbats_dead_letter"
  description = "Messages that nobody could use, by topic: each counted when it is first kept."
  filter      = "${local._workloads} AND jsonPayload.event=\"dead_letter\" AND jsonPayload.new=true"

  label_extractors = {
    topic = "EXTRACT(jsonPayload.topic)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels {
      key         = "topic"
      value_type  = "STRING"
      description = "Where it was published."
    }
  }
}

locals {
  _workloads = "resource.type=(\"cloud_run_job\" OR \"cloud_run_worker_pool\" OR \"cloud_run_revision\")"
}
