# The whole desk on an OANDA practice account.
environment  = "practice"
orchestrator = "composer"

features = {
  mlflow           = true
  private_network  = true
  static_egress_ip = true
}

audit = {
  services = {
    "secretmanager.googleapis.com" = ["DATA_READ", "DATA_WRITE"]
  }
}
