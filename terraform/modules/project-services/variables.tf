variable "project_id" {
  description = "Project whose APIs are switched on."
  type        = string
  nullable    = false
}

variable "services" {
  description = "APIs to switch on, for example `run.googleapis.com`."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for s in var.services : can(regex("^[a-z0-9-]+\\.googleapis\\.com$", s))])
    error_message = "An API is named like run.googleapis.com."
  }
}
