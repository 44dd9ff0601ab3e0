# Applied to the mock and planned again: nothing may change that Terraform itself decides.
mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  project_id         = "mbats-test-project"
  iam_settle_seconds = 0
}

run "apply" {}

run "again" {
  command = plan
}
