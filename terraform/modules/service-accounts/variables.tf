variable "accounts" {
  description = "Service accounts by short name; one a workload."
  type = map(object({
    description   = optional(string, "")
    display_name  = optional(string)
    project_roles = optional(set(string), [])
  }))
  nullable = false

  validation {
    condition     = alltrue([for key, _ in var.accounts : can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", key))])
    error_message = "A short name is lower-case letters, digits and hyphens."
  }
  validation {
    condition = alltrue([
      for key, _ in var.accounts : length("${var.prefix}-${key}") >= 6 && length("${var.prefix}-${key}") <= 30
    ])
    error_message = "prefix-name must be 6 to 30 characters, Google's limit on account ids."
  }
  validation {
    condition = alltrue(flatten([
      for account in var.accounts : [for role in account.project_roles : !contains(["roles/owner", "roles/editor"], role)]
    ]))
    error_message = "No workload gets roles/owner or roles/editor."
  }
}

variable "iam" {
  description = "Who may use an account: `account` is a key of `accounts`."
  type = map(object({
    account = string
    member  = string
    role    = string
  }))
  default  = {}
  nullable = false
}

variable "prefix" {
  description = "Put before every account id; ids are 6 to 30 characters."
  type        = string
  default     = "mbats"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,9}$", var.prefix))
    error_message = "A prefix is 2 to 10 lower-case letters, digits and hyphens."
  }
}

variable "project_id" {
  description = "Project the accounts live in."
  type        = string
  nullable    = false
}
