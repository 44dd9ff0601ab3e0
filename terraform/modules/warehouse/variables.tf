variable "authorize_views" {
  description = "Let the views in desk_views read the tables for people who may not. An emulator knows no access."
  type        = bool
  default     = true
  nullable    = false
}

variable "dataset_access" {
  description = "Grants on whole datasets, by any static name: READER, WRITER or OWNER; `member` is user:, group: or serviceAccount:."
  type = map(object({
    dataset = string
    member  = string
    role    = optional(string, "READER")
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for a in var.dataset_access : contains(["READER", "WRITER", "OWNER"], a.role)])
    error_message = "A role is READER, WRITER or OWNER: Google rewrites the others to these, which then shows as a change."
  }
  validation {
    condition     = alltrue([for a in var.dataset_access : can(regex("^(user|group|serviceAccount):.+@.+$", a.member))])
    error_message = "A member is user:, group: or serviceAccount: and an email: nothing public."
  }
}

variable "dataset_ids" {
  description = "Ids of the datasets, where they are not to have their usual names."
  type = object({
    desk_views      = optional(string, "desk_views")
    risk            = optional(string, "risk")
    security_master = optional(string, "security_master")
    staging         = optional(string, "staging")
  })
  default  = {}
  nullable = false
}

variable "deletion_policy" {
  description = "DELETE (a destroy takes the data too) or PREVENT."
  type        = string
  default     = "PREVENT"
  nullable    = false

  validation {
    condition     = contains(["DELETE", "PREVENT"], var.deletion_policy)
    error_message = "deletion_policy is DELETE or PREVENT."
  }
}

variable "kms_key" {
  description = "Key to encrypt with; Google's own where null."
  type        = string
  default     = null
}

variable "location" {
  description = "Location of the datasets, for example EU."
  type        = string
  nullable    = false
}

variable "project_id" {
  description = "Project of the datasets."
  type        = string
  nullable    = false
}

variable "table_iam" {
  description = "Grants on single tables, by any static name; `table` is DATASET.TABLE as under `schemas/`."
  type = map(object({
    member = string
    role   = optional(string, "roles/bigquery.dataEditor")
    table  = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.table_iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "No table is public."
  }
}

variable "views_path" {
  description = "Folder of views, DATASET/VIEW.sql, with {project}, {security_master} and {risk} in place of names; null for none."
  type        = string
  default     = null
}
