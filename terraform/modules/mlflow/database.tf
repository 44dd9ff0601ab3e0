resource "google_sql_database_instance" "this" {
  project             = var.project_id
  region              = var.region
  name                = var.database.name
  database_version    = "POSTGRES_18"
  encryption_key_name = var.kms_key
  deletion_policy     = var.deletion_policy
  deletion_protection = var.deletion_policy == "PREVENT"

  settings {
    tier                        = var.database.tier
    edition                     = "ENTERPRISE" # the default for PostgreSQL 16 and later refuses small tiers
    availability_type           = var.database.highly_available ? "REGIONAL" : "ZONAL"
    connector_enforcement       = "REQUIRED"
    deletion_protection_enabled = var.deletion_policy == "PREVENT"
    disk_type                   = "PD_SSD"
    disk_autoresize             = true
    disk_autoresize_limit       = 100

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network.network
      ssl_mode        = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      start_time                     = "03:00"
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }

    maintenance_window {
      day          = 6 # Saturday
      hour         = 4
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }
    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_duration"
      value = "on"
    }
    database_flags {
      name  = "log_hostname"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }
    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }
    database_flags {
      name  = "log_min_messages"
      value = "warning"
    }
    database_flags {
      name  = "log_statement"
      value = "ddl"
    }
    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
  }
}

resource "google_sql_database" "this" {
  project         = var.project_id
  instance        = google_sql_database_instance.this.name
  name            = "mlflow"
  deletion_policy = var.deletion_policy == "PREVENT" ? "PREVENT" : "ABANDON" # it goes with the instance
}

# No password: the proxy beside the server signs in with the service account's token.
resource "google_sql_user" "this" {
  project        = var.project_id
  instance       = google_sql_database_instance.this.name
  name           = trimsuffix(var.service_account, ".gserviceaccount.com")
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = ["cloudsqlsuperuser"]

  # PostgreSQL cannot drop a user that owns tables; it goes with the instance.
  deletion_policy = "ABANDON"

  lifecycle {
    # Given once, when the user is made; which it has later is the database's affair, and no change to a plan.
    ignore_changes = [database_roles]
  }
}
