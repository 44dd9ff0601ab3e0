terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.42, < 9"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region

  # A person's own credentials need a project to be counted against, for budgets above all.
  billing_project       = var.project_id
  user_project_override = true

  default_labels = {
    application = "mbats"
    environment = var.environment
  }
}
