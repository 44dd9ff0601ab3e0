mock_provider "google" {}

variables {
  bigquery   = "http://127.0.0.1:1"
  project_id = "mbats-local"
  pubsub     = "http://127.0.0.1:2"
}

run "local" {
  command = plan
}
