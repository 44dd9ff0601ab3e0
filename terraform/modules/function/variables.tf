variable "build_service_account" {
  description = "Identity of the build: full resource name."
  type        = string
  nullable    = false
}

variable "description" {
  description = "What the function does."
  type        = string
  default     = ""
  nullable    = false
}

variable "docker_repository" {
  description = "Artifact Registry repository of the built image: full resource name."
  type        = string
  nullable    = false
}

variable "env" {
  description = "Environment variables."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, _ in var.env : can(regex("^[A-Z][A-Z0-9_]*$", name))])
    error_message = "An environment variable is upper-case letters, digits and underscores."
  }
}

variable "max_instances" {
  description = "Most instances at once."
  type        = number
  default     = 3
  nullable    = false
}

variable "name" {
  description = "Name of the function: lower-case letters, digits and hyphens, for its Cloud Run service has the same."
  type        = string
  nullable    = false
}

variable "project_id" {
  description = "Project of the function."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the function."
  type        = string
  nullable    = false
}

variable "resources" {
  description = "Memory and processors of an instance."
  type = object({
    cpu    = optional(string, "1")
    memory = optional(string, "512Mi")
  })
  default  = {}
  nullable = false
}

variable "secrets" {
  description = "Environment variables that hold a secret: its id and the number of its version."
  type = map(object({
    secret  = string
    version = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for s in var.secrets : can(regex("^[1-9][0-9]*$", s.version))])
    error_message = "A version is a number, not latest: a rotation is a decision."
  }
}

variable "service_account" {
  description = "Identity it runs as: an email."
  type        = string
  nullable    = false
}

variable "source_code" {
  description = "The zipped source in a bucket; a new object name is a new version."
  type = object({
    bucket      = string
    entry_point = string
    object      = string
    runtime     = optional(string, "python312")
  })
  nullable = false
}

variable "timeout_seconds" {
  description = "Longest run for one event, at most 540 seconds."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 540
    error_message = "An event-driven function runs 540 seconds at most."
  }
}

variable "trigger" {
  description = "What calls it: a Pub/Sub topic's id, or a bucket's name with the region of the bucket (eu for the multi-region EU)."
  type = object({
    bucket = optional(string)
    region = optional(string)
    topic  = optional(string)
  })
  nullable = false

  validation {
    condition     = (var.trigger.bucket == null) != (var.trigger.topic == null)
    error_message = "A trigger has either a topic or a bucket."
  }
}
