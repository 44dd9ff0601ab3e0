variable "endpoints" {
  description = "Endpoints by display name. A resource name is a number of at most 10 digits. Idle endpoints are free; a deployed replica is not."
  type = map(object({
    description = optional(string, "")
    number      = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for e in var.endpoints : can(regex("^[1-9][0-9]{0,9}$", e.number))])
    error_message = "number is 1 to 10 digits with no leading zero."
  }
}

variable "experiments" {
  description = "Make a TensorBoard that mirrors MLflow."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key" {
  description = "Key to encrypt with; Google's own where null."
  type        = string
  default     = null
}

variable "project_id" {
  description = "Project of the endpoints."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the endpoints."
  type        = string
  nullable    = false
}
