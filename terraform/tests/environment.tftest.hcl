# Every environment is planned with this file: `terraform test -var-file=environments/ENV.tfvars`.
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

run "today" {
  command = plan
}
