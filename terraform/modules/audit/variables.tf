variable "dataset_id" {
  description = "Dataset that logs go to."
  type        = string
  default     = "audit"
  nullable    = false
}

variable "deletion_policy" {
  description = "DELETE or PREVENT."
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
  description = "Location of the dataset, for example EU."
  type        = string
  nullable    = false
}

variable "project_id" {
  description = "Project whose logs are kept."
  type        = string
  nullable    = false
}

variable "retention_days" {
  description = "Days a log entry is kept."
  type        = number
  default     = 400
  nullable    = false
}

variable "services" {
  description = "Audit logs to switch on beside the ones that always are: service to DATA_READ, DATA_WRITE, ADMIN_READ."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition = alltrue(flatten([
      for types in var.services : [for t in types : contains(["ADMIN_READ", "DATA_READ", "DATA_WRITE"], t)]
    ]))
    error_message = "A log type is ADMIN_READ, DATA_READ or DATA_WRITE."
  }
}

variable "sinks" {
  description = "What is copied to the dataset, by name: a Cloud Logging filter."
  type = map(object({
    description = optional(string, "")
    filter      = string
  }))
  nullable = false
}
