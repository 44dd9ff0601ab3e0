variable "deletion_policy" {
  description = "DELETE or PREVENT. Data encrypted with a destroyed key is gone."
  type        = string
  default     = "PREVENT"
  nullable    = false

  validation {
    condition     = contains(["DELETE", "PREVENT"], var.deletion_policy)
    error_message = "deletion_policy is DELETE or PREVENT."
  }
}

variable "keys" {
  description = "Keys by name. `encrypters` are the service agents that must hold a key before it is used, by any static name."
  type = map(object({
    encrypters = optional(map(string), {})
    location   = string
  }))
  nullable = false
}

variable "name" {
  description = "Put before the names of the key rings. A key ring can never be deleted."
  type        = string
  default     = "mbats"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,50}$", var.name))
    error_message = "The name before a key ring's is 1 to 50 letters, digits, hyphens and underscores."
  }
}

variable "project_id" {
  description = "Project of the keys."
  type        = string
  nullable    = false
}

variable "rotation_period" {
  description = "How often a key gets a new version, in seconds with an s."
  type        = string
  default     = "7776000s"
  nullable    = false
}

variable "settle_seconds" {
  description = "How long to wait after a grant until Google has put it in force: what is encrypted sooner is refused."
  type        = number
  default     = 60
  nullable    = false
}
