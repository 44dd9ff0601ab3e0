# Real money. Nothing that holds data or trades can be destroyed, and a live bot needs its account here:
#   live_accounts = ["001-004-0000000-001"]
environment  = "live"
orchestrator = "composer"

features = {
  mlflow           = true
  private_network  = true
  static_egress_ip = true
}

audit = {
  retention_days = 2555 # seven years
  services = {
    "bigquery.googleapis.com"      = ["DATA_WRITE"]
    "iam.googleapis.com"           = ["ADMIN_READ", "DATA_READ", "DATA_WRITE"]
    "secretmanager.googleapis.com" = ["ADMIN_READ", "DATA_READ", "DATA_WRITE"]
    "storage.googleapis.com"       = ["DATA_READ", "DATA_WRITE"]
  }
}

live_accounts = []
