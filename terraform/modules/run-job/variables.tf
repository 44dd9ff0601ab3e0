variable "args" {
  description = "Arguments of the entry point."
  type        = list(string)
  default     = null
}

variable "command" {
  description = "Entry point, where it is not the image's own."
  type        = list(string)
  default     = null
}

variable "deletion_protection" {
  description = "Refuse a destroy until this was set to false and applied."
  type        = bool
  default     = false
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

variable "iam" {
  description = "Grants, by any static name."
  type = map(object({
    member = string
    role   = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "Nothing here is public."
  }
}

variable "image" {
  description = "Image, pinned by digest."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "An image is pinned by its digest: NAME@sha256:..."
  }
}

variable "name" {
  description = "Name of the job."
  type        = string
  nullable    = false
}

variable "network" {
  description = "Network all traffic goes through; the internet directly where null."
  type = object({
    network    = string
    subnetwork = string
  })
  default = null
}

variable "project_id" {
  description = "Project of the job."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the job."
  type        = string
  nullable    = false
}

variable "resources" {
  description = "Limits of a task or instance."
  type = object({
    cpu    = optional(string, "1")
    memory = optional(string, "1Gi")
  })
  default  = {}
  nullable = false

  validation {
    condition = try(alltrue([
      for mebibytes in [tonumber(regex("^[0-9]+", var.resources.memory)) * { Mi = 1, Gi = 1024 }[regex("[A-Z].*$", var.resources.memory)]] :
      mebibytes >= { "1" = 512, "2" = 512, "4" = 2048, "6" = 4096, "8" = 4096 }[var.resources.cpu] &&
      mebibytes <= tonumber(var.resources.cpu) * 4096
    ]), false)
    error_message = "cpu is 1, 2, 4, 6 or 8; memory, in Mi or Gi, is 512Mi at least (2Gi for 4 processors, 4Gi for more) and 4Gi a processor at most."
  }
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

variable "task" {
  description = "Tasks of one execution. A retry runs the task anew from its beginning; `parallelism` 0 is as many as there are."
  type = object({
    count           = optional(number, 1)
    max_retries     = optional(number, 0)
    parallelism     = optional(number, 1)
    timeout_seconds = optional(number, 3600)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.task.timeout_seconds <= 604800 && var.task.count >= 1 && var.task.count <= 10000
    error_message = "A task ends within 168 hours; an execution has 1 to 10,000 tasks."
  }
}
