# Every environment is planned with this file: `terraform test -var-file=environments/ENV.tfvars`.
# tests/terraform/ reads the plans (-json -verbose) and checks every resource in them.
mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  project_id = "mbats-test-project"
}

# What an apply makes before any image is built and any secret filled.
run "today" {
  command = plan

  assert {
    condition     = length(output.workloads.jobs) == 0 && length(output.workloads.bots) == 0 && !output.workloads.streamer
    error_message = "Nothing may need an image that does not exist."
  }
  assert {
    condition     = length(output.optional_images) == 0 && output.dataflow == null
    error_message = "The tick pipeline is off unless asked for, and its image is not built."
  }
  assert {
    condition     = output.looker_studio == null || can(regex("^https://lookerstudio.google.com/reporting/create\\?", output.looker_studio))
    error_message = "The Looker Studio link is Google's Linking API."
  }
  assert {
    condition     = output.monthly_cost.total > 0 && output.monthly_cost.total == sum(values(output.monthly_cost.components))
    error_message = "The estimate is the sum of its components."
  }
}

run "full_composer" {
  command = plan

  variables {
    orchestrator = "composer"
    budget       = { amount = 500, billing_account = "000000-000000-000000" }
    ci = {
      repository_id    = "123456789"
      build_repository = "projects/mbats-test-project/locations/europe-west1/connections/github/repositories/mbats"
    }
    bots = {
      trend = { account = "101-004-0000000-001", mode = "practice", strategies = ["sma_reversal"], instruments = ["EUR_USD", "GBP_USD"] }
    }
    features = {
      bi_engine_gib      = 1
      cmek               = true
      dataflow           = true
      dataflow_streaming = true
      mlflow             = true
      private_network    = true
      static_egress_ip   = true
      vertex_endpoint    = true
      vertex_experiments = true
    }
    functions = {
      control-file = "functions/control-file-0000000.zip"
      dead-letter  = "functions/dead-letter-0000000.zip"
      notify       = "functions/notify-0000000.zip"
      risk-guard   = "functions/risk-guard-0000000.zip"
    }
    images = {
      dataflow     = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/dataflow@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      desk         = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/desk@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      mlflow       = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/mlflow@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      model_server = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/model-server@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      preview      = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/preview@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      sql_proxy    = "gcr.io/cloud-sql-connectors/cloud-sql-proxy@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      streamer     = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/streamer@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    }
    notification_channels = { desk = { labels = { email_address = "desk@example.com" } } }
    readers               = { quants = "group:quants@example.com" }
    secret_versions       = { notify-webhook = "1", oanda-live-token = "1", oanda-practice-token = "1" }
  }

  assert {
    condition     = toset(output.workloads.jobs) == toset(["backtest", "download", "halt", "parity", "reconcile", "sweep", "train"])
    error_message = "Every job of the desk is made once its image is there."
  }
  assert {
    condition     = toset(output.workloads.bots) == toset(["bot-trend"]) && output.workloads.streamer && length(output.workloads.functions) == 8
    error_message = "Bot, streamer and functions are made."
  }
  assert {
    condition     = length(output.workloads.schedules) == 0 && output.dags == "gs://mbats-test-project-composer/dags"
    error_message = "With Composer, nothing else starts jobs."
  }
  assert {
    condition     = output.mlflow.tracking_uri == "https://mlflow-123456789012.europe-west1.run.app"
    error_message = "MLflow's address is known before it exists."
  }
  assert {
    condition     = toset(output.optional_images) == toset(["dataflow"]) && can(regex("^gcloud dataflow flex-template run ticks-to-bars .*--service-account-email=mbats-dataflow@", output.dataflow))
    error_message = "A feature brings its image, and says how it is started."
  }
}

run "full_scheduler" {
  command = plan

  variables {
    orchestrator = "scheduler"
    bots = {
      trend = { account = "101-004-0000000-001", mode = "practice", strategies = ["sma_reversal"], instruments = ["EUR_USD", "GBP_USD"] }
    }
    images = {
      desk     = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/desk@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      streamer = "europe-west1-docker.pkg.dev/mbats-test-project/mbats/streamer@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    }
    secret_versions = { oanda-live-token = "1", oanda-practice-token = "1" }
  }

  assert {
    condition     = toset(output.workloads.schedules) == toset(["download", "reconcile", "parity", "bot-trend"])
    error_message = "Cloud Scheduler starts the daily jobs and the bot's week."
  }
  assert {
    condition     = output.dags == null
    error_message = "Without Composer there are no DAGs."
  }
}
