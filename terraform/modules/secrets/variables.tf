variable "deletion_policy" {
  description = "DELETE or PREVENT."
  type        = string
  default     = "DELETE"
  nullable    = false

  validation {
    condition     = contains(["DELETE", "PREVENT"], var.deletion_policy)
    error_message = "deletion_policy is DELETE or PREVENT."
  }
}

variable "iam" {
  description = "Grants by any static name; `secret` is a key of `secrets`."
  type = map(object({
    member = string
    role   = optional(string, "roles/secretmanager.secretAccessor")
    secret = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "No secret is public."
  }
}

variable "kms" {
  description = "Key to encrypt with and its region, in which the secrets then stay. Cannot be changed later."
  type = object({
    key      = string
    location = string
  })
  default = null
}

variable "project_id" {
  description = "Project of the secrets."
  type        = string
  nullable    = false
}

variable "secrets" {
  description = "Secrets by name: what each is for."
  type = map(object({
    description = string
  }))
  nullable = false

  validation {
    condition     = alltrue([for name, _ in var.secrets : can(regex("^[A-Za-z0-9_-]{1,255}$", name))])
    error_message = "A secret's name is letters, digits, hyphens and underscores."
  }
}
