locals {
  _connection = "${var.project_id}:${var.region}:${var.database.name}"
  _user       = replace(trimsuffix(var.service_account, ".gserviceaccount.com"), "@", "%40")

  # Machines call one with an ID token; people open the other through Identity-Aware Proxy. One database.
  services = var.images == null ? {} : merge(
    { mlflow = { iap = false } },
    length(var.people) > 0 ? { mlflow-ui = { iap = true } } : {},
  )
  hosts = { for name in ["mlflow", "mlflow-ui"] : name => "${name}-${var.project_number}.${var.region}.run.app" }
}

resource "google_cloud_run_v2_service" "this" {
  for_each = local.services

  project              = var.project_id
  location             = var.region
  name                 = each.key
  ingress              = "INGRESS_TRAFFIC_ALL" # IAM or IAP decides; laptops log runs too
  iap_enabled          = each.value.iap
  invoker_iam_disabled = false
  deletion_protection  = var.deletion_policy == "PREVENT"

  template {
    service_account                  = var.service_account
    timeout                          = "300s"
    max_instance_request_concurrency = 40
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    scaling {
      min_instance_count = 0
      max_instance_count = 2
    }

    containers {
      name       = "server"
      image      = var.images.server
      depends_on = ["sql-proxy"]
      args = [
        "server", "--host=0.0.0.0", "--port=8080", "--serve-artifacts",
        "--artifacts-destination=gs://${var.bucket}/mlflow",
        "--backend-store-uri=postgresql+psycopg2://${local._user}@127.0.0.1:5432/mlflow",
      ]

      ports {
        container_port = 8080
      }

      # MLflow refuses a Host header that it does not know.
      env {
        name  = "MLFLOW_SERVER_ALLOWED_HOSTS"
        value = local.hosts[each.key]
      }
      env {
        name  = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
        value = "https://${local.hosts[each.key]}"
      }

      resources {
        limits            = { cpu = "1", memory = "2Gi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      startup_probe {
        failure_threshold = 48
        period_seconds    = 5
        timeout_seconds   = 3
        http_get {
          path = "/health"
          port = 8080
        }
      }
    }

    containers {
      name  = "sql-proxy"
      image = var.images.sql_proxy
      args = [
        local._connection, "--auto-iam-authn", "--private-ip", "--port=5432",
        "--health-check", "--http-address=0.0.0.0", "--http-port=9090", "--structured-logs",
      ]

      resources {
        limits   = { cpu = "1", memory = "512Mi" }
        cpu_idle = true
      }

      startup_probe {
        failure_threshold = 24
        period_seconds    = 5
        timeout_seconds   = 3
        http_get {
          path = "/startup"
          port = 9090
        }
      }
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = var.network.network_name
        subnetwork = var.network.subnetwork_name
      }
    }
  }

  depends_on = [google_sql_database.this, google_sql_user.this]
}
