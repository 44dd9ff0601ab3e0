resource "google_cloudfunctions2_function" "this" {
  project     = var.project_id
  location    = var.region
  name        = var.name
  description = var.description

  build_config {
    runtime           = var.source_code.runtime
    entry_point       = var.source_code.entry_point
    service_account   = var.build_service_account
    docker_repository = var.docker_repository

    source {
      storage_source {
        bucket = var.source_code.bucket
        object = var.source_code.object
      }
    }
  }

  service_config {
    service_account_email            = var.service_account
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    available_memory                 = var.resources.memory
    available_cpu                    = var.resources.cpu
    timeout_seconds                  = var.timeout_seconds
    min_instance_count               = 0
    max_instance_count               = var.max_instances
    max_instance_request_concurrency = 1
    all_traffic_on_latest_revision   = true
    environment_variables            = var.env

    dynamic "secret_environment_variables" {
      for_each = var.secrets
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }
  }

  event_trigger {
    event_type            = var.trigger.bucket == null ? "google.cloud.pubsub.topic.v1.messagePublished" : "google.cloud.storage.object.v1.finalized"
    pubsub_topic          = var.trigger.topic
    trigger_region        = coalesce(var.trigger.region, var.region)
    retry_policy          = "RETRY_POLICY_RETRY"
    service_account_email = var.service_account

    dynamic "event_filters" {
      for_each = var.trigger.bucket == null ? [] : [var.trigger.bucket]
      content {
        attribute = "bucket"
        value     = event_filters.value
      }
    }
  }
}
