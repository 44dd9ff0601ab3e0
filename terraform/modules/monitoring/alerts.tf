locals {
  _channels = [for channel in google_monitoring_notification_channel.this : channel.id]

  # From Sunday 22:00 to Friday 21:00 UTC the market is open whatever New York's clocks do.
  _market_open = join(" or ", [
    "(day_of_week() > 0 and day_of_week() < 5)",
    "(day_of_week() == 5 and hour() < 21)",
    "(day_of_week() == 0 and hour() >= 22)",
  ])

  # An alert for each event a person must know of at once.
  _events = {
    data-late = {
      event = "data_late", severity = "WARNING"
      text  = "Bars or ticks are older than they may be. See `mbats data status` and the download job's log."
    }
    dead-letter = {
      event = "dead_letter", severity = "ERROR"
      text  = "A message that nobody could use was kept under gs://PROJECT-data/dead-letters/, with the cause. Mend it, then `mbats replay TOPIC`."
    }
    drawdown = {
      event = "drawdown_limit", severity = "CRITICAL"
      text  = "A strategy or the book fell to its drawdown limit; the risk rules flatten and halt it. `mbats resume` needs a clean reconciliation."
    }
    halted = {
      event = "halted", severity = "CRITICAL"
      text  = "Trading was halted, by a person or by a rule; the log entry names it."
    }
    order-unknown = {
      event = "order_unknown", severity = "ERROR"
      text  = "The broker's answer to an order was lost and the order is not yet found in its transaction log. The instrument is blocked until it is."
    }
    reconciliation-mismatch = {
      event = "reconciliation_mismatch", severity = "CRITICAL"
      text  = "Broker, journal and risk store disagree. Nothing trades until `mbats reconcile` is clean."
    }
  }
}

resource "google_monitoring_alert_policy" "event" {
  for_each = local._events

  project               = var.project_id
  display_name          = "MBATS ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local._channels

  conditions {
    display_name = each.value.event
    condition_matched_log {
      filter = "${local._workloads} AND jsonPayload.event=\"${each.value.event}\""
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    content   = each.value.text
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "heartbeat" {
  for_each = var.heartbeats

  project               = var.project_id
  display_name          = "MBATS heartbeat lost: ${each.key}"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local._channels

  conditions {
    display_name = "no heartbeat for five minutes of an open market"
    condition_prometheus_query_language {
      # Jobs and worker pools write one metric, and PromQL takes no series of which it does not know the kind.
      query = join(" ", [
        "(sum(increase(logging_googleapis_com:user_mbats_heartbeat{monitored_resource=\"${each.value}\",source=\"${each.key}\"}[5m])) or vector(0)) < 1",
        "and on() (${local._market_open})",
      ])
      duration                  = "60s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # the metric has no data before the first heartbeat
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    content   = "`${each.key}` is silent. Positions may be open: see `mbats status`, then `mbats flatten` if it does not come back."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "job_failed" {
  project               = var.project_id
  display_name          = "MBATS job failed"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local._channels

  conditions {
    display_name = "an execution failed"
    condition_threshold {
      filter          = "resource.type = \"cloud_run_job\" AND metric.type = \"run.googleapis.com/job/completed_execution_count\" AND metric.labels.result = \"failed\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.job_name"]
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    content   = "A Cloud Run job ended in failure. Its log: `gcloud run jobs executions list --job JOB`."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  project               = var.project_id
  display_name          = "MBATS dead letters"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local._channels

  conditions {
    display_name = "a message could not be delivered"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.labels.subscription_id = monitoring.regex.full_match(\".*-dead-letter\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "60s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  alert_strategy {
    auto_close = "604800s"
  }

  documentation {
    content   = "Messages lie in a dead-letter subscription, kept 31 days. Mend the cause, then `mbats replay`."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "store_behind" {
  project               = var.project_id
  display_name          = "MBATS warehouse behind"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local._channels

  conditions {
    display_name = "events wait more than five minutes for BigQuery"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.labels.subscription_id = monitoring.regex.full_match(\".*-to-bigquery\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 300
      duration        = "300s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    content   = "A BigQuery subscription does not keep up, or cannot write: the risk store is behind what happened."
    mime_type = "text/markdown"
  }
}
