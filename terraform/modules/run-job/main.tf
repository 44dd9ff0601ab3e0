resource "google_cloud_run_v2_job" "this" {
  project             = var.project_id
  location            = var.region
  name                = var.name
  deletion_protection = var.deletion_protection

  template {
    task_count  = var.task.count
    parallelism = var.task.parallelism == 0 ? null : var.task.parallelism # the provider sends no zero, and Google may answer with its own

    template {
      service_account       = var.service_account
      timeout               = "${var.task.timeout_seconds}s"
      max_retries           = var.task.max_retries
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"

      containers {
        image   = var.image
        command = var.command
        args    = var.args

        resources {
          limits = var.resources
        }

        dynamic "env" {
          for_each = var.env
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = var.secrets
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = env.value.secret
                version = env.value.version
              }
            }
          }
        }
      }

      dynamic "vpc_access" {
        for_each = var.network == null ? [] : [var.network]
        content {
          egress = "ALL_TRAFFIC"
          network_interfaces {
            network    = vpc_access.value.network
            subnetwork = vpc_access.value.subnetwork
          }
        }
      }
    }
  }
}
