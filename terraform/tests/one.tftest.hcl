# One plan, in which tests/terraform/test_mistakes.py plants what must be refused.
mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  project_id = "mbats-test-project"
  # variables
}

run "one" {
  command = plan
}
