variable "project_id" {
  description = "Project of the triggers."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the triggers: that of the repository's connection."
  type        = string
  nullable    = false
}

variable "repository" {
  description = "Connected repository, made once in the console: projects/P/locations/R/connections/C/repositories/N."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^projects/[^/]+/locations/[^/]+/connections/[^/]+/repositories/[^/]+$", var.repository))
    error_message = "The repository is projects/P/locations/R/connections/C/repositories/N."
  }
  validation {
    condition     = try(split("/", var.repository)[3] == var.region, false)
    error_message = "A trigger lies in the region of its repository's connection: ci.build_region."
  }
}

variable "service_account" {
  description = "Identity of the builds: full resource name."
  type        = string
  nullable    = false
}

variable "triggers" {
  description = "Triggers by name, run on a push to `branch` (a regular expression)."
  type = map(object({
    approval_required = optional(bool, false)
    branch            = optional(string, "^main$")
    description       = optional(string, "")
    filename          = optional(string, "cloudbuild.yaml")
    included_files    = optional(list(string))
    substitutions     = optional(map(string), {})
  }))
  nullable = false
}
