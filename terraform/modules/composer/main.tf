resource "google_composer_environment" "this" {
  project         = var.project_id
  region          = var.region
  name            = var.name
  deletion_policy = var.deletion_policy

  config {
    environment_size           = var.size
    enable_private_environment = true
    enable_private_builds_only = true

    software_config {
      image_version            = var.image_version
      env_variables            = var.env
      airflow_config_overrides = var.airflow_config
    }

    node_config {
      service_account = var.service_account
      network         = try(var.network.network, null)
      subnetwork      = try(var.network.subnetwork, null)
    }

    workloads_config {
      scheduler {
        count      = 1
        cpu        = 0.5
        memory_gb  = 2
        storage_gb = 1
      }
      triggerer {
        count     = 1
        cpu       = 1
        memory_gb = 2
      }
      dag_processor {
        count      = 1
        cpu        = 1
        memory_gb  = 2
        storage_gb = 1
      }
      web_server {
        cpu        = 1
        memory_gb  = 3
        storage_gb = 1
      }
      worker {
        min_count  = 1
        max_count  = var.max_workers
        cpu        = 0.5
        memory_gb  = 2
        storage_gb = 1
      }
    }

    # Twelve hours a week are the least Google takes; the FX market sleeps through these.
    maintenance_window {
      start_time = "2026-01-03T00:00:00Z"
      end_time   = "2026-01-03T06:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
    }

    dynamic "web_server_network_access_control" {
      for_each = length(var.web_allowed_ip_ranges) > 0 ? [var.web_allowed_ip_ranges] : []
      content {
        dynamic "allowed_ip_range" {
          for_each = web_server_network_access_control.value
          content {
            description = allowed_ip_range.key
            value       = allowed_ip_range.value
          }
        }
      }
    }

    dynamic "encryption_config" {
      for_each = var.kms_key == null ? [] : [var.kms_key]
      content {
        kms_key_name = encryption_config.value
      }
    }
  }

  # Our own bucket: the one Google makes survives a destroy.
  storage_config {
    bucket = var.bucket
  }
}
