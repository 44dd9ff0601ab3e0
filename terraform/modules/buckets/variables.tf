variable "buckets" {
  description = "Buckets by short name. `expire_days` deletes objects under `expire_prefixes` (all, where empty). `place` puts a bucket elsewhere than the others, with the key of that place."
  type = map(object({
    expire_days     = optional(number)
    expire_prefixes = optional(list(string), [])
    keep_versions   = optional(number, 5)
    place = optional(object({
      kms_key  = optional(string)
      location = string
    }))
    versioning = optional(bool, true)
  }))
  nullable = false

  validation {
    condition     = alltrue([for b in var.buckets : b.keep_versions >= 1])
    error_message = "keep_versions is at least 1: Google ignores 0."
  }
}

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

variable "force_destroy" {
  description = "Let a destroy delete the objects too; then nothing is kept after a delete either."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !(var.force_destroy && var.deletion_policy == "PREVENT")
    error_message = "force_destroy contradicts deletion_policy PREVENT."
  }
}

variable "iam" {
  description = "Grants by any static name; `bucket` is a key of `buckets`, `prefix` what the names of the objects begin with."
  type = map(object({
    bucket = string
    member = string
    prefix = optional(string)
    role   = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "No bucket is public."
  }
}

variable "kms_key" {
  description = "Key to encrypt with; Google's own where null."
  type        = string
  default     = null
}

variable "location" {
  description = "Location of the buckets that name none, for example EU."
  type        = string
  nullable    = false
}

variable "log_bucket" {
  description = "Bucket that takes access logs; null for none (Cloud Audit Logs has them)."
  type        = string
  default     = null
}

variable "prefix" {
  description = "Put before every name: bucket names are shared by the whole world."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,40}$", var.prefix))
    error_message = "A prefix is 3 to 41 lower-case letters, digits and hyphens."
  }
}

variable "project_id" {
  description = "Project of the buckets."
  type        = string
  nullable    = false
}
