variable "pool_id" {
  description = "Id of the pool. A deleted pool keeps its id for 30 days: choose a new one to make it again sooner."
  type        = string
  default     = "mbats-ci"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]{4,32}$", var.pool_id)) && !startswith(var.pool_id, "gcp-")
    error_message = "A pool id is 4 to 32 lower-case letters, digits and hyphens, not beginning with gcp-."
  }
}

variable "project_id" {
  description = "Project of the pool."
  type        = string
  nullable    = false
}

variable "project_number" {
  description = "Number of that project."
  type        = string
  nullable    = false
}

variable "refs" {
  description = "Git refs that may act, for example `refs/heads/main`."
  type        = set(string)
  default     = ["refs/heads/main"]
  nullable    = false

  validation {
    condition     = length(var.refs) > 0 && alltrue([for ref in var.refs : can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", ref))])
    error_message = "A ref is written in full: refs/heads/main."
  }
}

variable "repository_id" {
  description = "Numeric id of the repository, from `https://api.github.com/repos/OWNER/NAME`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+$", var.repository_id))
    error_message = "The repository id is a number, not a name."
  }
}

variable "service_accounts" {
  description = "Service accounts the repository may act as: full resource names by any key."
  type        = map(string)
  nullable    = false
}
