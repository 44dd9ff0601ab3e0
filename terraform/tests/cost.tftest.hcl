# The plan that `make cost` prices: an environment whose images are built and whose secrets are filled.
mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  project_id = "mbats-test-project"
  images = {
    desk      = "desk@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    mlflow    = "mlflow@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    sql_proxy = "sql-proxy@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    streamer  = "streamer@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
  secret_versions = {
    notify-webhook       = "1"
    oanda-live-token     = "1"
    oanda-practice-token = "1"
  }
}

run "cost" {
  command = plan

  assert {
    condition     = output.monthly_cost.total == sum(values(output.monthly_cost.components))
    error_message = "The estimate is the sum of its components."
  }
}
